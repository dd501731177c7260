package import Primitives

/// A change of a partition's state: what the log holds. `apply` is a function of these alone.
///
/// **Shape**: `martlet.v1.Command` of the schema: one message with one variant set. A variant that
/// this version does not know stops the replica that meets it instead of letting it diverge.
package enum Command: Equatable, Sendable {
  // of a conversation
  case createConversation(CreateConversation)
  case sendMessage(SendMessage)
  case changeMembers(ChangeMembers)
  // of a user
  case createUser(CreateUser)
  case openSession(OpenSession)
  case rotateRefreshToken(RotateRefreshToken)
  case closeSession(CloseSession)
  // from another partition's outbox
  case claimHandle(ClaimHandle)
  case handleResolved(HandleResolved)
  case conversationListed(ConversationListed)
  // of the partition itself
  case outboxConfirmed(OutboxConfirmed)
  case generationBegan(UInt32)
  case partitionSplit(PartitionSplit)

  /// Whom the command changes: what it is routed by. `nil` for a command of the partition itself.
  package var entity: EntityID? {
    switch self {
    case .createConversation(let command): .conversation(command.conversation)
    case .sendMessage(let command): .conversation(command.conversation)
    case .changeMembers(let command): .conversation(command.conversation)
    case .createUser(let command): .user(command.user)
    case .openSession(let command): .user(command.user)
    case .rotateRefreshToken(let command): .user(command.user)
    case .closeSession(let command): .user(command.user)
    case .claimHandle(let command): .handle(command.handle)
    case .handleResolved(let command): .user(command.user)
    case .conversationListed(let command): .user(command.user)
    case .outboxConfirmed, .generationBegan, .partitionSplit: nil
    }
  }
}

/// Makes a conversation, or finds the one that exists under this id.
package struct CreateConversation: Equatable, Sendable {
  /// Chosen by the gateway; for a direct conversation it follows from the pair.
  package var conversation: ConversationID
  package var kind: ConversationKind
  /// At most `ChatLimits.titleBytesMax`; empty for a direct conversation.
  package var title: String
  package var creator: UserID
  /// Everybody, the creator included; exactly two for a direct conversation (one when somebody
  /// writes to themselves).
  package var members: [Member]

  package init(
    conversation: ConversationID, kind: ConversationKind, title: String, creator: UserID,
    members: [Member]
  ) {
    self.conversation = conversation
    self.kind = kind
    self.title = title
    self.creator = creator
    self.members = members
  }
}

/// Appends a message, once per (sender, device, client id).
package struct SendMessage: Equatable, Sendable {
  package var conversation: ConversationID
  package var sender: UserID
  package var device: DeviceID
  /// The client's own id of the message: what a repeat is known by.
  package var clientID: ClientMessageID
  /// 1 to `ChatLimits.messageTextBytesMax` bytes.
  package var text: String

  package init(
    conversation: ConversationID, sender: UserID, device: DeviceID, clientID: ClientMessageID,
    text: String
  ) {
    self.conversation = conversation
    self.sender = sender
    self.device = device
    self.clientID = clientID
    self.text = text
  }
}

/// Adds and removes members of a group. Leaving is removing oneself.
package struct ChangeMembers: Equatable, Sendable {
  package var conversation: ConversationID
  /// Who changes them: an administrator, or whoever leaves.
  package var author: UserID
  package var added: [Member]
  package var removed: [UserID]

  package init(conversation: ConversationID, author: UserID, added: [Member], removed: [UserID]) {
    self.conversation = conversation
    self.author = author
    self.added = added
    self.removed = removed
  }
}

/// Makes an account, pending until its handle is claimed.
package struct CreateUser: Equatable, Sendable {
  package var user: UserID
  package var handle: Handle
  package var displayName: String
  /// Argon2id in PHC string format.
  package var passwordHash: String

  package init(user: UserID, handle: Handle, displayName: String, passwordHash: String) {
    self.user = user
    self.handle = handle
    self.displayName = displayName
    self.passwordHash = passwordHash
  }
}

/// Records a login of a device.
package struct OpenSession: Equatable, Sendable {
  package var user: UserID
  package var device: DeviceID
  /// What the user calls the device; may be empty.
  package var deviceName: String
  /// SHA-256 of the refresh token; 32 bytes.
  package var refreshTokenHash: [UInt8]
  /// From then on the refresh token is no good.
  package var expires: WallTime

  package init(
    user: UserID, device: DeviceID, deviceName: String, refreshTokenHash: [UInt8],
    expires: WallTime
  ) {
    self.user = user
    self.device = device
    self.deviceName = deviceName
    self.refreshTokenHash = refreshTokenHash
    self.expires = expires
  }
}

/// Replaces a refresh token. A token that was already replaced ends the session: it was stolen, or
/// the thief's was.
package struct RotateRefreshToken: Equatable, Sendable {
  package var user: UserID
  package var device: DeviceID
  /// SHA-256 of the token that is shown.
  package var presentedHash: [UInt8]
  /// SHA-256 of the one that takes its place.
  package var newHash: [UInt8]
  /// When the new one expires.
  package var expires: WallTime

  package init(
    user: UserID, device: DeviceID, presentedHash: [UInt8], newHash: [UInt8], expires: WallTime
  ) {
    self.user = user
    self.device = device
    self.presentedHash = presentedHash
    self.newHash = newHash
    self.expires = expires
  }
}

/// Logs a device out.
package struct CloseSession: Equatable, Sendable {
  package var user: UserID
  package var device: DeviceID

  package init(user: UserID, device: DeviceID) {
    self.user = user
    self.device = device
  }
}

/// Where a command from an outbox comes from. The target applies only a greater `index` of the same
/// subject, so that a repeated or late delivery changes nothing.
package struct OutboxOrigin: Equatable, Sendable {
  /// The partition whose outbox it was.
  package var partition: PartitionID
  /// The entry of the source partition's log that made the outbox entry.
  package var index: LogIndex

  package init(partition: PartitionID, index: LogIndex) {
    self.partition = partition
    self.index = index
  }
}

/// Asks for a handle on behalf of a pending account. The answer goes back as `HandleResolved`.
package struct ClaimHandle: Equatable, Sendable {
  package var handle: Handle
  package var user: UserID
  package var origin: OutboxOrigin

  package init(handle: Handle, user: UserID, origin: OutboxOrigin) {
    self.handle = handle
    self.user = user
    self.origin = origin
  }
}

/// Tells a pending account whether the handle is its own; refused, the account is deleted.
package struct HandleResolved: Equatable, Sendable {
  package var user: UserID
  package var handle: Handle
  /// Whether the account has the handle now.
  package var granted: Bool
  package var origin: OutboxOrigin

  package init(user: UserID, handle: Handle, granted: Bool, origin: OutboxOrigin) {
    self.user = user
    self.handle = handle
    self.granted = granted
    self.origin = origin
  }
}

/// Puts a conversation into a user's list, or takes it out (leaving a tombstone).
package struct ConversationListed: Equatable, Sendable {
  package var user: UserID
  package var conversation: ConversationID
  /// Whether it is taken out of the list.
  package var removed: Bool
  package var origin: OutboxOrigin

  package init(user: UserID, conversation: ConversationID, removed: Bool, origin: OutboxOrigin) {
    self.user = user
    self.conversation = conversation
    self.removed = removed
    self.origin = origin
  }
}

/// Takes delivered entries out of the outbox.
package struct OutboxConfirmed: Equatable, Sendable {
  package var entries: [OutboxEntryID]

  package init(entries: [OutboxEntryID]) { self.entries = entries }
}

/// Cuts the partition in two: after this entry the upper half of its tokens is another partition's.
package struct PartitionSplit: Equatable, Sendable {
  /// How often the partition's range is cut then; it is done when that is once more than before.
  package var level: UInt32
  /// Replicas with lower numbers make a replica of the upper half, under their own names, of what
  /// they have applied; the half gives no such number to anybody else.
  package var replicaLimit: UInt32

  package init(level: UInt32, replicaLimit: UInt32) {
    self.level = level
    self.replicaLimit = replicaLimit
  }
}

/// Names an outbox entry: the log entry that made it and its place among those made by it.
package struct OutboxEntryID: Hashable, Comparable, Sendable {
  package let index: LogIndex
  /// From 0.
  package let ordinal: UInt32

  package init(index: LogIndex, ordinal: UInt32) {
    self.index = index
    self.ordinal = ordinal
  }

  package static func < (left: Self, right: Self) -> Bool {
    (left.index, left.ordinal) < (right.index, right.ordinal)
  }
}

/// What applying a command gave: the answer to whoever asked for it.
package enum CommandResult: Equatable, Sendable {
  /// `existed` when the same thing was done before: the answer is the one of then.
  case conversationCreated(conversation: ConversationID, existed: Bool)
  case messageSent(sequence: Sequence, time: WallTime, repeated: Bool)
  case membersChanged(sequence: Sequence)
  /// The account waits for its handle; the answer follows when it is resolved.
  case userPending
  case userActive(UserID)
  case sessionOpened
  case refreshTokenRotated
  case sessionClosed
  case done
  case refused(ServiceError)
}

import ChatModel
import Primitives

/// A person as others see them.
public struct User: Hashable, Sendable, Codable {
  /// Never changes and is never given to somebody else.
  public var id: UserID
  /// The unique name, in its normal form.
  public var handle: String
  /// How the person wants to be called; at most 128 bytes, not unique.
  public var displayName: String

  /// For tests of programs that embed the client.
  public init(id: UserID, handle: String, displayName: String) {
    self.id = id
    self.handle = handle
    self.displayName = displayName
  }

  init(_ profile: UserProfile) {
    self.init(
      id: UserID(profile.user), handle: profile.handle.text, displayName: profile.displayName)
  }
}

/// A participant of a conversation.
public struct Member: Hashable, Sendable, Codable {
  /// What a participant may do.
  public enum Role: String, Hashable, Sendable, Codable {
    case member
    /// May add and remove members and change the title.
    case admin
  }

  /// Who it is.
  public var user: UserID
  /// The unique name when the member came in.
  public var handle: String
  /// What the member may do here.
  public var role: Role

  /// For tests of programs that embed the client.
  public init(user: UserID, handle: String, role: Role) {
    self.user = user
    self.handle = handle
    self.role = role
  }

  init(_ member: ChatModel.Member) {
    self.init(
      user: UserID(member.user), handle: member.handle.text,
      role: member.role == .admin ? .admin : .member)
  }
}

/// What kind of conversation it is.
public enum ConversationKind: String, Hashable, Sendable, Codable {
  case direct
  case group

  init(_ kind: ChatModel.ConversationKind) { self = kind == .direct ? .direct : .group }
}

/// A conversation as its list shows it.
public struct Conversation: Hashable, Sendable {
  /// Never changes.
  public var id: ConversationID
  /// Of two people, or a group.
  public var kind: ConversationKind
  /// Empty for a direct conversation.
  public var title: String
  /// The first 64 members in the order of their ids; `memberCount` says how many there are.
  public var members: [Member]
  /// All members, also those that `members` leaves out.
  public var memberCount: Int
  /// The sequence number of the last event.
  public var head: UInt64
  /// The last event, if there is one.
  public var last: Event?

  init(_ summary: ConversationSummary) {
    id = ConversationID(summary.conversation)
    kind = ConversationKind(summary.kind)
    title = summary.title
    members = summary.members.map(Member.init)
    memberCount = summary.memberCount
    head = summary.head.rawValue
    last = summary.last.map(Event.init)
  }
}

/// Something that happened in a conversation and that every reader sees in the same place.
public struct Event: Hashable, Sendable {
  /// What happened.
  public enum Content: Hashable, Sendable {
    case message(text: String)
    case created(kind: ConversationKind, title: String, members: [Member])
    case membersChanged(added: [Member], removed: [UserID])
    case titleChanged(title: String)
    /// Not an event of the conversation: what followed `sequence` was erased before this client
    /// could see it. The next event has a later number than `sequence + 1`; reload what is shown.
    case historyCut
  }

  /// Where it happened.
  public var conversation: ConversationID
  /// Dense, from 1; the same for every reader.
  public var sequence: UInt64
  /// **Units**: milliseconds since 1970-01-01T00:00:00Z. Zero with `historyCut`.
  public var timeMilliseconds: UInt64
  /// `nil` with `historyCut`.
  public var author: UserID?
  /// What happened.
  public var content: Content

  /// For tests of programs that embed the client.
  public init(
    conversation: ConversationID, sequence: UInt64, timeMilliseconds: UInt64, author: UserID?,
    content: Content
  ) {
    self.conversation = conversation
    self.sequence = sequence
    self.timeMilliseconds = timeMilliseconds
    self.author = author
    self.content = content
  }

  init(_ event: ChatModel.Event) {
    conversation = ConversationID(event.conversation)
    sequence = event.sequence.rawValue
    timeMilliseconds = event.time.milliseconds
    author = UserID(event.author)
    content =
      switch event.content {
      case .message(let text): .message(text: text)
      case .created(let kind, let title, let members):
        .created(kind: ConversationKind(kind), title: title, members: members.map(Member.init))
      case .membersChanged(let added, let removed):
        .membersChanged(added: added.map(Member.init), removed: removed.map { UserID($0) })
      case .titleChanged(let title): .titleChanged(title: title)
      }
  }
}

/// The acknowledgement of a send: the message is stored for good.
public struct Sent: Hashable, Sendable {
  /// Where the message is.
  public var conversation: ConversationID
  /// The message's place in the conversation.
  public var sequence: UInt64
  /// **Units**: milliseconds since 1970-01-01T00:00:00Z.
  public var timeMilliseconds: UInt64
  /// The id was sent before; this is the answer of then.
  public var repeated: Bool
}

/// A page of a conversation's events.
public struct History: Hashable, Sendable {
  /// Ascending, without gaps.
  public var events: [Event]
  /// The conversation's last sequence number.
  public var head: UInt64
}

/// Which events of a conversation are wanted.
public enum HistoryRange: Hashable, Sendable {
  /// The last ones.
  case latest
  /// Those that follow this sequence number.
  case after(UInt64)
  /// The last ones below this sequence number.
  case before(UInt64)
}

/// What a login gives: keep it as a password. The refresh token is good for one refresh, so what
/// `onCredentialsChanged` gives must replace it.
public struct Credentials: Hashable, Sendable, Codable {
  /// Shown to gateways; good until `expiresMilliseconds`.
  public var accessToken: String
  /// Exchanged for the next pair.
  public var refreshToken: String
  /// **Units**: milliseconds since 1970-01-01T00:00:00Z, by this machine's clock.
  public var expiresMilliseconds: UInt64
  /// Who logged in.
  public var user: User
  /// This login's name. Ids of messages are remembered per device.
  public var device: String

  /// From what was stored.
  public init(
    accessToken: String, refreshToken: String, expiresMilliseconds: UInt64, user: User,
    device: String
  ) {
    self.accessToken = accessToken
    self.refreshToken = refreshToken
    self.expiresMilliseconds = expiresMilliseconds
    self.user = user
    self.device = device
  }
}

/// Where a consumer of events stopped. Given to a new client, it goes on from there: nothing is
/// missed and nothing comes twice.
public struct ResumePoint: Hashable, Sendable, Codable {
  /// Opaque; empty before the first one has come.
  public var cursor: String
  /// The last sequence number that was consumed, by conversation.
  public var sequences: [ConversationID: UInt64]

  /// Without arguments: with what happens from now on.
  public init(cursor: String = "", sequences: [ConversationID: UInt64] = [:]) {
    self.cursor = cursor
    self.sequences = sequences
  }
}

/// What a client's connection is doing.
public enum ConnectionState: Hashable, Sendable {
  /// `connect()` was not called yet.
  case idle
  case connecting(gateway: String)
  case connected(gateway: String)
  /// Before the next attempt; why the last one failed or its connection ended.
  case waiting(milliseconds: UInt64, why: String)
  /// Nothing follows.
  case closed
}

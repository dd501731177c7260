package import Primitives

/// A read of a partition's applied state. Answered by the leader behind a read barrier (R1).
package enum Query: Equatable, Sendable {
  /// Whose handle is it? For a login (`credentials`) the answer carries what checks a password.
  case handle(Handle)
  case user(UserID)
  /// What a login needs: never leaves the gateway.
  case credentials(UserID)
  /// The user's conversations in the order of their ids, after one of them.
  case conversationList(user: UserID, after: ConversationID?, limit: Int)
  /// Kind, title, members and last event of conversations that lie in one partition.
  case summaries(reader: UserID, conversations: [ConversationID])
  /// A page of one conversation's events.
  case history(HistoryQuery)
  /// What happened in some conversations of one partition after a position of its log.
  case changes(ChangesQuery)

  /// Whom the query reads: what it is routed by. `nil` when it names its partition itself.
  package var entity: EntityID? {
    switch self {
    case .handle(let handle): .handle(handle)
    case .user(let user), .credentials(let user): .user(user)
    case .conversationList(let user, _, _): .user(user)
    case .summaries(_, let conversations): conversations.first.map { .conversation($0) }
    case .history(let query): .conversation(query.conversation)
    case .changes(let query): query.requests.first.map { .conversation($0.conversation) }
    }
  }
}

/// A page of one conversation's events, as one of its members reads it.
package struct HistoryQuery: Equatable, Sendable {
  /// Which events of the conversation.
  package enum Range: Equatable, Sendable {
    /// Sequence numbers above this one, ascending.
    case after(Sequence)
    /// The last ones below this one, ascending.
    case before(Sequence)
    /// The last ones of all, ascending.
    case latest
  }

  package var conversation: ConversationID
  /// Must be a member.
  package var reader: UserID
  package var range: Range
  /// 1 to `ChatLimits.historyPageMax`.
  package var limit: Int

  package init(conversation: ConversationID, reader: UserID, range: Range, limit: Int) {
    self.conversation = conversation
    self.reader = reader
    self.range = range
    self.limit = limit
  }
}

/// What a session has missed: events of several conversations after positions of the log.
///
/// **Invariant**: all conversations lie in one partition.
package struct ChangesQuery: Equatable, Sendable {
  /// One conversation and how far its events are known.
  package struct Request: Equatable, Sendable {
    package var conversation: ConversationID
    /// Events of log entries above this one are wanted.
    package var after: LogIndex

    package init(conversation: ConversationID, after: LogIndex) {
      self.conversation = conversation
      self.after = after
    }
  }

  /// Must be a member of each.
  package var reader: UserID
  package var requests: [Request]
  /// Events in one answer.
  package var limit: Int

  package init(reader: UserID, requests: [Request], limit: Int) {
    self.reader = reader
    self.requests = requests
    self.limit = limit
  }
}

/// The answer to a `Query`, variant by variant.
package enum QueryAnswer: Equatable, Sendable {
  case handle(UserID?)
  case user(UserProfile?)
  case credentials(UserCredentials?)
  case conversationList(ConversationListPage)
  case summaries([ConversationSummary])
  case history(HistoryPage)
  case changes(ChangesPage)
  case refused(ServiceError)
}

/// What everybody may know of an account.
package struct UserProfile: Equatable, Sendable {
  package var user: UserID
  package var handle: Handle
  package var displayName: String

  package init(user: UserID, handle: Handle, displayName: String) {
    self.user = user
    self.handle = handle
    self.displayName = displayName
  }
}

/// What a login checks. Never leaves the gateway.
package struct UserCredentials: Equatable, Sendable {
  package var profile: UserProfile
  /// Argon2id in PHC string format.
  package var passwordHash: String

  package init(profile: UserProfile, passwordHash: String) {
    self.profile = profile
    self.passwordHash = passwordHash
  }
}

/// One conversation of a user's list.
package struct ListedConversation: Equatable, Sendable {
  package var conversation: ConversationID
  /// The entry of the *conversation's* partition with which the user joined: where a reader who did
  /// not know of the conversation starts.
  package var joined: LogIndex
  /// The entry of the *user's* partition that listed it: what a cursor compares.
  package var listed: LogIndex

  package init(conversation: ConversationID, joined: LogIndex, listed: LogIndex) {
    self.conversation = conversation
    self.joined = joined
    self.listed = listed
  }
}

/// A page of a user's list, in the order of the conversations' ids.
package struct ConversationListPage: Equatable, Sendable {
  package var conversations: [ListedConversation]
  /// The position of the user's partition that this page shows.
  package var applied: LogIndex
  /// Of the user's partition's record.
  package var generation: UInt32
  /// Further conversations follow after the last one of this page.
  package var more: Bool

  package init(
    conversations: [ListedConversation], applied: LogIndex, generation: UInt32, more: Bool
  ) {
    self.conversations = conversations
    self.applied = applied
    self.generation = generation
    self.more = more
  }
}

/// A conversation as lists show it.
package struct ConversationSummary: Equatable, Sendable {
  package var conversation: ConversationID
  package var kind: ConversationKind
  package var title: String
  /// The first `membersShownMax` members in the order of their ids.
  package var members: [Member]
  /// Of all members, shown or not.
  package var memberCount: Int
  /// The last sequence number.
  package var head: Sequence
  /// The event with that number.
  package var last: Event?

  package static let membersShownMax = 64

  package init(
    conversation: ConversationID, kind: ConversationKind, title: String, members: [Member],
    memberCount: Int, head: Sequence, last: Event?
  ) {
    self.conversation = conversation
    self.kind = kind
    self.title = title
    self.members = members
    self.memberCount = memberCount
    self.head = head
    self.last = last
  }
}

/// A page of one conversation's events.
package struct HistoryPage: Equatable, Sendable {
  /// Ascending, without gaps.
  package var events: [Event]
  /// The conversation's last sequence number.
  package var head: Sequence

  package init(events: [Event], head: Sequence) {
    self.events = events
    self.head = head
  }
}

/// What a `ChangesQuery` found.
package struct ChangesPage: Equatable, Sendable {
  /// In the order of the log.
  package var events: [Event]
  /// Everything that was asked for is in `events` up to and with this entry.
  package var through: LogIndex
  /// More lies between `through` and what is applied.
  package var more: Bool
  /// Of the partition's record.
  package var generation: UInt32
  /// Conversations that were asked for and that the reader is no member of.
  package var refused: [ConversationID]

  package init(
    events: [Event], through: LogIndex, more: Bool, generation: UInt32,
    refused: [ConversationID] = []
  ) {
    self.events = events
    self.through = through
    self.more = more
    self.generation = generation
    self.refused = refused
  }
}

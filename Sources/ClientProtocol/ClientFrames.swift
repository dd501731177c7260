package import ChatModel
package import Primitives

/// What a client says on a WebSocket; the HTTP API says the same in other words.
package struct ClientFrame: Equatable, Sendable {
  /// **Units**: bytes of UTF-8.
  package static let refBytesMax = 64
  /// The client's name for this operation, given back with the answer. May be empty.
  package var ref: String
  package var operation: ClientOperation

  package init(ref: String, operation: ClientOperation) {
    self.ref = ref
    self.operation = operation
  }
}

/// What a client wants. Each is answered once, by a `ServerBody`.
package enum ClientOperation: Equatable, Sendable {
  /// The first frame where no `Authorization` header could be set.
  case hello(Hello)
  case send(conversation: ConversationID, id: ClientMessageID, text: String)
  case createConversation(CreateConversationRequest)
  case changeMembers(
    conversation: ConversationID, add: [MemberReference], remove: [MemberReference])
  case listConversations(after: ConversationID?, limit: Int)
  case history(conversation: ConversationID, range: HistoryQuery.Range, limit: Int)
  /// Answered by `pong`: liveness for clients that cannot send WebSocket pings.
  case ping
}

/// Who the client is and from where it wants events.
package struct Hello: Equatable, Sendable {
  /// The access token; empty when the header carried it.
  package var token: String
  /// Where the client stopped; `nil` starts with what happens from now on.
  package var cursor: Cursor?
  /// Whether events are wanted on this connection.
  package var events: Bool

  package init(token: String, cursor: Cursor?, events: Bool) {
    self.token = token
    self.cursor = cursor
    self.events = events
  }
}

/// A new conversation, or the one that exists between two people.
package struct CreateConversationRequest: Equatable, Sendable {
  package var kind: ConversationKind
  /// Everybody but the caller; one for a direct conversation.
  package var members: [MemberReference]
  /// Of a group; may be empty.
  package var title: String

  package init(kind: ConversationKind, members: [MemberReference], title: String) {
    self.kind = kind
    self.members = members
    self.title = title
  }
}

/// A person as a client names them.
package enum MemberReference: Hashable, Sendable {
  case user(UserID)
  case handle(Handle)

  /// Reads an id (`u…`, 27 characters) or else a handle.
  package init?(_ text: some StringProtocol) {
    if let user = UserID(text) {
      self = .user(user)
    } else if let handle = Handle(text) {
      self = .handle(handle)
    } else {
      return nil
    }
  }
}

/// What a gateway says to a client.
package struct ServerFrame: Equatable, Sendable {
  /// The `ref` of the answered operation; empty for what was not asked for.
  package var ref: String
  package var body: ServerBody

  package init(ref: String, body: ServerBody) {
    self.ref = ref
    self.body = body
  }
}

/// An answer to an operation, or something that was not asked for.
package enum ServerBody: Equatable, Sendable {
  case welcome(user: UserProfile, device: DeviceID)
  case sent(conversation: ConversationID, sequence: Sequence, time: WallTime, repeated: Bool)
  case conversation(ConversationSummary, existed: Bool)
  case membersChanged(conversation: ConversationID, sequence: Sequence)
  case conversations(items: [ConversationSummary], next: ConversationID?)
  case history(conversation: ConversationID, HistoryPage)
  case pong
  case error(ServiceError)
  // Pushed
  case event(Event)
  /// Everything up to here was pushed on this connection.
  case cursor(Cursor)
  /// The client did not keep up; what it missed follows from its cursor on.
  case behind
  /// History was cut between the cursor and now; reload what is shown.
  case gap(ConversationID)
  /// This gateway stops; connect to another one.
  case draining
}

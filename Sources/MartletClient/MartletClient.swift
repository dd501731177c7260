import ChatModel
import ClientProtocol
import Primitives
import Synchronization
import Wire

/// A logged-in device's connection to Martlet.
///
/// It speaks to one of several gateways and moves to another when that one is lost, stops, or falls
/// silent. Sends survive this: they are repeated with the same ids and stored once. So do events:
/// each comes once, in the order of its conversation.
///
/// ```swift
/// let gateways = ["https://chat-1.example.org", "https://chat-2.example.org"]
/// let credentials = try await MartletClient.login(
///   gateways: gateways, handle: "ada", password: secret, device: "laptop")
/// let client = try MartletClient(gateways: gateways, credentials: credentials)
/// try await client.connect()
///
/// let conversation = try await client.createDirect(with: "grace")
/// let sent = try await client.send("Good morning", to: conversation.id)
/// print("stored as number \(sent.sequence)")
///
/// for try await event in client.events {
///   if case .message(let text) = event.content { print(event.sequence, text) }
/// }
/// ```
///
/// **Isolation**: any thread, any task.
public final class MartletClient: Sendable {
  let shell: ClientShell
  private let accounts: AccountCalls
  private let lastOperation = Atomic<UInt64>(0)

  /// Whom `credentials` belong to.
  public let user: User

  // MARK: Accounts

  /// Makes an account.
  ///
  /// - Parameter handle: 3 to 32 letters, digits, `_`, `-` and `.`; capitals are lowered.
  /// - Parameter password: 8 to 1,024 bytes.
  /// - Parameter displayName: at most 128 bytes.
  ///
  /// **Throws**: `refused` (`ALREADY_EXISTS`, `INVALID_ARGUMENT`), `unreachable`, `outcomeUnknown`.
  public static func register(
    gateways: [String], handle: String, password: String, displayName: String = "",
    configuration: ClientConfiguration = ClientConfiguration()
  ) async throws(MartletError) -> User {
    try await AccountCalls(gateways: gateways, configuration: configuration)
      .register(handle: handle, password: password, displayName: displayName)
  }

  /// Logs a device in.
  ///
  /// - Parameter device: a name that the user recognises; at most 64 bytes.
  ///
  /// **Throws**: `signedOut` when handle or password is wrong, `refused`, `unreachable`,
  /// `outcomeUnknown`.
  public static func login(
    gateways: [String], handle: String, password: String, device: String = "",
    configuration: ClientConfiguration = ClientConfiguration()
  ) async throws(MartletError) -> Credentials {
    try await AccountCalls(gateways: gateways, configuration: configuration)
      .login(handle: handle, password: password, device: device)
  }

  /// Logs the device out and closes the client.
  public func logout() async throws(MartletError) {
    let token = try await value(of: shell.currentCredentials()).accessToken
    try await accounts.logout(accessToken: token)
    close()
  }

  // MARK: Life

  /// - Parameter gateways: URLs such as `https://chat-1.example.org`; one is chosen at random.
  /// - Parameter resumeFrom: where an earlier client's consumer stopped (`resumePoint`); `nil`
  ///   starts with what happens from `connect` on.
  /// - Parameter onCredentialsChanged: is given what must be kept instead of `credentials`; called
  ///   on the client's own thread, which it must not hold up.
  ///
  /// **Throws**: `invalidArgument`.
  public init(
    gateways: [String], credentials: Credentials,
    configuration: ClientConfiguration = ClientConfiguration(), resumeFrom: ResumePoint? = nil,
    onCredentialsChanged: @escaping @Sendable (Credentials) -> Void = { _ in }
  ) throws(MartletError) {
    var cursor: Cursor?
    if let text = resumeFrom?.cursor, !text.isEmpty {
      cursor = CursorCodec.decode(text)
      guard cursor != nil else { throw .invalidArgument("the cursor cannot be read") }
    }
    var sequences: [WireConversation: ChatModel.Sequence] = [:]
    for (conversation, sequence) in resumeFrom?.sequences ?? [:] {
      sequences[conversation.wire] = ChatModel.Sequence(sequence)
    }
    accounts = try AccountCalls(gateways: gateways, configuration: configuration)
    user = credentials.user
    var generator = SystemRandomNumberGenerator()
    let machine = ClientSessionMachine(
      configuration: configuration.machine(gatewayCount: gateways.count), seed: generator.next(),
      token: credentials.accessToken, lifetime: ClientShell.lifetime(of: credentials),
      resuming: cursor, places: sequences, now: AccountCalls.now())
    shell = ClientShell(
      accounts: accounts, credentials: credentials, machine: machine, resuming: cursor,
      sequences: sequences, onCredentialsChanged: onCredentialsChanged)
  }

  deinit { shell.close() }

  /// Connects, and stays connected until `close`. Other calls do this by themselves.
  ///
  /// Returns once a gateway has welcomed the client and every later event is certain to be
  /// delivered.
  ///
  /// **Throws**: `signedOut`, `refused`, `closed`. Gateways that cannot be reached are no error: it
  /// goes on trying.
  public func connect() async throws(MartletError) {
    try await value(of: shell.connect())
  }

  /// Ends the connection, what is under way, `events` and `states`. Nothing can be done afterwards.
  public func close() { shell.close() }

  /// What the connection does from now on, beginning with what it does now.
  public var states: AsyncStream<ConnectionState> { shell.states() }

  // MARK: Events

  /// What happens in the user's conversations: each event once, in order within its conversation,
  /// whatever happens to connections. For one consumer; while it does not keep up, reading from the
  /// gateway stops.
  ///
  /// Ends when the client is closed; throws `MartletError` when the session is over.
  public var events: Events { Events(client: self) }

  /// Where the consumer of `events` stands: everything that it was given is behind this point. Give
  /// it to the next client as `resumeFrom`.
  public var resumePoint: ResumePoint { shell.events.resumePoint }

  /// The events of a client, which lives as long as somebody reads them.
  public struct Events: AsyncSequence, Sendable {
    fileprivate let client: MartletClient

    /// Waits for one event after the other.
    public struct Iterator: AsyncIteratorProtocol {
      fileprivate let client: MartletClient

      /// **Returns**: the next event; `nil` when the client was closed.
      ///
      /// **Throws**: `MartletError` when the session is over.
      public mutating func next() async throws -> Event? {
        try await client.shell.events.next()
      }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(client: client) }
  }

  // MARK: Messages

  /// Sends a message and waits until it is stored for good.
  ///
  /// It survives lost connections and gateways that are overloaded or away. At most 256 messages of
  /// a conversation are under way; others wait. When the task is cancelled, the message is not
  /// repeated any more, but it may have been stored (`outcomeUnknown`).
  ///
  /// - Parameter text: at most 65,536 bytes.
  /// - Parameter id: repeat it to repeat the message after `outcomeUnknown`, also from a new client
  ///   of the same device: it is stored once.
  /// - Parameter timeoutMilliseconds: `nil` means the configuration's.
  ///
  /// **Throws**: `refused`, `outcomeUnknown`, `deadlineExceeded`, `signedOut`, `closed`.
  @discardableResult
  public func send(
    _ text: String, to conversation: ConversationID, id: MessageID = .random(),
    timeoutMilliseconds: UInt64? = nil
  ) async throws(MartletError) -> Sent {
    let operation = makeOperation(
      .send(conversation: conversation.wire, id: id.wire, text: text),
      timeoutMilliseconds: timeoutMilliseconds)
    return try Self.sent(try await perform(operation))
  }

  /// As `send`, without waiting: the order of these calls is the order in the conversation.
  ///
  /// - Parameter completion: called once, on the client's own thread, which it must not hold up.
  public func send(
    _ text: String, to conversation: ConversationID, id: MessageID = .random(),
    timeoutMilliseconds: UInt64? = nil,
    completion: @escaping @Sendable (Result<Sent, MartletError>) -> Void
  ) {
    let operation = makeOperation(
      .send(conversation: conversation.wire, id: id.wire, text: text),
      timeoutMilliseconds: timeoutMilliseconds)
    submit(operation) { result in
      completion(
        result.flatMap { body in Result { () throws(MartletError) in try Self.sent(body) } })
    }
  }

  private static func sent(_ body: ServerBody) throws(MartletError) -> Sent {
    guard case .sent(let conversation, let sequence, let time, let repeated) = body else {
      throw unexpected
    }
    return Sent(
      conversation: ConversationID(conversation), sequence: sequence.rawValue,
      timeMilliseconds: time.milliseconds, repeated: repeated)
  }

  // MARK: Conversations

  /// The direct conversation with somebody, which is made unless it exists.
  ///
  /// - Parameter member: a handle or a user's id.
  public func createDirect(with member: String) async throws(MartletError) -> Conversation {
    let request = CreateConversationRequest(
      kind: .direct, members: try Self.references([member]), title: "")
    return try Self.conversation(try await perform(makeOperation(.createConversation(request))))
  }

  /// A new group whose only admin is the caller. When the connection is lost before the answer
  /// comes, it is not tried again (`outcomeUnknown`), so as not to make two.
  ///
  /// - Parameter members: everybody else, by handle or id; at most 255.
  /// - Parameter title: at most 256 bytes.
  public func createGroup(
    title: String, members: [String]
  ) async throws(MartletError) -> Conversation {
    let request = CreateConversationRequest(
      kind: .group, members: try Self.references(members), title: title)
    let operation = makeOperation(.createConversation(request), isRepeatable: false)
    return try Self.conversation(try await perform(operation))
  }

  /// Adds and removes members of a group. To leave is to remove oneself.
  ///
  /// **Returns**: the sequence number of the event that tells of it.
  @discardableResult
  public func changeMembers(
    of conversation: ConversationID, adding added: [String] = [], removing removed: [String] = []
  ) async throws(MartletError) -> UInt64 {
    let operation = makeOperation(
      .changeMembers(
        conversation: conversation.wire, add: try Self.references(added),
        remove: try Self.references(removed)))
    guard case .membersChanged(_, let sequence) = try await perform(operation) else {
      throw Self.unexpected
    }
    return sequence.rawValue
  }

  /// All conversations of the user, in the order of their ids.
  public func conversations() async throws(MartletError) -> [Conversation] {
    var all: [Conversation] = []
    var after: WireConversation?
    repeat {
      let operation = makeOperation(
        .listConversations(after: after, limit: ChatLimits.historyPageMax))
      guard case .conversations(let items, let next) = try await perform(operation) else {
        throw Self.unexpected
      }
      all += items.map(Conversation.init)
      after = next
    } while after != nil && all.count <= ChatLimits.conversationsPerUserMax
    return all
  }

  /// A page of a conversation's events.
  ///
  /// - Parameter limit: 1 to 200.
  public func history(
    of conversation: ConversationID, _ range: HistoryRange = .latest, limit: Int = 50
  ) async throws(MartletError) -> History {
    guard (1...ChatLimits.historyPageMax).contains(limit) else {
      throw .invalidArgument("a page has 1 to \(ChatLimits.historyPageMax) events")
    }
    let wanted: HistoryQuery.Range =
      switch range {
      case .latest: .latest
      case .after(let sequence): .after(ChatModel.Sequence(sequence))
      case .before(let sequence): .before(ChatModel.Sequence(sequence))
      }
    let operation = makeOperation(
      .history(conversation: conversation.wire, range: wanted, limit: limit))
    guard case .history(_, let page) = try await perform(operation) else { throw Self.unexpected }
    return History(events: page.events.map(Event.init), head: page.head.rawValue)
  }

  // MARK: Operations

  private static var unexpected: MartletError {
    .outcomeUnknown("the gateway gave an answer of another kind")
  }

  private static func conversation(_ body: ServerBody) throws(MartletError) -> Conversation {
    guard case .conversation(let summary, _) = body else { throw unexpected }
    return Conversation(summary)
  }

  private static func references(_ members: [String]) throws(MartletError) -> [MemberReference] {
    var references: [MemberReference] = []
    for member in members {
      guard let reference = MemberReference(member) else {
        throw .invalidArgument("\(member) is no handle and no user's id")
      }
      references.append(reference)
    }
    return references
  }

  private func makeOperation(
    _ operation: ClientOperation, isRepeatable: Bool = true, timeoutMilliseconds: UInt64? = nil
  ) -> PendingOperation {
    var configuration = accounts.configuration
    if let timeoutMilliseconds { configuration.callTimeoutMilliseconds = timeoutMilliseconds }
    return PendingOperation(
      id: lastOperation.add(1, ordering: .relaxed).newValue, operation: operation,
      deadline: AccountCalls.now() + configuration.callTimeout, isRepeatable: isRepeatable)
  }

  private func submit(
    _ operation: PendingOperation, _ completion: @escaping ClientShell.Completion
  ) {
    if case .send(_, _, let text) = operation.operation,
      text.utf8.count > ChatLimits.messageTextBytesMax
    {
      // A gateway would refuse the whole frame.
      let limit = ChatLimits.messageTextBytesMax
      return completion(.failure(.invalidArgument("a message has at most \(limit) bytes")))
    }
    shell.submit(operation, completion)
  }

  private func perform(_ operation: PendingOperation) async throws(MartletError) -> ServerBody {
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        submit(operation) { continuation.resume(returning: $0) }
        // A cancellation that came before the submission found nothing to abandon.
        if Task.isCancelled { abandon(operation) }
      }
    } onCancel: {
      abandon(operation)
    }
    return try result.get()
  }

  private func abandon(_ operation: PendingOperation) {
    shell.abandon(operation.id, .outcomeUnknown("the task was cancelled"))
  }
}

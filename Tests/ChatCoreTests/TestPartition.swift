import ChatCore
import ChatModel
import NodeProtocol
import Primitives
import WalkSupport

/// A partition together with its log and its stored state, as an owner would hold them.
struct TestPartition {
  var state = MemoryState()
  var partition: PartitionBox
  private(set) var log: [[UInt8]] = []
  /// Of the last entry.
  private(set) var deliveries: [ApplyOutput.AddressedDelivery] = []
  private(set) var time: UInt64 = 1_000
  let cacheBytesMax: Int

  init(cacheBytesMax: Int = ChatCoreLimits.cacheBytesDefault) throws {
    self.cacheBytesMax = cacheBytesMax
    partition = try PartitionBox(cacheBytesMax: cacheBytesMax, state: state)
  }

  /// Applies one entry with these commands, a millisecond later than the one before.
  @discardableResult
  mutating func apply(_ commands: Command...) throws -> [CommandResult] {
    time += 1
    return try apply(commands, at: time)
  }

  mutating func apply(_ commands: [Command], at time: UInt64) throws -> [CommandResult] {
    let payload = EntryPayload(
      time: WallTime(milliseconds: time), commands: commands.map { $0.encoded()[...] })
    return try append(payload.encoded())
  }

  @discardableResult
  mutating func append(_ payload: [UInt8]) throws -> [CommandResult] {
    var output = ApplyOutput()
    try partition.apply(
      index: partition.appliedIndex.successor, payload: payload, state: state, into: &output)
    log.append(payload)
    deliveries = output.deliveries
    return output.results
  }

  mutating func answer(_ query: Query) throws -> QueryAnswer {
    try partition.answer(query, state: state)
  }

  mutating func checkpoint() {
    state.write(partition.beginCheckpoint())
    partition.checkpointWritten()
  }

  /// Starts anew from what is stored, and replays the rest of the log.
  mutating func reopen() throws {
    partition = try PartitionBox(cacheBytesMax: cacheBytesMax, state: state)
    var output = ApplyOutput()
    for payload in log[Int(partition.appliedIndex.rawValue)...] {
      try partition.apply(
        index: partition.appliedIndex.successor, payload: payload, state: state, into: &output)
    }
  }

  /// Another partition with the same log, as it is opened on a state.
  func opened(on state: MemoryState) throws -> TestPartition {
    var other = self
    other.state = state
    try other.reopen()
    return other
  }

  var outboxCommands: [Command] {
    partition.outbox.entries(after: nil, countMax: .max).compactMap {
      try? Command(decoding: $0.command[...])
    }
  }

  func events(_ deliveries: [ApplyOutput.AddressedDelivery]) -> [Event] {
    deliveries.compactMap { if case .event(let event) = $0.content { event } else { nil } }
  }
}

// MARK: things with names

func user(_ number: Int) -> UserID { UserID(UInt128(number) << 64 | 0xa11ce) }
func conversation(_ number: Int) -> ConversationID { ConversationID(UInt128(number) << 64 | 0xc0) }

func token(_ number: Int) -> [UInt8] {
  [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 32)
}

func member(_ number: Int, _ role: MemberRole = .member) -> Member {
  Member(user: user(number), handle: handle("user\(number)"), role: role)
}

func group(
  _ number: Int, creator: Int = 1, members numbers: [Int] = [1, 2], title: String = "tea"
) -> Command {
  .createConversation(
    CreateConversation(
      conversation: conversation(number), kind: .group, title: title, creator: user(creator),
      members: numbers.map { member($0) }))
}

func direct(_ first: Int, _ second: Int) -> Command {
  .createConversation(
    CreateConversation(
      conversation: ConversationID(directBetween: user(first), and: user(second)), kind: .direct,
      title: "", creator: user(first),
      members: first == second ? [member(first)] : [member(first), member(second)]))
}

func send(
  _ text: String, to number: Int = 1, by sender: Int = 1, device number2: Int = 1, id: String
) -> Command {
  .sendMessage(
    SendMessage(
      conversation: conversation(number), sender: user(sender), device: device(number2),
      clientID: clientID(id), text: text))
}

func change(
  _ number: Int = 1, by author: Int, add added: [Member] = [], remove removed: [Int] = []
) -> Command {
  .changeMembers(
    ChangeMembers(
      conversation: conversation(number), author: user(author), added: added,
      removed: removed.map { user($0) }))
}

func createUser(_ number: Int, handle text: String? = nil) -> Command {
  .createUser(
    CreateUser(
      user: user(number), handle: handle(text ?? "user\(number)"), displayName: "User \(number)",
      passwordHash: "$argon2id$\(number)"))
}

func openSession(
  _ number: Int, device id: Int, token hash: Int, expires: UInt64 = 1_000_000
) -> Command {
  .openSession(
    OpenSession(
      user: user(number), device: device(id), deviceName: "phone", refreshTokenHash: token(hash),
      expires: WallTime(milliseconds: expires)))
}

func rotate(
  _ number: Int, device id: Int, from presented: Int, to new: Int, expires: UInt64 = 1_000_000
) -> Command {
  .rotateRefreshToken(
    RotateRefreshToken(
      user: user(number), device: device(id), presentedHash: token(presented), newHash: token(new),
      expires: WallTime(milliseconds: expires)))
}

func listed(
  _ number: Int, _ conversationNumber: Int, removed: Bool = false, origin: UInt64
) -> Command {
  .conversationListed(
    ConversationListed(
      user: user(number), conversation: conversation(conversationNumber), removed: removed,
      origin: OutboxOrigin(partition: PartitionID(2), index: LogIndex(origin))))
}

// MARK: looking at answers

extension CommandResult {
  var refusal: ServiceErrorCode? {
    if case .refused(let error) = self { error.code } else { nil }
  }

  var sequence: UInt64? {
    switch self {
    case .messageSent(let sequence, _, _), .membersChanged(let sequence): sequence.rawValue
    default: nil
    }
  }

  var isRepeated: Bool {
    if case .messageSent(_, _, true) = self { true } else { false }
  }
}

extension QueryAnswer {
  var refusal: ServiceErrorCode? {
    if case .refused(let error) = self { error.code } else { nil }
  }

  var historyPage: HistoryPage? {
    if case .history(let page) = self { page } else { nil }
  }

  var changesPage: ChangesPage? {
    if case .changes(let page) = self { page } else { nil }
  }

  var listPage: ConversationListPage? {
    if case .conversationList(let page) = self { page } else { nil }
  }

  var summaryList: [ConversationSummary]? {
    if case .summaries(let summaries) = self { summaries } else { nil }
  }
}

extension [Event] {
  var sequences: [UInt64] { map(\.sequence.rawValue) }
  var texts: [String] {
    map { if case .message(let text) = $0.content { text } else { "" } }
  }
}

func history(
  _ range: HistoryQuery.Range, of number: Int = 1, by reader: Int = 1, limit: Int = 200
) -> Query {
  .history(
    HistoryQuery(
      conversation: conversation(number), reader: user(reader), range: range, limit: limit))
}

func changes(
  by reader: Int = 1, _ requests: [(conversation: Int, after: UInt64)], limit: Int = 1_000
) -> Query {
  .changes(
    ChangesQuery(
      reader: user(reader),
      requests: requests.map { request in
        ChangesQuery.Request(
          conversation: conversation(request.conversation), after: LogIndex(request.after))
      },
      limit: limit))
}

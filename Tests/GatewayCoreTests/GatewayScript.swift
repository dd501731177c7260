import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import Testing
import WalkSupport

/// A gateway whose shards are played by the test, frame by frame.
struct GatewayScript {
  static let partitionCount: UInt32 = 4
  static let first = PartitionID(0)
  static let second = PartitionID(1)

  /// What the gateway asked for since the last look.
  struct Outputs {
    var requests: [(store: StoreID, request: Request)] = []
    var subscribes: [(store: StoreID, subscribe: Subscribe)] = []
    var unsubscribes: [(store: StoreID, unsubscribe: Unsubscribe)] = []
    var answers: [(session: SessionID, frame: ServerFrame)] = []
    var pushes: [(body: ServerBody, sessions: [SessionID])] = []
    var results: [CallID: CallResult] = [:]
    var resultOrder: [UInt64] = []
    var ended: [(session: SessionID, error: ServiceError)] = []
    var heartbeats: [StoreID] = []

    func errors(of session: SessionID) -> [ServiceError] {
      answers.compactMap { answer in
        guard answer.session == session, case .error(let error) = answer.frame.body else {
          return nil
        }
        return error
      }
    }

    /// The texts of commands and where they went, in order.
    var texts: [String] { requests.map { "\($0.request.text)→\($0.store.rawValue)" } }
  }

  var core: GatewayCore
  private(set) var now = Instant(nanoseconds: 1_000_000_000)
  private var actions: [GatewayAction] = []
  private var revision: Int64 = 0

  init(configure: (inout GatewayConfiguration) -> Void = { _ in }) {
    var configuration = GatewayConfiguration(
      node: "gateway", boot: BootID(1), partitionCount: Self.partitionCount)
    configure(&configuration)
    core = GatewayCore(configuration: configuration, seed: 1)
  }

  static func conversation(_ number: Int = 1, in partition: PartitionID = first) -> ConversationID {
    GatewayCoreTests.conversation(number, in: partition, of: partitionCount)
  }

  static func user(_ number: Int = 1, in partition: PartitionID = first) -> UserID {
    GatewayCoreTests.user(number, in: partition, of: partitionCount)
  }

  // MARK: Inputs

  /// The coordinator's record names a leader.
  mutating func lead(_ partition: PartitionID = first, by leader: StoreID) {
    revision += 1
    core.recordObserved(
      partition,
      VersionedRecord(
        record: record(epoch: UInt64(revision), leader: leader), revision: Revision(revision)),
      now: now, into: &actions)
  }

  /// The record of a half is made.
  mutating func split(_ half: PartitionID, by leader: StoreID, origin: UInt64) {
    revision += 1
    var made = record(epoch: UInt64(revision), leader: leader)
    made.origin = LogIndex(origin)
    core.recordObserved(
      half, VersionedRecord(record: made, revision: Revision(revision)), now: now, into: &actions)
  }

  mutating func open(_ store: StoreID, credits: UInt32 = 100) {
    core.linkOpened(store, peer: hello(store, credits: credits), now: now, into: &actions)
  }

  mutating func close(_ store: StoreID) { core.linkClosed(store, now: now, into: &actions) }

  mutating func receive(_ frame: LinkFrame, from store: StoreID) {
    core.frameReceived(frame, from: store, now: now, into: &actions)
  }

  mutating func respond(_ request: Request, _ outcome: Response.Outcome, from store: StoreID) {
    receive(.response(Response(id: request.id, outcome: outcome)), from: store)
  }

  /// The shell's ticks for a while.
  mutating func advance(_ milliseconds: Int) {
    for _ in 0..<max(1, milliseconds / 10) {
      now = now + 10
      core.tick(now: now, into: &actions)
    }
  }

  /// A message of its own call, so that the order of requests and of results can be seen.
  mutating func send(_ number: UInt64, to conversation: ConversationID = conversation()) {
    core.call(
      CallID(number),
      .operation(
        .send(conversation: conversation, id: clientID("m\(number)"), text: "\(number)"),
        user: Self.user(), device: device(1)), now: now, into: &actions)
  }

  mutating func call(_ number: UInt64, _ operation: ClientOperation) {
    core.call(
      CallID(number), .operation(operation, user: Self.user(), device: device(1)), now: now,
      into: &actions)
  }

  mutating func openSession(
    _ id: SessionID, user: UserID = user(), device number: Int = 1, cursor: Cursor? = nil,
    events: Bool = true
  ) {
    core.sessionOpened(
      id, user: user, device: device(number),
      hello: Hello(token: "", cursor: cursor, events: events), ref: "hello", now: now,
      into: &actions)
  }

  mutating func frame(_ ref: String, _ operation: ClientOperation, from id: SessionID) {
    core.frameReceived(
      ClientFrame(ref: ref, operation: operation), from: id, now: now, into: &actions)
  }

  mutating func setCongested(_ id: SessionID, _ isCongested: Bool) {
    core.congestionChanged(id, isCongested: isCongested, now: now, into: &actions)
  }

  mutating func closeSession(_ id: SessionID) { core.sessionClosed(id, into: &actions) }
  mutating func drain() { core.drain(into: &actions) }

  // MARK: Outputs

  mutating func take() -> Outputs {
    var outputs = Outputs()
    for action in actions {
      switch action {
      case .send(let store, .request(let request)): outputs.requests.append((store, request))
      case .send(let store, .subscribe(let frame)): outputs.subscribes.append((store, frame))
      case .send(let store, .unsubscribe(let frame)): outputs.unsubscribes.append((store, frame))
      case .send(let store, .heartbeat): outputs.heartbeats.append(store)
      case .send(_, let frame): Issue.record("a gateway does not send \(frame)")
      case .answer(let session, let frame): outputs.answers.append((session, frame))
      case .push(let body, let sessions): outputs.pushes.append((body, sessions))
      case .finish(let call, let result):
        #expect(outputs.results[call] == nil, "\(call) ended twice")
        outputs.results[call] = result
        outputs.resultOrder.append(call.rawValue)
      case .endSession(let session, let error): outputs.ended.append((session, error))
      }
    }
    actions.removeAll()
    return outputs
  }

  /// How many requests a store gets at once when more are wanted than anybody grants.
  mutating func requestsAtOnce(to store: StoreID, in partition: PartitionID = first) -> Int {
    _ = take()
    for number in 0..<20 {
      send(9_000 + UInt64(number), to: Self.conversation(in: partition))
    }
    return take().requests.count { $0.store == store }
  }
}

extension Request {
  /// The text of the message that it carries.
  var text: String {
    guard case .command(let bytes) = operation,
      case .sendMessage(let send)? = try? Command(decoding: bytes[...])
    else { return "" }
    return send.text
  }

  var query: Query? { if case .query(let query) = operation { query } else { nil } }

  var changes: ChangesQuery? {
    if case .query(.changes(let query)) = operation { query } else { nil }
  }
}

/// The answer to a message.
func sentAnswer(_ sequence: UInt64) -> Response.Outcome {
  .applied(
    .messageSent(
      sequence: Sequence(sequence), time: WallTime(milliseconds: 1), repeated: false))
}

extension CallResult {
  var error: ServiceError? { if case .failed(let error) = self { error } else { nil } }

  var sequence: UInt64? {
    if case .body(.sent(_, let sequence, _, _)) = self { sequence.rawValue } else { nil }
  }
}

import ChatModel
import ClientProtocol
import Primitives

@testable import MartletClient

/// Drives a `ClientSessionMachine` by hand, with a clock of its own.
struct MachineRig {
  var machine: ClientSessionMachine
  var now = Instant(nanoseconds: 1_000_000_000)
  /// Everything since the last `take`.
  var actions: [ClientAction] = []
  private var lastID: UInt64 = 0

  static let conversation = WireConversation(11)
  static let other = WireConversation(12)

  init(
    gateways: Int = 3, lifetime: Milliseconds = 3_600_000,
    places: [WireConversation: Sequence] = [:], cursor: Cursor? = nil, seed: UInt64 = 1,
    _ change: (inout ClientSessionMachine.Configuration) -> Void = { _ in }
  ) {
    var configuration = ClientSessionMachine.Configuration(gatewayCount: gateways)
    change(&configuration)
    machine = ClientSessionMachine(
      configuration: configuration, seed: seed, token: "token", lifetime: lifetime,
      resuming: cursor, places: places, now: now)
  }

  mutating func take() -> [ClientAction] {
    defer { actions = [] }
    return actions
  }

  mutating func pass(_ milliseconds: Milliseconds) {
    now = now + milliseconds
    machine.timePassed(now: now, into: &actions)
  }

  /// Jumps from deadline to deadline, up to `limit` of them, until the condition holds.
  ///
  /// **Returns**: whether it holds.
  mutating func runUntil(_ limit: Int = 200, _ condition: (MachineRig) -> Bool) -> Bool {
    for _ in 0..<limit {
      if condition(self) { return true }
      guard machine.nextDeadline < .distantFuture else { return false }
      now = max(now, machine.nextDeadline)
      machine.timePassed(now: now, into: &actions)
    }
    return condition(self)
  }

  // MARK: Connecting

  mutating func start() { machine.connectRequested(now: now, into: &actions) }

  var isDialing: Bool { if case .dialing = machine.phase { true } else { false } }

  /// Waits for the next dial, opens the socket and welcomes the client.
  mutating func open() {
    start()
    _ = runUntil { $0.isDialing }
    machine.socketOpened(machine.attempt, now: now, into: &actions)
    let welcome = ServerBody.welcome(user: FakeCluster.user, device: DeviceID(1))
    receive(ServerFrame(ref: ClientSessionMachine.helloRef, body: welcome))
  }

  mutating func receive(_ frames: ServerFrame...) {
    machine.heard(machine.attempt, now: now)
    machine.framesReceived(machine.attempt, frames, now: now, into: &actions)
  }

  mutating func push(_ body: ServerBody) { receive(ServerFrame(ref: "", body: body)) }

  mutating func loseSocket() {
    machine.socketClosed(machine.attempt, .lost("test"), now: now, into: &actions)
  }

  // MARK: Operations

  @discardableResult
  mutating func send(
    _ text: String = "text", to conversation: WireConversation = Self.conversation,
    timeout: Milliseconds = 30_000
  ) -> UInt64 {
    lastID += 1
    submit(
      .send(conversation: conversation, id: ClientMessageID("m\(lastID)")!, text: text),
      timeout: timeout)
    return lastID
  }

  @discardableResult
  mutating func call(_ operation: ClientOperation, isRepeatable: Bool = true) -> UInt64 {
    lastID += 1
    submit(operation, timeout: 30_000, isRepeatable: isRepeatable)
    return lastID
  }

  private mutating func submit(
    _ operation: ClientOperation, timeout: Milliseconds, isRepeatable: Bool = true
  ) {
    let pending = PendingOperation(
      id: lastID, operation: operation, deadline: now + timeout, isRepeatable: isRepeatable)
    machine.submitted(pending, now: now, into: &actions)
  }

  mutating func acknowledge(
    _ id: UInt64, _ sequence: UInt64 = 1, in conversation: WireConversation = Self.conversation
  ) {
    let sent = ServerBody.sent(
      conversation: conversation, sequence: Sequence(sequence), time: .zero, repeated: false)
    receive(ServerFrame(ref: String(id), body: sent))
  }

  mutating func refuse(_ id: UInt64, _ error: ServiceError) {
    receive(ServerFrame(ref: String(id), body: .error(error)))
  }

  // MARK: Events

  static func event(
    _ sequence: UInt64, in conversation: WireConversation = conversation
  ) -> ChatModel.Event {
    ChatModel.Event(
      conversation: conversation, sequence: Sequence(sequence), time: .zero,
      author: ChatModel.UserID(1), index: .zero, content: .message(text: "\(sequence)"))
  }

  static func cursor(_ index: UInt64) -> Cursor {
    let position = Cursor.Position(
      partition: PartitionID(0), generation: 0, index: LogIndex(index))
    return Cursor(user: position, positions: [position])
  }
}

extension [ClientAction] {
  /// Refs of the operations that were written.
  var written: [String] {
    flatMap { action -> [String] in
      if case .write(let frames) = action { frames.map(\.ref) } else { [] }
    }
  }

  var hello: Hello? {
    for case .write(let frames) in self {
      for frame in frames { if case .hello(let hello) = frame.operation { return hello } }
    }
    return nil
  }

  var dialed: [Int] {
    compactMap { if case .dial(let gateway, _) = $0 { gateway } else { nil } }
  }

  var delivered: [Delivery] {
    flatMap { action -> [Delivery] in
      if case .deliver(let deliveries) = action { deliveries } else { [] }
    }
  }

  /// The sequence numbers of delivered events.
  var sequences: [UInt64] {
    delivered.compactMap { if case .event(let event) = $0 { event.sequence.rawValue } else { nil } }
  }

  func result(_ id: UInt64) -> Result<ServerBody, MartletError>? {
    for case .complete(id, let result) in self { return result }
    return nil
  }

  func failure(_ id: UInt64) -> MartletError? {
    if case .failure(let error)? = result(id) { error } else { nil }
  }

  var waits: [UInt64] {
    compactMap {
      if case .stateChanged(.waiting(let pause, _)) = $0 { pause.rawValue } else { nil }
    }
  }

  var endError: MartletError? {
    for case .ended(let error) in self { return error }
    return nil
  }
}

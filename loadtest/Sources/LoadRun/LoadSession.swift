import DequeModule
import LoadDrivers
import LoadModel
import NIOCore

/// One user's device, over however many connections: what it sent and has no answer to, and what it
/// has heard.
///
/// ```
///  connecting ─▶ greeting ─▶ ready ──closed, leaving──▶ connecting (the next endpoint)
/// ```
/// Whatever has no answer when a connection ends is sent again on the next one, with the same id.
///
/// **Isolation**: the engine's event loop.
final class LoadSession: @unchecked Sendable {
  // Safety: everything that changes is touched on the engine's loop only.

  /// A message or a question that waits for its turn or for its answer.
  struct Operation {
    let place: Int
    /// Of the message in its conversation; 0 for a question.
    let number: UInt64
    /// **Units**: nanoseconds of the monotonic clock.
    let due: UInt64
    /// Of a question: for the events before this place, and for how many.
    var page: (before: UInt64?, limit: Int) = (nil, LoadSession.pageLimit)
    var wasSent = false

    var isPage: Bool { number == 0 }
  }

  /// A gateway takes no more unanswered operations of one connection.
  static let windowMax = Limits.window.upperBound
  /// Before what was refused for the moment, or a connection, is tried again.
  static let retryPause = TimeAmount.milliseconds(50)
  static let pageLimit = 50

  let seat: Seat
  private(set) var cursor: String?
  private(set) var isReady = false
  private unowned let engine: TrafficEngine
  private var handler: SessionHandler?
  private var endpointNumber = 0
  private var lastRef: UInt64 = 0
  private var unanswered: [UInt64: Operation] = [:]
  private var waiting: Deque<Operation> = []
  /// Refused for the moment and to be tried again.
  private var resting = 0
  private var numbers: [Int: UInt64] = [:]
  private(set) var ledgers: [Int: ReceivedLedger] = [:]
  private var nextPlace = 0
  /// Since when the session has no connection, after it had one.
  private var awaySince: UInt64?
  private var isResumed = false
  private var isEnded = false

  init(_ seat: Seat, _ engine: TrafficEngine) {
    self.seat = seat
    self.engine = engine
    if seat.listens {
      for place in seat.places { ledgers[place] = ReceivedLedger() }
    }
  }

  /// What has no answer yet.
  var pendingCount: Int { unanswered.count + waiting.count + resting }

  // MARK: Connections

  var endpoint: Endpoint { seat.endpoints[endpointNumber % seat.endpoints.count] }

  func connecting(_ handler: SessionHandler) { self.handler = handler }

  /// It could not be connected, or is not any more.
  func connectionEnded(_ ended: SessionHandler?, why: String) {
    guard !isEnded, ended == nil || ended === handler else { return }
    let wasReady = isReady
    isReady = false
    handler = nil
    if !wasReady, awaySince == nil {
      return engine.failed("session \(seat.session) at \(endpoint): \(why)")
    }
    if awaySince == nil { awaySince = engine.now }
    endpointNumber += 1
    isResumed = true
    // In the order in which they were begun, before what has not been sent at all.
    let again = unanswered.values.sorted { ($0.due, $0.number) < ($1.due, $1.number) }
    unanswered.removeAll(keepingCapacity: true)
    for operation in again.reversed() { waiting.prepend(operation) }
    engine.reconnect(self)
  }

  func end() {
    isEnded = true
    isReady = false
    handler?.close()
    handler = nil
  }

  // MARK: Sending

  /// Begins a message. Whoever calls flushes.
  func send(to place: Int, due: UInt64) {
    let number = numbers[place, default: 0] + 1
    numbers[place] = number
    begin(Operation(place: place, number: number, due: due))
  }

  func read(_ place: Int, before: UInt64?, limit: Int, due: UInt64) {
    begin(Operation(place: place, number: 0, due: due, page: (before, limit)))
  }

  private func begin(_ operation: Operation) {
    waiting.append(operation)
    transmit()
  }

  /// Closed loop: what may go goes.
  func refill(_ window: Int) {
    guard seat.sends, !seat.places.isEmpty else { return }
    while isReady, pendingCount < window {
      let place = seat.places[nextPlace % seat.places.count]
      nextPlace += 1
      engine.begin(self, place, due: engine.now)
    }
  }

  private func transmit() {
    guard isReady, let handler else { return }
    while unanswered.count < Self.windowMax, var operation = waiting.popFirst() {
      lastRef += 1
      if operation.wasSent { engine.counts.resent += 1 } else { engine.sending(operation) }
      operation.wasSent = true
      unanswered[lastRef] = operation
      if operation.isPage {
        handler.read(
          PageRequest(
            ref: lastRef, place: UInt32(operation.place), before: operation.page.before,
            limit: operation.page.limit))
      } else {
        handler.send(
          ref: lastRef, place: UInt32(operation.place), id: id(operation), text: text(operation))
      }
    }
  }

  private func id(_ operation: Operation) -> String {
    "\(engine.plan.runID)-\(seat.session)-\(operation.place)-\(operation.number)"
  }

  private func text(_ operation: Operation) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(engine.plan.payloadBytes)
    MessageStamp(
      run: engine.plan.runID, sender: UInt32(seat.session), place: UInt32(operation.place),
      number: operation.number, due: operation.due / 1_000
    ).append(to: &text, length: engine.plan.payloadBytes)
    return text
  }

  func flush() { handler?.flush() }

  // MARK: Answers

  func take(_ events: [SessionEvent], from source: SessionHandler) {
    engine.batchBegan()
    for event in events where source === handler {
      switch event {
      case .ready: if !awaitsCursor { becomeReady() }
      case .acknowledged(let ref, let sequence):
        guard let operation = unanswered.removeValue(forKey: ref) else {
          engine.findings.note("session \(seat.session): an answer to what was not asked")
          engine.findings.repeated += 1
          continue
        }
        engine.acknowledged(operation, sequence: sequence, by: self)
      case .refused(let ref, let code, let mayPass): refused(ref, code, mayPass)
      case .page(let ref, let first, let stamps, let isDense):
        guard let operation = unanswered.removeValue(forKey: ref) else { continue }
        let ends = operation.page.before.map { first + UInt64(stamps.count) == $0 } ?? true
        engine.read(operation, isRight: isDense && ends && !stamps.isEmpty)
      case .delivered(let place, let sequence, let stamp):
        heard(Int(place), sequence, stamp)
      case .cursor(let text):
        let isFirst = awaitsCursor
        cursor = text
        if isFirst { becomeReady() }
      case .leaving: source.close(); connectionEnded(source, why: "the server leaves")
      case .failed(let why): source.close(); connectionEnded(source, why: why)
      }
    }
    transmit()
    engine.refill(self)
  }

  /// What is said before the first cursor is not heard, so until then a listener is not there.
  private var awaitsCursor: Bool { seat.listens && seat.speaks.tellsCursors && cursor == nil }

  private func becomeReady() {
    isReady = true
    if let since = awaySince {
      engine.returned(after: engine.now - since)
      awaySince = nil
    }
    engine.sessionReady()
  }

  private func refused(_ ref: UInt64, _ code: String, _ mayPass: Bool) {
    guard var operation = unanswered.removeValue(forKey: ref) else { return }
    if engine.plan.isLogOnly, code == "NOT_FOUND" {
      return engine.acknowledged(operation, sequence: 0, by: self)
    }
    guard mayPass else { return engine.refused(operation, code) }
    resting += 1
    operation.wasSent = true
    engine.loop.scheduleTask(in: Self.retryPause) { [self, operation] in
      resting -= 1
      waiting.prepend(operation)
      transmit()
      flush()
    }
  }

  private func heard(_ place: Int, _ sequence: UInt64, _ stamp: MessageStamp?) {
    guard ledgers[place] != nil else { return }
    guard let stamp, stamp.run == engine.plan.runID else {
      if let finding = ledgers[place]?.other(sequence: sequence) { note(finding, place) }
      return
    }
    guard
      let finding = ledgers[place]?.message(
        stamp, sequence: sequence, isResumed: isResumed, isOrdered: true)
    else { return }
    note(finding, place)
    if finding == .right || finding == .overtaken { engine.delivered(stamp, at: place) }
  }

  private func note(_ finding: ReceivedLedger.Finding, _ place: Int) {
    let who = "session \(seat.session) in conversation \(place)"
    switch finding {
    case .right, .seenBefore: break
    case .repeated:
      engine.findings.repeated += 1
      engine.findings.note("\(who): heard twice")
    case .outOfPlace(let sequence, let last):
      engine.findings.outOfPlace += 1
      engine.findings.note("\(who): \(sequence) after \(last)")
    case .overtaken: engine.findings.overtaken += 1
    }
  }
}

import Foundation
import LoadDrivers
import LoadModel
import NIOCore
import NIOPosix

/// A worker's sessions on one event loop: decides when who sends, and counts what comes of it.
///
/// **Isolation**: its event loop, but for `connect`.
final class TrafficEngine: @unchecked Sendable {
  // Safety: everything that changes is touched on `loop` only.
  let plan: WorkerPlan
  let loop: any EventLoop
  private let connector: SessionConnector
  private(set) var sessions: [LoadSession] = []
  /// Sessions that may send in a conversation, by conversation; and all such pairs.
  private var sendersByPlace: [(place: Int, sessions: [LoadSession])] = []
  private var pairs: [(session: LoadSession, place: Int)] = []
  private var nextPair = 0

  /// Of the batch that is being worked on, so that the clock is read once for it.
  private(set) var now: UInt64 = 0
  private var random: SplitMix64
  private var draw: ZipfDraw?
  private var schedule: Schedule?
  private var scheduleBegin: UInt64 = 0
  private var isOpen = false
  private var measuredFrom: UInt64?

  private var figures = WorkerFigures()
  var counts: Counts {
    get { figures.counts }
    set { figures.counts = newValue }
  }
  var findings = Findings()
  private(set) var failure: String?
  private(set) var readyCount = 0
  /// By conversation.
  private(set) var acknowledgedTallies: [Int: Tally] = [:]
  private var lastAcknowledgements: [Int: UInt64] = [:]
  private var crowds: [Int: Crowd] = [:]
  private var slice = SliceCount()
  private var cpuAtBegin = 0.0

  /// **Units**: nanoseconds of one slice.
  static let sliceNanoseconds: UInt64 = 250_000_000

  init(_ plan: WorkerPlan, on loop: any EventLoop) throws {
    self.plan = plan
    self.loop = loop
    random = SplitMix64(seed: plan.seed)
    connector = try SessionConnector(plan, loop)
    sessions = plan.seats.map { LoadSession($0, self) }
    var byPlace: [Int: [LoadSession]] = [:]
    for session in sessions where session.seat.sends {
      for place in session.seat.places {
        pairs.append((session, place))
        byPlace[place, default: []].append(session)
      }
    }
    sendersByPlace = byPlace.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    if plan.zipf > 0, !sendersByPlace.isEmpty {
      draw = ZipfDraw(count: sendersByPlace.count, exponent: plan.zipf)
    }
    for session in sessions where session.seat.listens {
      for place in session.seat.places { crowds[place, default: Crowd()].listeners += 1 }
    }
  }

  // MARK: Connections

  /// Connects all sessions, a few at a time.
  ///
  /// **Throws**: `LoadError` when one cannot be connected or is refused.
  func connect() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, session) in sessions.enumerated() {
        if number >= SessionConnector.handshakesMax { try await group.next() }
        group.addTask { [connector] in try await connector.connect(session) }
      }
      try await group.waitForAll()
    }
    let limit = ContinuousClock.now + .seconds(30) + .milliseconds(5 * sessions.count)
    while ContinuousClock.now < limit {
      let (ready, failure) = try await loop.submit { (self.readyCount, self.failure) }.get()
      if let failure { throw LoadError(failure) }
      if ready >= sessions.count { return }
      try await Task.sleep(for: .milliseconds(10))
    }
    throw LoadError("not all \(sessions.count) sessions were ready in time")
  }

  func sessionReady() { readyCount += 1 }

  func failed(_ why: String) { if failure == nil { failure = why } }

  func reconnect(_ session: LoadSession) {
    counts.reconnects += 1
    let pause = LoadSession.retryPause.nanoseconds
    let spread = Int64(Double(pause) * random.fraction)
    loop.scheduleTask(in: .nanoseconds(spread)) { [connector] in connector.begin(session) }
  }

  func returned(after nanoseconds: UInt64) {
    figures.returns.record(nanoseconds: Int64(nanoseconds))
  }

  // MARK: Pace

  func start() {
    isOpen = true
    now = NIODeadline.now().uptimeNanoseconds
    switch plan.pace {
    case .silent: break
    case .closed(let window): refillAll(window)
    case .paging: refillAll(1)
    case .open(let rate, let arrivals):
      guard rate > 0, !pairs.isEmpty else { return }
      schedule = Schedule(rate: rate, arrivals: arrivals, seed: plan.seed)
      scheduleBegin = now
      wait()
    }
  }

  private func refillAll(_ window: Int) {
    for session in sessions {
      session.refill(window)
      session.flush()
    }
  }

  func stop() {
    isOpen = false
    schedule = nil
  }

  private func wait() {
    guard let schedule else { return }
    let due = scheduleBegin + UInt64(schedule.next)
    loop.scheduleTask(deadline: .uptimeNanoseconds(due)) { [self] in sendDue() }
  }

  /// Everything that is due by now, then one flush for each session.
  private func sendDue() {
    guard isOpen, var schedule = self.schedule else { return }
    now = NIODeadline.now().uptimeNanoseconds
    var touched: [LoadSession] = []
    while scheduleBegin + UInt64(schedule.next) <= now {
      let due = scheduleBegin + UInt64(schedule.next)
      schedule.advance()
      let (session, place) = nextSender()
      begin(session, place, due: due)
      if touched.last !== session { touched.append(session) }
    }
    self.schedule = schedule
    for session in touched { session.flush() }
    wait()
  }

  private func nextSender() -> (LoadSession, Int) {
    guard let draw else {
      defer { nextPair = (nextPair + 1) % pairs.count }
      return pairs[nextPair]
    }
    let chosen = sendersByPlace[draw.draw(&random)]
    let index = Int(random.next() % UInt64(chosen.sessions.count))
    return (chosen.sessions[index], chosen.place)
  }

  /// A message, or as often as the plan says a page.
  func begin(_ session: LoadSession, _ place: Int, due: UInt64) {
    if case .paging(let newest, let limit) = plan.pace {
      let before = UInt64.random(in: min(newest, UInt64(limit) + 1)...newest, using: &random)
      session.read(place, before: before, limit: limit, due: due)
    } else if plan.reads > 0, random.fraction <= plan.reads {
      session.read(place, before: nil, limit: LoadSession.pageLimit, due: due)
    } else {
      session.send(to: place, due: due)
    }
  }

  func refill(_ session: LoadSession) {
    guard isOpen else { return }
    switch plan.pace {
    case .closed(let window): session.refill(window)
    case .paging: session.refill(1)
    case .open, .silent: break
    }
  }

  // MARK: What came of it

  /// The clock is read once for all that arrived together.
  func batchBegan() { now = NIODeadline.now().uptimeNanoseconds }

  func sending(_ operation: LoadSession.Operation) {
    guard let measuredFrom, operation.due >= measuredFrom else { return }
    if !operation.isPage { counts.sent += 1 }
    figures.lateness.record(nanoseconds: Int64(now) - Int64(operation.due))
  }

  func acknowledged(
    _ operation: LoadSession.Operation, sequence: UInt64, by session: LoadSession
  ) {
    acknowledgedTallies[operation.place, default: Tally()].add(
      sender: UInt32(session.seat.session), number: operation.number, sequence: sequence)
    let last = lastAcknowledgements.updateValue(now, forKey: operation.place) ?? 0
    guard let measuredFrom else { return }
    counts.acknowledged += 1
    slice.acknowledged += 1
    let pause = now - max(last, operation.due, measuredFrom)
    figures.longestPause = max(figures.longestPause, Double(pause) / 1e6)
    guard operation.due >= measuredFrom else { return }
    let latency = Int64(now - operation.due)
    figures.acknowledgements.record(nanoseconds: latency)
    slice.latencies.record(nanoseconds: latency)
  }

  func refused(_ operation: LoadSession.Operation, _ code: String) {
    counts.refused[code, default: 0] += 1
    slice.refused += 1
  }

  func read(_ operation: LoadSession.Operation, isRight: Bool) {
    if !isRight {
      findings.outOfPlace += 1
      findings.note("a page of conversation \(operation.place) is empty or has gaps")
    }
    guard let measuredFrom, operation.due >= measuredFrom else { return }
    counts.pages += 1
    figures.pages.record(nanoseconds: Int64(now - operation.due))
  }

  func delivered(_ stamp: MessageStamp, at place: Int) {
    guard let measuredFrom else { return }
    counts.delivered += 1
    slice.delivered += 1
    let due = stamp.due * 1_000
    guard plan.sharesClock, due >= measuredFrom else { return }
    let age = Int64(now) - Int64(due)
    figures.deliveries.record(nanoseconds: age)
    switch crowds[place]?.heard(stamp) {
    case .first: figures.firsts.record(nanoseconds: age)
    case .median: figures.medians.record(nanoseconds: age)
    case .last: figures.lasts.record(nanoseconds: age)
    case .other, nil: break
    }
  }

  // MARK: Measuring

  func measure(_ isOn: Bool) {
    now = NIODeadline.now().uptimeNanoseconds
    if isOn {
      figures = WorkerFigures()
      measuredFrom = now
      cpuAtBegin = ProcessTimes.own()
      slice = SliceCount(since: now)
      loop.scheduleTask(in: .nanoseconds(Int64(Self.sliceNanoseconds))) { [self] in endSlice() }
    } else {
      finishSlice()
      figures.cpuSeconds = ProcessTimes.own() - cpuAtBegin
      measuredFrom = nil
    }
  }

  private func endSlice() {
    guard measuredFrom != nil else { return }
    finishSlice()
    let next = slice.began + Self.sliceNanoseconds
    loop.scheduleTask(deadline: .uptimeNanoseconds(next)) { [self] in endSlice() }
  }

  private func finishSlice() {
    guard let measuredFrom else { return }
    now = NIODeadline.now().uptimeNanoseconds
    // The rest at the end says little of a rate.
    if now - slice.began >= Self.sliceNanoseconds / 2 {
      figures.slices.append(slice.finished(at: now, from: measuredFrom))
    }
    slice.restart(at: now)
  }

  var lastSlice: Slice? { figures.slices.last }

  func takeFigures() -> WorkerFigures { figures }

  var pendingCount: Int { sessions.reduce(0) { $0 + $1.pendingCount } }

  /// By conversation, what its listeners have heard, if all of them have heard the same.
  func heard() -> [Int: Heard] {
    var heard: [Int: Heard] = [:]
    for session in sessions {
      for (place, ledger) in session.ledgers {
        if let known = heard[place] {
          if known.tally != ledger.tally {
            findings.outOfPlace += 1
            findings.note("session \(session.seat.session) heard other things in \(place)")
          }
          heard[place]?.listeners += 1
        } else {
          heard[place] = Heard(tally: ledger.tally, listeners: 1)
        }
      }
    }
    return heard
  }

  /// Whether every listener has heard as many messages as were acknowledged.
  func hasHeard(_ expected: [Int: Tally]) -> Bool {
    sessions.allSatisfy { session in
      session.ledgers.allSatisfy { place, ledger in
        ledger.tally.count >= expected[place]?.count ?? 0
      }
    }
  }

  func end() { for session in sessions { session.end() } }
}

import Foundation
import LoadModel

/// One run of traffic at one system, from the accounts to the check of what is stored.
struct TrafficRun: Sendable {
  private static let samplePause = Duration.milliseconds(500)

  private let context: RunContext
  private let traffic: Traffic
  private let workers: [any LoadWorker]
  private let cluster: LocalCluster?
  private let sharesClock: Bool

  private var run: Run { context.run }
  private var target: any Target { context.target }

  /// - Parameter cluster: for the run's actions.
  /// **Throws**: `LoadError` when the run asks for something that cannot be.
  init(
    _ context: RunContext, _ traffic: Traffic, workers: [any LoadWorker],
    cluster: LocalCluster?, sharesClock: Bool
  ) throws {
    let run = context.run
    self.context = context
    self.traffic = traffic
    self.workers = workers
    self.cluster = cluster
    self.sharesClock = sharesClock
    guard run.actions.isEmpty || cluster != nil else {
      throw LoadError("\(run.name): its actions need --cluster, a cluster of this machine")
    }
    try cluster?.check(run.actions)
    // Workers of other machines have limits of their own, and say so.
    if sharesClock {
      try FileDescriptors.check(sessions: traffic.sessions, workers: workers.count)
    }
  }

  /// - Parameter ceiling: what senders reached in a closed loop, for a pace that is a part of it.
  ///   **Units**: messages per second.
  /// **Throws**: `LoadError` when it cannot be run; what goes wrong while it runs is in the
  /// findings.
  func measure(ceiling: Double?) async throws -> RunResult {
    let runID = UInt32.random(in: 1...UInt32.max)
    _ = try await ServerCounters.read(target.servers, isStrict: true)
    let prepared = try await target.prepare(traffic, runID: runID, tell: context.tell)
    var result = context.emptyResult
    let idle = try await ServerCounters.read(target.servers, isStrict: true)
    try await forEachWorker { number, worker in
      _ = try await worker.answer(.connect(plan(prepared, runID, number, ceiling)))
    }
    try await forEachWorker { _, worker in _ = try await worker.answer(.start) }
    try await context.pause(run.warmupSeconds)
    try await observe(&result, idle: idle)

    let acknowledged = try await stop()
    var findings = Findings()
    var heard: [Int: Heard] = [:]
    for worker in workers {
      guard case .settled(let part, let found) = try await worker.answer(.settle(acknowledged))
      else { throw LoadError("a worker does not say what it heard") }
      findings.add(found)
      Self.join(part, into: &heard, &findings)
    }
    var figures = WorkerFigures()
    for worker in workers {
      guard case .figures(let part) = try await worker.answer(.figures) else { continue }
      figures.add(part)
      _ = try await worker.answer(.end)
    }
    result.take(figures)
    compare(acknowledged, heard, &findings)
    try await compareStored(acknowledged, prepared, runID, &findings, &result)
    result.findings = words(findings, figures.counts) + result.findings
    return result
  }

  private func plan(
    _ prepared: Prepared, _ runID: UInt32, _ worker: Int, _ ceiling: Double?
  ) throws -> WorkerPlan {
    let seats = prepared.seats.filter { $0.session % workers.count == worker }
    let senders = seats.count { $0.sends }
    let share = traffic.senders > 0 ? Double(senders) / Double(traffic.senders) : 0
    let pace: WorkerPlan.Pace
    switch traffic.pace {
    case _ where senders == 0: pace = .silent
    case .closed(let window): pace = .closed(window: window)
    case .open(let rate, let arrivals): pace = .open(rate: rate * share, arrivals: arrivals)
    case .ofCeiling(let part, let arrivals):
      guard let ceiling else { throw LoadError("\(run.name): no ceiling was measured") }
      pace = .open(rate: ceiling * part * share, arrivals: arrivals)
    }
    return WorkerPlan(
      runID: runID, seats: seats, names: prepared.names, pace: pace,
      payloadBytes: run.payloadBytes, zipf: traffic.zipf, reads: traffic.reads,
      seed: run.seed &+ UInt64(worker), isLogOnly: traffic.isLogOnly, sharesClock: sharesClock)
  }

  private func forEachWorker(
    _ body: @escaping @Sendable (Int, any LoadWorker) async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (number, worker) in workers.enumerated() {
        group.addTask { try await body(number, worker) }
      }
      try await group.waitForAll()
    }
  }

  // MARK: What is measured

  private func observe(_ result: inout RunResult, idle: ServerCounters) async throws {
    let before = try await ServerCounters.read(target.servers, isStrict: false)
    try await forEachWorker { _, worker in _ = try await worker.answer(.measure(true)) }
    let began = ContinuousClock.now
    let actions = Task { [run, cluster] in
      try await Self.take(run.actions, on: cluster, since: began)
    }
    result.samples = try await sample(since: began, before)
    let actionsTaken: [TakenAction]
    do { actionsTaken = try await actions.value } catch {
      actionsTaken = []
      result.findings.append("\(error)")
    }
    result.actions = actionsTaken
    result.seconds = (ContinuousClock.now - began) / .seconds(1)
    try await forEachWorker { _, worker in _ = try await worker.answer(.measure(false)) }
    let after = try await ServerCounters.read(target.servers, isStrict: false)
    result.servers = after.uses(since: before)
    for place in result.servers.indices {
      let name = result.servers[place].name
      if let first = idle.processes.first(where: { $0.name == name })?.times {
        result.servers[place].residentKiBBefore = first.residentKiB
      }
    }
    result.shardCount = target.servers.metrics.count
    result.fsyncs = after.fsyncs(since: before)
  }

  private static func take(
    _ actions: [TimedAction], on cluster: LocalCluster?, since began: ContinuousClock.Instant
  ) async throws -> [TakenAction] {
    var taken: [TakenAction] = []
    for action in actions.sorted(by: { $0.at < $1.at }) {
      try await Task.sleep(until: began + .seconds(action.at))
      let at = (ContinuousClock.now - began) / .seconds(1)
      try await cluster?.take(action)
      let ended = (ContinuousClock.now - began) / .seconds(1)
      taken.append(TakenAction(at: at, ended: ended, words: action.words))
    }
    return taken
  }

  private func sample(
    since began: ContinuousClock.Instant, _ before: ServerCounters
  ) async throws -> [ServerSample] {
    var samples: [ServerSample] = []
    var last = (at: began, counters: before)
    var toldAt = began
    let end = began + .seconds(run.seconds)
    while ContinuousClock.now < end, !context.isInterrupted() {
      try await Task.sleep(until: min(end, .now + Self.samplePause))
      let counters = try await ServerCounters.read(target.servers, isStrict: false)
      let now = ContinuousClock.now
      // The rest of a pause says little of a rate.
      guard now - last.at >= Self.samplePause / 2 else { continue }
      let seconds = (now - last.at) / .seconds(1)
      samples.append(
        ServerSample(
          at: (now - began) / .seconds(1),
          cpu: max(0, counters.cpuSeconds - last.counters.cpuSeconds) / seconds,
          residentKiB: counters.residentKiB,
          fsyncs: counters.fsyncs(since: last.counters) ?? 0))
      last = (now, counters)
      if now - toldAt >= .seconds(1) {
        toldAt = now
        await tellProgress(left: (end - now) / .seconds(1))
      }
    }
    return samples
  }

  private func tellProgress(left: Double) async {
    var counts = Counts()
    var slices: [Slice] = []
    for worker in workers {
      guard case .progress(let part, let slice)? = try? await worker.ask(.progress) else {
        continue
      }
      counts.add(part)
      if let slice { slices.append(slice) }
    }
    let seconds = slices.map(\.seconds).max() ?? 1
    let acknowledged = Double(slices.reduce(0) { $0 + $1.acknowledged }) / seconds
    let delivered = Double(slices.reduce(0) { $0 + $1.delivered }) / seconds
    let worst = slices.map(\.p99).max() ?? 0
    context.tell(
      "\(whole(acknowledged)) acknowledged/s, \(whole(delivered)) heard/s, p99 "
        + "\(tenths(worst)) ms, \(counts.refusedCount) refused, \(whole(left)) s left")
  }

  private func whole(_ value: Double) -> String { "\(Int(value.rounded()))" }
  private func tenths(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

  // MARK: The check

  /// **Returns**: by conversation, what was acknowledged to all workers.
  private func stop() async throws -> [Int: Tally] {
    var acknowledged: [Int: Tally] = [:]
    for worker in workers {
      guard case .stopped(let part) = try await worker.answer(.stop) else {
        throw LoadError("a worker does not say what was acknowledged")
      }
      for (place, tally) in part { acknowledged[place, default: Tally()].add(tally) }
    }
    return acknowledged
  }

  private static func join(
    _ part: [Int: Heard], into heard: inout [Int: Heard], _ findings: inout Findings
  ) {
    for (place, more) in part {
      guard let known = heard[place] else {
        heard[place] = more
        continue
      }
      if known.tally != more.tally {
        findings.outOfPlace += 1
        findings.note("listeners of conversation \(place) heard different things")
      }
      heard[place]?.listeners += more.listeners
    }
  }

  /// Every listener has heard every message once, at the place that its sender was told.
  private func compare(
    _ acknowledged: [Int: Tally], _ heard: [Int: Heard], _ findings: inout Findings
  ) {
    for (place, heard) in heard.sorted(by: { $0.key < $1.key }) {
      let expected = acknowledged[place] ?? Tally()
      guard heard.tally != expected else { continue }
      if heard.tally.count < expected.count {
        findings.note(
          "conversation \(place): \(expected.count - heard.tally.count) messages were not heard")
      } else {
        findings.note("conversation \(place): something else was heard than acknowledged")
      }
    }
  }

  private func compareStored(
    _ acknowledged: [Int: Tally], _ prepared: Prepared, _ runID: UInt32,
    _ findings: inout Findings, _ result: inout RunResult
  ) async throws {
    result.checked = 0
    guard !traffic.isLogOnly else { return }
    do {
      guard
        let stored = try await target.readBack(prepared, runID: runID, expected: acknowledged)
      else { return }
      for (place, expected) in acknowledged.sorted(by: { $0.key < $1.key }) {
        result.checked += stored[place]?.count ?? 0
        if stored[place] != expected {
          findings.note(
            "conversation \(place): \(expected.count) acknowledged, "
              + "\(stored[place]?.count ?? 0) stored, or at other places")
        }
      }
    } catch let error as LoadError { findings.note(error.description) }
  }

  private func words(_ findings: Findings, _ counts: Counts) -> [String] {
    var words = findings.words
    if findings.unanswered > 0 { words.append("\(findings.unanswered) were never answered") }
    // What was refused or sent again may be overtaken: that is the generator's doing.
    if findings.overtaken > 0, counts.resent == 0, counts.refusedCount == 0 {
      words.append("\(findings.overtaken) messages were overtaken by later ones of their sender")
    }
    return words
  }
}

import Foundation
import LoadModel

/// W10's first half: one long conversation, and people who read pages of it at random places.
struct PagingRun: Sendable {
  private static let window = 256
  private static let pollInterval = Duration.milliseconds(200)

  private let run: Run
  private let paging: Paging
  private let scenario: String
  private let target: any Target
  private let tell: @Sendable (String) -> Void
  private let isInterrupted: @Sendable () -> Bool

  init(
    _ run: Run, _ paging: Paging, _ scenario: String, at target: any Target,
    _ tell: @escaping @Sendable (String) -> Void, _ isInterrupted: @escaping @Sendable () -> Bool
  ) {
    self.run = run
    self.paging = paging
    self.scenario = scenario
    self.target = target
    self.tell = tell
    self.isInterrupted = isInterrupted
  }

  func measure() async throws -> RunResult {
    var traffic = Traffic()
    traffic.sessions = paging.connections
    traffic.conversations = 1
    traffic.members = paging.connections
    traffic.senders = paging.connections
    traffic.users = 1
    let runID = UInt32.random(in: 1...UInt32.max)
    let prepared = try await target.prepare(traffic, runID: runID, tell: tell)
    var result = RunResult(
      scenario: scenario, run: run, target: target.name, durability: target.durability.rawValue)
    let worker = LocalWorker()
    do {
      let newest = try await fill(worker, prepared, runID, &result)
      try await read(worker, prepared, runID, newest: newest, &result)
    } catch {
      try? await worker.shutDown()
      throw error
    }
    try await worker.shutDown()
    return result
  }

  private func plan(
    _ prepared: Prepared, _ runID: UInt32, _ pace: WorkerPlan.Pace
  ) -> WorkerPlan {
    WorkerPlan(
      runID: runID, seats: prepared.seats, names: prepared.names, pace: pace,
      payloadBytes: run.payloadBytes, zipf: 0, reads: 0, seed: run.seed, isLogOnly: false,
      sharesClock: true)
  }

  private func ask(_ worker: LocalWorker, _ request: WorkerRequest) async throws -> WorkerAnswer {
    let answer = try await worker.ask(request)
    if case .failed(let why) = answer { throw LoadError(why) }
    return answer
  }

  /// **Returns**: the last place of the conversation.
  private func fill(
    _ worker: LocalWorker, _ prepared: Prepared, _ runID: UInt32, _ result: inout RunResult
  ) async throws -> UInt64 {
    _ = try await ask(
      worker, .connect(plan(prepared, runID, .closed(window: Self.window))))
    _ = try await ask(worker, .measure(true))
    _ = try await ask(worker, .start)
    var toldAt = ContinuousClock.now
    var count = 0
    while count < paging.messages, !isInterrupted() {
      try await Task.sleep(for: Self.pollInterval)
      guard case .progress(let counts, _) = try await ask(worker, .progress) else { break }
      count = counts.acknowledged
      if ContinuousClock.now - toldAt > .seconds(1) {
        toldAt = .now
        tell("\(count) of \(paging.messages) messages are stored")
      }
    }
    guard case .stopped(let tallies) = try await ask(worker, .stop) else {
      throw LoadError("the worker does not say what was acknowledged")
    }
    _ = try await ask(worker, .end)
    result.checked = tallies.values.reduce(0) { $0 + $1.count }
    // The first event is the conversation's creation.
    return result.checked + 1
  }

  private func read(
    _ worker: LocalWorker, _ prepared: Prepared, _ runID: UInt32, newest: UInt64,
    _ result: inout RunResult
  ) async throws {
    _ = try await ask(
      worker, .connect(plan(prepared, runID, .paging(newest: newest, limit: paging.page))))
    _ = try await ask(worker, .start)
    try await Task.sleep(for: .seconds(run.warmupSeconds))
    let before = try await ServerCounters.read(target.servers, isStrict: true)
    _ = try await ask(worker, .measure(true))
    let began = ContinuousClock.now
    while ContinuousClock.now - began < .seconds(run.seconds), !isInterrupted() {
      try await Task.sleep(for: Self.pollInterval)
    }
    result.seconds = (ContinuousClock.now - began) / .seconds(1)
    _ = try await ask(worker, .measure(false))
    let after = try await ServerCounters.read(target.servers, isStrict: true)
    _ = try await ask(worker, .stop)
    guard case .settled(_, let findings) = try await ask(worker, .settle([:])),
      case .figures(let figures) = try await ask(worker, .figures)
    else { throw LoadError("the worker does not say what it measured") }
    _ = try await ask(worker, .end)
    result.take(figures)
    result.servers = after.uses(since: before)
    result.findings = findings.words
  }
}

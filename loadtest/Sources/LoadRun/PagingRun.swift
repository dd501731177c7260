import Foundation
import LoadModel

/// W10's first half: one long conversation, and people who read pages of it at random places.
struct PagingRun: Sendable {
  private static let pollInterval = Duration.milliseconds(200)

  let context: RunContext
  let paging: Paging

  func measure() async throws -> RunResult {
    var traffic = Traffic()
    traffic.sessions = paging.connections
    traffic.conversations = 1
    traffic.members = paging.connections
    traffic.senders = paging.connections
    traffic.users = 1
    let runID = UInt32.random(in: 1...UInt32.max)
    let prepared = try await context.target.prepare(traffic, runID: runID, tell: context.tell)
    var result = context.emptyResult
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
      payloadBytes: context.run.payloadBytes, zipf: 0, reads: 0, seed: context.run.seed,
      isLogOnly: false,
      sharesClock: true)
  }

  /// **Returns**: the last place of the conversation.
  private func fill(
    _ worker: LocalWorker, _ prepared: Prepared, _ runID: UInt32, _ result: inout RunResult
  ) async throws -> UInt64 {
    _ = try await worker.answer(
      .connect(plan(prepared, runID, .closed(window: LoadSession.windowMax))))
    _ = try await worker.answer(.measure(true))
    _ = try await worker.answer(.start)
    var toldAt = ContinuousClock.now
    var count = 0
    while count < paging.messages, !context.isInterrupted() {
      try await Task.sleep(for: Self.pollInterval)
      guard case .progress(let counts, _) = try await worker.answer(.progress) else { break }
      count = counts.acknowledged
      if ContinuousClock.now - toldAt > .seconds(1) {
        toldAt = .now
        context.tell("\(count) of \(paging.messages) messages are stored")
      }
    }
    guard case .stopped(let tallies) = try await worker.answer(.stop) else {
      throw LoadError("the worker does not say what was acknowledged")
    }
    _ = try await worker.answer(.end)
    result.checked = tallies.values.reduce(0) { $0 + $1.count }
    // The first event is the conversation's creation.
    return result.checked + 1
  }

  private func read(
    _ worker: LocalWorker, _ prepared: Prepared, _ runID: UInt32, newest: UInt64,
    _ result: inout RunResult
  ) async throws {
    _ = try await worker.answer(
      .connect(plan(prepared, runID, .paging(newest: newest, limit: paging.page))))
    _ = try await worker.answer(.start)
    try await context.pause(context.run.warmupSeconds)
    let before = try await ServerCounters.read(context.target.servers, isStrict: true)
    _ = try await worker.answer(.measure(true))
    let began = ContinuousClock.now
    try await context.pause(context.run.seconds)
    result.seconds = (ContinuousClock.now - began) / .seconds(1)
    _ = try await worker.answer(.measure(false))
    let after = try await ServerCounters.read(context.target.servers, isStrict: true)
    _ = try await worker.answer(.stop)
    guard case .settled(_, let findings) = try await worker.answer(.settle([:])),
      case .figures(let figures) = try await worker.answer(.figures)
    else { throw LoadError("the worker does not say what it measured") }
    _ = try await worker.answer(.end)
    result.take(figures)
    result.servers = after.uses(since: before)
    result.findings = findings.words
  }
}

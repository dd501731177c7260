import Foundation
import LoadModel

/// What every kind of run has: what is measured, at which system, and who waits for it.
struct RunContext: Sendable {
  let run: Run
  let scenario: String
  let target: any Target
  /// A line for whoever waits.
  let tell: @Sendable (String) -> Void
  /// Set when somebody has had enough: what is measured ends, and is reported.
  let isInterrupted: @Sendable () -> Bool

  /// Nothing measured yet.
  var emptyResult: RunResult {
    RunResult(
      scenario: scenario, run: run, target: target.name, durability: target.durability.rawValue)
  }

  /// Ends early when it is interrupted.
  func pause(_ seconds: Double) async throws {
    let end = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < end, !isInterrupted() {
      try await Task.sleep(until: min(end, .now + .milliseconds(100)))
    }
  }
}

extension LoadWorker {
  /// **Throws**: `LoadError` also when the worker says that it could not do it.
  func answer(_ request: WorkerRequest) async throws -> WorkerAnswer {
    let answer = try await ask(request)
    if case .failed(let why) = answer { throw LoadError(why) }
    return answer
  }
}

package import Coordination
package import Logging
package import Primitives

/// Asks the coordinator for what a node has to know before it serves. One that is busy, as while
/// the records of thousands of partitions are made, is asked again for a while: a node that ended
/// there would be started again, and ask as well.
package struct StartPatience: Sendable {
  /// From the first question on.
  package var limit: Duration = .seconds(30)
  package var pause: Duration = .milliseconds(500)

  package init() {}

  /// **Throws**: what `ask` throws, but `unavailable` and `outcomeUnknown` not before the limit.
  package func ask<Answer: Sendable>(
    _ logger: Logger, _ ask: () async throws -> Answer
  ) async throws -> Answer {
    let end = ContinuousClock.now + limit
    while true {
      do {
        return try await ask()
      } catch let error as CoordinationError {
        switch error {
        case .unavailable, .outcomeUnknown:
          guard ContinuousClock.now < end else { throw error }
          logger.warning("the coordinator is asked again", metadata: ["why": "\(error)"])
          try await Task.sleep(for: pause)
        default: throw error
        }
      }
    }
  }
}

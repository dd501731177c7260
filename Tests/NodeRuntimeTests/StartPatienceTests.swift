import Coordination
import Logging
import NodeRuntime
import Testing

@Suite struct StartPatienceTests {
  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func patience(_ limit: Duration) -> StartPatience {
    var patience = StartPatience()
    patience.limit = limit
    patience.pause = .milliseconds(1)
    return patience
  }

  @Test func aBusyCoordinatorIsAskedAgain() async throws {
    var asked = 0
    let answer = try await patience(.seconds(60)).ask(logger) {
      asked += 1
      if asked == 1 { throw CoordinationError.unavailable("busy") }
      if asked == 2 { throw CoordinationError.outcomeUnknown("late") }
      return asked
    }
    #expect(answer == 3)
  }

  @Test func patienceEnds() async {
    var asked = 0
    await #expect(throws: CoordinationError.self) {
      try await patience(.milliseconds(20)).ask(logger) {
        asked += 1
        throw CoordinationError.unavailable("gone")
      }
    }
    #expect(asked > 1)
  }

  @Test func whatWillNotPassEndsItAtOnce() async {
    var asked = 0
    await #expect(throws: CoordinationError.self) {
      try await patience(.seconds(60)).ask(logger) {
        asked += 1
        throw CoordinationError.refused("no")
      }
    }
    #expect(asked == 1)
  }
}

import Histogram
import NIOCore

/// What every connection of a run does.
struct SendPlan: Sendable {
  var host: String
  var window: Int
  var text: String
  /// Makes client ids unique among runs.
  var runID: String
  /// A refusal because the conversation does not exist counts as an acknowledgement.
  var isLogOnly: Bool
}

/// What a run counted, written by the connections of one event loop.
///
/// **Isolation**: one event loop.
final class SendRun: @unchecked Sendable {
  // Safety: touched on its event loop only.
  private(set) var latencies = Histogram<UInt64>(
    lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000,
    numberOfSignificantValueDigits: .three)
  private(set) var acknowledgedCount = 0
  private(set) var refusals: [String: Int] = [:]
  private(set) var failures: [String] = []
  private(set) var endedCount = 0
  private(set) var unansweredCount = 0
  private var ready: [SendConnection] = []
  private(set) var isOpen = false
  /// Measured from here on; what came before warms up.
  var isMeasuring = false

  func connectionReady(_ connection: SendConnection) { ready.append(connection) }
  var readyCount: Int { ready.count }

  func open() { isOpen = true }
  func close() {
    isOpen = false
    for connection in ready { connection.finish() }
  }

  var unanswered: Int { ready.reduce(0) { $0 + $1.unanswered } }

  func acknowledged(after time: TimeAmount) {
    guard isMeasuring else { return }
    acknowledgedCount += 1
    _ = latencies.record(UInt64(max(1, time.nanoseconds / 1_000)))
  }

  func refused(_ code: String) { refusals[code, default: 0] += 1 }

  func failed(_ what: String) { if failures.count < 5 { failures.append(what) } }

  func connectionEnded(_ number: Int, unanswered: Int) {
    endedCount += 1
    unansweredCount += unanswered
  }
}

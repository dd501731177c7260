import HistoryChecker
import Synchronization

/// Notes how long this machine keeps a thread waiting that wants to run: a cluster on a machine
/// that has too much to do keeps no time bounds, and that is not its fault.
///
/// **Isolation**: any thread.
final class StallWatch: Sendable {
  private static let interval: Moment = 10 * Pace.millisecond
  /// Shorter ones are usual.
  private static let stallMin: Moment = 20 * Pace.millisecond

  private let longest = Atomic<Moment>(0)
  private let sum = Atomic<Moment>(0)

  /// Runs until the stage stops.
  init(_ stage: Stage) {
    _ = Worker { [self] in
      while !stage.mustStop {
        let begin = Pace.now()
        Pace.sleep(Self.interval)
        let stall = Pace.now() - begin - Self.interval
        if stall > Self.stallMin { sum.wrappingAdd(stall, ordering: .relaxed) }
        if stall > longest.load(ordering: .relaxed) { longest.store(stall, ordering: .relaxed) }
      }
    }
  }

  var longestStall: Moment { longest.load(ordering: .relaxed) }
  /// All stalls so far, together.
  var stalled: Moment { sum.load(ordering: .relaxed) }
}

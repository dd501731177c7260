import Glibc
import HistoryChecker
import Synchronization

/// The monotonic clock of the runner and all its clients.
enum Pace {
  static let millisecond: Moment = 1_000_000
  static let second: Moment = 1_000_000_000
  /// Between two looks at a condition.
  private static let poll: Moment = 10 * millisecond

  static func now() -> Moment {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Moment(time.tv_sec) * second + Moment(time.tv_nsec)
  }

  static func sleep(_ duration: Moment) {
    var wanted = timespec(tv_sec: Int(duration / second), tv_nsec: Int(duration % second))
    var rest = timespec()
    while nanosleep(&wanted, &rest) != 0, errno == EINTR { wanted = rest }
  }

  /// Waits for a condition.
  ///
  /// **Returns**: whether it came within `limit`.
  /// **Throws**: what the condition throws, and `Interruption` when the user has had enough.
  static func wait(_ limit: Moment, until condition: () throws -> Bool) throws -> Bool {
    let deadline = now() + limit
    while true {
      try Interruption.check()
      if try condition() { return true }
      guard now() < deadline else { return false }
      sleep(poll)
    }
  }

  static func text(_ duration: Moment) -> String {
    let hundredths = (duration + 5 * millisecond) / (10 * millisecond)
    let fraction = hundredths % 100
    return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction) s"
  }
}

/// SIGINT or SIGTERM has come: everything is taken away and the run ends.
struct Interruption: Error {
  private static let hasCome = Atomic(false)

  static func install() {
    // The first use makes it, which a signal handler may not.
    hasCome.store(false, ordering: .relaxed)
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { _ in Interruption.hasCome.store(true, ordering: .relaxed) }
    }
    signal(SIGPIPE, SIG_IGN)
  }

  static func check() throws {
    if hasCome.load(ordering: .relaxed) { throw Interruption() }
  }
}

/// Why a run cannot go on.
struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

import Glibc
import Synchronization

/// The signals that end a fault tool.
package enum EndSignals {
  private static let all = [SIGTERM, SIGINT, SIGHUP]
  /// What the handler writes to.
  private static let writingEnd = Atomic<Int32>(-1)

  /// Undoes what a parent may have done: the threads of a test block signals, and children inherit
  /// that.
  package static func unblock() {
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in all { sigaddset(&signals, signal) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  /// Takes the signals over, for good. To be called once.
  ///
  /// **Returns**: a descriptor that can be read after the first of them.
  package static func pipe() -> Int32 {
    var ends: [Int32] = [0, 0]
    precondition(Glibc.pipe(&ends) == 0, "pipe: \(errno)")
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    writingEnd.store(ends[1], ordering: .sequentiallyConsistent)
    for number in all {
      signal(number) { _ in
        var byte: UInt8 = 0
        _ = write(EndSignals.writingEnd.load(ordering: .sequentiallyConsistent), &byte, 1)
      }
    }
    unblock()
    return ends[0]
  }
}

import Glibc

/// The signals that end a fault tool.
package enum EndSignals {
  package static let all = [SIGTERM, SIGINT, SIGHUP]

  /// Undoes what a parent may have done: the threads of a test block signals, and children inherit
  /// that.
  package static func unblock() {
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in all { sigaddset(&signals, signal) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }
}

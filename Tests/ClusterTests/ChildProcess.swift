import Foundation
import Synchronization

/// Why a test of real processes cannot go on, or what it has found.
struct ClusterFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// How a process ended.
enum Ending: Equatable, Sendable {
  case exited(Int32)
  case killed(signal: Int32)
}

/// A process that a test has started.
///
/// It is signalled only as long as it was not reaped, so that a pid which the system has given to
/// somebody else is never hit. Foundation's `Process` takes a program for running as long as
/// anything that it left in the background does; `cluster/up` leaves a whole cluster.
///
/// **Isolation**: any thread.
final class ChildProcess: Sendable {
  /// Descriptors that other threads open while the child is being made are closed in it too.
  private static let descriptorMargin = 64

  let pid: pid_t
  private let ending = Mutex<Ending?>(nil)

  /// - Parameter environment: all of it; nothing is inherited.
  /// - Parameter output: the file that standard output is appended to.
  /// - Parameter error: the same for standard error; may be the same file.
  init(
    _ program: String, _ arguments: [String], environment: [String: String], output: String,
    error: String
  ) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let appending = O_WRONLY | O_CREAT | O_APPEND
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, appending, 0o600)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, error, appending, 0o600)
    // A client's socket that stayed open in a child would hide from the gateway that it is closed.
    for descriptor in 3..<(Self.highestDescriptor() + Int32(Self.descriptorMargin)) {
      posix_spawn_file_actions_addclose(&actions, descriptor)
    }

    // The threads of a test block signals, and children would inherit that.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    var usual = sigset_t()
    sigemptyset(&usual)
    for signal in [SIGPIPE, SIGINT, SIGTERM, SIGHUP] { sigaddset(&usual, signal) }
    posix_spawnattr_setsigdefault(&attributes, &usual)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    let words = ([program] + arguments).map { strdup($0) } + [nil]
    let variables = environment.map { strdup("\($0)=\($1)") } + [nil]
    defer { for text in words + variables { free(text) } }
    var pid: pid_t = 0
    let code = posix_spawn(&pid, program, &actions, &attributes, words, variables)
    guard code == 0 else {
      throw ClusterFailure("\(program) does not start: \(String(cString: strerror(code)))")
    }
    self.pid = pid
  }

  private static func highestDescriptor() -> Int32 {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return names.compactMap { Int32($0) }.max() ?? STDERR_FILENO
  }

  /// **Returns**: `nil` while it runs, or stands still after SIGSTOP.
  func poll() -> Ending? {
    ending.withLock { ending in
      var status: Int32 = 0
      if ending == nil, waitpid(pid, &status, WNOHANG) == pid {
        let signal = status & 0x7f
        ending = signal == 0 ? .exited(status >> 8 & 0xff) : .killed(signal: signal)
      }
      return ending
    }
  }

  func send(_ signal: Int32) {
    ending.withLock { ending in
      if ending == nil { _ = kill(pid, signal) }
    }
  }

  /// **Throws**: `ClusterFailure` when it still runs after `limit`.
  func waitUntilEnd(within limit: Duration) async throws -> Ending {
    var ending: Ending?
    try await eventually("the end of process \(pid)", within: limit) {
      ending = poll()
      return ending != nil
    }
    guard let ending else { preconditionFailure("process \(pid) runs and has ended") }
    return ending
  }
}

/// Waits for a condition.
///
/// **Throws**: `ClusterFailure` when it is not met in time, and what the condition throws.
func eventually(
  _ what: @autoclosure () -> String, within limit: Duration = .seconds(60),
  _ condition: () async throws -> Bool
) async throws {
  let deadline = ContinuousClock.now + limit
  while !(try await condition()) {
    guard ContinuousClock.now < deadline else {
      throw ClusterFailure("\(what()) did not come within \(limit)")
    }
    try await Task.sleep(for: .milliseconds(20))
  }
}

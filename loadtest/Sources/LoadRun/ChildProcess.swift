import Foundation
import LoadModel

/// A server that was started from here.
///
/// Foundation's `Process` lets a child inherit the signals that the calling thread blocks, which on
/// a thread of the runtime are most of them: a server would not hear that it should end.
struct ChildProcess: Sendable {
  /// `POSIX_SPAWN_SETSIGDEF`, `_SETSIGMASK` and `_SETSID` of spawn.h, which are not all imported.
  private static let spawnFlags: Int16 = 0x04 | 0x08 | 0x80
  private static let endTimeout = 5.0

  let pid: Int32

  /// Starts it apart from this terminal, without anything that is open here.
  ///
  /// - Parameter log: what it prints is appended there.
  /// **Throws**: `LoadError` when it cannot be started.
  init(_ program: String, _ arguments: [String], log: String) throws {
    var actions = posix_spawn_file_actions_t()
    var attributes = posix_spawnattr_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawnattr_init(&attributes)
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Self.spawnFlags)
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_APPEND | O_CREAT, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    Self.keepFilesHere()
    var words = ([program] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, program, &actions, &attributes, &words, environ)
    guard result == 0 else {
      throw LoadError("\(program) cannot be started: \(String(cString: strerror(result)))")
    }
    self.pid = pid
  }

  private static func keepFilesHere() {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    for file in names.compactMap({ Int32($0) }) where file > 2 {
      _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    }
  }

  var isRunning: Bool { waitpid(pid, nil, WNOHANG) == 0 }

  /// Ends it, kindly first.
  func end() {
    kill(pid, SIGTERM)
    let deadline = Date(timeIntervalSinceNow: Self.endTimeout)
    while isRunning {
      if Date() > deadline { kill(pid, SIGKILL) }
      usleep(10_000)
    }
  }
}

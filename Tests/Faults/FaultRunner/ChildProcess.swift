import Glibc
import HistoryChecker
import Synchronization

/// A process that the runner has started. It is signalled only as long as it was not reaped, so
/// that a pid that the system has given to somebody else is never hit.
///
/// **Isolation**: any thread.
final class ChildProcess: Sendable {
  let pid: pid_t
  private let status = Mutex<Int32?>(nil)

  /// - Parameter words: program and arguments; the program is searched for in PATH.
  /// - Parameter environment: all of it, as NAME=VALUE.
  /// - Parameter output: a descriptor for standard output and error.
  private init(_ words: [String], environment: [String], output: Int32) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var usual = sigset_t()
    sigemptyset(&usual)
    for signal in [SIGPIPE, SIGINT, SIGTERM, SIGHUP] { sigaddset(&usual, signal) }
    posix_spawnattr_setsigdefault(&attributes, &usual)
    // A group of its own: a terminal's Ctrl-C is for the runner alone.
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))

    let arguments = words.map { strdup($0) } + [nil]
    let variables = environment.map { strdup($0) } + [nil]
    defer { for text in arguments + variables { free(text) } }
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, words[0], &actions, &attributes, arguments, variables)
    guard code == 0 else {
      throw Failure("\(words[0]) does not start: \(String(cString: strerror(code)))")
    }
    self.pid = pid
  }

  /// Starts a program whose words are appended to a file.
  static func start(_ words: [String], environment: [String], log: String) throws -> ChildProcess {
    let descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw Failure("\(log) cannot be written") }
    defer { close(descriptor) }
    return try ChildProcess(words, environment: environment, output: descriptor)
  }

  /// Runs a program to its end.
  ///
  /// **Returns**: whether it exited with 0, and all that it said.
  static func outcome(of words: [String]) throws -> (isSuccess: Bool, output: String) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw Failure("no pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    defer { close(ends[0]) }
    let child: ChildProcess
    do {
      child = try ChildProcess(words, environment: Self.plainEnvironment, output: ends[1])
      close(ends[1])
    } catch {
      close(ends[1])
      throw error
    }
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
      let count = read(ends[0], &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      output += buffer[..<count]
    }
    let status = child.waitForEnd()
    return (status == 0, String(decoding: output, as: UTF8.self))
  }

  /// **Throws**: `Failure` with what it said unless it exits with 0.
  @discardableResult static func run(_ words: String...) throws -> String { try run(words) }

  @discardableResult static func run(_ words: [String]) throws -> String {
    let (isSuccess, output) = try outcome(of: words)
    guard isSuccess else { throw Failure("\(words.joined(separator: " ")): \(output)") }
    return output
  }

  static let plainEnvironment: [String] = ["PATH", "HOME", "LANG"].compactMap {
    (name: String) -> String? in
    getenv(name).map { "\(name)=\(String(cString: $0))" }
  }

  // MARK: Signals

  /// **Returns**: the status of `waitpid`; `nil` while it runs or stands still.
  func ending() -> Int32? {
    status.withLock { status in
      var value: Int32 = 0
      if status == nil, waitpid(pid, &value, WNOHANG) == pid { status = value }
      return status
    }
  }

  private func waitForEnd() -> Int32 {
    while true {
      if let status = ending() { return status }
      Pace.sleep(Pace.millisecond)
    }
  }

  func send(_ signal: Int32) {
    status.withLock { status in
      if status == nil { _ = Glibc.kill(pid, signal) }
    }
  }

  /// SIGKILL; returns when it is gone. `false`: it had ended by itself.
  @discardableResult func killNow() -> Bool {
    let wasRunning = ending() == nil
    send(SIGKILL)
    _ = waitForEnd()
    return wasRunning
  }

  /// How it ended, in words.
  static func words(_ status: Int32) -> String {
    let signal = status & 0x7f
    return signal == 0 ? "exit code \(status >> 8 & 0xff)" : "signal \(signal)"
  }
}

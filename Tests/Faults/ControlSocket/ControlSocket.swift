import Glibc

/// Why a control socket cannot be opened.
package struct ControlSocketError: Error, CustomStringConvertible {
  package let description: String
}

/// A unix socket that takes commands, one a line, and answers each with one line: what `answer`
/// returns, or `error: REASON` for the `CommandRefusal` that it throws.
///
/// Any number of connections up to `connectionsMax` may be open; commands are carried out one
/// after the other in the order in which they were read. The socket exists from `init` to `close`,
/// so whoever starts the program can wait for it.
///
/// **Isolation**: `answer` is called on the socket's own thread, which takes no signals.
package final class ControlSocket: @unchecked Sendable {
  // Safety: every property is constant after `init`, except `thread`, which is written there once
  // and read by `close` alone.
  private let path: String
  /// The end of a pipe that the thread watches: closing it stops the thread.
  private let stop: Int32
  private var thread = pthread_t()

  /// **Throws**: when the path is too long for a socket, is taken by another kind of file, or the
  /// system refuses. A socket that was left behind by a dead process is replaced.
  package init(
    path: String, answer: @escaping @Sendable (Command) throws(CommandRefusal) -> String
  ) throws(ControlSocketError) {
    self.path = path
    let listener = try Self.listen(path)
    var ends: [Int32] = [0, 0]
    precondition(pipe(&ends) == 0, "pipe: \(errno)")
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    stop = ends[1]
    let loop = ControlLoop(listener: listener, stopped: ends[0], answer: answer)

    // Signals are for the main thread; a new thread inherits what is blocked.
    var (all, before) = (sigset_t(), sigset_t())
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    let result = pthread_create(
      &thread, nil,
      { argument in
        guard let argument else { return nil }
        Unmanaged<ControlLoop>.fromOpaque(argument).takeRetainedValue().run()
        return nil
      }, Unmanaged.passRetained(loop).toOpaque())
    precondition(result == 0, "pthread_create: \(result)")
  }

  /// Waits for the command that is being carried out, then takes no more and removes the socket.
  /// To be called once.
  package func close() {
    Glibc.close(stop)
    pthread_join(thread, nil)
    unlink(path)
  }

  private static let backlogMax: Int32 = 16

  private static func listen(_ path: String) throws(ControlSocketError) -> Int32 {
    func failure(_ call: String) -> ControlSocketError {
      ControlSocketError(description: "\(call) \(path): \(String(cString: strerror(errno)))")
    }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard path.utf8.count < capacity else {
      throw ControlSocketError(description: "\(path) is longer than \(capacity - 1) bytes")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }

    var status = stat()
    if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK { unlink(path) }
    let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    let listener = socket(AF_UNIX, type, 0)
    guard listener >= 0 else { throw failure("socket") }
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0, Glibc.listen(listener, backlogMax) == 0 else {
      defer { Glibc.close(listener) }
      throw failure("listen on")
    }
    return listener
  }
}

import Glibc

/// The thread of a control socket: accepts, reads lines, answers.
///
/// **Isolation**: handed to its thread before `run` and not touched by another one.
final class ControlLoop {
  private static let connectionsMax = 64
  private static let lineBytesMax = 4_096
  /// A peer that does not read its answers is given up after this time.
  private static let answerTimeoutSeconds = 5

  private struct Connection {
    let socket: Int32
    /// What came after the last whole line.
    var rest: [UInt8] = []
  }

  private let listener: Int32
  private let stopped: Int32
  private let answer: (Command) throws(CommandRefusal) -> String
  private var connections: [Connection] = []

  init(
    listener: Int32, stopped: Int32,
    answer: @escaping (Command) throws(CommandRefusal) -> String
  ) {
    self.listener = listener
    self.stopped = stopped
    self.answer = answer
  }

  deinit {
    for connection in connections { close(connection.socket) }
    close(listener)
    close(stopped)
  }

  /// Returns when the other end of the pipe `stopped` is closed.
  func run() {
    while true {
      let sockets = [stopped, listener] + connections.map(\.socket)
      var polled = sockets.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      guard poll(&polled, nfds_t(polled.count), -1) >= 0 else {
        precondition(errno == EINTR, "poll: \(errno)")
        continue
      }
      if polled[0].revents != 0 { return }
      // From the back: a connection that has ended is taken out of the list.
      for index in connections.indices.reversed() where polled[index + 2].revents != 0 {
        if !serve(&connections[index]) { close(connections.remove(at: index).socket) }
      }
      if polled[1].revents != 0 { accept() }
    }
  }

  private func accept() {
    let socket = Glibc.accept(listener, nil, nil)
    guard socket >= 0 else { return }
    _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
    guard connections.count < Self.connectionsMax else {
      close(socket)
      return
    }
    var timeout = timeval(tv_sec: Self.answerTimeoutSeconds, tv_usec: 0)
    setsockopt(
      socket, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout.size(ofValue: timeout)))
    connections.append(Connection(socket: socket))
  }

  /// **Returns**: whether the connection goes on.
  private func serve(_ connection: inout Connection) -> Bool {
    var buffer = [UInt8](repeating: 0, count: Self.lineBytesMax)
    let count = recv(connection.socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    guard count > 0 else { return count < 0 && (errno == EAGAIN || errno == EINTR) }
    connection.rest += buffer[..<count]
    while let end = connection.rest.firstIndex(of: UInt8(ascii: "\n")) {
      let line = String(decoding: connection.rest[..<end], as: UTF8.self)
      connection.rest.removeSubrange(...end)
      guard send(reply(to: Command(line: line)), to: connection.socket) else { return false }
    }
    return connection.rest.count <= Self.lineBytesMax
  }

  private func reply(to command: Command) -> String {
    do throws(CommandRefusal) {
      return try answer(command)
    } catch {
      return "error: \(error.reason)"
    }
  }

  private func send(_ line: String, to socket: Int32) -> Bool {
    let bytes = Array("\(line)\n".utf8)
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(
          socket, $0.baseAddress?.advanced(by: sent), $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return false }
      sent += count
    }
    return true
  }
}

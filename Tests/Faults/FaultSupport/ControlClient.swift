import Glibc

/// One connection to the control socket of a fault tool.
///
/// **Isolation**: one thread at a time.
package final class ControlClient {
  private let socket: Int32
  /// What came after the last whole line.
  private var rest: [UInt8] = []

  /// **Throws**: when nobody listens there.
  package init(path: String) throws(FaultToolError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw FaultToolError("\(path) is too long for a socket")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard connected == 0 else {
      throw FaultToolError("\(path): \(String(cString: strerror(errno)))")
    }
  }

  deinit { close(socket) }

  /// Sends one command and waits for its answer.
  ///
  /// **Throws**: when the tool has ended.
  package func ask(_ line: String) throws(FaultToolError) -> String {
    let bytes = Array("\(line)\n".utf8)
    guard send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      throw FaultToolError("'\(line)' cannot be sent")
    }
    while true {
      if let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
        defer { rest.removeSubrange(...end) }
        return String(decoding: rest[..<end], as: UTF8.self)
      }
      var buffer = [UInt8](repeating: 0, count: 4_096)
      let count = recv(socket, &buffer, buffer.count, 0)
      guard count > 0 else { throw FaultToolError("'\(line)' is not answered") }
      rest += buffer[..<count]
    }
  }
}

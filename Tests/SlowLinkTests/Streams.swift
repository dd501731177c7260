import FaultSupport
import Foundation
import Glibc

/// TCP from one namespace to another.
enum Streams {
  private static let port: UInt16 = 7_001
  private static let timeoutSeconds = 60

  /// **Returns**: what arrives.
  static func carry(
    _ bytes: [UInt8], from left: NetworkNamespace, to right: NetworkNamespace
  ) throws -> [UInt8] {
    let listener = try right.enter { try socket() }
    let sender = try left.enter { try socket() }
    defer { for descriptor in [listener, sender] { close(descriptor) } }
    guard SocketAddress.with(TestLink.rightAddress, port, { bind(listener, $0, $1) }) == 0,
      listen(listener, 1) == 0
    else { throw FaultToolError("listen: \(String(cString: strerror(errno)))") }

    let sending = Thread {
      guard SocketAddress.with(TestLink.rightAddress, port, { connect(sender, $0, $1) }) == 0
      else { return }
      var sent = 0
      while sent < bytes.count {
        let count = bytes[sent...].withUnsafeBytes {
          send(sender, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        guard count > 0 else { break }
        sent += count
      }
      shutdown(sender, Int32(SHUT_WR))
    }
    sending.start()
    let receiver = accept(listener, nil, nil)
    defer { close(receiver) }
    var received: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = recv(receiver, &buffer, buffer.count, 0)
      guard count > 0 else { break }
      received += buffer[..<count]
    }
    while !sending.isFinished { usleep(1_000) }
    return received
  }

  private static func socket() throws -> Int32 {
    let descriptor = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw FaultToolError("socket: \(errno)") }
    var timeout = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      setsockopt(
        descriptor, SOL_SOCKET, option, &timeout, socklen_t(MemoryLayout.size(ofValue: timeout)))
    }
    return descriptor
  }
}

import Dispatch
import Foundation

/// Ports of 127.0.0.1 that nobody listens on.
///
/// They lie below those from which the system takes the ports of outgoing connections: a node that
/// is down for a while must find its own port free when it comes back.
enum Ports {
  private static let range = 10_000..<32_000
  private static let triesMax = 1_000

  /// **Returns**: the first of `count` that follow each other.
  static func free(_ count: Int) throws -> UInt16 {
    let first = try base(in: range.lowerBound..<(range.upperBound - count)) { base in
      (base..<(base + count)).allSatisfy(isFree)
    }
    return UInt16(first)
  }

  /// **Returns**: a number that moves every one of `ports` to a free one.
  static func freeOffset(of ports: [Int]) throws -> Int {
    try base(in: 1_000..<(range.upperBound - (ports.max() ?? 0))) { offset in
      ports.allSatisfy { isFree($0 + offset) }
    }
  }

  private static func base(in range: Range<Int>, _ isGood: (Int) -> Bool) throws -> Int {
    for _ in 0..<triesMax {
      let base = Int.random(in: range)
      if isGood(base) { return base }
    }
    throw ClusterFailure("there are no free ports in \(range)")
  }

  private static func isFree(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return Loopback.withAddress(UInt16(port)) { bind(descriptor, $0, $1) } == 0
  }
}

/// HTTP as an operator's probe speaks it.
enum Loopback {
  struct Answer: Sendable {
    let status: Int
    let body: String
  }

  /// **Returns**: `nil` when nobody answers.
  static func get(_ path: String, port: UInt16) async -> Answer? {
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async { continuation.resume(returning: answer(path, port)) }
    }
  }

  private static let timeoutSeconds = 2

  private static func answer(_ path: String, _ port: UInt16) -> Answer? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var timeout = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, size)
    guard withAddress(port, { connect(descriptor, $0, $1) }) == 0 else { return nil }
    let request = "GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    guard send(descriptor, request, request.utf8.count, Int32(MSG_NOSIGNAL)) > 0 else {
      return nil
    }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count >= 0 else { return nil }
      if count == 0 { break }
      bytes += buffer.prefix(count)
    }
    let text = String(decoding: bytes, as: UTF8.self)
    let words = text.split(separator: " ", maxSplits: 2)
    guard words.count == 3, let status = Int(words[1]) else { return nil }
    let body = text.range(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? ""
    return Answer(status: status, body: body)
  }

  static func withAddress<Result>(
    _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
  ) -> Result {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }
}

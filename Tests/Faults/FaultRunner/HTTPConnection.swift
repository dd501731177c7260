import Foundation
import HistoryChecker

enum HTTPFailure: Error, CustomStringConvertible {
  case notConnected(Int32)
  case late
  case closed
  case malformed(String)

  var description: String {
    switch self {
    case .notConnected(let code): "no connection: \(String(cString: strerror(code)))"
    case .late: "no answer in time"
    case .closed: "the connection was closed"
    case .malformed(let what): "no HTTP: \(what)"
    }
  }
}

struct HTTPEndpoint: Hashable, Sendable {
  let address: String
  let port: UInt16
}

struct HTTPResponse {
  let status: Int
  let body: [UInt8]
}

/// One connection of HTTP/1.1 that is made when it is needed, kept as long as it works, and waits
/// for nothing longer than the deadline of each request.
///
/// **Isolation**: one thread.
final class HTTPConnection {
  private static let headBytesMax = 64 << 10

  private let endpoint: HTTPEndpoint
  private var descriptor: Int32 = -1
  private var received: [UInt8] = []
  private var readPosition = 0

  init(_ endpoint: HTTPEndpoint) { self.endpoint = endpoint }

  deinit { disconnect() }

  func disconnect() {
    if descriptor >= 0 { close(descriptor) }
    descriptor = -1
    received.removeAll(keepingCapacity: true)
    readPosition = 0
  }

  // MARK: Requests

  /// - Parameter headers: whole lines without their ends.
  func request(
    _ method: String, _ target: String, headers: [String] = [], body: String = "",
    deadline: Moment
  ) throws(HTTPFailure) -> HTTPResponse {
    do throws(HTTPFailure) {
      let head = try send(method, target, headers: headers, body: body, deadline: deadline)
      let response = HTTPResponse(status: head.status, body: try readBody(head, deadline))
      if head.isLast { disconnect() }
      return response
    } catch {
      disconnect()
      throw error
    }
  }

  /// A response whose body never ends; its lines are read one by one.
  func stream(
    _ target: String, headers: [String], deadline: Moment
  ) throws(HTTPFailure) -> HTTPLines {
    do throws(HTTPFailure) {
      let head = try send("GET", target, headers: headers, body: "", deadline: deadline)
      guard head.status == 200 else {
        let body = try readBody(head, deadline)
        throw HTTPFailure.malformed("\(head.status) \(String(decoding: body, as: UTF8.self))")
      }
      return HTTPLines(self, isChunked: head.isChunked)
    } catch {
      disconnect()
      throw error
    }
  }

  private struct Head {
    let status: Int
    let contentLength: Int?
    let isChunked: Bool
    let isLast: Bool
  }

  private func send(
    _ method: String, _ target: String, headers: [String], body: String, deadline: Moment
  ) throws(HTTPFailure) -> Head {
    let isFresh = descriptor < 0
    if isFresh { try connect(deadline) }
    var lines = ["\(method) \(target) HTTP/1.1", "host: \(endpoint.address):\(endpoint.port)"]
    lines += headers
    if !body.isEmpty {
      lines += ["content-type: application/json", "content-length: \(body.utf8.count)"]
    } else if method != "GET" {
      lines.append("content-length: 0")
    }
    try write(Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8), deadline)
    return try readHead(deadline)
  }

  private func readHead(_ deadline: Moment) throws(HTTPFailure) -> Head {
    let first = try line(deadline)
    let words = first.split(separator: " ")
    guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
      throw .malformed(first)
    }
    var length: Int?
    var isChunked = false
    var isLast = false
    while true {
      let field = try line(deadline)
      if field.isEmpty { break }
      let parts = field.split(separator: ":", maxSplits: 1)
      let value = parts.count == 2 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
      switch parts.first?.lowercased() {
      case "content-length": length = Int(value)
      case "transfer-encoding": isChunked = value.lowercased() == "chunked"
      case "connection": isLast = value.lowercased() == "close"
      default: break
      }
    }
    return Head(status: status, contentLength: length, isChunked: isChunked, isLast: isLast)
  }

  private func readBody(_ head: Head, _ deadline: Moment) throws(HTTPFailure) -> [UInt8] {
    if let length = head.contentLength { return try take(length, deadline) }
    guard head.isChunked else { return [] }
    var body: [UInt8] = []
    while true {
      let piece = try chunk(deadline)
      if piece.isEmpty { return body }
      body += piece
    }
  }

  /// The next piece of a chunked body; empty at its end.
  fileprivate func chunk(_ deadline: Moment) throws(HTTPFailure) -> [UInt8] {
    let size = try line(deadline)
    guard let count = Int(size.prefix { $0 != ";" }, radix: 16) else { throw .malformed(size) }
    let piece = try take(count, deadline)
    _ = try line(deadline)
    return piece
  }

  // MARK: Bytes

  fileprivate func line(_ deadline: Moment) throws(HTTPFailure) -> String {
    while true {
      if let end = received[readPosition...].firstIndex(of: UInt8(ascii: "\n")) {
        var bytes = received[readPosition..<end]
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        readPosition = end + 1
        return String(decoding: bytes, as: UTF8.self)
      }
      guard received.count - readPosition < Self.headBytesMax else { throw .malformed("long line") }
      try fill(deadline)
    }
  }

  private func take(_ count: Int, _ deadline: Moment) throws(HTTPFailure) -> [UInt8] {
    while received.count - readPosition < count { try fill(deadline) }
    defer { readPosition += count }
    return Array(received[readPosition..<(readPosition + count)])
  }

  private func fill(_ deadline: Moment) throws(HTTPFailure) {
    if readPosition > 0 {
      received.removeFirst(readPosition)
      readPosition = 0
    }
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count > 0 {
        received += buffer[..<count]
        return
      }
      guard count < 0, errno == EAGAIN || errno == EINTR else { throw .closed }
      try wait(for: Int16(POLLIN), deadline)
    }
  }

  private func write(_ bytes: [UInt8], _ deadline: Moment) throws(HTTPFailure) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 {
        rest = rest.dropFirst(count)
      } else {
        guard count < 0, errno == EAGAIN || errno == EINTR else { throw .closed }
        try wait(for: Int16(POLLOUT), deadline)
      }
    }
  }

  private func wait(for events: Int16, _ deadline: Moment) throws(HTTPFailure) {
    let now = Pace.now()
    guard now < deadline else { throw .late }
    var entry = pollfd(fd: descriptor, events: events, revents: 0)
    _ = poll(&entry, 1, Int32((deadline - now) / Pace.millisecond) + 1)
  }

  private func connect(_ deadline: Moment) throws(HTTPFailure) {
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    descriptor = socket(AF_INET, kind, 0)
    guard descriptor >= 0 else { throw .notConnected(errno) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = endpoint.port.bigEndian
    inet_pton(AF_INET, endpoint.address, &address.sin_addr)
    let descriptor = descriptor
    let code = withUnsafeBytes(of: &address) { bytes in
      Glibc.connect(
        descriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
        socklen_t(bytes.count))
    }
    if code != 0 {
      guard errno == EINPROGRESS else { throw .notConnected(errno) }
      try wait(for: Int16(POLLOUT), deadline)
      var failure: Int32 = 0
      var length = socklen_t(MemoryLayout<Int32>.size)
      getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length)
      guard failure == 0 else { throw .notConnected(failure) }
    }
    var on: Int32 = 1
    let length = socklen_t(MemoryLayout<Int32>.size)
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, length)
  }
}

/// The lines of a response that never ends.
///
/// **Isolation**: one thread.
final class HTTPLines {
  private let connection: HTTPConnection
  private let isChunked: Bool
  private var pending: [UInt8] = []

  fileprivate init(_ connection: HTTPConnection, isChunked: Bool) {
    self.connection = connection
    self.isChunked = isChunked
  }

  /// **Throws**: `HTTPFailure.late` when no whole line comes in time; `closed` at the end.
  func next(_ deadline: Moment) throws(HTTPFailure) -> String {
    guard isChunked else { return try connection.line(deadline) }
    while true {
      if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        defer { pending.removeSubrange(...end) }
        return String(decoding: pending[..<end], as: UTF8.self)
      }
      let piece = try connection.chunk(deadline)
      guard !piece.isEmpty else { throw .closed }
      pending += piece
    }
  }
}

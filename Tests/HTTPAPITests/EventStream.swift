import Foundation
import RawSockets
import Testing

/// A stream of server-sent events from one gateway.
///
/// **Source**: WHATWG HTML, section "Server-sent events"; RFC 9112, section 7.1 (chunks).
final class EventStream {
  struct Block: Equatable {
    var event = ""
    var data: JSON = .null
    var id: String?
  }

  private let connection: RawConnection
  private var text = ""
  /// The last `id` that came, as a browser keeps it.
  private(set) var lastEventID: String?

  private init(_ connection: RawConnection) { self.connection = connection }

  static func open(
    _ person: Person, gateway: Int = 0, after id: String? = nil, query: String = ""
  ) async throws -> EventStream {
    let connection = try await RawConnection.open(try Serving.port(gateway))
    try await connection.send(
      API.request(
        "GET", "/v1/events\(query)", token: person.token,
        id.map { ["Last-Event-ID: \($0)"] } ?? [], closes: false))
    let head = try await connection.head().lowercased()
    try #require(head.hasPrefix("http/1.1 200 "), "\(head)")
    #expect(head.contains("content-type: text/event-stream"))
    #expect(head.contains("cache-control: no-store"))
    #expect(head.contains("transfer-encoding: chunked"))
    return EventStream(connection)
  }

  func close() async throws { try await connection.close() }

  /// **Returns**: `nil` when the stream was ended in order.
  func next() async throws -> Block? {
    while true {
      if let end = text.range(of: "\n\n") {
        let lines = text[..<end.lowerBound].split(separator: "\n")
        text = String(text[end.upperBound...])
        return try block(lines)
      }
      let chunk = try await chunk()
      if chunk.isEmpty { return nil }
      text += String(decoding: chunk, as: UTF8.self)
    }
  }

  private func block(_ lines: [Substring]) throws -> Block {
    var block = Block()
    for line in lines {
      let parts = line.split(separator: ":", maxSplits: 1)
      let value = String(parts[1].drop { $0 == " " })
      switch parts[0] {
      case "event": block.event = value
      case "data": block.data = try JSON(parsing: Array(value.utf8))
      case "id": block.id = value
      default: Issue.record("an unknown field: \(line)")
      }
    }
    if let id = block.id { lastEventID = id }
    return block
  }

  /// The next text that somebody has written.
  func nextMessage() async throws -> String {
    while true {
      let block = try #require(try await next(), "the stream has ended")
      if let text = block.data["message"]["text"].string { return text }
    }
  }

  /// Waits for a position to resume from.
  func nextID() async throws -> String {
    while true {
      let block = try #require(try await next(), "the stream has ended")
      if let id = block.id { return id }
    }
  }

  private func chunk() async throws -> [UInt8] {
    let bytes = try await connection.read { Self.firstChunk(in: $0) != nil }
    let chunk = try #require(Self.firstChunk(in: bytes), "the stream was cut off")
    try await connection.forget(chunk.upperBound + Self.lineEnd.count)
    return Array(bytes[chunk])
  }

  private static let lineEnd = Array("\r\n".utf8)

  /// Where the content of the first chunk lies, when it is whole.
  private static func firstChunk(in bytes: [UInt8]) -> Range<Int>? {
    guard let end = bytes.indices.first(where: { bytes[$0...].starts(with: lineEnd) }),
      let count = Int(String(decoding: bytes[..<end], as: UTF8.self), radix: 16)
    else { return nil }
    let start = end + lineEnd.count
    return bytes.count >= start + count + lineEnd.count ? start..<start + count : nil
  }
}

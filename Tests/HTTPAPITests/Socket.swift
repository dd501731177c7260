import RawSockets
import Testing

/// A WebSocket to one gateway, JSON or protobuf, as bytes.
final class Socket {
  private let connection: RawConnection
  /// Frames of the gateway that were not looked at yet.
  private var waiting: [JSON] = []

  private init(_ connection: RawConnection) { self.connection = connection }

  /// - Parameter token: for the `Authorization` header.
  static func open(
    gateway: Int = 0, token: String? = nil, query: String = "", subprotocol: String = "json"
  ) async throws -> Socket {
    let (connection, head) = try await upgrade(
      gateway: gateway, token: token, query: query, subprotocol: subprotocol)
    try #require(head.hasPrefix("HTTP/1.1 101 "), "\(head)")
    #expect(head.contains("Sec-WebSocket-Protocol: martlet.v1.\(subprotocol)"))
    return Socket(connection)
  }

  static func upgrade(
    gateway: Int = 0, token: String? = nil, query: String = "", subprotocol: String = "json"
  ) async throws -> (RawConnection, head: String) {
    let connection = try await RawConnection.open(try Serving.port(gateway))
    try await connection.send(
      RawConnection.upgradeRequest(
        "/v1/ws\(query)", subprotocol: "martlet.v1.\(subprotocol)",
        token.map { ["Authorization: Bearer \($0)"] } ?? []))
    return (connection, try await connection.head())
  }

  /// Somebody's, after the welcome.
  static func open(
    _ person: Person, gateway: Int = 0, query: String = ""
  ) async throws -> Socket {
    let socket = try await open(gateway: gateway, token: person.token, query: query)
    let welcome = try await socket.next()["welcome"]
    try #require(welcome["user"]["id"].string == person.id, "\(welcome.text)")
    return socket
  }

  // MARK: Saying

  func send(_ frame: JSON) async throws { try await send(text: frame.text) }

  func send(text: String) async throws {
    try await send(RawFrame(RawFrame.text, Array(text.utf8)))
  }

  func send(_ frames: RawFrame...) async throws { try await send(frames.flatMap(\.masked)) }

  func send(_ bytes: [UInt8]) async throws { try await connection.send(bytes) }

  func close() async throws { try await connection.close() }

  // MARK: Hearing

  /// **Returns**: `nil` when the gateway has closed the connection.
  func frame() async throws -> RawFrame? {
    let bytes = try await connection.read { RawFrame.first(in: $0) != nil }
    guard let (frame, count) = RawFrame.first(in: bytes) else { return nil }
    try await connection.forget(count)
    return frame
  }

  /// The next frame of the protocol, but for cursors, which come when they like.
  func next() async throws -> JSON {
    while true {
      let next = try await nextOfAll()
      if next["cursor"] == .null { return next }
    }
  }

  func nextCursor() async throws -> String {
    while true {
      if let cursor = try await nextOfAll()["cursor"].string { return cursor }
    }
  }

  private func nextOfAll() async throws -> JSON {
    while waiting.isEmpty {
      let frame = try #require(try await frame(), "the gateway has closed")
      try #require(frame.opcode == RawFrame.text, "\(frame)")
      let message = try JSON(parsing: frame.payload)
      if case .list(let items) = message { waiting = items } else { waiting = [message] }
    }
    return waiting.removeFirst()
  }

  /// The next frame with this `ref`, whatever events come before it.
  func answer(to ref: String) async throws -> JSON {
    while true {
      let next = try await next()
      if next["ref"].string == ref { return next }
    }
  }

  /// The next event with a message in it.
  func nextMessage() async throws -> JSON {
    while true {
      let event = try await next()["event"]
      if event["message"] != .null { return event }
    }
  }

  /// Waits for the gateway's close frame, answers it, and sees it close the connection.
  func closeCode() async throws -> UInt16? {
    while let frame = try await frame() {
      guard frame.opcode == RawFrame.close else { continue }
      try await connection.send(RawFrame(RawFrame.close, Array(frame.payload.prefix(2))).masked)
      _ = try await connection.bytesUntilClosed()
      return frame.closeCode
    }
    return nil
  }
}

import HTTP2Engine
import Primitives
import Testing

/// Bytes from outside never trap, whatever they are.
@Suite struct HTTP2GarbageTests {
  /// A conversation as the server hears it and as the client hears it.
  private func recording() throws -> (toServer: [UInt8], toClient: [UInt8]) {
    let link = try Loopback(client: .etcdClient, server: .publicServer, connects: false)
    var toServer: [UInt8] = []
    var toClient: [UInt8] = []
    func turn() throws {
      for _ in 0..<3 {
        let sent = link.client.takeOutput()
        try link.deliver(sent, to: link.server, pieceBytes: .max)
        toServer += sent
        let answered = link.server.takeOutput()
        try link.deliver(answered, to: link.client, pieceBytes: .max)
        toClient += answered
      }
    }
    try turn()
    for index in 0..<4 {
      let stream = try link.client.submitRequest(
        requestFields + [HTTP2HeaderField("x-index", "\(index)")], endStream: false)
      link.client.send(stream, pattern(50 * index), endStream: true)
      link.client.ping(UInt64(index))
      try turn()
      if index == 2 {
        link.client.resetStream(stream, .cancel)
      } else {
        try link.server.submitResponse(stream, okFields, endStream: false)
        link.server.send(stream, pattern(70))
        try link.server.submitTrailers(stream, GRPCStatus(.ok).trailers)
      }
      try turn()
    }
    link.server.shutdown()
    try turn()
    return (toServer, toClient)
  }

  /// Plays bytes to one end, which answers every request and reads everything, as a shell would.
  private func play(_ bytes: [UInt8], to role: HTTP2Connection.Role, pieceBytes: Int) {
    let connection = HTTP2Connection(
      role: role, configuration: role == .server ? .publicServer : .etcdClient)
    if role == .client {
      for _ in 0..<4 { _ = try? connection.submitRequest(requestFields, endStream: true) }
    }
    var rest = bytes[...]
    var now = Instant.zero
    while !rest.isEmpty {
      now = now + 1
      do { try connection.receive(Array(rest.prefix(pieceBytes)), now: now) } catch { break }
      rest = rest.dropFirst(pieceBytes)
      act(on: connection, role: role)
    }
    _ = connection.takeOutput()
    connection.transportClosed()
    #expect(connection.openStreamCount == 0 && connection.queuedBytes == 0)
  }

  private func act(on connection: HTTP2Connection, role: HTTP2Connection.Role) {
    for event in connection.takeEvents() {
      switch event {
      case .headers(let stream, _, _) where role == .server:
        do { try connection.submitResponse(stream, okFields, endStream: false) } catch { continue }
        connection.send(stream, pattern(100), endStream: true)
      case .data(let stream, let piece, _):
        connection.consume(stream, byteCount: piece.count)
      default: break
      }
    }
    _ = connection.takeOutput()
  }

  @Test func `a conversation cut at any byte leaves a sound connection`() throws {
    let (toServer, toClient) = try recording()
    for count in 0...toServer.count {
      play(Array(toServer.prefix(count)), to: .server, pieceBytes: .max)
    }
    for count in 0...toClient.count {
      play(Array(toClient.prefix(count)), to: .client, pieceBytes: .max)
    }
  }

  @Test func `a conversation with random damage never traps`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    let (toServer, toClient) = try recording()
    for round in 0..<3_000 {
      let role: HTTP2Connection.Role = round % 2 == 0 ? .server : .client
      var bytes = role == .server ? toServer : toClient
      // Most damage spares the preface, or nothing behind it would ever be reached.
      let first = role == .server && round % 16 != 0 ? RawFrame.preface.count : 0
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let at = Int.random(in: first..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes.remove(at: at)
        default:
          let part = bytes[at..<min(bytes.count, at + Int.random(in: 1...40, using: &random))]
          bytes.insert(contentsOf: part, at: Int.random(in: first...at, using: &random))
        }
      }
      play(bytes, to: role, pieceBytes: Int.random(in: 1...400, using: &random))
    }
  }

  @Test func `random frames never trap`() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    for _ in 0..<2_000 {
      var bytes = RawFrame.preface + RawFrame(.settings).bytes
      for _ in 0..<Int.random(in: 1...30, using: &random) {
        var frame = RawFrame(.data, flags: UInt8.random(in: 0...255, using: &random))
        frame.type = UInt8.random(in: 0...17, using: &random)
        frame.stream = Int32.random(in: 0...9, using: &random)
        let length = Int.random(in: 0...40, using: &random)
        frame.payload =
          frame.type == 1 && Bool.random(using: &random)
          ? RawFrame.requestBlock : pattern(length)
        bytes += frame.bytes
      }
      play(bytes, to: .server, pieceBytes: Int.random(in: 1...200, using: &random))
    }
  }
}

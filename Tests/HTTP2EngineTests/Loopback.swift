import HTTP2Engine
import Primitives

/// A client and a server joined by memory. Bytes travel in pieces of `pieceBytes`.
final class Loopback {
  let client: HTTP2Connection
  let server: HTTP2Connection
  var now = Instant.zero
  var clientEvents: [HTTP2Event] = []
  var serverEvents: [HTTP2Event] = []

  init(
    client: HTTP2Configuration = .nodeLink, server: HTTP2Configuration = .nodeLink,
    connects: Bool = true
  ) throws {
    self.client = HTTP2Connection(role: .client, configuration: client)
    self.server = HTTP2Connection(role: .server, configuration: server)
    guard connects else { return }
    try pump()
    clientEvents = []
    serverEvents = []
  }

  /// Moves everything that either side has to say until both are silent.
  func pump(pieceBytes: Int = .max) throws {
    while true {
      let toServer = client.takeOutput()
      let toClient = server.takeOutput()
      if toServer.isEmpty, toClient.isEmpty { break }
      try deliver(toServer, to: server, pieceBytes: pieceBytes)
      try deliver(toClient, to: client, pieceBytes: pieceBytes)
      collect()
    }
    collect()
  }

  func deliver(_ bytes: [UInt8], to connection: HTTP2Connection, pieceBytes: Int) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      try connection.receive(Array(rest.prefix(pieceBytes)), now: now)
      rest = rest.dropFirst(pieceBytes)
    }
  }

  func collect() {
    clientEvents += client.takeEvents()
    serverEvents += server.takeEvents()
  }

  /// Opens a stream from the client and lets the server see it.
  func request(
    _ headers: [HTTP2HeaderField] = requestFields, endStream: Bool = false
  ) throws -> StreamID {
    let stream = try client.submitRequest(headers, endStream: endStream)
    try pump()
    return stream
  }
}

let requestFields = [
  HTTP2HeaderField(":method", "POST"), HTTP2HeaderField(":scheme", "https"),
  HTTP2HeaderField(":path", "/martlet"), HTTP2HeaderField(":authority", "example.org"),
]
let okFields = [HTTP2HeaderField(":status", "200")]

extension [HTTP2Event] {
  /// All DATA of one stream.
  func data(of stream: StreamID) -> [UInt8] {
    var bytes: [UInt8] = []
    for case .data(stream, let piece, _) in self { bytes += piece }
    return bytes
  }

  func closeCode(of stream: StreamID) -> HTTP2ErrorCode? {
    for case .streamClosed(stream, let code) in self { return code }
    return nil
  }

  func hasEnd(of stream: StreamID) -> Bool {
    contains {
      switch $0 {
      case .data(stream, _, true), .headers(stream, _, true), .trailers(stream, _): true
      default: false
      }
    }
  }

  var requests: [StreamID] {
    compactMap { if case .headers(let stream, _, _) = $0 { stream } else { nil } }
  }
}

/// Bytes of a pattern that shows displaced or repeated parts.
func pattern(_ count: Int) -> [UInt8] {
  var random = SeededRandom(seed: UInt64(count))
  var bytes: [UInt8] = []
  bytes.reserveCapacity(count + 8)
  while bytes.count < count {
    withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) }
  }
  return Array(bytes.prefix(count))
}

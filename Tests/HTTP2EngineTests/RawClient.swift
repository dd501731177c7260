import HTTP2Engine
import Primitives

/// An attacker: frames made by hand, so that they may break any rule, against a server.
final class RawClient {
  let server: HTTP2Connection
  var now = Instant.zero
  var events: [HTTP2Event] = []
  private(set) var frames: [RawFrame] = []

  init(_ configuration: HTTP2Configuration = .publicServer) throws {
    server = HTTP2Connection(role: .server, configuration: configuration)
    try server.receive(RawFrame.preface + RawFrame(.settings).bytes, now: now)
    drain()
    try send(RawFrame(.settings, flags: RawFrame.ack))
    events = []
    frames = []
  }

  /// Gives frames to the server and reads its answers.
  func send(_ sent: RawFrame...) throws { try send(sent) }

  func send(_ sent: [RawFrame]) throws {
    defer { drain() }
    try server.receive(sent.flatMap(\.bytes), now: now)
  }

  func drain() {
    frames += RawFrame.parse(server.takeOutput())
    events += server.takeEvents()
  }

  func count(_ type: RawFrame.Kind) -> Int { frames.count { $0.type == type.rawValue } }

  /// The error code of the server's GOAWAY.
  var goAwayCode: HTTP2ErrorCode? {
    guard let frame = frames.last(where: { $0.type == RawFrame.Kind.goAway.rawValue }) else {
      return nil
    }
    return HTTP2ErrorCode(frame.payload.dropFirst(4).prefix(4).reduce(0) { $0 << 8 | UInt32($1) })
  }

  func resetCode(of stream: Int32) -> HTTP2ErrorCode? {
    guard
      let frame = frames.last(where: {
        $0.type == RawFrame.Kind.resetStream.rawValue && $0.stream == stream
      })
    else { return nil }
    return HTTP2ErrorCode(frame.payload.reduce(0) { $0 << 8 | UInt32($1) })
  }
}

/// One frame as bytes.
struct RawFrame {
  enum Kind: UInt8 {
    case data = 0
    case headers = 1
    case priority = 2
    case resetStream = 3
    case settings = 4
    case ping = 6
    case goAway = 7
    case windowUpdate = 8
    case continuation = 9
  }

  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
  static let endStream: UInt8 = 1
  static let ack: UInt8 = 1
  static let endHeaders: UInt8 = 4
  static let padded: UInt8 = 8

  var type: UInt8
  var flags: UInt8
  var stream: Int32
  var payload: [UInt8]

  init(_ type: Kind, flags: UInt8 = 0, stream: Int32 = 0, _ payload: [UInt8] = []) {
    self.type = type.rawValue
    self.flags = flags
    self.stream = stream
    self.payload = payload
  }

  var bytes: [UInt8] {
    let count = payload.count
    return [UInt8(count >> 16 & 0xff), UInt8(count >> 8 & 0xff), UInt8(count & 0xff), type, flags]
      + RawFrame.big(UInt32(bitPattern: stream)) + payload
  }

  static func big(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

  static func parse(_ bytes: [UInt8]) -> [RawFrame] {
    var rest = bytes[...]
    var frames: [RawFrame] = []
    while rest.count >= 9 {
      let head = Array(rest.prefix(9))
      let count = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
      var frame = RawFrame(.data, flags: head[4], Array(rest.dropFirst(9).prefix(count)))
      frame.type = head[3]
      frame.stream = Int32(head[5..<9].reduce(0) { $0 << 8 | UInt32($1) } & 0x7fff_ffff)
      frames.append(frame)
      rest = rest.dropFirst(9 + count)
    }
    return frames
  }

  // MARK: Header blocks (RFC 7541: literals without indexing, no Huffman)

  static func block(_ fields: [(String, String)]) -> [UInt8] {
    fields.flatMap { [0] + text($0.0) + text($0.1) }
  }

  private static func text(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    guard bytes.count >= 127 else { return [UInt8(bytes.count)] + bytes }
    var rest = bytes.count - 127
    var length: [UInt8] = [127]
    while rest >= 128 {
      length.append(UInt8(rest & 127) | 128)
      rest >>= 7
    }
    return length + [UInt8(rest)] + bytes
  }

  static let requestBlock = block([
    (":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "example.org"),
  ])

  static func request(
    _ stream: Int32, more: [(String, String)] = [], end: Bool = true
  ) -> RawFrame {
    RawFrame(
      .headers, flags: endHeaders | (end ? endStream : 0), stream: stream,
      requestBlock + block(more))
  }

  static func reset(_ stream: Int32) -> RawFrame {
    RawFrame(.resetStream, stream: stream, big(HTTP2ErrorCode.cancel.rawValue))
  }

  static func windowUpdate(_ stream: Int32, _ increment: UInt32) -> RawFrame {
    RawFrame(.windowUpdate, stream: stream, big(increment))
  }
}

import NIOCore

/// A client's end of a WebSocket (RFC 6455), as far as a generator needs it: whole messages in one
/// frame each. The mask is zero, which costs the generator nothing and the server the same.
struct WebSocketClient {
  enum Incoming: Equatable {
    case opened
    case message(ByteBuffer)
    case closed(String)
  }

  enum Opcode: UInt8 {
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10
  }

  /// **Units**: bytes.
  static let headBytesMax = 16_384
  static let messageBytesMax = 16 << 20

  private var isOpen = false

  static func request(host: String, subprotocol: String, into output: inout ByteBuffer) {
    output.writeString(
      "GET /v1/ws HTTP/1.1\r\nHost: \(host)\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWFydGxldC1sb2FkdGVzdA==\r\n"
        + "Sec-WebSocket-Protocol: \(subprotocol)\r\n\r\n")
  }

  /// **Returns**: what came next, or `nil` when it is not whole yet.
  mutating func next(_ input: inout ByteBuffer, pongs: inout ByteBuffer) -> Incoming? {
    guard isOpen else { return readHead(&input) }
    while let (opcode, payload) = Self.frame(&input) {
      guard let payload else { return .closed("a frame that is too long, or a part of one") }
      switch Opcode(rawValue: opcode) {
      case .text, .binary: return .message(payload)
      case .ping: Self.write(payload, .pong, into: &pongs)
      case .pong: break
      case .close:
        var payload = payload
        let code = payload.readInteger(as: UInt16.self) ?? 1005
        return .closed("closed with \(code) \(String(buffer: payload))")
      case nil: return .closed("a frame of an unknown kind")
      }
    }
    return nil
  }

  private mutating func readHead(_ input: inout ByteBuffer) -> Incoming? {
    let view = input.readableBytesView
    guard let end = view.firstRange(of: [13, 10, 13, 10]) else {
      return view.count > Self.headBytesMax ? .closed("an endless head") : nil
    }
    let head = String(decoding: view[..<end.lowerBound], as: UTF8.self)
    input.moveReaderIndex(forwardBy: end.upperBound - view.startIndex)
    guard head.hasPrefix("HTTP/1.1 101") else {
      return .closed("the WebSocket was refused: \(head.prefix(60))")
    }
    isOpen = true
    return .opened
  }

  /// **Returns**: `nil` when it is not whole; without a payload when it is none that is taken.
  private static func frame(_ input: inout ByteBuffer) -> (opcode: UInt8, payload: ByteBuffer?)? {
    let start = input.readerIndex
    guard let (head, second) = input.readMultipleIntegers(as: (UInt8, UInt8).self) else {
      return nil
    }
    var length = Int(second & 0x7f)
    if length == 126 {
      guard let long = input.readInteger(as: UInt16.self) else {
        input.moveReaderIndex(to: start)
        return nil
      }
      length = Int(long)
    } else if length == 127 {
      guard let long = input.readInteger(as: UInt64.self) else {
        input.moveReaderIndex(to: start)
        return nil
      }
      guard long <= UInt64(messageBytesMax) else { return (head & 0x0f, nil) }
      length = Int(long)
    }
    guard head & 0x80 != 0 else { return (head & 0x0f, nil) }
    guard let payload = input.readSlice(length: length) else {
      input.moveReaderIndex(to: start)
      return nil
    }
    return (head & 0x0f, payload)
  }

  static func write(_ payload: ByteBuffer, _ opcode: Opcode, into output: inout ByteBuffer) {
    writeHead(payload.readableBytes, opcode, into: &output)
    output.writeImmutableBuffer(payload)
  }

  static func write(_ payload: [UInt8], _ opcode: Opcode, into output: inout ByteBuffer) {
    writeHead(payload.count, opcode, into: &output)
    output.writeBytes(payload)
  }

  private static func writeHead(_ count: Int, _ opcode: Opcode, into output: inout ByteBuffer) {
    output.writeInteger(0x80 | opcode.rawValue)
    switch count {
    case ..<126: output.writeInteger(UInt8(0x80 | count))
    case ..<65_536:
      output.writeInteger(UInt8(0x80 | 126))
      output.writeInteger(UInt16(count))
    default:
      output.writeInteger(UInt8(0x80 | 127))
      output.writeInteger(UInt64(count))
    }
    output.writeInteger(UInt32(0))
  }
}

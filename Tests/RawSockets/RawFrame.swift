/// One WebSocket frame as the bytes say it, written and read without the product's own codec.
///
/// ```
///  byte 0: FIN, reserved, opcode   byte 1: mask bit, length or 126 or 127
///  then 2 or 8 bytes of length, big-endian; 4 bytes of mask from a client; the payload
/// ```
///
/// **Source**: RFC 6455, section 5.2.
package struct RawFrame: Sendable, Equatable {
  package static let text: UInt8 = 1
  package static let binary: UInt8 = 2
  package static let close: UInt8 = 8

  package let opcode: UInt8
  package let payload: [UInt8]

  package init(_ opcode: UInt8, _ payload: [UInt8]) {
    self.opcode = opcode
    self.payload = payload
  }

  /// The code in a close frame.
  package var closeCode: UInt16? {
    guard opcode == Self.close, payload.count >= 2 else { return nil }
    return UInt16(payload[0]) << 8 | UInt16(payload[1])
  }

  /// A whole message of a client.
  package var masked: [UInt8] {
    let mask: [UInt8] = [0x12, 0x34, 0x56, 0x78]
    return Self.maskedHead(opcode, count: payload.count) + mask
      + payload.enumerated().map { $1 ^ mask[$0 & 3] }
  }

  /// The beginning of a client's frame, up to its mask.
  package static func maskedHead(_ opcode: UInt8, count: Int) -> [UInt8] {
    let first: UInt8 = 0x80 | opcode
    switch count {
    case ..<126: return [first, 0x80 | UInt8(count)]
    case ..<65_536: return [first, 0x80 | 126, UInt8(count >> 8), UInt8(count & 0xff)]
    default:
      return [first, 0x80 | 127]
        + (0..<8).reversed().map { UInt8(truncatingIfNeeded: count >> ($0 * 8)) }
    }
  }

  /// The first frame of what a server has sent, and its length in bytes; `nil` until it is whole.
  package static func first(in bytes: [UInt8]) -> (frame: RawFrame, count: Int)? {
    guard bytes.count >= 2 else { return nil }
    var start = 2
    var count = Int(bytes[1] & 0x7f)
    if count >= 126 {
      start += count == 126 ? 2 : 8
      guard bytes.count >= start else { return nil }
      count = bytes[2..<start].reduce(0) { $0 << 8 | Int($1) }
    }
    guard bytes.count >= start + count else { return nil }
    return (RawFrame(bytes[0] & 0x0f, Array(bytes[start..<start + count])), start + count)
  }
}

extension RawConnection {
  /// The key is that of the RFC's example, so that the answer is known:
  /// `s3pPLMBiTxaQ9kYGzzhZRbK+xOo=`.
  ///
  /// - Parameter lines: further header lines.
  package static func upgradeRequest(_ target: String, subprotocol: String, _ lines: [String])
    -> String
  {
    let head = [
      "GET \(target) HTTP/1.1", "Host: chat.test", "Upgrade: websocket", "Connection: Upgrade",
      "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Protocol: \(subprotocol)",
    ]
    return (head + lines).map { $0 + "\r\n" }.joined() + "\r\n"
  }

  /// **Returns**: the header of the answer, which is forgotten; frames may come right behind it.
  package func head() async throws -> String {
    let blankLine = Array("\r\n\r\n".utf8)
    let bytes = try await read { bytes in
      bytes.indices.contains { bytes[$0...].starts(with: blankLine) }
    }
    let end = bytes.indices.first { bytes[$0...].starts(with: blankLine) } ?? bytes.endIndex
    try await forget(end + blankLine.count)
    return String(decoding: bytes[..<end], as: UTF8.self)
  }
}

/// What a frame carries. **Source**: RFC 6455, section 11.8.
package enum WebSocketOpcode: UInt8, Sendable {
  case continuation = 0x0
  case text = 0x1
  case binary = 0x2
  case close = 0x8
  case ping = 0x9
  case pong = 0xa

  /// Whether it is a ping, pong or close: short and never split.
  package var isControl: Bool { rawValue & 0x8 != 0 }
}

/// The start of a frame.
///
/// **Shape** (network byte order):
/// ```
///  byte 0              byte 1            then
/// +-----+-----+-------+------+---------+----------------------------+------------------+
/// | FIN | RSV | opcode| MASK | length  | 2 bytes when length is 126 | 4 bytes of key   |
/// |  1  |  3  |   4   |  1   |    7    | 8 bytes when length is 127 | when MASK is set |
/// +-----+-----+-------+------+---------+----------------------------+------------------+
/// ```
///
/// **Source**: RFC 6455, section 5.2.
struct FrameHeader: Sendable {
  static let bytesMax = 14

  let isFinal: Bool
  let opcode: WebSocketOpcode
  let payloadBytes: Int
  /// As loaded from the wire without swapping: its first byte in memory masks the first byte.
  let maskingKey: UInt32
  let headerBytes: Int

  /// Reads a header from the front of `bytes`. Whatever is there is checked at once, so a bad
  /// first byte is refused before the second has come.
  ///
  /// **Returns**: `nil` when more bytes are needed.
  static func parse(
    _ bytes: UnsafeRawBufferPointer, role: WebSocketRole, frameBytesMax: Int, inMessage: Bool
  ) throws(WebSocketError) -> FrameHeader? {
    guard let first = bytes.first else { return nil }
    guard first & 0x70 == 0 else { throw .reservedBitsSet }
    guard let opcode = WebSocketOpcode(rawValue: first & 0x0f) else {
      throw .unknownOpcode(first & 0x0f)
    }
    let isFinal = first & 0x80 != 0
    if opcode.isControl {
      guard isFinal else { throw .controlFrameFragmented }
    } else if opcode == .continuation {
      guard inMessage else { throw .continuationWithoutStart }
    } else {
      guard !inMessage else { throw .messageInterrupted }
    }

    guard bytes.count >= 2 else { return nil }
    let isMasked = bytes[1] & 0x80 != 0
    switch role {
    case .server: guard isMasked else { throw .unmaskedClientFrame }
    case .client: guard !isMasked else { throw .maskedServerFrame }
    }
    let short = bytes[1] & 0x7f
    guard !opcode.isControl || short <= WebSocketLimits.controlBytesMax else {
      throw .controlFrameTooLong
    }
    let lengthEnd = short < 126 ? 2 : (short == 126 ? 4 : 10)
    guard bytes.count >= lengthEnd else { return nil }
    let length = try payloadLength(bytes, short: short)
    guard opcode.isControl || length <= UInt64(max(frameBytesMax, 0)) else {
      throw .frameTooLong(bytes: length)
    }

    let headerEnd = lengthEnd + (isMasked ? 4 : 0)
    guard bytes.count >= headerEnd else { return nil }
    return FrameHeader(
      isFinal: isFinal, opcode: opcode, payloadBytes: Int(length),
      maskingKey: isMasked ? bytes.loadUnaligned(fromByteOffset: lengthEnd, as: UInt32.self) : 0,
      headerBytes: headerEnd)
  }

  /// The shortest form is required, and the highest bit of the longest must be clear.
  private static func payloadLength(
    _ bytes: UnsafeRawBufferPointer, short: UInt8
  ) throws(WebSocketError) -> UInt64 {
    switch short {
    case 126:
      let length = UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      guard length > 125 else { throw .lengthNotMinimal }
      return UInt64(length)
    case 127:
      let length = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self))
      guard length > 0xffff else { throw .lengthNotMinimal }
      guard length <= UInt64(Int64.max) else { throw .frameTooLong(bytes: length) }
      return length
    default:
      return UInt64(short)
    }
  }
}

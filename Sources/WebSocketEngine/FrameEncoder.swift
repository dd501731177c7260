/// Makes frames. A server's frames carry no mask, so the bytes of one event serve every session.
///
/// Budget: one allocation and one copy; some 5 ns besides the allocation for 100 bytes.
///
/// **Source**: RFC 6455, section 5.2.
package enum FrameEncoder {
  /// A server's frame: header and payload in one array.
  package static func encode(
    _ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool = true
  ) -> [UInt8] {
    payload.withUnsafeBytes { encode(opcode, $0, isFinal: isFinal) }
  }

  package static func encode(
    _ opcode: WebSocketOpcode, _ payload: UnsafeRawBufferPointer, isFinal: Bool = true
  ) -> [UInt8] {
    frame(opcode, payload, isFinal: isFinal, maskingKey: nil)
  }

  /// A client's frame.
  ///
  /// - Parameter maskingKey: fresh from a strong source of randomness for every frame (RFC 6455,
  ///   section 10.3); the shell owns that source.
  package static func encodeMasked(
    _ opcode: WebSocketOpcode, _ payload: [UInt8], isFinal: Bool = true, maskingKey: UInt32
  ) -> [UInt8] {
    payload.withUnsafeBytes {
      frame(opcode, $0, isFinal: isFinal, maskingKey: maskingKey)
    }
  }

  /// The payload of a close frame: the code, big-endian, and as much of the reason as fits, cut
  /// between characters.
  package static func closePayload(_ code: WebSocketCloseCode?, reason: String = "") -> [UInt8] {
    guard let code else { return [] }
    precondition(code.maySend, "close code \(code) must not be sent")
    var payload = [UInt8(code.rawValue >> 8), UInt8(truncatingIfNeeded: code.rawValue)]
    for scalar in reason.unicodeScalars {
      let bytes = Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      guard payload.count + bytes.count <= WebSocketLimits.controlBytesMax else { break }
      payload.append(contentsOf: bytes)
    }
    return payload
  }

  private static func frame(
    _ opcode: WebSocketOpcode, _ payload: UnsafeRawBufferPointer, isFinal: Bool,
    maskingKey: UInt32?
  ) -> [UInt8] {
    precondition(
      !opcode.isControl || (isFinal && payload.count <= WebSocketLimits.controlBytesMax),
      "control frame of \(payload.count) bytes")
    let lengthEnd = payload.count < 126 ? 2 : (payload.count <= 0xffff ? 4 : 10)
    let headerBytes = lengthEnd + (maskingKey == nil ? 0 : 4)
    let total = headerBytes + payload.count
    return [UInt8](unsafeUninitializedCapacity: total) { buffer, count in
      let raw = UnsafeMutableRawBufferPointer(buffer)
      raw[0] = opcode.rawValue | (isFinal ? 0x80 : 0)
      let maskBit: UInt8 = maskingKey == nil ? 0 : 0x80
      switch lengthEnd {
      case 2:
        raw[1] = UInt8(payload.count) | maskBit
      case 4:
        raw[1] = 126 | maskBit
        raw.storeBytes(of: UInt16(payload.count).bigEndian, toByteOffset: 2, as: UInt16.self)
      default:
        raw[1] = 127 | maskBit
        raw.storeBytes(of: UInt64(payload.count).bigEndian, toByteOffset: 2, as: UInt64.self)
      }
      let body = UnsafeMutableRawBufferPointer(rebasing: raw[headerBytes..<total])
      if let maskingKey {
        raw.storeBytes(of: maskingKey, toByteOffset: lengthEnd, as: UInt32.self)
        FrameMask.apply(maskingKey, from: payload, to: body)
      } else {
        body.copyMemory(from: payload)
      }
      count = total
    }
  }
}

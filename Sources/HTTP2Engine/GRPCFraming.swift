/// What is wrong with a peer's message frames; the stream is to be reset.
package enum GRPCFramingError: Error, Hashable, Sendable {
  /// No compression was negotiated, so the flag must be zero.
  case compressed(flag: UInt8)
  case messageTooLarge(byteCount: Int)
}

/// gRPC's message frames.
///
/// **Shape**:
/// ```
/// offset 0        1                     5
///        +--------+---------------------+---------------- - - -
///        | flag 0 | length, big-endian  | message
///        +--------+---------------------+---------------- - - -
/// ```
/// **Source**: "gRPC over HTTP2", section Length-Prefixed-Message.
package enum GRPCFraming {
  /// The flag and the length. **Units**: bytes.
  package static let prefixBytes = 5

  /// Appends one message with its prefix.
  package static func append(_ message: [UInt8], to bytes: inout [UInt8]) {
    appendPrefix(messageBytes: message.count, to: &bytes)
    bytes.append(contentsOf: message)
  }

  /// Appends one message with its prefix.
  package static func append(_ message: ArraySlice<UInt8>, to bytes: inout [UInt8]) {
    appendPrefix(messageBytes: message.count, to: &bytes)
    bytes.append(contentsOf: message)
  }

  /// Appends what `body` appends, as one message.
  package static func appendMessage(
    to bytes: inout [UInt8], _ body: (inout [UInt8]) -> Void
  ) {
    let start = bytes.count
    appendPrefix(messageBytes: 0, to: &bytes)
    body(&bytes)
    let count = lengthField(bytes.count - start - prefixBytes)
    withUnsafeBytes(of: count) { field in
      for (offset, byte) in field.enumerated() { bytes[start + 1 + offset] = byte }
    }
  }

  /// **Returns**: one message with its prefix.
  package static func frame(_ message: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(prefixBytes + message.count)
    append(message, to: &bytes)
    return bytes
  }

  /// **Returns**: what goes before a message that is sent without a copy.
  package static func prefix(messageBytes: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(prefixBytes)
    appendPrefix(messageBytes: messageBytes, to: &bytes)
    return bytes
  }

  private static func appendPrefix(messageBytes: Int, to bytes: inout [UInt8]) {
    bytes.append(0)
    withUnsafeBytes(of: lengthField(messageBytes)) { bytes.append(contentsOf: $0) }
  }

  private static func lengthField(_ count: Int) -> UInt32 {
    precondition(count <= UInt32.max, "message of \(count) bytes")
    return UInt32(count).bigEndian
  }
}

/// Cuts the DATA of one stream into gRPC's messages.
///
/// A message that lies within one piece is given as a slice of it, uncopied; only one that crosses
/// pieces is put together. What is kept is at most one incomplete message and the last piece, and
/// grows with the bytes that came, not with the length that a peer promised.
package struct GRPCDeframer: Sendable {
  /// **Units**: bytes, without the prefix.
  package let messageBytesMax: Int

  /// The beginning of a message whose end has not come, with its prefix.
  private var partial: [UInt8] = []
  private var piece: [UInt8] = []
  private var offset = 0

  package init(messageBytesMax: Int) {
    self.messageBytesMax = messageBytesMax
  }

  /// Bytes of a message that is not complete: nonzero at the end of a stream means it was cut.
  package var pendingBytes: Int { partial.count + piece.count - offset }

  /// Takes the next piece of DATA in.
  package mutating func append(_ bytes: [UInt8]) {
    if offset == piece.count {
      piece = bytes
      offset = 0
    } else {
      piece.append(contentsOf: bytes)
    }
  }

  /// **Returns**: the next message without its prefix, or `nil` when more bytes are needed.
  ///
  /// **Throws**: the same error again on every call after the first.
  package mutating func next() throws(GRPCFramingError) -> ArraySlice<UInt8>? {
    if !partial.isEmpty { return try completePartial() }
    let available = piece.count - offset
    guard available >= GRPCFraming.prefixBytes else {
      keepRest()
      return nil
    }
    let count = try messageBytes(prefix: piece[offset...])
    guard available - GRPCFraming.prefixBytes >= count else {
      keepRest()
      return nil
    }
    let start = offset + GRPCFraming.prefixBytes
    offset = start + count
    return piece[start..<offset]
  }

  private mutating func completePartial() throws(GRPCFramingError) -> ArraySlice<UInt8>? {
    take(GRPCFraming.prefixBytes - partial.count)
    guard partial.count >= GRPCFraming.prefixBytes else { return nil }
    let total = GRPCFraming.prefixBytes + (try messageBytes(prefix: partial[...]))
    take(total - partial.count)
    guard partial.count == total else { return nil }
    defer { partial = [] }
    return partial[GRPCFraming.prefixBytes...]
  }

  private func messageBytes(prefix: ArraySlice<UInt8>) throws(GRPCFramingError) -> Int {
    let start = prefix.startIndex
    guard prefix[start] == 0 else { throw .compressed(flag: prefix[start]) }
    var count = 0
    for byte in prefix[start + 1..<start + GRPCFraming.prefixBytes] {
      count = count << 8 | Int(byte)
    }
    guard count <= messageBytesMax else { throw .messageTooLarge(byteCount: count) }
    return count
  }

  /// Moves up to `count` bytes from the piece to `partial`.
  private mutating func take(_ count: Int) {
    let end = offset + min(max(0, count), piece.count - offset)
    partial.append(contentsOf: piece[offset..<end])
    offset = end
  }

  private mutating func keepRest() {
    take(piece.count - offset)
    piece = []
    offset = 0
  }
}

/// Reads protobuf's wire format as `ProtobufReader` does, borrowing the bytes instead of owning
/// them: it and its fields are a few words that are never retained, which makes reading a frame
/// between nodes or a command three times as fast (0.15 µs instead of 0.6 µs for an
/// acknowledgement, measured). It is for the message path; `ProtobufReader` is for the rest.
///
/// **Invariant**: no input traps; every read is checked against the end. A reader and its fields
/// are used only inside of the `read` that made them; what outlives it is copied.
///
/// **Source**: protobuf.dev, "Encoding".
package struct ProtobufScanner {
  @usableFromInline let bytes: UnsafeRawBufferPointer
  @usableFromInline var offset = 0

  @inlinable init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// Lends a reader of these bytes to `body`.
  @inlinable
  package static func read<Value>(
    _ bytes: ArraySlice<UInt8>, _ body: (inout ProtobufScanner) throws(ProtobufError) -> Value
  ) throws(ProtobufError) -> Value {
    try bytes.withUnsafeBufferPointer { buffer throws(ProtobufError) in
      var reader = ProtobufScanner(UnsafeRawBufferPointer(buffer))
      return try body(&reader)
    }
  }

  @inlinable package var isAtEnd: Bool { offset == bytes.count }

  /// One field's number and value.
  package struct Field {
    package let number: Int
    @usableFromInline let wireType: UInt8
    /// The value of a varint or fixed field; the length of a length-delimited one.
    @usableFromInline let scalar: UInt64
    /// The value of a length-delimited field; empty for the others.
    @usableFromInline let payload: UnsafeRawBufferPointer
    /// Behind the value, counted from the beginning of what is scanned.
    @usableFromInline let end: Int

    @inlinable
    init(
      number: Int, wireType: UInt8, scalar: UInt64, payload: UnsafeRawBufferPointer, end: Int
    ) {
      self.number = number
      self.wireType = wireType
      self.scalar = scalar
      self.payload = payload
      self.end = end
    }
  }

  /// **Returns**: the next field, or `nil` at the end.
  @inlinable
  package mutating func next() throws(ProtobufError) -> Field? {
    guard offset < bytes.count else { return nil }
    let key = try varint()
    guard key >> 3 > 0, key >> 3 <= 0x1fff_ffff else { throw .invalidFieldNumber }
    let number = Int(truncatingIfNeeded: key >> 3)
    let wireType = UInt8(truncatingIfNeeded: key & 7)
    let scalar: UInt64
    var payload = UnsafeRawBufferPointer(start: nil, count: 0)
    switch wireType {
    case 0: scalar = try varint()
    case 1: scalar = UInt64(littleEndian: try fixed(UInt64.self))
    case 5: scalar = UInt64(UInt32(littleEndian: try fixed(UInt32.self)))
    case 2:
      scalar = try varint()
      guard scalar <= UInt64(bytes.count - offset) else { throw .truncated }
      let end = offset + Int(scalar)
      payload = UnsafeRawBufferPointer(rebasing: bytes[offset..<end])
      offset = end
    default: throw .unknownWireType(wireType)
    }
    return Field(
      number: number, wireType: wireType, scalar: scalar, payload: payload, end: offset)
  }

  @inlinable
  mutating func varint() throws(ProtobufError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while offset < bytes.count {
      let byte = bytes[offset]
      offset += 1
      if shift == 63, byte > 1 { throw .varintTooLong }
      value |= UInt64(byte & 0x7f) &<< shift
      if byte < 0x80 { return value }
      shift += 7
      if shift > 63 { throw .varintTooLong }
    }
    throw .truncated
  }

  @inlinable
  mutating func fixed<Value: BitwiseCopyable>(
    _ type: Value.Type
  ) throws(ProtobufError) -> Value {
    guard bytes.count - offset >= MemoryLayout<Value>.size else { throw .truncated }
    let value = bytes.loadUnaligned(fromByteOffset: offset, as: type)
    offset += MemoryLayout<Value>.size
    return value
  }
}

extension ProtobufScanner.Field {
  @inlinable
  package func uint64() throws(ProtobufError) -> UInt64 {
    guard wireType == 0 else { throw .wrongWireType(field: number) }
    return scalar
  }

  @inlinable
  package func uint32() throws(ProtobufError) -> UInt32 {
    guard let value = UInt32(exactly: try uint64()) else { throw .outOfRange(field: number) }
    return value
  }

  @inlinable package func int64() throws(ProtobufError) -> Int64 { Int64(bitPattern: try uint64()) }

  @inlinable
  package func bool() throws(ProtobufError) -> Bool { try uint64() != 0 }

  @inlinable
  package func fixed64() throws(ProtobufError) -> UInt64 {
    guard wireType == 1 else { throw .wrongWireType(field: number) }
    return scalar
  }

  @inlinable
  func delimited() throws(ProtobufError) -> UnsafeRawBufferPointer {
    guard wireType == 2 else { throw .wrongWireType(field: number) }
    return payload
  }

  /// A length-delimited field without a byte.
  @inlinable package var isEmpty: Bool { wireType == 2 && payload.isEmpty }

  /// **Returns**: a copy.
  @inlinable
  package func bytes() throws(ProtobufError) -> [UInt8] { Array(try delimited()) }

  @inlinable
  package func string() throws(ProtobufError) -> String {
    guard let text = String(utf8: try delimited()) else { throw .invalidUTF8(field: number) }
    return text
  }

  /// Where the value of a length-delimited field lies, counted from the beginning of what is
  /// scanned.
  @inlinable
  package func range() throws(ProtobufError) -> Range<Int> {
    end - (try delimited()).count..<end
  }

  /// What `body` makes of the value of a length-delimited field, without copying it.
  @inlinable
  package func withBytes<Value>(
    _ body: (UnsafeRawBufferPointer) -> Value
  ) throws(ProtobufError) -> Value {
    body(try delimited())
  }

  /// An identifier of 128 bits: exactly 16 big-endian bytes.
  @inlinable
  package func identifier() throws(ProtobufError) -> UInt128 {
    let bytes = try delimited()
    guard bytes.count == 16 else { throw .wrongLength(field: number) }
    return UInt128(bigEndian: bytes.loadUnaligned(as: UInt128.self))
  }

  @inlinable
  package func reader() throws(ProtobufError) -> ProtobufScanner {
    ProtobufScanner(try delimited())
  }
}

extension String {
  /// Text of these bytes, or nothing if they are not UTF-8. Half the time of
  /// `String(validating:as:)`, which is generic even where it need not be.
  package init?(utf8 bytes: UnsafeRawBufferPointer) {
    let span = Span<UInt8>(_unsafeElements: bytes.assumingMemoryBound(to: UInt8.self))
    guard let text = try? UTF8Span(validating: span) else { return nil }
    self.init(copying: text)
  }
}

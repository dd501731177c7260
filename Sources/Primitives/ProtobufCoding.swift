/// Writes protobuf's wire format by hand, for frames on the message path and for what is stored.
///
/// Fields are written in the order of the calls; default values are left out, as proto3 does, so
/// that the bytes equal those of generated code when the calls follow the field numbers.
///
/// **Source**: protobuf.dev, "Encoding".
package struct ProtobufWriter: Sendable {
  /// Everything that was written.
  @usableFromInline package internal(set) var bytes: [UInt8]

  package init(reservingBytes capacity: Int = 0) {
    bytes = []
    if capacity > 0 { bytes.reserveCapacity(capacity) }
  }

  /// Empties it and keeps its storage.
  package mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  /// A number of one to ten bytes, without a field's tag.
  @inlinable
  package mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  @inlinable
  mutating func tag(_ field: Int, _ wireType: UInt64) {
    varint(UInt64(field) << 3 | wireType)
  }

  /// A `uint64` or `uint32`; zero is left out.
  @inlinable
  package mutating func uint(_ field: Int, _ value: UInt64) {
    guard value != 0 else { return }
    tag(field, 0)
    varint(value)
  }

  /// A `uint32`; zero is left out.
  package mutating func uint(_ field: Int, _ value: UInt32) { uint(field, UInt64(value)) }

  /// A negative value takes ten bytes, as protobuf's `int64` does.
  package mutating func int(_ field: Int, _ value: Int64) { uint(field, UInt64(bitPattern: value)) }

  /// A `bool`; false is left out.
  package mutating func bool(_ field: Int, _ value: Bool) { uint(field, UInt64(value ? 1 : 0)) }

  /// Eight little-endian bytes; zero is left out.
  @inlinable
  package mutating func fixed64(_ field: Int, _ value: UInt64) {
    guard value != 0 else { return }
    tag(field, 1)
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  /// A `string`; the empty one is left out.
  package mutating func string(_ field: Int, _ value: String) {
    guard !value.isEmpty else { return }
    tag(field, 2)
    varint(UInt64(value.utf8.count))
    bytes.append(contentsOf: value.utf8)
  }

  /// A `bytes` field; an empty one is left out.
  package mutating func data(_ field: Int, _ value: [UInt8]) {
    guard !value.isEmpty else { return }
    element(field, value)
  }

  /// One element of a repeated `bytes` or message field: written even when empty.
  package mutating func element(_ field: Int, _ value: [UInt8]) {
    tag(field, 2)
    varint(UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  /// One element of a repeated `bytes` or message field: written even when empty.
  package mutating func element(_ field: Int, _ value: ArraySlice<UInt8>) {
    tag(field, 2)
    varint(UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  /// An identifier of 128 bits as 16 big-endian bytes; zero is left out.
  package mutating func identifier(_ field: Int, _ value: UInt128) {
    guard value != 0 else { return }
    tag(field, 2)
    varint(16)
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }

  /// A nested message. Its length is written after its body is known, by moving the body when the
  /// length needs more than one byte.
  package mutating func message(_ field: Int, _ body: (inout ProtobufWriter) -> Void) {
    tag(field, 2)
    let lengthOffset = bytes.count
    bytes.append(0)
    body(&self)
    let length = bytes.count - lengthOffset - 1
    if length < 0x80 {
      bytes[lengthOffset] = UInt8(length)
      return
    }
    // Room is made in place: a second list for the length would be an allocation for each message.
    let lengthBytes = (Int.bitWidth - length.leadingZeroBitCount + 6) / 7
    bytes.insert(contentsOf: repeatElement(0, count: lengthBytes - 1), at: lengthOffset)
    var rest = length
    for offset in lengthOffset..<lengthOffset + lengthBytes {
      let isLast = offset == lengthOffset + lengthBytes - 1
      bytes[offset] = UInt8(truncatingIfNeeded: rest & 0x7f) | (isLast ? 0 : 0x80)
      rest >>= 7
    }
  }
}

/// What a hand-written decoder found wrong with bytes from a peer, a client or a disk.
package enum ProtobufError: Error, Equatable, Sendable {
  case truncated
  case varintTooLong
  case unknownWireType(UInt8)
  case wrongWireType(field: Int)
  case invalidFieldNumber
  case invalidUTF8(field: Int)
  case wrongLength(field: Int)
  case missingField(Int)
  case unknownVariant
  case outOfRange(field: Int)
}

/// Reads protobuf's wire format, and keeps what it reads alive. Unknown fields are skipped by the
/// caller's `default`. On the message path `ProtobufScanner` does the same in less time.
///
/// **Invariant**: no input traps; every read is checked against the end.
package struct ProtobufReader: Sendable {
  /// What was not read yet.
  package private(set) var rest: ArraySlice<UInt8>

  package init(_ bytes: ArraySlice<UInt8>) { rest = bytes }
  package init(_ bytes: [UInt8]) { rest = bytes[...] }

  /// One field's number and where its value lies.
  package struct Field: Sendable {
    package let number: Int
    package let wireType: UInt8
    /// The value of a varint or fixed field; the length of a length-delimited one.
    package let scalar: UInt64
    /// The value of a length-delimited field; empty for the others.
    package let payload: ArraySlice<UInt8>
  }

  /// **Returns**: the next field, or `nil` at the end.
  package mutating func next() throws(ProtobufError) -> Field? {
    guard !rest.isEmpty else { return nil }
    let key = try varint()
    let number = Int(truncatingIfNeeded: key >> 3)
    guard number > 0, key >> 3 <= 0x1fff_ffff else { throw .invalidFieldNumber }
    switch key & 7 {
    case 0:
      return Field(number: number, wireType: 0, scalar: try varint(), payload: [])
    case 1:
      return Field(number: number, wireType: 1, scalar: try fixed(8), payload: [])
    case 5:
      return Field(number: number, wireType: 5, scalar: try fixed(4), payload: [])
    case 2:
      let length = try varint()
      guard length <= UInt64(rest.count) else { throw .truncated }
      let payload = rest.prefix(Int(length))
      rest = rest.dropFirst(Int(length))
      return Field(number: number, wireType: 2, scalar: length, payload: payload)
    case let other:
      throw .unknownWireType(UInt8(other))
    }
  }

  private mutating func varint() throws(ProtobufError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    var index = rest.startIndex
    while index < rest.endIndex {
      let byte = rest[index]
      index += 1
      if shift == 63, byte > 1 { throw .varintTooLong }
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 {
        rest = rest[index...]
        return value
      }
      shift += 7
      if shift > 63 { throw .varintTooLong }
    }
    throw .truncated
  }

  private mutating func fixed(_ count: Int) throws(ProtobufError) -> UInt64 {
    guard rest.count >= count else { throw .truncated }
    var value: UInt64 = 0
    for (offset, byte) in rest.prefix(count).enumerated() {
      value |= UInt64(byte) << (8 * UInt64(offset))
    }
    rest = rest.dropFirst(count)
    return value
  }
}

extension ProtobufReader.Field {
  /// The value of a varint. **Throws**: `wrongWireType` for another kind of field.
  package func uint64() throws(ProtobufError) -> UInt64 {
    guard wireType == 0 else { throw .wrongWireType(field: number) }
    return scalar
  }

  /// The same within 32 bits. **Throws**: `outOfRange` beyond.
  package func uint32() throws(ProtobufError) -> UInt32 {
    guard let value = UInt32(exactly: try uint64()) else { throw .outOfRange(field: number) }
    return value
  }

  /// The value of an `int64`, which is no zigzag.
  package func int64() throws(ProtobufError) -> Int64 { Int64(bitPattern: try uint64()) }

  /// Anything but zero is true.
  package func bool() throws(ProtobufError) -> Bool { try uint64() != 0 }

  /// The value of a field of eight bytes.
  package func fixed64() throws(ProtobufError) -> UInt64 {
    guard wireType == 1 else { throw .wrongWireType(field: number) }
    return scalar
  }

  /// The value of a length-delimited field, as a slice of what is read.
  package func bytes() throws(ProtobufError) -> ArraySlice<UInt8> {
    guard wireType == 2 else { throw .wrongWireType(field: number) }
    return payload
  }

  /// The same as text. **Throws**: `invalidUTF8`.
  package func string() throws(ProtobufError) -> String {
    let text = try bytes().withUnsafeBytes { String(utf8: $0) }
    guard let text else { throw .invalidUTF8(field: number) }
    return text
  }

  /// An identifier of 128 bits: exactly 16 big-endian bytes.
  package func identifier() throws(ProtobufError) -> UInt128 {
    let payload = try bytes()
    guard payload.count == 16 else { throw .wrongLength(field: number) }
    var value: UInt128 = 0
    for byte in payload { value = value << 8 | UInt128(byte) }
    return value
  }

  /// Reads the message in a length-delimited field.
  package func reader() throws(ProtobufError) -> ProtobufReader { ProtobufReader(try bytes()) }
}

/// Walks over the fields of a protobuf message where it lies.
///
/// **Source**: protobuf.dev, "Encoding".
struct ProtobufFields {
  enum Value {
    case number(UInt64)
    case bytes(UnsafeRawBufferPointer)
    case skipped
  }

  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private(set) var isBroken = false

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// **Returns**: `nil` at the end, and where something is broken.
  mutating func next() -> (field: Int, value: Value)? {
    guard position < bytes.count, let key = varint() else { return nil }
    let field = Int(truncatingIfNeeded: key >> 3)
    switch key & 7 {
    case 0:
      guard let value = varint() else { return nil }
      return (field, .number(value))
    case 1: return skip(8) ? (field, .skipped) : nil
    case 5: return skip(4) ? (field, .skipped) : nil
    case 2:
      guard let length = varint(), length <= UInt64(bytes.count - position) else {
        return broken()
      }
      let slice = UnsafeRawBufferPointer(rebasing: bytes[position..<position + Int(length)])
      position += Int(length)
      return (field, .bytes(slice))
    default: return broken()
    }
  }

  private mutating func broken() -> (field: Int, value: Value)? {
    isBroken = true
    position = bytes.count
    return nil
  }

  private mutating func skip(_ count: Int) -> Bool {
    guard count <= bytes.count - position else {
      isBroken = true
      position = bytes.count
      return false
    }
    position += count
    return true
  }

  private mutating func varint() -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while position < bytes.count, shift < 64 {
      let byte = bytes[position]
      position += 1
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    isBroken = true
    position = bytes.count
    return nil
  }

  // MARK: Writing

  static func append(_ field: UInt8, _ text: String, to bytes: inout [UInt8]) {
    bytes.append(field << 3 | 2)
    append(varint: UInt64(text.utf8.count), to: &bytes)
    bytes.append(contentsOf: text.utf8)
  }

  static func append(_ field: UInt8, _ value: [UInt8], to bytes: inout [UInt8]) {
    bytes.append(field << 3 | 2)
    append(varint: UInt64(value.count), to: &bytes)
    bytes.append(contentsOf: value)
  }

  static func append(_ field: UInt8, _ value: UInt64, to bytes: inout [UInt8]) {
    bytes.append(field << 3)
    append(varint: value, to: &bytes)
  }

  static func append(varint value: UInt64, to bytes: inout [UInt8]) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}

extension UnsafeRawBufferPointer {
  var text: String { String(decoding: self, as: UTF8.self) }
}

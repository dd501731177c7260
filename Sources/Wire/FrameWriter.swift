/// Writes protobuf's wire format as `ProtobufWriter` does, for frames between nodes: one check of
/// the buffer per field, and nothing called across modules.
///
/// Fields are written in the order of the calls, and default values are left out unless the
/// function says otherwise. Field numbers are below 16, so that a tag is one byte.
///
/// **Source**: protobuf.dev, "Encoding".
struct FrameWriter: Sendable {
  private(set) var bytes: [UInt8] = []

  /// **Units**: bytes. A tag and the longest varint; a tag and 8 or 16 bytes.
  private static let varintFieldMax = 11
  private static let fixedFieldBytes = 9
  private static let identifierFieldBytes = 18

  init(reservingBytes capacity: Int = 0) {
    if capacity > 0 { bytes.reserveCapacity(capacity) }
  }

  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  mutating func uint(_ field: Int, _ value: UInt64) {
    if value != 0 { present(field, value) }
  }

  mutating func uint(_ field: Int, _ value: UInt32) { uint(field, UInt64(value)) }

  /// A negative value takes ten bytes, as protobuf's `int64` does.
  mutating func int(_ field: Int, _ value: Int64) { uint(field, UInt64(bitPattern: value)) }

  mutating func bool(_ field: Int, _ value: Bool) { uint(field, UInt64(value ? 1 : 0)) }

  /// A number of a field with presence (`optional`, or a variant of a oneof): written even when
  /// zero.
  mutating func present(_ field: Int, _ value: UInt64) {
    bytes.append(addingCapacity: Self.varintFieldMax) { output in
      output.append(Self.tag(field, wireType: 0))
      output.appendVarint(value)
    }
  }

  mutating func fixed64(_ field: Int, _ value: UInt64) {
    guard value != 0 else { return }
    bytes.append(addingCapacity: Self.fixedFieldBytes) { output in
      output.append(Self.tag(field, wireType: 1))
      output.appendLittleEndian(value)
    }
  }

  /// An identifier of 128 bits as 16 big-endian bytes; zero is left out.
  mutating func identifier(_ field: Int, _ value: UInt128) {
    guard value != 0 else { return }
    bytes.append(addingCapacity: Self.identifierFieldBytes) { output in
      output.append(Self.tag(field, wireType: 2))
      output.append(16)
      output.appendLittleEndian(UInt64(truncatingIfNeeded: value >> 64).byteSwapped)
      output.appendLittleEndian(UInt64(truncatingIfNeeded: value).byteSwapped)
    }
  }

  /// The beginning of a length-delimited field whose length is known beforehand.
  mutating func header(_ field: Int, bytes length: Int) {
    bytes.append(addingCapacity: Self.varintFieldMax) { output in
      output.appendVarint(UInt64(field) << 3 | 2)
      output.appendVarint(UInt64(length))
    }
  }

  mutating func string(_ field: Int, _ value: String) {
    guard !value.isEmpty else { return }
    var value = value
    value.withUTF8 { text in
      header(field, bytes: text.count)
      bytes.append(contentsOf: text)
    }
  }

  mutating func data(_ field: Int, _ value: [UInt8]) {
    if !value.isEmpty { element(field, value) }
  }

  /// A `bytes` or message field that is written even when it is empty.
  mutating func element(_ field: Int, _ value: [UInt8]) {
    header(field, bytes: value.count)
    bytes.append(contentsOf: value)
  }

  /// A nested message. Its body is moved when its length turns out to need more than one byte.
  mutating func message(_ field: Int, _ body: (inout FrameWriter) -> Void) {
    header(field, bytes: 0)
    let start = bytes.count
    body(&self)
    let length = bytes.count - start
    if length < 0x80 {
      bytes[start - 1] = UInt8(length)
    } else {
      var prefix: [UInt8] = []
      prefix.append(addingCapacity: Self.varintFieldMax) { $0.appendVarint(UInt64(length)) }
      bytes.replaceSubrange(start - 1..<start, with: prefix)
    }
  }

  /// Of a field that is no message: those have numbers below 16, which fit in one byte.
  private static func tag(_ field: Int, wireType: UInt8) -> UInt8 {
    assert(field < 16, "field \(field) needs a tag of two bytes")
    return UInt8(truncatingIfNeeded: field) << 3 | wireType
  }
}

extension OutputSpan<UInt8> {
  fileprivate mutating func appendVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(truncatingIfNeeded: rest))
  }

  fileprivate mutating func appendLittleEndian(_ value: UInt64) {
    for position in 0..<8 {
      append(UInt8(truncatingIfNeeded: value &>> UInt64(8 * position)))
    }
  }
}

/// Lengths of fields, as `FrameWriter` writes them.
///
/// **Units**: bytes.
enum FieldBytes {
  static func varint(_ value: UInt64) -> Int { (70 - (value | 1).leadingZeroBitCount) / 7 }
  static func uint(_ value: UInt64) -> Int { value == 0 ? 0 : 1 + varint(value) }
  static func fixed64(_ value: UInt64) -> Int { value == 0 ? 0 : 9 }
  static func identifier(_ value: UInt128) -> Int { value == 0 ? 0 : 18 }
  static func bool(_ value: Bool) -> Int { value ? 2 : 0 }
  static func element(_ bytes: Int) -> Int { 1 + varint(UInt64(bytes)) + bytes }
  static func string(_ value: String) -> Int { value.isEmpty ? 0 : element(value.utf8.count) }
}

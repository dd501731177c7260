/// Writes JSON, field by field, in protobuf's JSON mapping: 64-bit integers are strings,
/// default values are left out, and the characters that are escaped are those that swift-protobuf
/// escapes, so that both give the same bytes.
///
/// **Source**: protobuf.dev, "ProtoJSON Format".
struct JSONFieldWriter: FieldWriter {
  private(set) var bytes: [UInt8]
  /// Decimal digits of the greatest number.
  private static let digitsMax = 20
  /// Nothing was written into the current object yet.
  private var atStart = true

  init(reservingBytes capacity: Int) {
    bytes = []
    bytes.reserveCapacity(capacity)
  }

  mutating func object(_ write: (inout Self) -> Void) {
    bytes.append(UInt8(ascii: "{"))
    let outer = atStart
    atStart = true
    write(&self)
    atStart = outer
    bytes.append(UInt8(ascii: "}"))
  }

  /// An array of objects.
  mutating func objects<Value>(_ values: [Value], _ write: (Value, inout Self) -> Void) {
    list(values) { value, writer in writer.object { write(value, &$0) } }
  }

  private mutating func key(_ name: StaticString) {
    bytes.append(addingCapacity: name.utf8CodeUnitCount + 4) { output in
      if !atStart { output.append(UInt8(ascii: ",")) }
      output.append(UInt8(ascii: "\""))
      for position in 0..<name.utf8CodeUnitCount { output.append(name.utf8Start[position]) }
      output.append(UInt8(ascii: "\""))
      output.append(UInt8(ascii: ":"))
    }
    atStart = false
  }

  private mutating func literal(_ text: StaticString) {
    bytes.append(
      contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  private mutating func digits(_ value: UInt64) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.digitsMax) { buffer in
      var rest = value
      var start = buffer.count
      repeat {
        start -= 1
        buffer.initializeElement(at: start, to: UInt8(ascii: "0") + UInt8(rest % 10))
        rest /= 10
      } while rest != 0
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: buffer[start...]))
    }
  }
}

// MARK: FieldWriter

extension JSONFieldWriter {
  mutating func string(_ number: Int, _ name: StaticString, _ value: String) {
    guard !value.isEmpty else { return }
    key(name)
    quoted(value)
  }

  mutating func strings(_ number: Int, _ name: StaticString, _ values: [String]) {
    guard !values.isEmpty else { return }
    key(name)
    list(values) { $1.quoted($0) }
  }

  mutating func uint64(_ number: Int, _ name: StaticString, _ value: UInt64) {
    if value != 0 { presentUInt64(number, name, value) }
  }

  mutating func presentUInt64(_ number: Int, _ name: StaticString, _ value: UInt64) {
    key(name)
    bytes.append(UInt8(ascii: "\""))
    digits(value)
    bytes.append(UInt8(ascii: "\""))
  }

  mutating func uint32(_ number: Int, _ name: StaticString, _ value: UInt32) {
    if value != 0 { presentUInt32(number, name, value) }
  }

  mutating func presentUInt32(_ number: Int, _ name: StaticString, _ value: UInt32) {
    key(name)
    digits(UInt64(value))
  }

  mutating func bool(_ number: Int, _ name: StaticString, _ value: Bool) {
    if value { presentBool(number, name, value) }
  }

  mutating func presentBool(_ number: Int, _ name: StaticString, _ value: Bool) {
    key(name)
    literal(value ? "true" : "false")
  }

  mutating func identifier(
    _ number: Int, _ name: StaticString, _ value: UInt128, prefix: UInt8
  ) {
    key(name)
    bytes.append(UInt8(ascii: "\""))
    IdentifierText.append(value, prefix: prefix, to: &bytes)
    bytes.append(UInt8(ascii: "\""))
  }

  mutating func message(
    _ number: Int, _ name: StaticString, _ write: (inout Self) -> Void
  ) {
    key(name)
    object(write)
  }

  mutating func messages<Value>(
    _ number: Int, _ name: StaticString, _ values: [Value], present: Bool,
    _ write: (Value, inout Self) -> Void
  ) {
    guard present || !values.isEmpty else { return }
    key(name)
    objects(values, write)
  }

  private mutating func list<Value>(_ values: [Value], _ write: (Value, inout Self) -> Void) {
    bytes.append(UInt8(ascii: "["))
    for (position, value) in values.enumerated() {
      if position > 0 { bytes.append(UInt8(ascii: ",")) }
      write(value, &self)
    }
    bytes.append(UInt8(ascii: "]"))
  }
}

// MARK: Strings

extension JSONFieldWriter {
  private static let hexDigits: [UInt8] = Array("0123456789ABCDEF".utf8)

  private mutating func quoted(_ value: String) {
    bytes.append(UInt8(ascii: "\""))
    var value = value
    value.withUTF8 { text in
      var written = 0
      var position = 0
      while true {
        position += JSONText.plainCount(UnsafeRawBufferPointer(text), from: position)
        guard position < text.count else { break }
        let byte = text[position]
        // U+0080 to U+009F are two bytes, C2 80 to C2 9F; other characters begin with C2 as well.
        let isC1 = byte == 0xc2 && text[position + 1] < 0xa0
        guard isC1 || JSONText.needsEscape(byte) else {
          position += 1
          continue
        }
        bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[written..<position]))
        escape(isC1 ? text[position + 1] : byte)
        position += isC1 ? 2 : 1
        written = position
      }
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[written...]))
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func escape(_ byte: UInt8) {
    switch byte {
    case 0x08: literal("\\b")
    case 0x09: literal("\\t")
    case 0x0a: literal("\\n")
    case 0x0c: literal("\\f")
    case 0x0d: literal("\\r")
    case UInt8(ascii: "\""): literal("\\\"")
    case UInt8(ascii: "\\"): literal("\\\\")
    default:
      literal("\\u00")
      bytes.append(Self.hexDigits[Int(byte >> 4)])
      bytes.append(Self.hexDigits[Int(byte & 15)])
    }
  }
}

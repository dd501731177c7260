import Primitives

/// Fields of client.proto in protobuf's wire format.
struct ProtobufFieldReader: FieldReader {
  private var reader: ProtobufReader
  private var current: ProtobufReader.Field?
  private(set) var field: StaticString = "message"

  init(_ bytes: ArraySlice<UInt8>) { reader = ProtobufReader(bytes) }

  mutating func next(_ names: FieldNames) throws(WireFault) -> Int? {
    while true {
      do {
        current = try reader.next()
      } catch {
        throw .malformed("\(error)")
      }
      guard let current else { return nil }
      if let entry = names.entry(number: current.number) {
        field = entry.name
        return entry.number
      }
    }
  }

  mutating func stringBytes() throws(WireFault) -> ArraySlice<UInt8> {
    guard let current, current.wireType == 2 else { throw fault("must be a string") }
    return current.payload
  }

  mutating func uint64() throws(WireFault) -> UInt64 {
    guard let current, current.wireType == 0 else {
      throw fault("must be a whole number from 0 to \(UInt64.max)")
    }
    return current.scalar
  }

  mutating func bool() throws(WireFault) -> Bool {
    guard let current, current.wireType == 0 else { throw fault("must be true or false") }
    return current.scalar != 0
  }

  mutating func message<Value>(
    _ read: (inout Self) throws(WireFault) -> Value
  ) throws(WireFault) -> Value {
    guard let current, current.wireType == 2 else { throw fault("must be a message") }
    var nested = Self(current.payload)
    nested.field = field
    return try read(&nested)
  }

  mutating func elements(_ read: (inout Self) throws(WireFault) -> Void) throws(WireFault) {
    try read(&self)
  }
}

extension ProtobufWriter: FieldWriter {
  mutating func string(_ number: Int, _ name: StaticString, _ value: String) {
    string(number, value)
  }

  mutating func strings(_ number: Int, _ name: StaticString, _ values: [String]) {
    for value in values { element(number, Array(value.utf8)) }
  }

  mutating func uint64(_ number: Int, _ name: StaticString, _ value: UInt64) {
    uint(number, value)
  }

  mutating func presentUInt64(_ number: Int, _ name: StaticString, _ value: UInt64) {
    present(number, value)
  }

  mutating func uint32(_ number: Int, _ name: StaticString, _ value: UInt32) {
    uint(number, value)
  }

  mutating func presentUInt32(_ number: Int, _ name: StaticString, _ value: UInt32) {
    present(number, UInt64(value))
  }

  mutating func bool(_ number: Int, _ name: StaticString, _ value: Bool) { bool(number, value) }

  mutating func presentBool(_ number: Int, _ name: StaticString, _ value: Bool) {
    present(number, value ? 1 : 0)
  }

  mutating func identifier(
    _ number: Int, _ name: StaticString, _ value: UInt128, prefix: UInt8
  ) {
    var text: [UInt8] = []
    text.reserveCapacity(IdentifierText.bytes)
    IdentifierText.append(value, prefix: prefix, to: &text)
    element(number, text)
  }

  mutating func message(
    _ number: Int, _ name: StaticString, _ write: (inout Self) -> Void
  ) {
    message(number, write)
  }

  mutating func messages<Value>(
    _ number: Int, _ name: StaticString, _ values: [Value], present: Bool,
    _ write: (Value, inout Self) -> Void
  ) {
    for value in values { message(number) { write(value, &$0) } }
  }
}

extension ProtobufWriter {
  /// A number of a field with presence (`optional`, or a variant of a oneof): written even when
  /// zero.
  mutating func present(_ field: Int, _ value: UInt64) {
    varint(UInt64(field) << 3)
    varint(value)
  }
}

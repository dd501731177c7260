/// A strict reader of JSON (RFC 8259) that builds no tree: fields are taken from the bytes as they
/// are asked for, and what nobody asks for is checked and skipped.
///
/// Differs from the RFC's grammar in nothing; of what the RFC leaves open, a field given twice is
/// refused, a string with half a surrogate pair is refused, and nesting has a bound.
///
/// **Source**: RFC 8259; protobuf.dev, "ProtoJSON Format".
struct JSONFieldReader: FieldReader {
  /// Deeper nesting is refused as malformed. The deepest message of the schema has six levels.
  static let nestingDepthMax = 32

  private let bytes: ArraySlice<UInt8>
  private var offset: Int
  /// No member of the current object was read yet.
  private var atStart = true
  private var depth = 0
  /// The numbers of the fields of the current object that were read, one bit each.
  private var seen: UInt64 = 0
  private(set) var field: StaticString = "message"

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    offset = bytes.startIndex
  }

  /// The byte at hand; zero, which starts nothing, at the end.
  private var byte: UInt8 { offset < bytes.endIndex ? bytes[offset] : 0 }

  private mutating func skipSpace() {
    while offset < bytes.endIndex {
      switch bytes[offset] {
      case 0x20, 0x0a, 0x0d, 0x09: offset += 1
      default: return
      }
    }
  }

  private func malformed(_ expected: String) -> WireFault {
    .malformed("expected \(expected) at byte \(offset - bytes.startIndex)")
  }

  /// The value at hand is of another kind, or is none at all.
  private func mismatch(_ allowed: String) -> WireFault {
    var ahead = self
    do throws(WireFault) {
      try ahead.skipValue()
      return fault(allowed)
    } catch {
      return error
    }
  }

  private mutating func take(_ symbol: Character, _ value: UInt8) throws(WireFault) {
    guard byte == value else { throw malformed("'\(symbol)'") }
    offset += 1
  }

  private mutating func literal(_ text: StaticString) throws(WireFault) {
    for position in 0..<text.utf8CodeUnitCount {
      guard byte == text.utf8Start[position] else { throw malformed(text.description) }
      offset += 1
    }
  }
}

// MARK: Values that can be told apart before they are read

extension JSONFieldReader {
  /// Where reading stands; `rewind(to:)` goes back.
  struct Mark {
    fileprivate let offset: Int
    fileprivate let depth: Int
    fileprivate let field: StaticString
  }

  var mark: Mark { Mark(offset: offset, depth: depth, field: field) }

  mutating func rewind(to mark: Mark) {
    offset = mark.offset
    depth = mark.depth
    field = mark.field
  }

  /// Whether an array comes next; passes white space.
  mutating func isAtArray() -> Bool {
    skipSpace()
    return byte == UInt8(ascii: "[")
  }

  /// Whether a string comes next.
  var isAtString: Bool { byte == UInt8(ascii: "\"") }

  /// **Throws**: `malformed` unless only white space is left.
  mutating func finish() throws(WireFault) {
    skipSpace()
    guard offset == bytes.endIndex else { throw malformed("the end") }
  }
}

// MARK: FieldReader

extension JSONFieldReader {
  mutating func next(_ names: FieldNames) throws(WireFault) -> Int? {
    while true {
      skipSpace()
      if byte == UInt8(ascii: "}") {
        offset += 1
        return nil
      }
      if !atStart {
        try take(",", UInt8(ascii: ","))
        skipSpace()
      }
      atStart = false
      let key = try rawString()
      skipSpace()
      try take(":", UInt8(ascii: ":"))
      skipSpace()
      let name = key.isEscaped ? try unescaped(key, lenient: true)[...] : bytes[key.range]
      guard let entry = names.entry(key: name) else {
        try checkSkipped(key)
        try skipValue()
        continue
      }
      field = entry.name
      let bit = UInt64(1) << UInt64(entry.number)
      guard seen & bit == 0 else { throw fault("must be given once") }
      seen |= bit
      if byte == UInt8(ascii: "n") {
        try literal("null")
        continue
      }
      return entry.number
    }
  }

  mutating func stringBytes() throws(WireFault) -> ArraySlice<UInt8> {
    skipSpace()
    guard isAtString else { throw mismatch("must be a string") }
    let string = try rawString()
    return string.isEscaped ? try unescaped(string)[...] : bytes[string.range]
  }

  mutating func uint64() throws(WireFault) -> UInt64 {
    skipSpace()
    let digits: ArraySlice<UInt8>
    if isAtString {
      digits = try stringBytes()
    } else {
      let start = offset
      try skipNumberOrFault()
      digits = bytes[start..<offset]
    }
    guard let value = JSONNumber.uint64(digits) else {
      throw fault("must be a whole number from 0 to \(UInt64.max)")
    }
    return value
  }

  mutating func bool() throws(WireFault) -> Bool {
    skipSpace()
    switch byte {
    case UInt8(ascii: "t"):
      try literal("true")
      return true
    case UInt8(ascii: "f"):
      try literal("false")
      return false
    default:
      throw mismatch("must be true or false")
    }
  }

  mutating func message<Value>(
    _ read: (inout Self) throws(WireFault) -> Value
  ) throws(WireFault) -> Value {
    skipSpace()
    guard byte == UInt8(ascii: "{") else { throw mismatch("must be an object") }
    try descend()
    let (outerField, outerAtStart, outerSeen) = (field, atStart, seen)
    (atStart, seen) = (true, 0)
    let value = try read(&self)
    (field, atStart, seen) = (outerField, outerAtStart, outerSeen)
    depth -= 1
    return value
  }

  mutating func elements(_ read: (inout Self) throws(WireFault) -> Void) throws(WireFault) {
    skipSpace()
    guard byte == UInt8(ascii: "[") else { throw mismatch("must be an array") }
    try descend()
    skipSpace()
    if byte == UInt8(ascii: "]") {
      offset += 1
    } else {
      while true {
        try read(&self)
        skipSpace()
        if byte == UInt8(ascii: "]") {
          offset += 1
          break
        }
        try take(",", UInt8(ascii: ","))
        skipSpace()
      }
    }
    depth -= 1
  }

  private mutating func descend() throws(WireFault) {
    depth += 1
    guard depth <= Self.nestingDepthMax else {
      throw .malformed("nested deeper than \(Self.nestingDepthMax) levels")
    }
    offset += 1
  }
}

// MARK: Skipping

extension JSONFieldReader {
  /// Passes one value of any kind, checking its grammar.
  mutating func skipValue() throws(WireFault) {
    skipSpace()
    switch byte {
    case UInt8(ascii: "\""):
      try checkSkipped(try rawString())
    case UInt8(ascii: "{"): try skipObject()
    case UInt8(ascii: "["):
      try elements { (reader: inout Self) throws(WireFault) in try reader.skipValue() }
    case UInt8(ascii: "t"): try literal("true")
    case UInt8(ascii: "f"): try literal("false")
    case UInt8(ascii: "n"): try literal("null")
    default: try skipNumber()
    }
  }

  private mutating func skipObject() throws(WireFault) {
    try message { (reader: inout Self) throws(WireFault) in
      while try reader.next(.none) != nil {}
    }
  }

  /// Passes a number; a value of another kind is a fault of the field alone.
  private mutating func skipNumberOrFault() throws(WireFault) {
    switch byte {
    case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: "t"), UInt8(ascii: "f"),
      UInt8(ascii: "n"):
      throw fault("must be a whole number")
    default: try skipNumber()
    }
  }

  private mutating func skipNumber() throws(WireFault) {
    if byte == UInt8(ascii: "-") { offset += 1 }
    if byte == UInt8(ascii: "0") { offset += 1 } else { try skipDigits() }
    if byte == UInt8(ascii: ".") {
      offset += 1
      try skipDigits()
    }
    if byte | 0x20 == UInt8(ascii: "e") {
      offset += 1
      if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { offset += 1 }
      try skipDigits()
    }
  }

  private mutating func skipDigits() throws(WireFault) {
    let start = offset
    while JSONNumber.isDigit(byte) { offset += 1 }
    guard offset > start else { throw malformed("a value") }
  }
}

// MARK: Strings

extension JSONFieldReader {
  private struct RawString {
    /// Between the quotes.
    let range: Range<Int>
    let isEscaped: Bool
  }

  private mutating func rawString() throws(WireFault) -> RawString {
    guard byte == UInt8(ascii: "\"") else { throw malformed("a string") }
    let start = offset + 1
    let (end, isEscaped) = Self.endOfString(in: bytes[start...])
    offset = start + end
    guard byte == UInt8(ascii: "\"") else { throw malformed("the end of a string") }
    offset += 1
    return RawString(range: start..<offset - 1, isEscaped: isEscaped)
  }

  /// **Returns**: how many bytes lie before the closing quote, before an unescaped control
  /// character or before the end; and whether one of them is a backslash.
  private static func endOfString(in rest: ArraySlice<UInt8>) -> (Int, Bool) {
    rest.withUnsafeBytes { buffer in
      var position = 0
      var isEscaped = false
      while true {
        position += JSONText.plainCount(buffer, from: position)
        guard position < buffer.count, buffer[position] != UInt8(ascii: "\""),
          buffer[position] >= 0x20
        else { return (min(position, buffer.count), isEscaped) }
        if buffer[position] == UInt8(ascii: "\\") {
          isEscaped = true
          position += 1
        }
        position += 1
      }
    }
  }

  /// Checks a string that nobody asked for.
  private func checkSkipped(_ string: RawString) throws(WireFault) {
    if string.isEscaped { _ = try unescaped(string, lenient: true) }
    let text = bytes[string.range]
    guard text.allSatisfy({ $0 < 0x80 }) || String(validating: text, as: UTF8.self) != nil else {
      throw malformed("UTF-8")
    }
  }

  /// **Throws**: `malformed` for an escape that JSON does not know; `field` for half a surrogate
  /// pair, unless `lenient`.
  private func unescaped(
    _ string: RawString, lenient: Bool = false
  ) throws(WireFault) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(string.range.count)
    var rest = bytes[string.range]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        output.append(byte)
        continue
      }
      switch rest.popFirst() {
      case UInt8(ascii: "\""): output.append(UInt8(ascii: "\""))
      case UInt8(ascii: "\\"): output.append(UInt8(ascii: "\\"))
      case UInt8(ascii: "/"): output.append(UInt8(ascii: "/"))
      case UInt8(ascii: "b"): output.append(0x08)
      case UInt8(ascii: "f"): output.append(0x0c)
      case UInt8(ascii: "n"): output.append(0x0a)
      case UInt8(ascii: "r"): output.append(0x0d)
      case UInt8(ascii: "t"): output.append(0x09)
      case UInt8(ascii: "u"):
        if let scalar = try Self.scalar(&rest) {
          output.append(contentsOf: Character(scalar).utf8)
        } else if !lenient {
          throw fault("must be valid Unicode")
        }
      default: throw .malformed("unknown escape in a string")
      }
    }
    return output
  }

  /// Reads what follows `\u`: one scalar, or two halves of one.
  ///
  /// **Returns**: `nil` when it is half a pair.
  private static func scalar(_ rest: inout ArraySlice<UInt8>) throws(WireFault) -> Unicode.Scalar? {
    let first = try codeUnit(&rest)
    guard UTF16.isSurrogate(first) else { return Unicode.Scalar(first) }
    guard UTF16.isLeadSurrogate(first), rest.starts(with: [0x5c, 0x75]) else { return nil }
    var ahead = rest.dropFirst(2)
    let second = try codeUnit(&ahead)
    guard UTF16.isTrailSurrogate(second) else { return nil }
    rest = ahead
    return Unicode.Scalar(0x10000 + (UInt32(first) & 0x3ff) << 10 + UInt32(second) & 0x3ff)
  }

  private static func codeUnit(_ rest: inout ArraySlice<UInt8>) throws(WireFault) -> UInt16 {
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard let digit = rest.popFirst().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue })
      else {
        throw .malformed("unknown escape in a string")
      }
      value = value << 4 | UInt16(digit)
    }
    return value
  }
}

extension FieldNames {
  /// A message of which nothing is read.
  static let none = FieldNames([:])
}

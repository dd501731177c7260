/// Reads and writes one flat JSON object, which is all that a token contains. Total: any bytes
/// give either the members or `nil`.
///
/// **Source**: RFC 8259, without arrays and objects as values.
enum FlatJSON {
  enum Value: Hashable {
    case string(String)
    /// A whole number without sign, fraction and exponent that fits.
    case integer(UInt64)
    /// Another number, `true`, `false` or `null`.
    case other
  }

  static let membersMax = 32

  /// **Returns**: the members in order, repeated names included; `nil` when the bytes are not one
  /// flat object of at most `membersMax` members.
  static func parse(_ bytes: [UInt8]) -> [(name: String, value: Value)]? {
    var parser = Parser(bytes: bytes)
    return parser.object()
  }

  static func quote(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\u{0}"..."\u{1f}":
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}

private struct Parser {
  let bytes: [UInt8]
  var index = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  private var next: UInt8? { index < bytes.count ? bytes[index] : nil }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: character) else { return false }
    index += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = next, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { index += 1 }
  }

  mutating func object() -> [(name: String, value: FlatJSON.Value)]? {
    var members: [(name: String, value: FlatJSON.Value)] = []
    skipSpace()
    guard take("{") else { return nil }
    skipSpace()
    if !take("}") {
      while true {
        guard members.count < FlatJSON.membersMax else { return nil }
        skipSpace()
        guard let name = string() else { return nil }
        skipSpace()
        guard take(":") else { return nil }
        skipSpace()
        guard let value = value() else { return nil }
        members.append((name, value))
        skipSpace()
        if take("}") { break }
        guard take(",") else { return nil }
      }
    }
    skipSpace()
    return index == bytes.count ? members : nil
  }

  private mutating func value() -> FlatJSON.Value? {
    switch next {
    case UInt8(ascii: "\""): return string().map { .string($0) }
    case UInt8(ascii: "t"): return word("true")
    case UInt8(ascii: "f"): return word("false")
    case UInt8(ascii: "n"): return word("null")
    default: return number()
    }
  }

  private mutating func word(_ word: StaticString) -> FlatJSON.Value? {
    let matches = word.withUTF8Buffer { bytes[index...].starts(with: $0) }
    guard matches else { return nil }
    index += word.utf8CodeUnitCount
    return .other
  }

  /// **Returns**: how many digits were passed.
  private mutating func digits() -> Int {
    let start = index
    while let byte = next, (0x30...0x39).contains(byte) { index += 1 }
    return index - start
  }

  private mutating func number() -> FlatJSON.Value? {
    let start = index
    var isWhole = !take("-")
    let first = next
    let count = digits()
    guard count > 0, count == 1 || first != 0x30 else { return nil }
    let end = index
    if take(".") {
      isWhole = false
      guard digits() > 0 else { return nil }
    }
    if take("e") || take("E") {
      isWhole = false
      if !take("+") { _ = take("-") }
      guard digits() > 0 else { return nil }
    }
    guard isWhole else { return .other }
    let text = String(decoding: bytes[start..<end], as: UTF8.self)
    return UInt64(text).map { .integer($0) } ?? .other
  }

  private mutating func string() -> String? {
    guard take("\"") else { return nil }
    var text: [UInt8] = []
    while let byte = next {
      index += 1
      switch byte {
      case UInt8(ascii: "\""): return String(validating: text, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let scalar = escape() else { return nil }
        text.append(contentsOf: String(Character(scalar)).utf8)
      case 0..<0x20: return nil
      default: text.append(byte)
      }
    }
    return nil
  }

  private mutating func escape() -> Unicode.Scalar? {
    guard let byte = next else { return nil }
    index += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): return unicode()
    default: return nil
    }
  }

  /// After `\u`: one scalar, or the two halves of one. A half alone is refused.
  private mutating func unicode() -> Unicode.Scalar? {
    guard let first = fourHexDigits() else { return nil }
    guard (0xd800...0xdbff).contains(first) else { return Unicode.Scalar(first) }
    guard take("\\"), take("u"), let second = fourHexDigits(),
      (0xdc00...0xdfff).contains(second)
    else { return nil }
    return Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
  }

  private mutating func fourHexDigits() -> UInt32? {
    guard bytes.count - index >= 4 else { return nil }
    var value: UInt32 = 0
    for byte in bytes[index..<index + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
      value = value << 4 | UInt32(digit)
    }
    index += 4
    return value
  }
}

/// As much of JSON as accounts and sessions need: objects of text to say, and the members of one
/// object to read.
///
/// **Source**: RFC 8259.
enum JSONText {
  static func object(_ members: [(name: String, value: String)]) -> [UInt8] {
    var bytes: [UInt8] = [UInt8(ascii: "{")]
    for (position, member) in members.enumerated() {
      if position > 0 { bytes.append(UInt8(ascii: ",")) }
      append(member.name, to: &bytes)
      bytes.append(UInt8(ascii: ":"))
      append(member.value, to: &bytes)
    }
    bytes.append(UInt8(ascii: "}"))
    return bytes
  }

  private static func append(_ text: String, to bytes: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
      case 0..<0x20:
        bytes += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  enum Value: Equatable {
    case string(String)
    case number(UInt64)
    /// Anything else, as its bytes.
    case other(ArraySlice<UInt8>)
  }

  /// **Returns**: the members of the object that `bytes` are; `nil` for anything that is not one.
  static func members(of bytes: [UInt8]) -> [String: Value]? {
    var reader = Reader(rest: bytes[...])
    return reader.object()
  }

  private struct Reader {
    static let nestingDepthMax = 32
    var rest: ArraySlice<UInt8>

    mutating func object() -> [String: Value]? {
      guard take("{") else { return nil }
      var members: [String: Value] = [:]
      if !take("}") {
        repeat {
          guard let name = string(), take(":"), let value = value() else { return nil }
          members[name] = value
        } while take(",")
        guard take("}") else { return nil }
      }
      skipSpace()
      return rest.isEmpty ? members : nil
    }

    private mutating func value() -> Value? {
      skipSpace()
      guard let first = rest.first else { return nil }
      let start = rest
      switch first {
      case UInt8(ascii: "\""): return string().map { .string($0) }
      case UInt8(ascii: "0")...UInt8(ascii: "9"):
        let digits = rest.prefix { $0 != 0x2c && $0 != 0x7d && $0 > 0x20 }
        rest = rest[digits.endIndex...]
        return UInt64(String(decoding: digits, as: UTF8.self)).map { .number($0) } ?? .other(digits)
      default:
        guard skipValue(depth: 0) else { return nil }
        return .other(start[..<rest.startIndex])
      }
    }

    /// Passes a value without looking into it further than to find its end.
    private mutating func skipValue(depth: Int) -> Bool {
      skipSpace()
      guard let first = rest.first, depth < Self.nestingDepthMax else { return false }
      switch first {
      case UInt8(ascii: "\""): return string() != nil
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        let isObject = first == UInt8(ascii: "{")
        let end: Unicode.Scalar = isObject ? "}" : "]"
        rest = rest.dropFirst()
        if take(end) { return true }
        repeat {
          if isObject { guard string() != nil, take(":") else { return false } }
          guard skipValue(depth: depth + 1) else { return false }
        } while take(",")
        return take(end)
      default:
        let word = rest.prefix { ![0x2c, 0x7d, 0x5d].contains($0) && $0 > 0x20 }
        rest = rest[word.endIndex...]
        return !word.isEmpty
      }
    }

    private mutating func string() -> String? {
      guard take("\"") else { return nil }
      var bytes: [UInt8] = []
      while let byte = rest.popFirst() {
        switch byte {
        case UInt8(ascii: "\""): return String(validating: bytes, as: UTF8.self)
        case UInt8(ascii: "\\"):
          guard let escaped = escaped() else { return nil }
          bytes += escaped
        case 0..<0x20: return nil
        default: bytes.append(byte)
        }
      }
      return nil
    }

    private mutating func escaped() -> [UInt8]? {
      switch rest.popFirst() {
      case UInt8(ascii: "b"): return [8]
      case UInt8(ascii: "f"): return [12]
      case UInt8(ascii: "n"): return [10]
      case UInt8(ascii: "r"): return [13]
      case UInt8(ascii: "t"): return [9]
      case UInt8(ascii: "u"):
        guard var scalar = hexadecimal() else { return nil }
        if 0xd800...0xdbff ~= scalar {
          guard rest.popFirst() == UInt8(ascii: "\\"), rest.popFirst() == UInt8(ascii: "u"),
            let low = hexadecimal(), 0xdc00...0xdfff ~= low
          else { return nil }
          scalar = 0x10000 + (scalar - 0xd800) << 10 + (low - 0xdc00)
        }
        return Unicode.Scalar(scalar).flatMap { UTF8.encode($0).map(Array.init) }
      case let byte? where [0x22, 0x5c, 0x2f].contains(byte): return [byte]
      default: return nil
      }
    }

    private mutating func hexadecimal() -> UInt32? {
      let digits = rest.prefix(4)
      rest = rest.dropFirst(4)
      guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit })
      else { return nil }
      return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
    }

    private mutating func skipSpace() {
      rest = rest.drop { [0x20, 0x0a, 0x0d, 0x09].contains($0) }
    }

    private mutating func take(_ symbol: Unicode.Scalar) -> Bool {
      skipSpace()
      guard rest.first == UInt8(ascii: symbol) else { return false }
      rest = rest.dropFirst()
      return true
    }
  }
}

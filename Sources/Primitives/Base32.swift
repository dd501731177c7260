/// Crockford's base 32 in lower case, without padding: the text form of every identifier.
/// Reading accepts upper case and takes `o` as 0 and `i`, `l` as 1.
///
/// **Source**: Douglas Crockford, "Base 32".
package enum Base32 {
  private static let alphabet: [UInt8] = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)

  /// **Shape**: 13 characters, most significant first.
  package static func encode(_ value: UInt64) -> String { encode(UInt128(value), digitCount: 13) }

  /// **Shape**: 26 characters, most significant first.
  package static func encode(_ value: UInt128) -> String { encode(value, digitCount: 26) }

  private static func encode(_ value: UInt128, digitCount: Int) -> String {
    String(unsafeUninitializedCapacity: digitCount) { buffer in
      var rest = value
      for position in stride(from: digitCount - 1, through: 0, by: -1) {
        buffer[position] = alphabet[Int(truncatingIfNeeded: rest & 31)]
        rest >>= 5
      }
      return digitCount
    }
  }

  /// **Returns**: the value, or `nil` when the text has another length, a character outside of the
  /// alphabet, or a value that does not fit.
  package static func decode64(_ text: some StringProtocol) -> UInt64? {
    decode(text, digitCount: 13).flatMap(UInt64.init(exactly:))
  }

  /// **Returns**: `nil` for anything that `encode` would not have made of 128 bits.
  package static func decode128(_ text: some StringProtocol) -> UInt128? {
    decode(text, digitCount: 26)
  }

  private static func decode(_ text: some StringProtocol, digitCount: Int) -> UInt128? {
    guard text.utf8.count == digitCount else { return nil }
    var value: UInt128 = 0
    for byte in text.utf8 {
      guard let digit = digit(byte) else { return nil }
      let (shifted, overflow) = value.multipliedReportingOverflow(by: 32)
      guard !overflow else { return nil }
      value = shifted | UInt128(digit)
    }
    return value
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    let lower = byte | 0x20
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return byte - UInt8(ascii: "0")
    default:
      switch lower {
      case UInt8(ascii: "o"): return 0
      case UInt8(ascii: "i"), UInt8(ascii: "l"): return 1
      default:
        guard let position = alphabet.firstIndex(of: lower), position >= 10 else { return nil }
        return UInt8(position)
      }
    }
  }
}

/// The text form of 128-bit ids, read from and written to bytes without a `String` between: every
/// message that a client sends or gets carries one or two.
///
/// **Shape**: one letter, then 26 digits of Crockford's base 32 (`Base32`), most significant first.
enum IdentifierText {
  static let conversation = UInt8(ascii: "c")
  static let user = UInt8(ascii: "u")

  /// **Units**: bytes of the text, its letter included.
  static let bytes = 27

  private static let alphabet: [UInt8] = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
  private static let noDigit: UInt8 = 0xff

  /// The digit that each byte stands for: either case, `o` for 0, `i` and `l` for 1.
  private static let digits: [UInt8] = {
    var digits = [UInt8](repeating: noDigit, count: 256)
    for (value, letter) in alphabet.enumerated() {
      digits[Int(letter)] = UInt8(value)
      if letter >= UInt8(ascii: "a") { digits[Int(letter ^ 0x20)] = UInt8(value) }
    }
    for (letters, value) in [("oO", 0), ("iIlL", 1)] as [(String, UInt8)] {
      for letter in letters.utf8 { digits[Int(letter)] = value }
    }
    return digits
  }()

  /// **Returns**: the value, or `nil` when the text is no id with this letter. Zero is nobody's.
  static func decode128(_ text: ArraySlice<UInt8>, prefix: UInt8) -> UInt128? {
    guard text.count == bytes, text.first == prefix else { return nil }
    let digits = Self.digits
    // 26 digits have 130 bits: 128 are left when the first digit is below 8.
    guard digits[Int(text[text.startIndex + 1])] < 8 else { return nil }
    var high: UInt128 = 0
    var low: UInt64 = 0
    var invalid: UInt8 = 0
    for position in text.startIndex + 1..<text.startIndex + 15 {
      let digit = digits[Int(text[position])]
      invalid |= digit
      high = high << 5 | UInt128(digit & 31)
    }
    for position in text.startIndex + 15..<text.startIndex + 27 {
      let digit = digits[Int(text[position])]
      invalid |= digit
      low = low << 5 | UInt64(digit & 31)
    }
    guard invalid < 32 else { return nil }
    let value = high << 60 | UInt128(low)
    return value == 0 ? nil : value
  }

  static func append(_ value: UInt128, prefix: UInt8, to output: inout [UInt8]) {
    let alphabet = Self.alphabet
    let (high, low) = (UInt64(truncatingIfNeeded: value >> 65), UInt64(truncatingIfNeeded: value))
    output.append(addingCapacity: bytes) { output in
      output.append(prefix)
      for position in 0..<13 {
        output.append(alphabet[Int(truncatingIfNeeded: high &>> UInt64(60 - 5 * position) & 31)])
      }
      // The one digit that has bits of both halves.
      output.append(alphabet[Int(truncatingIfNeeded: value >> 60 & 31)])
      for position in 0..<12 {
        output.append(alphabet[Int(truncatingIfNeeded: low &>> UInt64(55 - 5 * position) & 31)])
      }
    }
  }
}

/// Base 64 without padding, strict: exactly one text per byte string is accepted.
///
/// **Source**: RFC 4648, sections 4 and 5; no line breaks, no padding, unused bits are zero.
package enum Base64 {
  /// The two characters beyond letters and digits.
  package enum Alphabet: Sendable {
    /// With `+` and `/`: password hashes.
    case standard
    /// With `-` and `_`: tokens and what travels in addresses.
    case url

    fileprivate var characters: [UInt8] { self == .standard ? Base64.standard : Base64.url }
    fileprivate var values: [UInt8] { self == .standard ? Base64.standardValues : Base64.urlValues }
  }

  private static let common = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
  private static let standard: [UInt8] = Array((common + "+/").utf8)
  private static let url: [UInt8] = Array((common + "-_").utf8)
  private static let standardValues = inverse(standard)
  private static let urlValues = inverse(url)
  private static let invalid: UInt8 = 0xff

  private static func inverse(_ characters: [UInt8]) -> [UInt8] {
    var values = [UInt8](repeating: invalid, count: 256)
    for (value, character) in characters.enumerated() { values[Int(character)] = UInt8(value) }
    return values
  }

  package static func encode(
    _ bytes: some Collection<UInt8>, _ alphabet: Alphabet = .url
  ) -> String {
    let characters = alphabet.characters
    return String(unsafeUninitializedCapacity: (bytes.count * 4 + 2) / 3) { buffer in
      var count = 0
      var bits: UInt32 = 0
      var bitCount = 0
      for byte in bytes {
        bits = bits << 8 | UInt32(byte)
        bitCount += 8
        while bitCount >= 6 {
          bitCount -= 6
          buffer[count] = characters[Int(bits >> UInt32(bitCount) & 63)]
          count += 1
        }
      }
      if bitCount > 0 {
        buffer[count] = characters[Int(bits << UInt32(6 - bitCount) & 63)]
        count += 1
      }
      return count
    }
  }

  /// **Returns**: `nil` when a character is outside of the alphabet, the length is impossible or
  /// an unused bit is set.
  package static func decode(
    _ text: some Collection<UInt8>, _ alphabet: Alphabet = .url
  ) -> [UInt8]? {
    let values = alphabet.values
    guard text.count % 4 != 1 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count * 3 / 4)
    var bits: UInt32 = 0
    var bitCount = 0
    for character in text {
      let value = values[Int(character)]
      guard value != invalid else { return nil }
      bits = bits << 6 | UInt32(value)
      bitCount += 6
      if bitCount >= 8 {
        bitCount -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
      }
    }
    guard bits & (1 << UInt32(bitCount) - 1) == 0 else { return nil }
    return bytes
  }
}

/// Looks at eight characters of a JSON text at a time, since most of them mean only themselves.
enum JSONText {
  private static let ones: UInt64 = 0x0101_0101_0101_0101
  private static let highBits: UInt64 = 0x8080_8080_8080_8080

  /// **Returns**: how many bytes from `start` on are plain; the byte after them may or may not be.
  static func plainCount(_ text: UnsafeRawBufferPointer, from start: Int) -> Int {
    var position = start
    while position + 8 <= text.count {
      let special = specialBits(text.loadUnaligned(fromByteOffset: position, as: UInt64.self))
      if special != 0 {
        return position - start + special.littleEndian.trailingZeroBitCount / 8
      }
      position += 8
    }
    while position < text.count, !isSpecial(text[position]) { position += 1 }
    return max(0, position - start)
  }

  /// What `JSONFieldWriter` escapes when it is a character of its own.
  static func needsEscape(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7f
  }

  /// The first byte of U+0080 to U+00BF, some of which are escaped, is special, too.
  private static func isSpecial(_ byte: UInt8) -> Bool { needsEscape(byte) || byte == 0xc2 }

  /// The high bit of each special byte, and of some bytes after a special one (a borrow runs
  /// upwards), so that only the lowest counts.
  ///
  /// **Source**: Anderson, "Bit Twiddling Hacks", sections about zero bytes and bytes less than n.
  private static func specialBits(_ word: UInt64) -> UInt64 {
    let word = word.littleEndian
    let controls = (word &- ones &* 0x20) & ~word
    return
      (controls | zeroBits(word ^ ones &* 0x22) | zeroBits(word ^ ones &* 0x5c)
      | zeroBits(word ^ ones &* 0x7f) | zeroBits(word ^ ones &* 0xc2)) & highBits
  }

  private static func zeroBits(_ word: UInt64) -> UInt64 { (word &- ones) & ~word }
}

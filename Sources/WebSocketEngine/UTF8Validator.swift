/// Checks UTF-8 that comes in pieces and refuses at the first byte that no continuation can mend.
///
/// **Source**: RFC 3629, section 4; the Unicode Standard, table 3-7 (well-formed sequences).
struct UTF8Validator: Sendable {
  /// Continuation bytes still due.
  private var due = 0
  /// What the next continuation byte must lie in. The lead byte narrows it for the first one,
  /// which excludes overlong forms, surrogates and what is above U+10FFFF.
  private var lower: UInt8 = 0x80
  private var upper: UInt8 = 0xbf

  /// Whether the text may end here.
  var isComplete: Bool { due == 0 }

  /// **Returns**: false when the text is not UTF-8, whatever follows.
  mutating func consume(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let count = bytes.count
    var offset = 0
    while offset < count {
      if due == 0 {
        while offset + 8 <= count,
          bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
        {
          offset += 8
        }
        guard offset < count else { return true }
      }
      guard step(bytes[offset]) else { return false }
      offset += 1
    }
    return true
  }

  private mutating func step(_ byte: UInt8) -> Bool {
    if due > 0 {
      guard byte >= lower, byte <= upper else { return false }
      due -= 1
      (lower, upper) = (0x80, 0xbf)
      return true
    }
    switch byte {
    case 0x00...0x7f: return true
    case 0xc2...0xdf: due = 1
    case 0xe0: (due, lower) = (2, 0xa0)
    case 0xed: (due, upper) = (2, 0x9f)
    case 0xe1...0xef: due = 2
    case 0xf0: (due, lower) = (3, 0x90)
    case 0xf1...0xf3: due = 3
    case 0xf4: (due, upper) = (3, 0x8f)
    default: return false
    }
    return true
  }
}

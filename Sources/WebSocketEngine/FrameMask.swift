/// Exclusive or with a repeated four-byte key, eight bytes a step.
///
/// **Source**: RFC 6455, section 5.3.
enum FrameMask {
  /// - Parameter key: its first byte in memory is for the first byte of `source`.
  /// - Parameter destination: as long as `source`; may be the same memory.
  static func apply(
    _ key: UInt32, from source: UnsafeRawBufferPointer,
    to destination: UnsafeMutableRawBufferPointer
  ) {
    let wide = UInt64(key) << 32 | UInt64(key)
    let count = source.count
    var offset = 0
    while offset + 8 <= count {
      let word = source.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      destination.storeBytes(of: word ^ wide, toByteOffset: offset, as: UInt64.self)
      offset += 8
    }
    var rest = UInt32(littleEndian: key)
    while offset < count {
      destination[offset] = source[offset] ^ UInt8(truncatingIfNeeded: rest)
      rest = rest >> 8 | rest << 24
      offset += 1
    }
  }

  /// The key for what follows after `count` bytes have used it.
  static func advanced(_ key: UInt32, by count: Int) -> UInt32 {
    let bits = UInt32(truncatingIfNeeded: count & 3) * 8
    let little = UInt32(littleEndian: key)
    return bits == 0 ? key : UInt32(littleEndian: little >> bits | little << (32 - bits))
  }
}

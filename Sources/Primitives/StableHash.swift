/// SipHash-2-4 with a fixed key: the same in every process and on every machine, for ever. It
/// places entities on the ring and derives identifiers; it is no protection against somebody who
/// chooses the input, so what it hashes is either made by a server or already owned by its
/// author.
///
/// **Source**: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), and the reference
/// implementation's 128-bit variant.
package enum StableHash {
  private static let key0: UInt64 = 0x6d61_7274_6c65_7430
  private static let key1: UInt64 = 0x7269_6e67_2076_3031

  /// 64 bits of hash.
  package static func hash64(_ bytes: some Collection<UInt8>) -> UInt64 {
    var state = State(key0: key0, key1: key1, wide: false)
    state.absorb(bytes)
    return state.finish64()
  }

  /// 128 bits of hash, of the other variant: not an extension of the 64.
  package static func hash128(_ bytes: some Collection<UInt8>) -> UInt128 {
    var state = State(key0: key0, key1: key1, wide: true)
    state.absorb(bytes)
    return state.finish128()
  }

  /// Hashes the 16 bytes of a big-endian identifier without building an array.
  package static func hash64(_ value: UInt128) -> UInt64 {
    var state = State(key0: key0, key1: key1, wide: false)
    state.compress(UInt64(truncatingIfNeeded: value >> 64).byteSwapped)
    state.compress(UInt64(truncatingIfNeeded: value).byteSwapped)
    state.compress(16 << 56)
    return state.finish64()
  }

  /// With an explicit key, for the published test vectors.
  package static func hash64(_ bytes: some Collection<UInt8>, key: (UInt64, UInt64)) -> UInt64 {
    var state = State(key0: key.0, key1: key.1, wide: false)
    state.absorb(bytes)
    return state.finish64()
  }

  private struct State {
    var v0: UInt64, v1: UInt64, v2: UInt64, v3: UInt64
    let wide: Bool

    init(key0: UInt64, key1: UInt64, wide: Bool) {
      v0 = key0 ^ 0x736f_6d65_7073_6575
      v1 = key1 ^ 0x646f_7261_6e64_6f6d ^ (wide ? 0xee : 0)
      v2 = key0 ^ 0x6c79_6765_6e65_7261
      v3 = key1 ^ 0x7465_6462_7974_6573
      self.wide = wide
    }

    mutating func absorb(_ bytes: some Collection<UInt8>) {
      let done: Void? = bytes.withContiguousStorageIfAvailable {
        absorb(UnsafeRawBufferPointer($0))
      }
      guard done == nil else { return }
      let copy = Array(bytes)
      copy.withUnsafeBytes { absorb($0) }
    }

    private mutating func absorb(_ bytes: UnsafeRawBufferPointer) {
      var offset = 0
      while offset + 8 <= bytes.count {
        compress(
          UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
        offset += 8
      }
      var word = UInt64(truncatingIfNeeded: bytes.count) << 56
      for position in offset..<bytes.count {
        word |= UInt64(bytes[position]) << UInt64(8 * (position - offset))
      }
      compress(word)
    }

    mutating func compress(_ word: UInt64) {
      v3 ^= word
      round()
      round()
      v0 ^= word
    }

    mutating func finish64() -> UInt64 {
      v2 ^= 0xff
      for _ in 0..<4 { round() }
      return v0 ^ v1 ^ v2 ^ v3
    }

    mutating func finish128() -> UInt128 {
      v2 ^= 0xee
      for _ in 0..<4 { round() }
      let low = v0 ^ v1 ^ v2 ^ v3
      v1 ^= 0xdd
      for _ in 0..<4 { round() }
      let high = v0 ^ v1 ^ v2 ^ v3
      return UInt128(high) << 64 | UInt128(low)
    }

    private mutating func round() {
      v0 &+= v1
      v1 = (v1 << 13 | v1 >> 51) ^ v0
      v0 = v0 << 32 | v0 >> 32
      v2 &+= v3
      v3 = (v3 << 16 | v3 >> 48) ^ v2
      v0 &+= v3
      v3 = (v3 << 21 | v3 >> 43) ^ v0
      v2 &+= v1
      v1 = (v1 << 17 | v1 >> 47) ^ v2
      v2 = v2 << 32 | v2 >> 32
    }
  }
}

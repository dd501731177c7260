import Primitives
import Testing

@Suite struct StableHashTests {
  /// The key 00 01 … 0f of the reference implementation, as two little-endian words.
  private let key: (UInt64, UInt64) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)

  /// **Source**: `vectors_sip64` of the reference implementation; the input is 00 01 02 … .
  @Test func thePublishedVectorsAreMet() {
    let vectors: [(count: UInt8, hash: UInt64)] = [
      (0, 0x726f_db47_dd0e_0e31), (1, 0x74f8_39c5_93dc_67fd), (2, 0x0d6c_8009_d9a9_4f5a),
      (3, 0x8567_6696_d7fb_7e2d), (4, 0xcf27_94e0_2771_87b7), (5, 0x1876_5564_cd99_a68d),
      (6, 0xcbc9_466e_58fe_e3ce), (7, 0xab02_00f5_8b01_d137), (8, 0x93f5_f579_9a93_2462),
      (15, 0xa129_ca61_49be_45e5),
    ]
    for (count, hash) in vectors {
      #expect(StableHash.hash64(Array(0..<count), key: key) == hash, "\(count) bytes")
    }
  }

  @Test func anIdentifierHashesLikeItsSixteenBytes() {
    var random = SeededRandom(seed: 1)
    for _ in 0..<100 {
      let value = UInt128(random.next()) << 64 | UInt128(random.next())
      let bytes = withUnsafeBytes(of: value.bigEndian) { Array($0) }
      #expect(StableHash.hash64(value) == StableHash.hash64(bytes))
    }
  }

  /// Computed with OpenSSL's SIPHASH and the same key. They place data, so they must never change.
  @Test func theFixedKeyIsForEver() {
    let name = Array("martlet".utf8)
    #expect(StableHash.hash64([UInt8]()) == 0xd8c2_a530_fa7d_d4b8)
    #expect(StableHash.hash64(name) == 0x2a68_cb07_e486_418a)
    #expect(StableHash.hash128([UInt8]()) == 0xf4a0_618f_8323_fd84_ba96_0836_9cb2_d3ed)
    #expect(StableHash.hash128(name) == 0x2202_4961_09a0_e4a6_854f_dfc0_809c_8ef6)
  }

  @Test func anyCollectionOfTheSameBytesHashesTheSame() {
    let bytes = Array("abcdefghijklmnop".utf8)
    #expect(StableHash.hash64(bytes) == StableHash.hash64("abcdefghijklmnop".utf8))
    #expect(StableHash.hash128(bytes) == StableHash.hash128(([0] + bytes)[1...]))
    #expect(StableHash.hash64(bytes) != StableHash.hash64(bytes + [0]))
  }
}

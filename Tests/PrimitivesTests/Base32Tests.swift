import Primitives
import Testing

@Suite struct Base32Tests {
  @Test func valuesComeBack() {
    let seed: UInt64 = 32
    print("Base32Tests seed \(seed)")
    var random = SeededRandom(seed: seed)
    var values: [UInt64] = [0, 1, 31, 32, .max, 1 << 63]
    for _ in 0..<500 { values.append(random.next()) }
    for value in values {
      let text = Base32.encode(value)
      #expect(text.utf8.count == 13)
      #expect(Base32.decode64(text) == value)
      #expect(Base32.decode64(text.uppercased()) == value)
      let wide = UInt128(value) << 64 | UInt128(~value)
      #expect(Base32.encode(wide).utf8.count == 26)
      #expect(Base32.decode128(Base32.encode(wide)) == wide)
    }
  }

  @Test func theTextIsBigEndian() {
    #expect(Base32.encode(UInt64(0)) == "0000000000000")
    #expect(Base32.encode(UInt64(33)) == "0000000000011")
    #expect(Base32.encode(UInt64.max) == "fzzzzzzzzzzzz")
    #expect(Base32.encode(UInt128.max) == "7zzzzzzzzzzzzzzzzzzzzzzzzz")
  }

  @Test func theOrderOfTextsIsTheOrderOfValues() {
    var random = SeededRandom(seed: 4)
    for _ in 0..<200 {
      let (left, right) = (random.next(), random.next())
      #expect((left < right) == (Base32.encode(left) < Base32.encode(right)))
    }
  }

  @Test func lettersThatLookLikeDigitsAreRead() {
    #expect(Base32.decode64("00000000000oO") == 0)
    #expect(Base32.decode64("00000000000iI") == 33)
    #expect(Base32.decode64("00000000000lL") == 33)
  }

  @Test func everyByteOutsideTheAlphabetIsRefused() {
    let accepted = Set("0123456789abcdefghjkmnpqrstvwxyzoil".utf8)
      .union("ABCDEFGHJKMNPQRSTVWXYZOIL".utf8)
    for byte in UInt8(0)..<128 {
      let text = "000000000000" + String(UnicodeScalar(byte))
      #expect((Base32.decode64(text) != nil) == accepted.contains(byte), "byte \(byte)")
    }
    #expect(Base32.decode64("00000000000ü") == nil)
  }

  @Test func wrongLengthsAndValuesTooLargeAreRefused() {
    #expect(Base32.decode64("") == nil)
    #expect(Base32.decode64("000000000000") == nil)
    #expect(Base32.decode64("00000000000000") == nil)
    #expect(Base32.decode64("g000000000000") == nil)
    #expect(Base32.decode64("zzzzzzzzzzzzz") == nil)
    #expect(Base32.decode128("80000000000000000000000000") == nil)
    #expect(Base32.decode128("zzzzzzzzzzzzzzzzzzzzzzzzzz") == nil)
    #expect(Base32.decode128("0000000000000") == nil)
  }
}

import Primitives
import Testing

@testable import WebSocketEngine

@Suite struct SHA1Tests {
  private func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  @Test func theVectorsOfRFC3174AreMet() {
    let ten = String(
      repeating: "0123456701234567012345670123456701234567012345670123456701234567", count: 10)
    let cases = [
      ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
      ),
      (String(repeating: "a", count: 1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
      (ten, "dea356a2cddd90c7a7ecedc5ebb563934f460452"),
      ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
    ]
    for (text, digest) in cases { #expect(hex(SHA1.hash(Array(text.utf8))) == digest) }
  }
}

@Suite struct Base64Tests {
  @Test func theVectorsOfRFC4648AreMet() {
    let cases = [
      ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
      ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ]
    for (plain, coded) in cases {
      #expect(Base64.encode(Array(plain.utf8)) == coded)
      #expect(Base64.decode(coded) == Array(plain.utf8))
    }
    for bad in ["Z", "Zg", "Zg=", "Z===", "Zg==Zg==", "Zg=a", "Z g=", "Zm9v\n", "Zm9-"] {
      #expect(Base64.decode(bad) == nil)
    }
  }

  @Test func everyByteComesBack() {
    var random = SeededRandom(seed: 8)
    for count in 0..<50 {
      let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      #expect(Base64.decode(Base64.encode(bytes)) == bytes)
    }
  }
}

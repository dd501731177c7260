import Credentials
import Primitives
import Testing

@Suite struct Base64Tests {
  @Test(
    "The vectors of RFC 4648 hold, without padding",
    arguments: [
      ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"),
      ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy"),
    ])
  func vectors(plain: String, text: String) {
    for alphabet in [Base64.Alphabet.standard, .url] {
      #expect(Base64.encode(Array(plain.utf8), alphabet) == text)
      #expect(Base64.decode(text.utf8, alphabet) == Array(plain.utf8))
    }
  }

  @Test("The alphabets differ in two characters and refuse each other's")
  func alphabets() {
    let bytes: [UInt8] = [0xfb, 0xff]
    #expect(Base64.encode(bytes, .standard) == "+/8")
    #expect(Base64.encode(bytes, .url) == "-_8")
    #expect(Base64.decode("+/8".utf8, .url) == nil)
    #expect(Base64.decode("-_8".utf8, .standard) == nil)
  }

  @Test(
    "Padding, spaces, lone characters and set unused bits are refused",
    arguments: ["Zg==", "Zg=", "Z", "Zm9vY", "Zh", "Zm9", "Zm 9v", "Zm9v\n", "Zm9\u{e9}"])
  func strict(text: String) {
    #expect(Base64.decode(text.utf8) == nil)
  }

  @Test("Every byte string has exactly one text")
  func roundTrip() {
    var random = SeededRandom(seed: 1)
    for count in 0..<200 {
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let text = Base64.encode(bytes)
      #expect(Base64.decode(text.utf8) == bytes)
    }
    for first in 0...UInt8.max {
      for second in [UInt8(ascii: "A"), UInt8(ascii: "Q"), UInt8(ascii: "_"), 0, 0xff] {
        guard let bytes = Base64.decode([first, second]) else { continue }
        #expect(Array(Base64.encode(bytes).utf8) == [first, second])
      }
    }
  }
}

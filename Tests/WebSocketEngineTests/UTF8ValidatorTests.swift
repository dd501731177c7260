import Primitives
import Testing

@testable import WebSocketEngine

@Suite struct UTF8ValidatorTests {
  private func isValid(_ pieces: [[UInt8]]) -> Bool {
    var validator = UTF8Validator()
    for piece in pieces {
      guard piece.withUnsafeBytes({ validator.consume($0) }) else { return false }
    }
    return validator.isComplete
  }

  /// The bytes after which the validator first says no, or `nil`.
  private func refusedAt(_ bytes: [UInt8]) -> Int? {
    var validator = UTF8Validator()
    for (offset, byte) in bytes.enumerated() {
      guard [byte].withUnsafeBytes({ validator.consume($0) }) else { return offset }
    }
    return nil
  }

  @Test func everyScalarIsAcceptedAndEverySurrogateRefused() {
    for value in UInt32(0)...0x10_ffff {
      if let scalar = Unicode.Scalar(value) {
        if !isValid([Array(String(Character(scalar)).utf8)]) {
          Issue.record("U+\(String(value, radix: 16)) was refused")
        }
      } else {
        let bytes = [
          UInt8(0xe0 | value >> 12), UInt8(0x80 | value >> 6 & 0x3f), UInt8(0x80 | value & 0x3f),
        ]
        if refusedAt(bytes) != 1 { Issue.record("surrogate \(value) was not refused at once") }
      }
    }
  }

  @Test func malformedSequencesAreRefusedAtTheirFirstHopelessByte() {
    let cases: [(bytes: [UInt8], offset: Int)] = [
      ([0x80], 0), ([0xbf], 0), ([0xc0, 0x80], 0), ([0xc1, 0xbf], 0),  // stray, overlong
      ([0xe0, 0x80, 0x80], 1), ([0xe0, 0x9f, 0xbf], 1), ([0xf0, 0x80, 0x80, 0x80], 1),
      ([0xf0, 0x8f, 0xbf, 0xbf], 1), ([0xed, 0xa0, 0x80], 1), ([0xed, 0xbf, 0xbf], 1),
      ([0xf4, 0x90, 0x80, 0x80], 1), ([0xf5, 0x80], 0), ([0xf8, 0x88], 0), ([0xfe], 0), ([0xff], 0),
      ([0xc3, 0x28], 1), ([0xe2, 0x28, 0xa1], 1), ([0xe2, 0x82, 0x28], 2),
      ([0xf0, 0x9f, 0x98, 0x28], 3), (Array("abcdefgh".utf8) + [0xff], 8),
    ]
    for (bytes, offset) in cases { #expect(refusedAt(bytes) == offset, "\(bytes)") }
  }

  @Test func aTextMustNotEndInsideACharacter() {
    let text = Array("κόσμε😀".utf8)
    let boundaries = Set(
      "κόσμε😀".unicodeScalars.reduce(into: [0]) { $0.append($0[$0.count - 1] + UTF8.width($1)) })
    for end in 0...text.count {
      #expect(isValid([Array(text[..<end])]) == boundaries.contains(end))
    }
  }

  @Test func theVerdictIsThatOfTheStandardLibraryHoweverTheTextIsCut() {
    let seed: UInt64 = 2_024
    print("UTF8ValidatorTests seed \(seed)")
    var random = SeededRandom(seed: seed)
    let interesting: [UInt8] = [0x41, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xed, 0xf0, 0xf4]
    var validCount = 0
    for _ in 0..<20_000 {
      var bytes = [UInt8](repeating: 0x61, count: Int.random(in: 0...17, using: &random))
      for _ in 0..<Int.random(in: 0...4, using: &random) {
        bytes.append(interesting.randomElement(using: &random) ?? 0)
      }
      bytes += [UInt8](repeating: 0x62, count: Int.random(in: 0...9, using: &random))
      let expected = String(validating: bytes, as: UTF8.self) != nil
      if expected { validCount += 1 }
      let cut = Int.random(in: 0...bytes.count, using: &random)
      #expect(isValid([bytes]) == expected)
      #expect(isValid([Array(bytes[..<cut]), Array(bytes[cut...])]) == expected)
    }
    #expect(validCount > 1_000 && validCount < 19_000)
  }

  @Test func aBadByteFailsInsideItsFragment() {
    let start = FrameFixture.masked(.text, Array("κόσμε".utf8), isFinal: false)
    // A frame of nine bytes of which three have come.
    var second = FrameFixture.masked(
      .continuation, [0x61, 0xf4, 0x90, 0x80, 0x80, 0x61, 0x61, 0x61, 0x61])
    second.removeLast(6)
    let decoded = FrameFixture.decode(start + second)
    #expect(decoded.error == .invalidUTF8)
    #expect(decoded.error?.closeCode == .invalidPayload)
    second.removeLast()
    #expect(FrameFixture.decode(start + second).error == nil)
  }

  @Test func aMessageEndingInsideACharacterIsRefused() {
    #expect(FrameFixture.decode(FrameFixture.masked(.text, [0xce])).error == .invalidUTF8)
    let bytes =
      FrameFixture.masked(.text, [0xce], isFinal: false)
      + FrameFixture.masked(.continuation, [], isFinal: true)
    #expect(FrameFixture.decode(bytes).error == .invalidUTF8)
    #expect(FrameFixture.decode(FrameFixture.masked(.binary, [0xce])).error == nil)
  }
}

import Primitives
import Testing

@testable import WebSocketEngine

@Suite struct FrameEncoderTests {
  @Test func theExamplesOfTheRFCAreWritten() {
    let hello = Array("Hello".utf8)
    #expect(FrameEncoder.encode(.text, hello) == [0x81, 0x05] + hello)
    #expect(FrameEncoder.encode(.ping, hello) == [0x89, 0x05] + hello)
    #expect(
      FrameEncoder.encode(.text, Array("Hel".utf8), isFinal: false) == [
        0x01, 0x03, 0x48, 0x65, 0x6c,
      ])
    #expect(
      FrameEncoder.encodeMasked(
        .text, hello, maskingKey: UInt32(bigEndian: 0x37fa_213d))
        == [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58])
  }

  @Test func everyLengthFormComesBack() {
    for count in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 70_000] {
      let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
      let plain = FrameEncoder.encode(.binary, payload)
      #expect(plain.count == count + (count < 126 ? 2 : count < 65_536 ? 4 : 10))
      #expect(FrameFixture.decode(plain, role: .client).events == [.binary(payload)])
      #expect(
        FrameFixture.decode(FrameFixture.masked(.binary, payload)).events == [.binary(payload)])
    }
  }

  @Test func aMaskIsAppliedByteByByteWhateverTheLengthAndKey() {
    var random = SeededRandom(seed: 3)
    for count in 0..<70 {
      let key = UInt32(truncatingIfNeeded: random.next())
      let payload = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let frame = FrameEncoder.encodeMasked(.binary, payload, maskingKey: key)
      let keyBytes = withUnsafeBytes(of: key) { Array($0) }
      #expect(Array(frame[2..<6]) == keyBytes)
      #expect(Array(frame[6...]) == payload.enumerated().map { $1 ^ keyBytes[$0 % 4] })
      for cut in 0...min(count, 9) {
        let advanced = withUnsafeBytes(of: FrameMask.advanced(key, by: cut)) { Array($0) }
        #expect(advanced == (0..<4).map { keyBytes[($0 + cut) % 4] })
      }
    }
  }

  @Test func aCloseReasonIsCutBetweenCharacters() {
    let payload = FrameEncoder.closePayload(.normal, reason: String(repeating: "€", count: 60))
    #expect(payload.count == 2 + 41 * 3)
    #expect(String(validating: payload[2...], as: UTF8.self) != nil)
    #expect(FrameEncoder.closePayload(nil) == [])
    #expect(FrameEncoder.closePayload(.goingAway) == [0x03, 0xe9])
  }
}

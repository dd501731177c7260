import Primitives
import Testing

@testable import WebSocketEngine

@Suite struct FrameDecoderTests {
  // MARK: RFC 6455, section 5.7

  @Test func theExamplesOfTheRFCAreRead() {
    let hello = Array("Hello".utf8)
    let cases: [(bytes: [UInt8], role: WebSocketRole, event: FrameEvent)] = [
      ([0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], .client, .text(hello)),
      (
        [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], .server, .text(hello)
      ),
      ([0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f], .client, .text(hello)),
      ([0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], .client, .ping(hello)),
      (
        [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58], .server, .pong(hello)
      ),
      (
        [0x82, 0x7e, 0x01, 0x00] + [UInt8](repeating: 7, count: 256), .client,
        .binary([UInt8](repeating: 7, count: 256))
      ),
      (
        [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0] + [UInt8](repeating: 9, count: 65_536), .client,
        .binary([UInt8](repeating: 9, count: 65_536))
      ),
    ]
    for (bytes, role, event) in cases {
      for pieceBytes in [1, 2, 3, 7, .max] {
        let decoded = FrameFixture.decode(bytes, role: role, pieceBytes: pieceBytes)
        #expect(decoded == Decoded(events: [event]))
      }
    }
  }

  // MARK: Cutting and truncation

  /// One of everything, with texts of every alignment.
  private let sample: (bytes: [UInt8], events: [FrameEvent]) = {
    var bytes: [UInt8] = []
    var events: [FrameEvent] = []
    for count in 0..<20 {
      let text = Array(repeating: UInt8(ascii: "a") + UInt8(count), count: count)
      bytes += FrameFixture.masked(.text, text)
      events.append(.text(text))
    }
    let long = (0..<300).map { UInt8(truncatingIfNeeded: $0 * 7) }
    bytes += FrameFixture.masked(.binary, long)
    events.append(.binary(long))
    bytes += FrameFixture.masked("grüß", isFinal: false)
    bytes += FrameFixture.masked(.ping, [1, 2, 3])
    bytes += FrameFixture.masked(.continuation, [], isFinal: false)
    bytes += FrameFixture.masked(.pong, [])
    bytes += FrameFixture.masked(.continuation, Array(" dich €😀".utf8))
    events += [.ping([1, 2, 3]), .pong([]), .text(Array("grüß dich €😀".utf8))]
    bytes += FrameFixture.masked(.close, FrameEncoder.closePayload(.goingAway, reason: "später"))
    events.append(.close(code: .goingAway, reason: "später"))
    return (bytes, events)
  }()

  @Test func theSameComesOutHoweverTheBytesAreCut() {
    for pieceBytes in 1...40 {
      let decoded = FrameFixture.decode(sample.bytes, pieceBytes: pieceBytes)
      #expect(decoded == Decoded(events: sample.events), "in pieces of \(pieceBytes) bytes")
    }
    for first in 0...sample.bytes.count {
      var decoder = FrameDecoder(role: .server, limits: FrameFixture.openLimits)
      var events: [FrameEvent] = []
      #expect(throws: Never.self) {
        try decoder.feed(sample.bytes[..<first], now: .zero, into: &events)
        try decoder.feed(sample.bytes[first...], now: .zero, into: &events)
      }
      #expect(events == sample.events, "cut at \(first)")
    }
  }

  @Test func truncationAnywhereGivesTheCompleteEventsAndNoError() {
    var seenCounts: Set<Int> = []
    for end in 0..<sample.bytes.count {
      let decoded = FrameFixture.decode(Array(sample.bytes[..<end]))
      #expect(decoded.error == nil)
      #expect(decoded.events == Array(sample.events.prefix(decoded.events.count)))
      #expect(decoded.events.count < sample.events.count)
      seenCounts.insert(decoded.events.count)
    }
    #expect(seenCounts.count == sample.events.count)
  }

  @Test func everyFragmentationOfATextGivesTheSameText() {
    let text = Array("aß€😀z".utf8)
    for cuts in 0..<(1 << (text.count - 1)) {
      var bytes: [UInt8] = []
      var start = 0
      for end in 1...text.count where end == text.count || cuts >> (end - 1) & 1 == 1 {
        bytes += FrameFixture.masked(
          start == 0 ? .text : .continuation, Array(text[start..<end]), isFinal: end == text.count)
        start = end
      }
      #expect(FrameFixture.decode(bytes) == Decoded(events: [.text(text)]))
      #expect(FrameFixture.decode(bytes, pieceBytes: 1) == Decoded(events: [.text(text)]))
    }
  }

  // MARK: Violations

  @Test func everyFirstTwoBytesAreJudgedAsTheRFCSays() {
    for first in UInt8.min...UInt8.max {
      for second in UInt8.min...UInt8.max {
        for role in [WebSocketRole.server, .client] {
          let decoded = FrameFixture.decode([first, second], role: role)
          let opcode = first & 0x0f
          let isControl = opcode >= 8
          let isMasked = second & 0x80 != 0
          let isBad =
            first & 0x70 != 0 || ![0, 1, 2, 8, 9, 10].contains(opcode) || opcode == 0
            || (isControl && first & 0x80 == 0) || isMasked != (role == .server)
            || (isControl && second & 0x7f > 125)
          let expected: WebSocketCloseCode? = isBad ? .protocolError : nil
          if decoded.error?.closeCode != expected {
            Issue.record("\(first) \(second) for a \(role): \(String(describing: decoded.error))")
          }
        }
      }
    }
  }

  @Test func aBadFirstByteIsRefusedBeforeTheSecondHasCome() {
    #expect(FrameFixture.decode([0xc1]).error == .reservedBitsSet)
    #expect(FrameFixture.decode([0xa1]).error == .reservedBitsSet)
    #expect(FrameFixture.decode([0x91]).error == .reservedBitsSet)
    #expect(FrameFixture.decode([0x83]).error == .unknownOpcode(3))
    #expect(FrameFixture.decode([0x8f]).error == .unknownOpcode(15))
    #expect(FrameFixture.decode([0x09]).error == .controlFrameFragmented)
    #expect(FrameFixture.decode([0x80]).error == .continuationWithoutStart)
  }

  @Test func masksMustFollowTheRole() {
    #expect(FrameFixture.decode([0x81, 0x00]).error == .unmaskedClientFrame)
    #expect(FrameFixture.decode([0x81, 0x80], role: .client).error == .maskedServerFrame)
  }

  @Test func lengthsMustBeMinimal() {
    for length in [0, 1, 125] as [UInt8] {
      #expect(FrameFixture.decode([0x82, 0xfe, 0, length]).error == .lengthNotMinimal)
      let wide: [UInt8] = [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, length]
      #expect(FrameFixture.decode(wide).error == .lengthNotMinimal)
    }
    let wide: [UInt8] = [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
    #expect(FrameFixture.decode(wide).error == .lengthNotMinimal)
    #expect(FrameFixture.decode([0x82, 0xfe, 0, 126]).error == nil)
  }

  @Test func absurdLengthsAreRefusedAtOnce() {
    for top in [0x01, 0x7f, 0x80, 0xff] as [UInt8] {
      let bytes: [UInt8] = [0x82, 0xff, top, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]
      let decoded = FrameFixture.decode(bytes)
      #expect(decoded.error?.closeCode == .messageTooBig)
    }
  }

  @Test func aMessageIsNotInterruptedByAnother() {
    let bytes = FrameFixture.masked("a", isFinal: false) + FrameFixture.masked("b")
    #expect(FrameFixture.decode(bytes).error == .messageInterrupted)
    let finished =
      FrameFixture.masked("a", isFinal: false) + FrameFixture.masked(.continuation, [0x62])
      + FrameFixture.masked(.continuation, [0x63])
    #expect(
      FrameFixture.decode(finished)
        == Decoded(events: [.text([0x61, 0x62])], error: .continuationWithoutStart))
  }

  @Test func eventsBeforeAViolationAreDelivered() {
    let bytes = FrameFixture.masked("one") + FrameFixture.masked("two") + [0xff]
    let decoded = FrameFixture.decode(bytes)
    #expect(decoded.events == [.text(Array("one".utf8)), .text(Array("two".utf8))])
    #expect(decoded.error == .reservedBitsSet)
  }

  @Test func aFailedDecoderStaysFailed() {
    var decoder = FrameDecoder(role: .server)
    var events: [FrameEvent] = []
    for _ in 0..<3 {
      #expect(throws: WebSocketError.unmaskedClientFrame) {
        try decoder.feed([0x81, 0x01, 0x61], now: .zero, into: &events)
      }
    }
    #expect(events.isEmpty)
  }

  // MARK: Close frames

  @Test func exactlyTheRegisteredCloseCodesAreAccepted() {
    for code in UInt16.min...UInt16.max {
      let payload = [UInt8(code >> 8), UInt8(truncatingIfNeeded: code)]
      let decoded = FrameFixture.decode([0x88, 0x02] + payload, role: .client)
      let isAllowed =
        (1000...1003).contains(code) || (1007...1014).contains(code)
        || (3000...4999).contains(code)
      let expected =
        isAllowed
        ? Decoded(events: [.close(code: WebSocketCloseCode(rawValue: code), reason: "")])
        : Decoded(error: .closeCodeNotAllowed(code))
      if decoded != expected { Issue.record("close code \(code)") }
    }
  }

  @Test func closePayloadsAreChecked() {
    #expect(
      FrameFixture.decode(FrameFixture.masked(.close, []))
        == Decoded(events: [.close(code: nil, reason: "")]))
    #expect(FrameFixture.decode(FrameFixture.masked(.close, [3])).error == .closePayloadTooShort)
    let badReason = FrameFixture.masked(.close, [0x03, 0xe8, 0xce, 0xba, 0xe1])
    #expect(FrameFixture.decode(badReason).error == .invalidUTF8)
    let longest = String(repeating: "x", count: 123)
    let bytes = FrameFixture.masked(.close, FrameEncoder.closePayload(.normal, reason: longest))
    #expect(FrameFixture.decode(bytes).events == [.close(code: .normal, reason: longest)])
  }

  @Test func nothingIsReadAfterACloseFrame() {
    let bytes = FrameFixture.masked(.close, []) + FrameFixture.masked("late") + [0xff, 0xff]
    #expect(FrameFixture.decode(bytes) == Decoded(events: [.close(code: nil, reason: "")]))
    #expect(FrameFixture.decode(bytes, pieceBytes: 1).error == nil)
  }
}

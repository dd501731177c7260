import Primitives
import Testing

@testable import WebSocketEngine

@Suite struct FrameLimitTests {
  private let limits = WebSocketLimits(
    frameBytesMax: 200, messageBytesMax: 500, fragmentsMax: 4, pingInterval: 1_000,
    pingBurstMax: 3)

  @Test func theDefaultsAreTheDocumentedOnes() {
    let limits = WebSocketLimits()
    #expect(limits.frameBytesMax == 1_048_576)
    #expect(limits.messageBytesMax == 1_048_576)
    #expect(limits.fragmentsMax == 64)
    #expect(limits.pingInterval == 1_000)
  }

  @Test func aFrameMayBeAsLongAsTheLimitAndNoLonger() {
    let longest = [UInt8](repeating: 1, count: 200)
    #expect(
      FrameFixture.decode(FrameFixture.masked(.binary, longest), limits: limits).events
        == [.binary(longest)])
    let header = FrameFixture.masked(.binary, longest + [1]).prefix(4)
    #expect(
      FrameFixture.decode(Array(header), limits: limits).error == .frameTooLong(bytes: 201))
  }

  @Test func aMessageMayBeAsLongAsTheLimitAndNoLonger() {
    let part = [UInt8](repeating: 1, count: 200)
    let start =
      FrameFixture.masked(.binary, part, isFinal: false)
      + FrameFixture.masked(.continuation, part, isFinal: false)
    let fits = start + FrameFixture.masked(.continuation, [UInt8](repeating: 1, count: 100))
    #expect(FrameFixture.decode(fits, limits: limits).events.count == 1)
    let tooLong = start + FrameFixture.masked(.continuation, [UInt8](repeating: 1, count: 101))
    #expect(FrameFixture.decode(tooLong, limits: limits) == Decoded(error: .messageTooLong))
  }

  @Test func aMessageHasAtMostSoManyFragments() {
    func message(fragmentCount: Int) -> [UInt8] {
      (0..<fragmentCount).flatMap {
        FrameFixture.masked(
          $0 == 0 ? .text : .continuation, [], isFinal: $0 == fragmentCount - 1)
      }
    }
    #expect(FrameFixture.decode(message(fragmentCount: 4), limits: limits).events == [.text([])])
    #expect(
      FrameFixture.decode(message(fragmentCount: 5), limits: limits).error == .tooManyFragments)
    let twice = message(fragmentCount: 4) + message(fragmentCount: 4)
    #expect(FrameFixture.decode(twice, limits: limits).events.count == 2)
  }

  @Test func pingsMayComeInASmallBurstAndThenOncePerInterval() throws {
    var decoder = FrameDecoder(role: .server, limits: limits)
    let ping = FrameFixture.masked(.ping, [])
    var events: [FrameEvent] = []
    let start = Instant(nanoseconds: 5_000_000_000)
    for _ in 0..<3 { try decoder.feed(ping[...], now: start, into: &events) }
    for second in 1...10 as ClosedRange<UInt64> {
      let now = start + Milliseconds(1_000 * second)
      try decoder.feed(ping[...], now: now, into: &events)
    }
    #expect(events.count == 13)
    #expect(throws: WebSocketError.pingsTooFrequent) {
      try decoder.feed(ping[...], now: start + 10_999, into: &events)
    }
    #expect(WebSocketError.pingsTooFrequent.closeCode == .policyViolation)
  }

  @Test func anAllowanceNeitherOverflowsNorTrapsAtTheEndOfTime() {
    func admitted(_ instants: [Instant], _ limits: WebSocketLimits) -> [Bool] {
      var allowance = PingAllowance()
      var verdicts: [Bool] = []
      for now in instants { verdicts.append(allowance.admit(now: now, limits: limits)) }
      return verdicts
    }
    #expect(admitted([.distantFuture, .distantFuture, .zero], limits) == [true, true, false])
    var odd = limits
    odd.pingBurstMax = 0
    #expect(admitted([.zero, .zero], odd) == [true, false])
    odd.pingInterval = Milliseconds(.max)
    #expect(admitted([.zero, .zero + 1_000_000], odd) == [true, false])
    odd.pingInterval = 0
    #expect(admitted([.zero, .zero, .zero], odd) == [true, true, true])
  }
}

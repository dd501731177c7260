import Primitives
import Testing

@testable import HTTP2Engine

@Suite struct RateMeterTests {
  @Test func `the burst is spent at once and the rate afterwards`() {
    var meter = RateMeter(RateBudget(burst: 3, perSecond: 2))
    let spent = (0..<5).map { _ in meter.spend(now: .zero) }
    #expect(spent == [true, true, true, false, false])
    expectRefused(&meter, .zero + 499)
    expectAllowed(&meter, .zero + 500)
    expectRefused(&meter, .zero + 999)
    expectAllowed(&meter, .zero + 1_000)
  }

  @Test func `rest gains no more than the burst`() {
    var meter = RateMeter(RateBudget(burst: 3, perSecond: 10))
    expectAllowed(&meter, .zero)
    let later = Instant.zero + 1_000_000
    let spent = (0..<4).map { _ in meter.spend(now: later) }
    #expect(spent == [true, true, true, false])
    let refilled = (0..<3).map { _ in meter.spend(now: later + 200) }
    #expect(refilled == [true, true, false])
  }

  @Test func `time that goes back or ends gains nothing and does not trap`() {
    var meter = RateMeter(RateBudget(burst: 1, perSecond: 1_000), now: .distantFuture)
    expectAllowed(&meter, .zero)
    expectRefused(&meter, .zero)
    expectRefused(&meter, .distantFuture)
    var frozen = RateMeter(RateBudget(burst: 1, perSecond: 0))
    expectAllowed(&frozen, .zero)
    expectRefused(&frozen, .distantFuture)
  }

  /// `#expect` cannot hold a call that changes the meter.
  private func expectAllowed(_ meter: inout RateMeter, _ now: Instant) {
    let isAllowed = meter.spend(now: now)
    #expect(isAllowed)
  }

  private func expectRefused(_ meter: inout RateMeter, _ now: Instant) {
    let isAllowed = meter.spend(now: now)
    #expect(!isAllowed)
  }
}

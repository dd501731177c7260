import Foundation
import LoadModel
import Testing

@Suite struct LatencyTests {
  private func filled(_ milliseconds: ClosedRange<Int64>) -> Latencies {
    var latencies = Latencies()
    for value in milliseconds { latencies.record(nanoseconds: value * 1_000_000) }
    return latencies
  }

  @Test func `percentiles are those of what was recorded, within a thousandth`() {
    let summary = filled(1...1_000).summary
    #expect(summary.count == 1_000)
    #expect(abs(summary.p50 - 500) <= 0.5 && abs(summary.p90 - 900) <= 0.9)
    #expect(abs(summary.p99 - 990) <= 1 && abs(summary.p999 - 999) <= 1)
    #expect(summary.max == 1_000, "the longest is exact")
  }

  @Test func `two are as one that saw both`() {
    var one = filled(1...500)
    one.add(filled(501...1_000))
    #expect(one.summary == filled(1...1_000).summary)
  }

  @Test func `they survive being written down`() throws {
    let one = filled(1...777)
    let other = try JSONDecoder().decode(Latencies.self, from: try JSONEncoder().encode(one))
    #expect(other.summary == one.summary)
    #expect(other.curve == one.curve)
  }

  @Test func `the curve rises from the least to the longest`() {
    let curve = filled(1...10_000).curve
    #expect(zip(curve, curve.dropFirst()).allSatisfy { $0.percentile < $1.percentile })
    #expect(zip(curve, curve.dropFirst()).allSatisfy { $0.milliseconds <= $1.milliseconds })
    #expect(curve.last == CurvePoint(100, 10_000))
    #expect(curve.contains { $0.percentile >= 99.99 && $0.percentile < 100 })
  }

  @Test func `none have no figures, and one longer than an hour counts as an hour`() {
    #expect(Latencies().summary.max == 0 && Latencies().curve.isEmpty)
    var latencies = Latencies()
    latencies.record(nanoseconds: 7_200_000_000_000)
    latencies.record(nanoseconds: -5)
    #expect(latencies.summary.max == 3_600_000 && latencies.count == 2)
  }
}

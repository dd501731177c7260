import Primitives
import Testing

@Suite struct DurationHistogramTests {
  @Test func everyDurationIsBelowTheBoundOfItsBucketAndNotBelowTheOneBefore() {
    for nanoseconds: UInt64 in [0, 999, 1_000, 1_999, 2_000, 4_194_303_999, 4_194_304_000, .max] {
      var histogram = DurationHistogram()
      histogram.add(nanoseconds: nanoseconds)
      let bucket = histogram.counts.firstIndex(of: 1) ?? -1
      let seconds = Double(nanoseconds) / 1_000_000_000
      let bounds = DurationHistogram.upperBounds
      #expect(bucket == bounds.count || seconds < bounds[bucket], "\(nanoseconds)")
      #expect(bucket == 0 || seconds >= bounds[bucket - 1], "\(nanoseconds)")
    }
  }

  @Test func sumsAndMaximaAddUp() {
    var one = DurationHistogram()
    one.add(nanoseconds: 5_000)
    one.add(nanoseconds: 1_000)
    var other = DurationHistogram()
    other.add(nanoseconds: 7_000)
    one.add(other)
    #expect((one.count, one.nanosecondsSum, one.nanosecondsMax) == (3, 13_000, 7_000))
    #expect(one.counts.reduce(0, +) == 3)
  }
}

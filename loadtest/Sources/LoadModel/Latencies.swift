package import Histogram

/// Latencies of one kind, in an HDR histogram with three significant digits.
///
/// **Units**: microseconds, 1 to one hour; longer ones count as an hour.
package struct Latencies: Sendable {
  package static let max: UInt64 = 3_600_000_000

  package private(set) var histogram: Histogram<UInt64>
  /// Exact, other than the histogram's values.
  package private(set) var longest: UInt64 = 0

  package init() {
    histogram = Histogram(
      lowestDiscernibleValue: 1, highestTrackableValue: Self.max,
      numberOfSignificantValueDigits: .three)
  }

  package mutating func record(nanoseconds: Int64) {
    let microseconds = min(Self.max, UInt64(Swift.max(1, nanoseconds / 1_000)))
    longest = Swift.max(longest, microseconds)
    _ = histogram.record(microseconds)
  }

  package mutating func add(_ other: Latencies) {
    histogram.add(other.histogram)
    longest = Swift.max(longest, other.longest)
  }

  package mutating func reset() {
    histogram.reset()
    longest = 0
  }

  package var count: UInt64 { histogram.totalCount }

  /// **Units**: milliseconds. Zero when there are none.
  package func milliseconds(at percentile: Double) -> Double {
    guard count > 0 else { return 0 }
    return Double(min(longest, histogram.valueAtPercentile(percentile))) / 1_000
  }

  package var summary: LatencySummary {
    LatencySummary(
      count: count, p50: milliseconds(at: 50), p90: milliseconds(at: 90),
      p99: milliseconds(at: 99), p999: milliseconds(at: 99.9), max: Double(longest) / 1_000)
  }

  /// The percentiles of a plot with a logarithmic axis: ten for each nine.
  ///
  /// **Shape**: (percentile, milliseconds), ascending, ending at 100 with the longest.
  package var curve: [CurvePoint] {
    guard count > 0 else { return [] }
    var points: [CurvePoint] = []
    var rest = 1.0
    var last = -1.0
    while rest * Double(count) >= 0.1, points.count < 120 {
      for step in 0..<10 {
        let percentile = 100 - rest * 100 * (1 - Double(step) * 0.09)
        let value = milliseconds(at: percentile)
        if percentile > last { points.append(CurvePoint(percentile, value)) }
        last = percentile
      }
      rest /= 10
    }
    points.append(CurvePoint(100, Double(longest) / 1_000))
    return points
  }
}

extension Latencies: Codable {
  private enum CodingKeys: String, CodingKey { case values, longest }

  /// **Shape**: `{"values": [value, count, value, count, …], "longest"}`, only what occurred.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    var pairs: [UInt64] = []
    for value in histogram.recordedValues() { pairs += [value.value, UInt64(value.count)] }
    try container.encode(pairs, forKey: .values)
    try container.encode(longest, forKey: .longest)
  }

  package init(from decoder: any Decoder) throws {
    self.init()
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let pairs = try container.decode([UInt64].self, forKey: .values)
    guard pairs.count.isMultiple(of: 2) else {
      throw DecodingError.dataCorruptedError(
        forKey: .values, in: container, debugDescription: "values come with counts")
    }
    for place in stride(from: 0, to: pairs.count, by: 2) {
      _ = histogram.record(min(Self.max, pairs[place]), count: pairs[place + 1])
    }
    longest = try container.decode(UInt64.self, forKey: .longest)
  }
}

/// The figures of a histogram that tables show. **Units**: milliseconds.
package struct LatencySummary: Codable, Equatable, Sendable {
  package let count: UInt64
  package let p50: Double
  package let p90: Double
  package let p99: Double
  package let p999: Double
  package let max: Double
}

/// A point of a percentile curve. **Units**: milliseconds.
package struct CurvePoint: Codable, Equatable, Sendable {
  package let percentile: Double
  package let milliseconds: Double

  package init(_ percentile: Double, _ milliseconds: Double) {
    self.percentile = percentile
    self.milliseconds = milliseconds
  }
}

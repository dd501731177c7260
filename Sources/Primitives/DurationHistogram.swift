/// How often durations were how long.
package struct DurationHistogram: Hashable, Sendable {
  /// Bucket n counts durations of less than 2^n µs, and the last one the rest.
  package static let bucketCount = 24

  /// The upper bounds of all buckets but the last. **Units**: seconds.
  package static let upperBounds = (0..<(bucketCount - 1)).map { Double(1 << $0) / 1_000_000 }

  package private(set) var counts = [UInt64](repeating: 0, count: bucketCount)
  package private(set) var count: UInt64 = 0
  package private(set) var nanosecondsSum: UInt64 = 0
  package private(set) var nanosecondsMax: UInt64 = 0

  package init() {}

  package mutating func add(nanoseconds: UInt64) {
    count += 1
    nanosecondsSum &+= nanoseconds
    nanosecondsMax = max(nanosecondsMax, nanoseconds)
    let bucket = UInt64.bitWidth - (nanoseconds / 1_000).leadingZeroBitCount
    counts[min(bucket, Self.bucketCount - 1)] += 1
  }

  /// Adds what another one counted.
  package mutating func add(_ other: Self) {
    for bucket in counts.indices { counts[bucket] += other.counts[bucket] }
    count += other.count
    nanosecondsSum &+= other.nanosecondsSum
    nanosecondsMax = max(nanosecondsMax, other.nanosecondsMax)
  }
}

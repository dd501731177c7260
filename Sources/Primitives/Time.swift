/// An instant of a process's monotonic clock. Logic gets it as an argument and never reads a clock.
///
/// **Units**: nanoseconds since an origin that means nothing outside the process.
///
/// Here and in its neighbours all four comparisons are spelled out: those that `Comparable`
/// supplies are reached from other modules through witness tables, many times per message.
package struct Instant: Hashable, Comparable, Sendable {
  package let nanoseconds: UInt64

  package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// The clock's origin.
  package static let zero = Instant(nanoseconds: 0)
  /// Later than any other.
  package static let distantFuture = Instant(nanoseconds: .max)

  package static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }
  package static func > (left: Self, right: Self) -> Bool { left.nanoseconds > right.nanoseconds }
  package static func <= (left: Self, right: Self) -> Bool { left.nanoseconds <= right.nanoseconds }
  package static func >= (left: Self, right: Self) -> Bool { left.nanoseconds >= right.nanoseconds }

  /// The instant so much later.
  package static func + (left: Self, milliseconds: Milliseconds) -> Instant {
    Instant(nanoseconds: left.nanoseconds &+ milliseconds.rawValue * 1_000_000)
  }

  /// Whole milliseconds from `earlier` to this instant; zero when `earlier` is later.
  package func milliseconds(since earlier: Instant) -> Milliseconds {
    Milliseconds(
      nanoseconds <= earlier.nanoseconds ? 0 : (nanoseconds - earlier.nanoseconds) / 1_000_000)
  }
}

/// A duration in milliseconds.
package struct Milliseconds: Hashable, Comparable, Sendable, ExpressibleByIntegerLiteral {
  package let rawValue: UInt64

  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  package init(integerLiteral value: UInt64) { self.rawValue = value }

  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Civil time as stamped into commands by a leader and shown to people.
///
/// **Units**: milliseconds since 1970-01-01T00:00:00Z.
package struct WallTime: Hashable, Comparable, Sendable {
  package let milliseconds: UInt64

  package init(milliseconds: UInt64) { self.milliseconds = milliseconds }

  /// 1970-01-01T00:00:00Z.
  package static let zero = WallTime(milliseconds: 0)
  package static func < (left: Self, right: Self) -> Bool { left.milliseconds < right.milliseconds }
  package static func > (left: Self, right: Self) -> Bool { left.milliseconds > right.milliseconds }
  package static func <= (left: Self, right: Self) -> Bool {
    left.milliseconds <= right.milliseconds
  }
  package static func >= (left: Self, right: Self) -> Bool {
    left.milliseconds >= right.milliseconds
  }
}

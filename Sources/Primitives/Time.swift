/// An instant of a process's monotonic clock. Logic gets it as an argument and never reads a clock.
///
/// **Units**: nanoseconds since an origin that means nothing outside the process.
///
/// Here and in its neighbours all four comparisons are spelled out: those that `Comparable`
/// supplies are reached from other modules through witness tables, many times per message.
package struct Instant: Hashable, Comparable, Sendable {
  package let nanoseconds: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.nanoseconds == right.nanoseconds
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(nanoseconds) }

  @inlinable package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

  /// The clock's origin.
  @inlinable package static var zero: Instant { Instant(nanoseconds: 0) }
  /// Later than any other.
  @inlinable package static var distantFuture: Instant { Instant(nanoseconds: .max) }

  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }
  @inlinable
  package static func > (left: Self, right: Self) -> Bool { left.nanoseconds > right.nanoseconds }
  @inlinable
  package static func <= (left: Self, right: Self) -> Bool { left.nanoseconds <= right.nanoseconds }
  @inlinable
  package static func >= (left: Self, right: Self) -> Bool { left.nanoseconds >= right.nanoseconds }

  /// The instant so much later.
  @inlinable
  package static func + (left: Self, milliseconds: Milliseconds) -> Instant {
    Instant(nanoseconds: left.nanoseconds &+ milliseconds.rawValue * 1_000_000)
  }

  /// Whole milliseconds from `earlier` to this instant; zero when `earlier` is later.
  @inlinable
  package func milliseconds(since earlier: Instant) -> Milliseconds {
    Milliseconds(
      nanoseconds <= earlier.nanoseconds ? 0 : (nanoseconds - earlier.nanoseconds) / 1_000_000)
  }
}

/// A duration in milliseconds.
package struct Milliseconds: Hashable, Comparable, Sendable, ExpressibleByIntegerLiteral {
  package let rawValue: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  @inlinable package init(integerLiteral value: UInt64) { self.rawValue = value }

  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Civil time as stamped into commands by a leader and shown to people.
///
/// **Units**: milliseconds since 1970-01-01T00:00:00Z.
package struct WallTime: Hashable, Comparable, Sendable {
  package let milliseconds: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.milliseconds == right.milliseconds
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(milliseconds) }

  @inlinable package init(milliseconds: UInt64) { self.milliseconds = milliseconds }

  /// 1970-01-01T00:00:00Z.
  @inlinable package static var zero: WallTime { WallTime(milliseconds: 0) }
  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.milliseconds < right.milliseconds }
  @inlinable
  package static func > (left: Self, right: Self) -> Bool { left.milliseconds > right.milliseconds }
  @inlinable
  package static func <= (left: Self, right: Self) -> Bool {
    left.milliseconds <= right.milliseconds
  }
  @inlinable
  package static func >= (left: Self, right: Self) -> Bool {
    left.milliseconds >= right.milliseconds
  }
}

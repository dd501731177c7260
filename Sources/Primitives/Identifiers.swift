// What is `package` is not inlined into other modules unless it says so. These are compared,
// counted and looked up dozens of times for each message: they say so, and spell out what the
// compiler would write for them but not inline. One protocol with these as defaults does not do:
// other modules then reach them through its witness table.

/// A position on the hash circle. `PartitionScheme` says which partition's it is.
package struct Token: Hashable, Comparable, Sendable {
  package let rawValue: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable
  package static func < (left: Token, right: Token) -> Bool { left.rawValue < right.rawValue }
}

/// One contiguous range of the hash circle: the unit of ownership, replication and order.
package struct PartitionID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt32

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt32) { self.rawValue = rawValue }

  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  package var description: String { "p\(rawValue)" }
}

/// A leadership period of one partition. Grows by one with every promotion.
package struct Epoch: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Before the first promotion.
  @inlinable package static var zero: Epoch { Epoch(0) }
  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  @inlinable
  package static func > (left: Self, right: Self) -> Bool { left.rawValue > right.rawValue }
  @inlinable
  package static func <= (left: Self, right: Self) -> Bool { left.rawValue <= right.rawValue }
  @inlinable
  package static func >= (left: Self, right: Self) -> Bool { left.rawValue >= right.rawValue }
  @inlinable package var successor: Epoch { Epoch(rawValue + 1) }
  package var description: String { "e\(rawValue)" }
}

/// A position in a partition's log. The first entry has index 1; `zero` means "before the first".
///
/// What leaves a partition (events, outbox entries, cursors) carries the position with its
/// generation in front: a log that was cut short when an operator forced a leader takes the same
/// positions again, and nobody must mistake the new entries for those that are lost.
///
/// **Shape** (of a position with a generation): 24 bits of generation, 40 bits of position.
package struct LogIndex: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// Before the first entry.
  @inlinable package static var zero: LogIndex { LogIndex(0) }
  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  @inlinable
  package static func > (left: Self, right: Self) -> Bool { left.rawValue > right.rawValue }
  @inlinable
  package static func <= (left: Self, right: Self) -> Bool { left.rawValue <= right.rawValue }
  @inlinable
  package static func >= (left: Self, right: Self) -> Bool { left.rawValue >= right.rawValue }
  /// The position so many entries later.
  @inlinable
  package static func + (left: Self, count: Int) -> LogIndex {
    LogIndex(left.rawValue + UInt64(count))
  }
  /// How many entries later `left` is; negative when it is earlier.
  @inlinable
  package static func - (left: Self, right: Self) -> Int {
    Int(left.rawValue) - Int(right.rawValue)
  }
  @inlinable package var successor: LogIndex { LogIndex(rawValue + 1) }
  @inlinable package var predecessor: LogIndex { LogIndex(rawValue - 1) }
  package var description: String { "i\(rawValue)" }

  @usableFromInline static var positionBits: UInt64 { 40 }
  /// Beyond, stored records could not hold the position.
  package static let generationMax: UInt32 = 1 << 22 - 1

  /// This position in a generation: greater than every position of an earlier one.
  @inlinable
  package func inGeneration(_ generation: UInt32) -> LogIndex {
    precondition(rawValue < 1 << Self.positionBits && generation <= Self.generationMax)
    return LogIndex(UInt64(generation) << Self.positionBits | rawValue)
  }

  /// Of a position that carries one.
  @inlinable
  package var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> Self.positionBits) }
}

/// Names at most one entry of a partition's log: the epoch of the leader that made it and its
/// index.
///
/// **Invariant**: a log is ordered by epoch first, then by index, and so are these.
package struct EntryID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let epoch: Epoch
  package let index: LogIndex

  @inlinable
  package init(epoch: Epoch, index: LogIndex) {
    self.epoch = epoch
    self.index = index
  }

  /// Before the first entry.
  @inlinable package static var zero: EntryID { EntryID(epoch: .zero, index: .zero) }
  @inlinable
  package static func < (left: Self, right: Self) -> Bool {
    (left.epoch, left.index) < (right.epoch, right.index)
  }
  package var description: String { "\(epoch)/\(index)" }
}

/// A data directory's identity: random, made when the directory is initialised, never reused.
package struct StoreID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  package var description: String { Base32.encode(rawValue) }
}

/// A process's identity: random, made at every start. Zero means "no process".
package struct BootID: Hashable, Sendable, CustomStringConvertible {
  package let rawValue: UInt64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: UInt64) { self.rawValue = rawValue }

  /// No process.
  @inlinable package static var none: BootID { BootID(0) }
  package var description: String { Base32.encode(rawValue) }
}

/// One life of one partition on one store. `number` comes from the partition's record and is never
/// used twice, so a store that left a partition and came back to it is somebody else.
package struct ReplicaID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let store: StoreID
  /// From the partition's record; never used twice in it.
  package let number: UInt32

  @inlinable
  package init(store: StoreID, number: UInt32) {
    self.store = store
    self.number = number
  }

  @inlinable
  package static func < (left: Self, right: Self) -> Bool {
    (left.store, left.number) < (right.store, right.number)
  }
  package var description: String { "\(store)#\(number)" }
}

/// The coordinator's version of one key (`mod_revision`). Zero means "does not exist".
package struct Revision: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: Int64

  @inlinable
  package static func == (left: Self, right: Self) -> Bool {
    left.rawValue == right.rawValue
  }
  @inlinable package func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }

  @inlinable package init(_ rawValue: Int64) { self.rawValue = rawValue }

  /// Of a key that does not exist.
  @inlinable package static var zero: Revision { Revision(0) }
  @inlinable
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  @inlinable
  package static func > (left: Self, right: Self) -> Bool { left.rawValue > right.rawValue }
  @inlinable
  package static func <= (left: Self, right: Self) -> Bool { left.rawValue <= right.rawValue }
  @inlinable
  package static func >= (left: Self, right: Self) -> Bool { left.rawValue >= right.rawValue }
  package var description: String { "r\(rawValue)" }
}

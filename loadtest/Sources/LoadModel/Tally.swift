/// Which messages of a conversation were seen, and at which place each, in constant memory: a count
/// and a sum of mixed bits. Two tallies are equal when the same messages were seen once each at the
/// same places; that others are equal has a chance of 2⁻⁶⁴.
package struct Tally: Codable, Equatable, Sendable {
  package private(set) var count: UInt64 = 0
  private var sum: UInt64 = 0

  package init() {}

  /// - Parameter sequence: the message's place in its conversation; 0 where the system tells none.
  package mutating func add(sender: UInt32, number: UInt64, sequence: UInt64) {
    count += 1
    sum &+= mixed(mixed(UInt64(sender) << 40 ^ number) ^ sequence)
  }

  package mutating func add(_ other: Tally) {
    count += other.count
    sum &+= other.sum
  }
}

/// What one reader of one conversation has seen of it, in the order in which it came.
package struct ReceivedLedger: Sendable {
  package private(set) var tally = Tally()
  /// The last place that was seen; `nil` before the first.
  package private(set) var sequence: UInt64?
  /// By sender: the number that must come next.
  private var next: [UInt32: UInt64] = [:]
  private var ahead: [UInt32: Set<UInt64>] = [:]

  package init() {}

  package enum Finding: Equatable, Sendable {
    case right
    /// Of before a broken connection, as the protocol allows.
    case seenBefore
    case repeated
    /// A place is missing, or comes after a later one.
    case outOfPlace(UInt64, after: UInt64)
    /// An earlier message of the same sender comes later.
    case overtaken
  }

  /// An event that carries no message takes a place, too.
  package mutating func other(sequence: UInt64) -> Finding { take(sequence, isResumed: false) }

  /// - Parameter isResumed: the connection was broken since the last one: what was seen before may
  ///   come again.
  /// - Parameter isOrdered: nothing was sent again, so that a sender's messages keep their order.
  package mutating func message(
    _ stamp: MessageStamp, sequence: UInt64, isResumed: Bool, isOrdered: Bool
  ) -> Finding {
    if sequence > 0 {
      let finding = take(sequence, isResumed: isResumed)
      guard finding == .right else { return finding }
    }
    let expected = next[stamp.sender, default: 1]
    if stamp.number < expected || ahead[stamp.sender]?.contains(stamp.number) ?? false {
      return .repeated
    }
    tally.add(sender: stamp.sender, number: stamp.number, sequence: sequence)
    if stamp.number == expected {
      var following = expected + 1
      while ahead[stamp.sender]?.remove(following) != nil { following += 1 }
      next[stamp.sender] = following
      return isOrdered && ahead[stamp.sender]?.isEmpty == false ? .overtaken : .right
    }
    ahead[stamp.sender, default: []].insert(stamp.number)
    return isOrdered ? .overtaken : .right
  }

  private mutating func take(_ place: UInt64, isResumed: Bool) -> Finding {
    defer { sequence = Swift.max(place, sequence ?? 0) }
    guard let last = sequence, place != last + 1 else { return .right }
    return isResumed && place <= last ? .seenBefore : .outOfPlace(place, after: last)
  }
}

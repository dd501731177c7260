import HeapModule

/// What will happen, earliest first; at one instant in the order in which it was scheduled.
package struct TimedQueue<Time: Comparable, Happening> {
  private struct Item: Comparable {
    let at: Time
    let number: UInt64
    let happening: Happening

    static func == (left: Item, right: Item) -> Bool { left.number == right.number }
    static func < (left: Item, right: Item) -> Bool {
      (left.at, left.number) < (right.at, right.number)
    }
  }

  private var heap = Heap<Item>()
  private var lastNumber: UInt64 = 0

  package init() {}

  package mutating func schedule(_ happening: Happening, at time: Time) {
    lastNumber += 1
    heap.insert(Item(at: time, number: lastNumber, happening: happening))
  }

  /// **Returns**: the earliest.
  package mutating func next() -> (at: Time, happening: Happening)? {
    heap.popMin().map { ($0.at, $0.happening) }
  }

  /// **Returns**: the earliest that is due by then.
  package mutating func next(until time: Time) -> (at: Time, happening: Happening)? {
    guard let first = heap.min, first.at <= time else { return nil }
    return next()
  }
}

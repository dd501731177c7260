/// What will happen, earliest first; at one instant in the order in which it was scheduled.
struct TimedQueue<Happening> {
  private struct Item {
    let at: UInt64
    let number: UInt64
    let happening: Happening

    func isBefore(_ other: Item) -> Bool { (at, number) < (other.at, other.number) }
  }

  private var heap: [Item] = []
  private var lastNumber: UInt64 = 0

  /// **Units**: microseconds of virtual time.
  mutating func schedule(_ happening: Happening, at microseconds: UInt64) {
    lastNumber += 1
    heap.append(Item(at: microseconds, number: lastNumber, happening: happening))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].isBefore(heap[parent]) else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// **Returns**: the earliest that is due by then.
  mutating func next(until microseconds: UInt64) -> (at: UInt64, happening: Happening)? {
    guard let first = heap.first, first.at <= microseconds else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      sink()
    }
    return (first.at, first.happening)
  }

  private mutating func sink() {
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < heap.count && heap[child].isBefore(heap[least]) { least = child }
      guard least != parent else { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}

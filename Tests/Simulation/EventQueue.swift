import HeapModule

/// What will happen, earliest first; at one instant in the order in which it was scheduled.
///
/// The heap holds small keys; what happens lies beside it and does not move. A queue of this module
/// and not `WalkSupport.TimedQueue`: what is generic is not specialised across modules, which made
/// the whole simulation slower by a third.
struct EventQueue<Event> {
  private struct Key: Comparable {
    let at: UInt64
    let number: UInt64
    let slot: Int

    static func == (left: Key, right: Key) -> Bool { left.number == right.number }
    static func < (left: Key, right: Key) -> Bool {
      left.at != right.at ? left.at < right.at : left.number < right.number
    }
  }

  private var heap = Heap<Key>()
  private var slots: [Event?] = []
  private var free: [Int] = []
  private var lastNumber: UInt64 = 0

  /// - Parameter time: microseconds.
  mutating func schedule(_ event: Event, at time: UInt64) {
    lastNumber += 1
    let slot: Int
    if let reused = free.popLast() {
      slot = reused
      slots[slot] = event
    } else {
      slot = slots.count
      slots.append(event)
    }
    heap.insert(Key(at: time, number: lastNumber, slot: slot))
  }

  /// **Returns**: the earliest that is due by then.
  mutating func next(until time: UInt64) -> (at: UInt64, event: Event)? {
    guard let first = heap.min, first.at <= time else { return nil }
    heap.removeMin()
    guard let event = slots[first.slot].take() else { preconditionFailure("an empty slot") }
    free.append(first.slot)
    return (first.at, event)
  }
}

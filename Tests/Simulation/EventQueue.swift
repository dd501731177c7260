import HeapModule

/// What will happen, earliest first; at one instant in the order in which it was scheduled.
///
/// The heap holds small keys; what happens lies beside it and does not move. A queue of this module
/// and not `WalkSupport.TimedQueue`: what is generic is not specialised across modules, which made
/// the whole simulation slower by a third.
struct EventQueue<Event> {
  /// Time, number and slot in one integer, which compares without a branch: 48 bits of microseconds
  /// are nine years, 48 of numbers and 32 of slots more than any run has.
  private struct Key: Comparable {
    private let packed: UInt128

    init(at time: UInt64, number: UInt64, slot: Int) {
      packed = UInt128(time << 16 | number >> 32) << 64 | UInt128(number << 32 | UInt64(slot))
    }

    var time: UInt64 { UInt64(truncatingIfNeeded: packed >> 80) }
    var slot: Int { Int(UInt32(truncatingIfNeeded: packed)) }

    static func < (left: Key, right: Key) -> Bool { left.packed < right.packed }
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
    guard let first = heap.min, first.time <= time else { return nil }
    heap.removeMin()
    guard let event = slots[first.slot].take() else { preconditionFailure("an empty slot") }
    free.append(first.slot)
    return (first.time, event)
  }
}

/// Packets in the order of their deadlines; those with the same deadline in the order of their
/// arrival.
struct DeadlineHeap: Sendable {
  struct Item: Sendable {
    /// **Units**: nanoseconds of a clock that never goes back.
    let deadline: UInt64
    let direction: Direction
    let packet: [UInt8]
    fileprivate let arrival: UInt64

    fileprivate func isBefore(_ other: Item) -> Bool {
      (deadline, arrival) < (other.deadline, other.arrival)
    }
  }

  /// A binary heap: no item is before its parent at half its index.
  private var items: [Item] = []
  private var arrivalCount: UInt64 = 0

  var first: Item? { items.first }

  mutating func insert(_ packet: [UInt8], _ direction: Direction, deadline: UInt64) {
    items.append(
      Item(deadline: deadline, direction: direction, packet: packet, arrival: arrivalCount))
    arrivalCount += 1
    var index = items.count - 1
    while index > 0, items[index].isBefore(items[(index - 1) / 2]) {
      items.swapAt(index, (index - 1) / 2)
      index = (index - 1) / 2
    }
  }

  mutating func removeFirst() -> Item? {
    guard let last = items.popLast() else { return nil }
    guard let first = items.first else { return last }
    items[0] = last
    var index = 0
    while true {
      var least = index
      for child in [2 * index + 1, 2 * index + 2]
      where child < items.count && items[child].isBefore(items[least]) {
        least = child
      }
      if least == index { return first }
      items.swapAt(index, least)
      index = least
    }
  }
}

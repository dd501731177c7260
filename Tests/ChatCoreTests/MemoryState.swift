import ChatCore

/// Stored state in memory, in the order of keys.
struct MemoryState: StateReader {
  private(set) var rows: [(key: [UInt8], value: [UInt8])] = []
  /// Every read fails, as a broken disk's would.
  var isBroken = false

  func value(_ key: [UInt8]) throws(StateReadError) -> [UInt8]? {
    if isBroken { throw .unreadable("broken") }
    let position = firstPosition(notBelow: key)
    guard position < rows.count, rows[position].key == key else { return nil }
    return rows[position].value
  }

  func scan(
    from: [UInt8], upTo: [UInt8], reverse: Bool, countMax: Int
  ) throws(StateReadError) -> [(key: [UInt8], value: [UInt8])] {
    if isBroken { throw .unreadable("broken") }
    let first = firstPosition(notBelow: from)
    let range = rows[first..<max(first, firstPosition(notBelow: upTo))]
    return reverse ? range.suffix(countMax).reversed() : Array(range.prefix(countMax))
  }

  private func firstPosition(notBelow key: [UInt8]) -> Int {
    var low = 0
    var high = rows.count
    while low < high {
      let middle = (low + high) / 2
      let isBelow = rows[middle].key.lexicographicallyPrecedes(key)
      if isBelow { low = middle + 1 } else { high = middle }
    }
    return low
  }

  mutating func write(_ checkpoint: Checkpoint) {
    var merged: [(key: [UInt8], value: [UInt8])] = []
    var rest = rows[...]
    for write in checkpoint.writes {
      while let row = rest.first, row.key.lexicographicallyPrecedes(write.key) {
        merged.append(row)
        rest.removeFirst()
      }
      if rest.first?.key == write.key { rest.removeFirst() }
      if let value = write.value { merged.append((write.key, value)) }
    }
    rows = merged + rest
  }

  /// The rows of some keys.
  func part(where isWanted: ([UInt8]) -> Bool) -> MemoryState {
    var part = self
    part.rows = rows.filter { isWanted($0.key) }
    return part
  }

  mutating func replaceValue(at position: Int, with value: [UInt8]) {
    rows[position].value = value
  }

  func hasSameRows(as other: MemoryState) -> Bool {
    rows.count == other.rows.count
      && zip(rows, other.rows).allSatisfy { $0.key == $1.key && $0.value == $1.value }
  }
}

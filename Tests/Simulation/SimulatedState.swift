package import ChatCore
import Glibc
import NodeProtocol
import Primitives
import ShardCore

/// The checkpointed state of one replica, in the order of its keys.
package final class SimulatedState: StateReader {
  private var keys: [[UInt8]] = []
  private var values: [[UInt8]] = []
  /// From here on nothing can be read.
  package var isDamaged = false

  package init() {}

  package func value(_ key: [UInt8]) throws(StateReadError) -> [UInt8]? {
    if isDamaged { throw .unreadable("a flipped bit") }
    let place = place(of: key)
    return place < keys.count && keys[place] == key ? values[place] : nil
  }

  package func scan(
    from: [UInt8], upTo: [UInt8], reverse: Bool, countMax: Int
  ) throws(StateReadError) -> [(key: [UInt8], value: [UInt8])] {
    if isDamaged { throw .unreadable("a flipped bit") }
    let range = place(of: from)..<max(place(of: from), place(of: upTo))
    let count = min(countMax, range.count)
    var found: [(key: [UInt8], value: [UInt8])] = []
    found.reserveCapacity(count)
    for number in 0..<count {
      let place = reverse ? range.upperBound - 1 - number : range.lowerBound + number
      found.append((keys[place], values[place]))
    }
    return found
  }

  /// **Returns**: what the key held before.
  @discardableResult
  func set(_ key: [UInt8], _ value: [UInt8]?) -> [UInt8]? {
    let place = place(of: key)
    let isHere = place < keys.count && keys[place] == key
    let before = isHere ? values[place] : nil
    switch (value, isHere) {
    case (let value?, true): values[place] = value
    case (let value?, false):
      keys.insert(key, at: place)
      values.insert(value, at: place)
    case (nil, true):
      keys.remove(at: place)
      values.remove(at: place)
    case (nil, false): break
    }
    return before
  }

  /// What is of the partition itself, and the entities of a range.
  func part(own: Bool, of tokens: ClosedRange<Token>) -> SimulatedState {
    let part = SimulatedState()
    part.isDamaged = isDamaged
    for place in keys.indices {
      let token = Token(keys[place].prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
      let isOwn = token.rawValue == 0 && keys[place][8] == 0
      guard isOwn ? own : tokens.contains(token) else { continue }
      part.keys.append(keys[place])
      part.values.append(values[place])
    }
    return part
  }

  /// The same records, which change no more.
  func copy() -> SimulatedState {
    let copy = SimulatedState()
    copy.keys = keys
    copy.values = values
    copy.isDamaged = isDamaged
    return copy
  }

  /// Of the first key that is not before `key`.
  private func place(of key: [UInt8]) -> Int {
    var low = 0
    var high = keys.count
    while low < high {
      let middle = (low + high) / 2
      if Self.isBefore(keys[middle], key) { low = middle + 1 } else { high = middle }
    }
    return low
  }

  private static func isBefore(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    let (leftCount, rightCount) = (left.count, right.count)
    let order = left.withUnsafeBytes { left in
      right.withUnsafeBytes { right in
        guard let left = left.baseAddress, let right = right.baseAddress else { return Int32(0) }
        return memcmp(left, right, min(leftCount, rightCount))
      }
    }
    return order != 0 ? order < 0 : leftCount < rightCount
  }
}

/// A state that is being sent.
final class SimulatedSnapshot: FrozenState {
  private let state: SimulatedState
  let appliedIndex: LogIndex

  init(_ state: SimulatedState, appliedIndex: LogIndex) {
    self.state = state
    self.appliedIndex = appliedIndex
  }

  func records(
    after key: [UInt8], bytesMax: Int
  ) throws(StateReadError) -> (records: StateRecords, isComplete: Bool) {
    var records = StateRecords()
    let lower = key.isEmpty ? [] : key + [0]
    let end = [UInt8](repeating: 0xff, count: 64)
    let page = try state.scan(from: lower, upTo: end, reverse: false, countMax: 1_000)
    for record in page {
      if records.count > 0, records.bytes.count + record.value.count > bytesMax {
        return (records, false)
      }
      records.add(key: record.key, value: record.value)
    }
    return (records, page.count < 1_000)
  }
}

package import ChatCore
import ClusterModel
import Glibc
package import NodeProtocol
package import Primitives
package import ReplicaCore
package import ShardCore

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

/// One store's data directory in memory. What was synced survives the process; of the rest a crash
/// keeps as much as the simulation says.
package final class SimulatedDisk: ShardStorage {
  /// One replica as it lies on the disk.
  private final class Stored {
    let id: ReplicaID
    let generation: UInt32
    /// Whether anything of it was written.
    var isWritten = false
    var promise = Epoch.zero
    /// The entry of index i is at i - 1.
    var log: [Entry] = []
    var appliedIndex = LogIndex.zero
    var commitIndex = LogIndex.zero
    let state = SimulatedState()
    var isLogDamaged = false

    init(id: ReplicaID, generation: UInt32) {
      self.id = id
      self.generation = generation
    }
  }

  /// A checkpoint that no fsync has followed yet, and how to take it back.
  private struct Unsynced {
    let stored: Stored
    let appliedIndex: LogIndex
    let commitIndex: LogIndex
    let before: [(key: [UInt8], value: [UInt8]?)]
  }

  private var present: [PartitionID: Stored] = [:]
  private var former: [PartitionID: [Stored]] = [:]
  private var unsynced: [Unsynced] = []
  /// How often entries were read for a follower.
  package private(set) var loadCount = 0
  /// What must not be: a promise taken back, a gap in a log. The first one.
  package private(set) var violation: String?

  package init() {}

  // MARK: ShardStorage

  package func stateReader(of partition: PartitionID) -> any StateReader {
    guard let stored = present[partition] else { preconditionFailure("\(partition) is not here") }
    return stored.state
  }

  package func createReplica(
    _ replica: ReplicaID, of partition: PartitionID, generation: UInt32, settingAside: Bool
  ) throws(StateReadError) -> any StateReader {
    if let earlier = present[partition] {
      if earlier.id.number >= replica.number { violation = "\(replica) after \(earlier.id)" }
      if earlier.isWritten, !settingAside { former[partition, default: []].append(earlier) }
    }
    let stored = Stored(id: replica, generation: generation)
    present[partition] = stored
    return stored.state
  }

  package func entries(
    of partition: PartitionID, from index: LogIndex, bytesMax: Int
  ) throws(StateReadError) -> [Entry] {
    guard let stored = present[partition] else { return [] }
    loadCount += 1
    if stored.isLogDamaged { throw .unreadable("a flipped bit in the log") }
    var bytes = 0
    return Array(
      stored.log.dropFirst(Int(index.rawValue) - 1).prefix { entry in
        defer { bytes += entry.bytes }
        return bytes == 0 || bytes + entry.bytes <= bytesMax
      })
  }

  // MARK: Writing

  /// A synced write. What was written before it is durable with it.
  package func write(_ write: ReplicaWrite, of partition: PartitionID, _ replica: ReplicaID) {
    unsynced.removeAll(keepingCapacity: true)
    guard let stored = present[partition], stored.id == replica else { return }
    if write.promise < stored.promise { violation = "a promise was taken back by \(replica)" }
    stored.isWritten = true
    stored.promise = write.promise
    if let from = write.truncatingFrom {
      stored.log.removeLast(max(0, stored.log.count - Int(from.rawValue) + 1))
    }
    for entry in write.entries {
      if Int(entry.index.rawValue) != stored.log.count + 1 {
        violation = "\(entry.id) is written after \(stored.log.count)"
      }
      stored.log.append(entry)
    }
  }

  package func write(
    _ checkpoint: Checkpoint, of partition: PartitionID, _ replica: ReplicaID,
    commitIndex: LogIndex
  ) {
    guard let stored = present[partition], stored.id == replica else { return }
    let before = checkpoint.writes.map { ($0.key, stored.state.set($0.key, $0.value)) }
    unsynced.append(
      Unsynced(
        stored: stored, appliedIndex: stored.appliedIndex, commitIndex: stored.commitIndex,
        before: before))
    stored.isWritten = true
    stored.appliedIndex = checkpoint.appliedIndex
    stored.commitIndex = commitIndex
  }

  package func forget(_ replica: ReplicaID, of partition: PartitionID) {
    former[partition]?.removeAll { $0.id == replica }
    if present[partition]?.id == replica { present[partition] = nil }
  }

  /// The process died: checkpoints that nothing has followed may be lost.
  package func crash(keepingUnsynced: Bool) {
    for item in unsynced.reversed() where !keepingUnsynced {
      for (key, value) in item.before.reversed() { item.stored.state.set(key, value) }
      item.stored.appliedIndex = item.appliedIndex
      item.stored.commitIndex = item.commitIndex
    }
    unsynced.removeAll()
    // One that never wrote anything was never here.
    present = present.filter { $0.value.isWritten }
  }

  // MARK: Looking

  package func log(of partition: PartitionID) -> [Entry] { present[partition]?.log ?? [] }
  package func appliedIndex(of partition: PartitionID) -> LogIndex {
    present[partition]?.appliedIndex ?? .zero
  }
  /// Which replica lies here, the present one and those before it.
  package func replicas(of partition: PartitionID) -> [ReplicaID] {
    (former[partition] ?? []).map(\.id) + (present[partition].map { [$0.id] } ?? [])
  }
  /// The entry at `index` of one replica, present or former, as it is durable; `nil` of one that
  /// can be read no more.
  package func durableEntry(
    at index: LogIndex, of partition: PartitionID, _ replica: ReplicaID
  ) -> Entry? {
    guard let stored = stored(partition, replica), !stored.isLogDamaged, !stored.state.isDamaged,
      index > .zero,
      stored.log.count >= Int(index.rawValue)
    else { return nil }
    return stored.log[Int(index.rawValue) - 1]
  }

  /// Entries in a replica's log.
  package func length(of partition: PartitionID, _ replica: ReplicaID) -> Int {
    stored(partition, replica)?.log.count ?? 0
  }

  /// Whether what is here of a replica can be read.
  package func isReadable(_ partition: PartitionID, _ replica: ReplicaID) -> Bool {
    stored(partition, replica).map { !$0.isLogDamaged && !$0.state.isDamaged } ?? false
  }

  private func stored(_ partition: PartitionID, _ replica: ReplicaID) -> Stored? {
    if let stored = present[partition], stored.id == replica { return stored }
    return former[partition]?.first { $0.id == replica }
  }

  // MARK: Damage

  /// Loses everything from an entry on, as a disk does that lies about fsync.
  package func lose(from index: LogIndex, of partition: PartitionID) {
    guard let stored = present[partition], stored.log.count >= Int(index.rawValue) else { return }
    stored.log.removeLast(stored.log.count - Int(index.rawValue) + 1)
  }

  /// Makes the log or the state of a partition unreadable.
  package func flip(_ partition: PartitionID, inLog: Bool) {
    if inLog {
      present[partition]?.isLogDamaged = true
    } else {
      present[partition]?.state.isDamaged = true
    }
  }

  package var partitions: [PartitionID] { present.keys.sorted() }
  package var isWhole: Bool {
    present.values.allSatisfy { !$0.isLogDamaged && !$0.state.isDamaged }
  }

  /// What a process finds when it starts.
  package func recovered() -> [RecoveredPartition] {
    present.keys.sorted().compactMap { partition in
      guard let stored = present[partition] else { return nil }
      var starts: [EntryID] = []
      for entry in stored.log where entry.epoch != starts.last?.epoch { starts.append(entry.id) }
      let last = stored.log.last?.id ?? .zero
      var damage: String?
      if stored.isLogDamaged { damage = "a flipped bit in the log" }
      if stored.state.isDamaged { damage = "a flipped bit in the state" }
      if last.index < stored.appliedIndex { damage = "the log ends before the checkpoint" }
      let replica =
        damage == nil
        ? RecoveredReplica(
          id: stored.id, promise: stored.promise,
          commitIndex: min(stored.commitIndex, last.index), appliedIndex: stored.appliedIndex,
          epochStarts: starts, last: last,
          tail: Array(stored.log.dropFirst(Int(stored.appliedIndex.rawValue))))
        : RecoveredReplica(empty: stored.id)
      return RecoveredPartition(
        partition: partition, replica: replica, generation: stored.generation,
        former: (former[partition] ?? []).map(\.id), damage: damage)
    }
  }
}

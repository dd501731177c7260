import ChatCore
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore

/// The checkpointed state of one partition, as it is now.
final class StoredState: StateReader {
  private var rows: [[UInt8]: [UInt8]] = [:]

  func value(_ key: [UInt8]) throws(StateReadError) -> [UInt8]? { rows[key] }

  func scan(
    from: [UInt8], upTo: [UInt8], reverse: Bool, countMax: Int
  ) throws(StateReadError) -> [(key: [UInt8], value: [UInt8])] {
    let found = rows.filter { row in
      !row.key.lexicographicallyPrecedes(from) && row.key.lexicographicallyPrecedes(upTo)
    }
    let sorted = found.sorted { $0.key.lexicographicallyPrecedes($1.key) }
      .map { (key: $0.key, value: $0.value) }
    return Array((reverse ? sorted.reversed() : sorted).prefix(countMax))
  }

  func write(_ checkpoint: Checkpoint) {
    for write in checkpoint.writes { rows[write.key] = write.value }
  }
}

/// One store's data directory in memory: what was written to it survives the process.
final class FakeDisk: ShardStorage {
  private struct Stored {
    let id: ReplicaID
    let generation: UInt32
    var promise = Epoch.zero
    var log: [Entry] = []
    var appliedIndex = LogIndex.zero
    var commitIndex = LogIndex.zero
    let state = StoredState()
  }

  private var replicas: [PartitionID: Stored] = [:]

  func stateReader(of partition: PartitionID) -> any StateReader {
    guard let stored = replicas[partition] else { preconditionFailure("\(partition) is not here") }
    return stored.state
  }

  func createReplica(
    _ replica: ReplicaID, of partition: PartitionID, generation: UInt32
  ) throws(StateReadError) -> any StateReader {
    let stored = Stored(id: replica, generation: generation)
    replicas[partition] = stored
    return stored.state
  }

  func entries(of partition: PartitionID, from index: LogIndex, bytesMax: Int) -> [Entry] {
    var bytes = 0
    return (replicas[partition]?.log ?? []).drop { $0.index < index }.prefix { entry in
      defer { bytes += entry.bytes }
      return bytes == 0 || bytes + entry.bytes <= bytesMax
    }.map { $0 }
  }

  func write(_ write: ReplicaWrite, of partition: PartitionID) {
    guard var stored = replicas[partition] else { preconditionFailure("\(partition) is not here") }
    precondition(write.promise >= stored.promise, "a promise was taken back")
    stored.promise = write.promise
    if let from = write.truncatingFrom { stored.log.removeAll { $0.index >= from } }
    for entry in write.entries {
      let end = stored.log.last?.index ?? .zero
      precondition(entry.index == end.successor, "\(entry.id) is written after \(end)")
      stored.log.append(entry)
    }
    replicas[partition] = stored
  }

  func write(_ checkpoint: Checkpoint, of partition: PartitionID, commitIndex: LogIndex) {
    guard let stored = replicas[partition] else { preconditionFailure("\(partition) is not here") }
    stored.state.write(checkpoint)
    replicas[partition]?.appliedIndex = checkpoint.appliedIndex
    replicas[partition]?.commitIndex = commitIndex
  }

  func log(of partition: PartitionID) -> [Entry] { replicas[partition]?.log ?? [] }
  func appliedIndex(of partition: PartitionID) -> LogIndex {
    replicas[partition]?.appliedIndex ?? .zero
  }

  /// Loses everything from an entry on, as a lying disk does.
  func lose(from index: LogIndex, of partition: PartitionID) {
    replicas[partition]?.log.removeAll { $0.index >= index }
  }

  /// What a process finds when it starts.
  func recovered() -> [RecoveredPartition] {
    replicas.keys.sorted().compactMap { partition in
      guard let stored = replicas[partition] else { return nil }
      var starts: [EntryID] = []
      for entry in stored.log where entry.epoch != starts.last?.epoch { starts.append(entry.id) }
      let last = stored.log.last?.id ?? .zero
      return RecoveredPartition(
        partition: partition,
        replica: RecoveredReplica(
          id: stored.id, promise: stored.promise,
          commitIndex: min(stored.commitIndex, last.index), appliedIndex: stored.appliedIndex,
          epochStarts: starts, last: last,
          tail: stored.log.filter { $0.index > stored.appliedIndex }),
        generation: stored.generation)
    }
  }
}

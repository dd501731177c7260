import ChatCore
import ClusterModel
import LogStorage
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore

/// What a shard's core asks of its store, and the batches that it writes.
///
/// **Isolation**: the shard's event loop, but for `Store`, which is safe everywhere.
final class ShardStore: ShardStorage {
  let store: Store
  private var metas: [PartitionID: PartitionMeta]
  /// The last index of each log as it will be when everything submitted is written.
  private var ends: [PartitionID: LogIndex] = [:]
  /// What was added since this process began. **Units**: bytes of entries.
  private var appended: [PartitionID: UInt64] = [:]
  /// Replicas whose meta no batch holds yet.
  private var isUnwritten: Set<PartitionID> = []
  /// States that are being prepared, or are and were not put in their place yet.
  private var imports: [PartitionID: (id: InstallationID, state: StateImport)] = [:]

  /// **Throws**: what reading the store throws.
  init(_ store: Store) throws(StorageError) {
    self.store = store
    metas = try store.partitions()
  }

  /// The replicas of this store as they are on the disk, in the order of their partitions; of one
  /// that is damaged, what is wrong with it.
  ///
  /// **Throws**: `readFailed`.
  func recovered() throws(StorageError) -> [RecoveredPartition] {
    var found: [RecoveredPartition] = []
    for partition in metas.keys.sorted() {
      guard let meta = metas[partition] else { continue }
      var damage: String?
      var replica = RecoveredReplica(empty: meta.replica)
      var logBytes: UInt64 = 0
      do throws(StorageError) {
        replica = try recovered(partition, meta)
        logBytes = try store.approximateLogBytes(meta.prefix)
      } catch {
        switch error {
        case .damaged, .entryMissing: damage = "\(error)"
        default: throw error
        }
      }
      found.append(
        RecoveredPartition(
          partition: partition, replica: replica, generation: meta.generation,
          logBytes: logBytes,
          former: meta.former.filter { !$0.isSetAside }.map(\.replica), damage: damage))
    }
    return found
  }

  private func recovered(
    _ partition: PartitionID, _ meta: PartitionMeta
  ) throws(StorageError) -> RecoveredReplica {
    let extent = try store.logExtent(meta.prefix, firstIndex: meta.firstIndex)
    let last = extent.last ?? EntryID(epoch: meta.snapshotEpoch, index: meta.snapshotIndex)
    guard last.index >= meta.appliedIndex else {
      throw .damaged(
        Damage(
          .log(prefix: meta.prefix, index: last.index),
          "the log ends before the checkpoint of \(meta.appliedIndex)"))
    }
    ends[partition] = last.index
    return RecoveredReplica(
      id: meta.replica, promise: meta.promise,
      commitIndex: min(meta.commitIndex, last.index), appliedIndex: meta.appliedIndex,
      base: EntryID(epoch: meta.snapshotEpoch, index: meta.snapshotIndex),
      epochStarts: extent.epochStarts, last: last, tail: try tail(meta, through: last.index))
  }

  private func tail(_ meta: PartitionMeta, through last: LogIndex) throws(StorageError) -> [Entry] {
    var tail: [Entry] = []
    var next = meta.appliedIndex.successor
    while next <= last {
      let page = try store.entries(
        meta.prefix, from: next, countMax: 4_096, bytesMax: 16 << 20)
      guard let end = page.last else {
        throw .damaged(Damage(.log(prefix: meta.prefix, index: next), "it is missing"))
      }
      tail += page.map { Entry(id: $0.id, payload: $0.payload) }
      next = end.index.successor
    }
    return tail
  }

  /// Where each partition's replica lies, and what was added to it since this process began, in
  /// bytes: what the engine counts does not hold the newest.
  var extents: [PartitionID: (place: StatePlace, appended: UInt64)] {
    var extents: [PartitionID: (place: StatePlace, appended: UInt64)] = [:]
    for (partition, meta) in metas {
      extents[partition] = (meta.place, appended[partition] ?? 0)
    }
    return extents
  }

  // MARK: ShardStorage

  func stateReader(of partition: PartitionID) -> any StateReader {
    StoredState(store: store, place: metas[partition]?.place ?? StatePlace(prefix: 0))
  }

  func createReplica(
    _ replica: ReplicaID, of partition: PartitionID, generation: UInt32, settingAside: Bool
  ) throws(StateReadError) -> any StateReader {
    do {
      let prefix = try store.reservePrefix()
      var meta = PartitionMeta(replica: replica, prefix: prefix, generation: generation)
      if let earlier = metas[partition] {
        meta.former = earlier.former
        // One that never wrote anything has nothing to delete.
        if !isUnwritten.contains(partition) {
          meta.former.append(
            FormerReplica(
              replica: earlier.replica, prefix: earlier.prefix,
              isSetAside: settingAside || earlier.isSetAside, firstIndex: earlier.firstIndex,
              shared: earlier.shared))
        }
      }
      metas[partition] = meta
      ends[partition] = .zero
      appended[partition] = nil
      isUnwritten.insert(partition)
      return StoredState(store: store, place: meta.place)
    } catch {
      throw .unreadable("\(error)")
    }
  }

  func entries(
    of partition: PartitionID, from index: LogIndex, bytesMax: Int
  ) throws(StateReadError) -> [Entry] {
    guard let meta = metas[partition] else { return [] }
    do {
      return try store.entries(meta.prefix, from: index, countMax: 1_024, bytesMax: bytesMax)
        .map { Entry(id: $0.id, payload: $0.payload) }
    } catch {
      throw .unreadable("\(error)")
    }
  }

  func freezeState(of partition: PartitionID) throws(StateReadError) -> any FrozenState {
    do {
      return try StoredSnapshot(store, partition)
    } catch {
      throw .unreadable("\(error)")
    }
  }

  func preparedState(of partition: PartitionID, _ id: InstallationID) -> any StateReader {
    guard let prepared = imports[partition], prepared.id == id else {
      preconditionFailure("\(partition): installation \(id.rawValue) was not prepared")
    }
    return StoredState(store: store, place: StatePlace(prefix: prepared.state.prefix))
  }

  // MARK: Preparing another state

  func beginImport(_ id: InstallationID, of partition: PartitionID) {
    imports[partition] = (id, StateImport(store: store))
  }

  func preparing(_ id: InstallationID, of partition: PartitionID) -> StateImport? {
    imports[partition].flatMap { $0.id == id ? $0.state : nil }
  }

  /// It will not be put in its place.
  func endImport(_ id: InstallationID, of partition: PartitionID) {
    if imports[partition]?.id == id { imports[partition] = nil }
  }

  // MARK: Batches

  /// Puts the state that was prepared, and an empty log, in the place of a replica's present ones.
  func add(
    _ installation: ReplicaInstallation, of partition: PartitionID, _ replica: ReplicaID,
    to batch: inout StorageBatch
  ) {
    guard var meta = metas[partition], meta.replica == replica,
      let prepared = imports.removeValue(forKey: partition), prepared.id == installation.id
    else { return }
    batch.drop(meta.place)
    meta.prefix = prepared.state.prefix
    meta.shared = nil
    meta.promise = installation.promise
    meta.firstIndex = installation.last.index.successor
    meta.snapshotIndex = installation.last.index
    meta.snapshotEpoch = installation.last.epoch
    meta.appliedIndex = installation.last.index
    meta.commitIndex = installation.last.index
    metas[partition] = meta
    ends[partition] = installation.last.index
    appended[partition] = nil
    isUnwritten.remove(partition)
    batch.setMeta(of: partition, meta)
  }

  /// Lets a log begin after `base`.
  func truncate(
    _ replica: ReplicaID, of partition: PartitionID, base: EntryID, in batch: inout StorageBatch
  ) {
    guard var meta = metas[partition], meta.replica == replica else { return }
    let first = meta.firstIndex
    meta.firstIndex = base.index.successor
    meta.snapshotIndex = base.index
    meta.snapshotEpoch = base.epoch
    metas[partition] = meta
    batch.truncatePrefix(of: partition, to: meta, from: first)
  }

  /// Adds a replica's write to the batch of this turn. One that another has taken the place of
  /// since it wrote is written no more.
  func add(
    _ write: ReplicaWrite, of partition: PartitionID, _ replica: ReplicaID,
    to batch: inout StorageBatch
  ) {
    guard var meta = metas[partition], meta.replica == replica else { return }
    if write.promise != meta.promise || isUnwritten.contains(partition) {
      meta.promise = write.promise
      metas[partition] = meta
      isUnwritten.remove(partition)
      batch.setMeta(of: partition, meta)
    }
    if let from = write.truncatingFrom, let end = ends[partition] {
      batch.truncateSuffix(meta.prefix, from: from, through: end)
    }
    for entry in write.entries {
      appended[partition, default: 0] += UInt64(entry.bytes)
      batch.append(meta.prefix, index: entry.index, epoch: entry.epoch, payload: entry.payload)
    }
    if let last = write.entries.last {
      ends[partition] = last.index
    } else if let from = write.truncatingFrom {
      ends[partition] = from.predecessor
    }
  }

  /// Adds a checkpoint: state and the index that it is of, in one batch.
  func add(
    _ checkpoint: Checkpoint, of partition: PartitionID, _ replica: ReplicaID,
    commitIndex: LogIndex, to batch: inout StorageBatch
  ) {
    guard var meta = metas[partition], meta.replica == replica else { return }
    meta.appliedIndex = checkpoint.appliedIndex
    meta.commitIndex = commitIndex
    meta.rollingHash = checkpoint.rollingHash
    metas[partition] = meta
    isUnwritten.remove(partition)
    for write in checkpoint.writes { batch.setState(meta.place, write.key, write.value) }
    batch.setMeta(of: partition, meta)
  }

  /// Cuts a replica in two: what a `ShardCut` says, in one batch.
  func cut(_ cut: ShardCut, in batch: inout StorageBatch) throws(StorageError) {
    guard var meta = metas[cut.partition], meta.replica == cut.replica else { return }
    let whole = meta.place
    meta.appliedIndex = cut.lower.appliedIndex
    meta.commitIndex = cut.through.index
    meta.rollingHash = cut.lower.rollingHash
    meta.shared = StatePlace.Shared(
      prefix: whole.shared?.prefix ?? whole.prefix, tokens: cut.lowerTokens)
    metas[cut.partition] = meta
    isUnwritten.remove(cut.partition)
    for write in cut.lower.writes {
      // What the checkpoint holds of the upper half lies where that will read it.
      batch.setState(whole, write.key, write.value)
    }
    batch.setMeta(of: cut.partition, meta)
    guard let replica = cut.half, metas[cut.halfPartition] == nil else {
      // Nobody here reads the upper half.
      return batch.dropEntities(
        StatePlace.Shared(
          prefix: whole.shared?.prefix ?? whole.prefix, tokens: cut.upperTokens))
    }
    let place = whole.half(cut.upperTokens, prefix: try store.reservePrefix())
    let half = PartitionMeta(
      replica: replica, prefix: place.prefix, promise: cut.through.epoch,
      firstIndex: cut.through.index.successor, snapshotIndex: cut.through.index,
      snapshotEpoch: cut.through.epoch, appliedIndex: cut.through.index,
      commitIndex: cut.through.index, rollingHash: cut.upper.rollingHash,
      generation: cut.generation, shared: place.shared)
    metas[cut.halfPartition] = half
    ends[cut.halfPartition] = cut.through.index
    for write in cut.upper.writes { batch.setState(place, write.key, write.value) }
    batch.setMeta(of: cut.halfPartition, half)
  }

  /// Keeps what is left of a replica that no record lists.
  func setAside(_ replica: ReplicaID, of partition: PartitionID, in batch: inout StorageBatch) {
    guard var meta = metas[partition], meta.replica == replica, !meta.isSetAside else { return }
    meta.isSetAside = true
    metas[partition] = meta
    batch.setMeta(of: partition, meta)
  }

  /// Deletes what is left of a replica that no record lists.
  func forget(_ replica: ReplicaID, of partition: PartitionID, in batch: inout StorageBatch) {
    guard var meta = metas[partition] else { return }
    if meta.replica == replica {
      batch.drop(meta.place)
      for earlier in meta.former where !earlier.isSetAside { batch.drop(earlier.place) }
      // What is set aside is known by this meta; the replica has nothing any more, and no prefix.
      var rest = PartitionMeta(
        replica: replica, prefix: 0, promise: meta.promise, generation: meta.generation)
      rest.former = meta.former.filter(\.isSetAside)
      batch.setMeta(of: partition, rest.former.isEmpty ? nil : rest)
      metas[partition] = rest.former.isEmpty ? nil : rest
      ends[partition] = nil
      isUnwritten.remove(partition)
    } else if let position = meta.former.firstIndex(where: { $0.replica == replica }) {
      batch.drop(meta.former.remove(at: position).place)
      metas[partition] = meta
      // Of a present one that has written nothing yet, too: the disk must not name a replica whose
      // data is gone.
      isUnwritten.remove(partition)
      batch.setMeta(of: partition, meta)
    }
  }
}

extension Store {
  /// Lets the layout be what an active version of the protocol needs.
  func prepare(for version: ActiveVersion) throws(StorageError) {
    if version.number >= ProtocolVersion.snapshots { try raiseStorageVersion(to: 2) }
    if version.number >= ProtocolVersion.splits { try raiseStorageVersion(to: 3) }
  }
}

package import Primitives

/// What is to be written together: all of it or nothing, under one sync if it asks for one.
///
/// **Invariant**: written in this order, whatever the order of the calls: suffix truncations,
/// appends, state, metas, the store's revision. Keys of truncated prefixes are deleted
/// afterwards, in chunks.
package struct StorageBatch: Sendable {
  struct Append {
    let prefix: UInt32
    let index: LogIndex
    let epoch: Epoch
    let payload: [UInt8]
  }

  struct SuffixTruncation {
    let prefix: UInt32
    let from: LogIndex
    let through: LogIndex
  }

  struct StateWrite {
    let prefix: UInt32
    let key: [UInt8]
    let value: [UInt8]?
  }

  /// About what a record costs in the WAL and in memory beyond its own bytes.
  private static let recordOverheadBytes = 48

  /// Whether the completion means "on the disk". Checkpoints do not ask for it.
  package private(set) var needsSync: Bool
  /// What the batch counts against the limits of the queue.
  package private(set) var bytes = 0
  private(set) var appends: [Append] = []
  private(set) var suffixTruncations: [SuffixTruncation] = []
  private(set) var stateWrites: [StateWrite] = []
  private(set) var metas: [(partition: PartitionID, meta: PartitionMeta?)] = []
  private(set) var revision: Int64?
  private(set) var sweeps: [Sweep] = []

  package init(needsSync: Bool) { self.needsSync = needsSync }

  package var isEmpty: Bool {
    appends.isEmpty && suffixTruncations.isEmpty && stateWrites.isEmpty && metas.isEmpty
      && revision == nil
  }

  /// Keys that are written or deleted and are no appended entries.
  var otherKeyCount: Int {
    suffixTruncations.reduce(0) { $0 + ($1.through - $1.from) + 1 } + stateWrites.count
      + metas.count + (revision == nil ? 0 : 1)
  }

  package mutating func append(
    _ prefix: UInt32, index: LogIndex, epoch: Epoch, payload: [UInt8]
  ) {
    appends.append(Append(prefix: prefix, index: index, epoch: epoch, payload: payload))
    bytes += payload.count + Self.recordOverheadBytes
  }

  /// Removes the entries `from ... through` of a log's end, before the batch's appends are made.
  ///
  /// - Parameter through: the last index that the log holds.
  package mutating func truncateSuffix(_ prefix: UInt32, from: LogIndex, through: LogIndex) {
    // What this batch itself appended is not on the disk: it is left out, whatever comes first
    // there.
    appends.removeAll { append in
      guard append.prefix == prefix, append.index >= from else { return false }
      bytes -= append.payload.count + Self.recordOverheadBytes
      return true
    }
    guard from <= through else { return }
    suffixTruncations.append(SuffixTruncation(prefix: prefix, from: from, through: through))
    bytes += (through - from + 1) * Self.recordOverheadBytes
  }

  /// Lets a log begin at `meta.firstIndex`. The meta is written with the batch; the entries from
  /// `oldFirst` on are deleted after it, in chunks, also when the process ends in between.
  ///
  /// **Invariant**: only what is in a checkpoint, this batch's included, is truncated.
  package mutating func truncatePrefix(
    of partition: PartitionID, to meta: PartitionMeta, from oldFirst: LogIndex
  ) {
    precondition(
      meta.firstIndex <= meta.appliedIndex.successor,
      "log of \(partition) truncated to \(meta.firstIndex), applied \(meta.appliedIndex)")
    setMeta(of: partition, meta)
    guard oldFirst < meta.firstIndex else { return }
    sweeps.append(.log(prefix: meta.prefix, next: oldFirst, end: meta.firstIndex))
  }

  /// `nil` forgets the replica.
  package mutating func setMeta(of partition: PartitionID, _ meta: PartitionMeta?) {
    metas.append((partition, meta))
    bytes += 2 * Self.recordOverheadBytes
  }

  /// Writes one key of a prefix's state, or deletes it. Calls come in key order: sorted writes
  /// cost half.
  package mutating func setState(_ prefix: UInt32, _ key: [UInt8], _ value: [UInt8]?) {
    stateWrites.append(StateWrite(prefix: prefix, key: key, value: value))
    bytes += key.count + (value?.count ?? 0) + Self.recordOverheadBytes
  }

  /// The same of a replica's state, wherever the key lies. It must be one of the replica's.
  package mutating func setState(_ place: StatePlace, _ key: [UInt8], _ value: [UInt8]?) {
    guard let prefix = place.prefix(of: key) else {
      preconditionFailure("a key of another replica is written")
    }
    setState(prefix, key, value)
  }

  /// Notes that the coordinator was seen at `revision`; a lower one than before changes nothing.
  package mutating func raiseRevision(to revision: Int64) {
    self.revision = max(self.revision ?? revision, revision)
    bytes += Self.recordOverheadBytes
  }

  /// Deletes log and state of a prefix that no meta names, once this batch has been written: a
  /// replica that was given up (its meta is removed or replaced by this batch or an earlier one),
  /// or an orphan.
  ///
  /// Files are removed outside of the WAL's order, so the batch becomes a synced one.
  package mutating func dropPrefix(_ prefix: UInt32) {
    needsSync = true
    sweeps.append(.drop(prefix: prefix))
  }

  /// The same of a replica that may share its state: what is of others stays.
  package mutating func drop(_ place: StatePlace) {
    guard let shared = place.shared else { return dropPrefix(place.prefix) }
    sweeps.append(.range(.log, prefix: place.prefix, from: [], upTo: nil))
    sweeps.append(.range(.state, prefix: place.prefix, from: [], upTo: StatePlace.ownEnd))
    dropEntities(shared)
  }

  /// Deletes the entities of a range that is nobody's any more, once this batch has been written.
  package mutating func dropEntities(_ shared: StatePlace.Shared) {
    needsSync = true
    let piece = shared.piece
    sweeps.append(.range(.state, prefix: piece.prefix, from: piece.lower, upTo: piece.upper))
  }

  /// What the batch writes, as coarse as the order of batches needs to know it.
  var targets: Set<WriteTarget> {
    var targets: Set<WriteTarget> = []
    // Neighbours are mostly of the same prefix.
    var last: UInt32?
    for append in appends where append.prefix != last {
      targets.insert(.log(append.prefix))
      last = append.prefix
    }
    for truncation in suffixTruncations { targets.insert(.log(truncation.prefix)) }
    last = nil
    for write in stateWrites where write.prefix != last {
      targets.insert(.state(write.prefix))
      last = write.prefix
    }
    for meta in metas { targets.insert(.meta(meta.partition)) }
    for sweep in sweeps {
      switch sweep {
      case .drop(let prefix): targets.formUnion([.log(prefix), .state(prefix)])
      case .range(.log, let prefix, _, _): targets.insert(.log(prefix))
      case .range(.state, let prefix, _, _): targets.insert(.state(prefix))
      case .log: break
      }
    }
    return targets
  }

  func write(to batch: WriteBatch, _ database: Database) {
    for truncation in suffixTruncations {
      var index = truncation.from
      while index <= truncation.through {
        batch.deleteEntry(
          database.log(of: truncation.prefix), prefix: truncation.prefix, index: index)
        index = index.successor
      }
    }
    for append in appends {
      batch.putEntry(
        database.log(of: append.prefix), prefix: append.prefix, index: append.index,
        epoch: append.epoch, payload: append.payload)
    }
    for write in stateWrites {
      batch.writeState(
        database.state(of: write.prefix), prefix: write.prefix, key: write.key,
        value: write.value)
    }
    for (partition, meta) in metas {
      let key = KeyLayout.metaKey(partition)
      if let meta {
        batch.put(database.meta, key, KeyLayout.sealRecord(meta.encoded(), key: key))
      } else {
        batch.delete(database.meta, key)
      }
    }
  }
}

/// Two batches that write the same target keep the order of their submission.
enum WriteTarget: Hashable {
  case log(UInt32)
  case state(UInt32)
  case meta(PartitionID)
}

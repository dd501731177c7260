package import Primitives

/// One entry as it lies in a log.
package struct StoredEntry: Hashable, Sendable {
  package let index: LogIndex
  package let epoch: Epoch
  package let payload: [UInt8]

  package init(index: LogIndex, epoch: Epoch, payload: [UInt8]) {
    self.index = index
    self.epoch = epoch
    self.payload = payload
  }

  package var id: EntryID { EntryID(epoch: epoch, index: index) }
}

/// What a log holds, without its payloads.
package struct LogExtent: Hashable, Sendable {
  /// **Invariant**: `nil` exactly when the log is empty.
  package let last: EntryID?
  /// **Shape**: ascending in epoch and index; the first one is the first entry of the log, each
  /// other one the first entry of its epoch. Empty exactly when the log is empty.
  package let epochStarts: [EntryID]
}

extension Store {
  // MARK: Meta

  /// The metas of all replicas of this store.
  ///
  /// **Throws**: `damaged`, `readFailed`.
  package func partitions() throws(StorageError) -> [PartitionID: PartitionMeta] {
    let iterator = KeyIterator(
      database, database.meta, from: KeyLayout.metaKeysLower, to: KeyLayout.metaKeysUpper)
    var metas: [PartitionID: PartitionMeta] = [:]
    iterator.seek(KeyLayout.metaKeysLower)
    while iterator.isValid {
      guard let partition = KeyLayout.partition(ofMetaKey: iterator.key) else {
        throw .damaged(Damage(.store, "a meta key of \(iterator.key.count) bytes"))
      }
      metas[partition] = try Self.decodeMeta(Array(iterator.value), partition)
      iterator.next()
    }
    do { try iterator.check() } catch { throw error.reading(.store) }
    return metas
  }

  /// **Throws**: `damaged`, `readFailed`.
  package func meta(
    of partition: PartitionID, at snapshot: StoreSnapshot? = nil
  ) throws(StorageError) -> PartitionMeta? {
    let value: [UInt8]?
    do { value = try database.get(database.meta, KeyLayout.metaKey(partition), at: snapshot) } catch
    {
      throw error.reading(.meta(partition))
    }
    guard let value else { return nil }
    return try Self.decodeMeta(value, partition)
  }

  private static func decodeMeta(
    _ value: [UInt8], _ partition: PartitionID
  ) throws(StorageError) -> PartitionMeta {
    let place = Damage.Place.meta(partition)
    let body = try KeyLayout.openRecord(value, key: KeyLayout.metaKey(partition), place: place)
    do { return try PartitionMeta(decoding: body) } catch {
      throw .damaged(Damage(place, "\(error)"))
    }
  }

  // MARK: Log

  /// The entries from `first` on, without a gap.
  ///
  /// - Parameters:
  ///   - first: at least the log's first index; the iterator seeks exactly there and so never
  ///     walks over the deletes of a truncation.
  ///   - bytesMax: of payloads; the first entry is returned even when it alone is larger.
  ///
  /// **Returns**: nothing when the log ends before `first`; ends before a gap, if there is one.
  /// **Throws**: `damaged` at the first entry whose checksum does not match; `entryMissing` when
  /// `first` itself is not there but a later entry is; `readFailed`.
  package func entries(
    _ prefix: UInt32, from first: LogIndex, countMax: Int, bytesMax: Int
  ) throws(StorageError) -> [StoredEntry] {
    let lower = KeyLayout.logKey(prefix, first)
    let iterator = KeyIterator(
      database, database.log(of: prefix), from: lower, to: KeyLayout.prefixEnd(prefix),
      fillCache: false)
    var entries: [StoredEntry] = []
    var bytes = 0
    var expected = first
    iterator.seek(lower)
    while iterator.isValid, entries.count < countMax {
      let index = try Self.logIndex(iterator.key, prefix)
      guard index == expected else {
        if entries.isEmpty { throw .entryMissing(prefix: prefix, index: first, found: index) }
        return entries
      }
      let (epoch, payload) = try KeyLayout.readLogValue(
        iterator.value, prefix: prefix, index: index)
      bytes += payload.count
      if bytes > bytesMax, !entries.isEmpty { return entries }
      entries.append(StoredEntry(index: index, epoch: epoch, payload: Array(payload)))
      expected = index.successor
      iterator.next()
    }
    do { try iterator.check() } catch {
      throw error.reading(.log(prefix: prefix, index: expected))
    }
    return entries
  }

  /// The last entry at or after `firstIndex`; `nil` when the log is empty.
  ///
  /// **Throws**: `damaged`, `readFailed`.
  package func lastEntry(
    _ prefix: UInt32, firstIndex: LogIndex
  ) throws(StorageError) -> StoredEntry? {
    let iterator = KeyIterator(
      database, database.log(of: prefix), from: KeyLayout.logKey(prefix, firstIndex),
      to: KeyLayout.prefixEnd(prefix))
    iterator.seekToLast()
    guard iterator.isValid else {
      do { try iterator.check() } catch { throw error.reading(.prefix(prefix)) }
      return nil
    }
    let index = try Self.logIndex(iterator.key, prefix)
    let (epoch, payload) = try KeyLayout.readLogValue(iterator.value, prefix: prefix, index: index)
    return StoredEntry(index: index, epoch: epoch, payload: Array(payload))
  }

  /// What a log holds, found by probing: epochs only grow along a log, so each change of epoch is
  /// found by bisection, with about log2(entries) point reads. A start does not read the log.
  ///
  /// **Throws**: `damaged` when the first or a probed entry is missing or wrong, or when epochs go
  /// down; `readFailed`.
  package func logExtent(
    _ prefix: UInt32, firstIndex: LogIndex
  ) throws(StorageError) -> LogExtent {
    guard let last = try lastEntry(prefix, firstIndex: firstIndex) else {
      return LogExtent(last: nil, epochStarts: [])
    }
    var start = EntryID(epoch: try epoch(prefix, firstIndex), index: firstIndex)
    var starts = [start]
    while start.epoch < last.epoch {
      var below = start.index.rawValue
      var above = last.index.rawValue
      var epochAbove = last.epoch
      while above - below > 1 {
        let middle = below + (above - below) / 2
        let found = try epoch(prefix, LogIndex(middle))
        guard start.epoch <= found, found <= epochAbove else {
          let place = Damage.Place.log(prefix: prefix, index: LogIndex(middle))
          throw .damaged(Damage(place, "epoch \(found) between \(start.epoch) and \(epochAbove)"))
        }
        if found == start.epoch {
          below = middle
        } else {
          (above, epochAbove) = (middle, found)
        }
      }
      start = EntryID(epoch: epochAbove, index: LogIndex(above))
      starts.append(start)
    }
    guard start.epoch == last.epoch else {
      let place = Damage.Place.log(prefix: prefix, index: last.index)
      throw .damaged(Damage(place, "epoch \(last.epoch) after \(start.epoch)"))
    }
    return LogExtent(last: last.id, epochStarts: starts)
  }

  private func epoch(_ prefix: UInt32, _ index: LogIndex) throws(StorageError) -> Epoch {
    let place = Damage.Place.log(prefix: prefix, index: index)
    let value: [UInt8]?
    do {
      value = try database.get(database.log(of: prefix), KeyLayout.logKey(prefix, index))
    } catch {
      throw error.reading(place)
    }
    guard let value else { throw .damaged(Damage(place, "the entry is missing")) }
    // No `withUnsafeBytes` with typed throws around a tuple that holds the buffer.
    let result = value.withUnsafeBytes { bytes -> Result<Epoch, StorageError> in
      do throws(StorageError) {
        return .success(try KeyLayout.readLogValue(bytes, prefix: prefix, index: index).epoch)
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private static func logIndex(
    _ key: UnsafeRawBufferPointer, _ prefix: UInt32
  ) throws(StorageError) -> LogIndex {
    guard let index = KeyLayout.index(ofLogKey: key) else {
      throw .damaged(Damage(.prefix(prefix), "a log key of \(key.count) bytes"))
    }
    return index
  }

  // MARK: Prefixes

  /// Where all replicas of this store lie, those that are only remembered included.
  func places() throws(StorageError) -> [StatePlace] {
    try partitions().values.flatMap { [$0.place] + $0.former.map(\.place) }
  }

  /// Prefixes that have log or state but no meta: what a crash left of an installation that did
  /// not finish or of a replica that was given up. To be dropped unless an installation goes on.
  ///
  /// **Throws**: `damaged`, `readFailed`.
  package func orphanPrefixes() throws(StorageError) -> [UInt32] {
    var known: Set<UInt32> = []
    for place in try places() {
      known.insert(place.prefix)
      if let shared = place.shared { known.insert(shared.prefix) }
    }
    var orphans: Set<UInt32> = []
    for family in database.logs + database.states {
      let iterator = KeyIterator(database, family, from: [], to: nil, fillCache: false)
      iterator.seek([])
      while iterator.isValid {
        guard let prefix = KeyLayout.prefix(ofKey: iterator.key) else {
          throw .damaged(Damage(.store, "a key of \(iterator.key.count) bytes"))
        }
        if !known.contains(prefix) { orphans.insert(prefix) }
        guard let next = KeyLayout.prefixEnd(prefix) else { break }
        iterator.seek(next)
      }
      do { try iterator.check() } catch { throw error.reading(.store) }
    }
    return orphans.sorted()
  }

  /// About how much disk a replica takes, without what is still in memory.
  ///
  /// **Units**: bytes.
  package func approximateBytes(_ prefix: UInt32) throws(StorageError) -> UInt64 {
    try approximateBytes(StatePlace(prefix: prefix))
  }

  /// The same of the log alone.
  package func approximateLogBytes(_ prefix: UInt32) throws(StorageError) -> UInt64 {
    try approximateBytes(prefix, of: database.log(of: prefix), from: [], upTo: nil)
  }

  /// The same of a part of the state.
  func approximateStateBytes(
    _ prefix: UInt32, from lower: [UInt8], upTo upper: [UInt8]?
  ) throws(StorageError) -> UInt64 {
    try approximateBytes(prefix, of: database.state(of: prefix), from: lower, upTo: upper)
  }

  private func approximateBytes(
    _ prefix: UInt32, of family: ColumnFamily, from lower: [UInt8], upTo upper: [UInt8]?
  ) throws(StorageError) -> UInt64 {
    let lower = KeyLayout.stateKey(prefix, lower)
    let upper =
      upper.map { KeyLayout.stateKey(prefix, $0) } ?? KeyLayout.prefixEnd(prefix)
      ?? KeyLayout.prefixKey(prefix) + [0xff]
    do { return try database.approximateBytes(family, from: lower, to: upper) } catch {
      throw error.reading(.prefix(prefix))
    }
  }

  /// Figures of the engine for metrics and alarms.
  package var engineStatus: EngineStatus {
    EngineStatus(
      isWriteStopped: database.property("rocksdb.is-write-stopped") != 0,
      delayedWriteBytesPerSecond: database.property("rocksdb.actual-delayed-write-rate"),
      backgroundErrorCount: database.property("rocksdb.background-errors"),
      memtableBytes: (database.logs + database.states + [database.meta]).reduce(0) {
        $0 + database.property("rocksdb.cur-size-all-mem-tables", of: $1)
      },
      pendingCompactionBytes: (database.logs + database.states).reduce(0) {
        $0 + database.property("rocksdb.estimate-pending-compaction-bytes", of: $1)
      })
  }
}

/// What the storage engine says of itself.
package struct EngineStatus: Hashable, Sendable {
  package let isWriteStopped: Bool
  /// Zero when writes are not slowed down.
  package let delayedWriteBytesPerSecond: UInt64
  package let backgroundErrorCount: UInt64
  package let memtableBytes: UInt64
  package let pendingCompactionBytes: UInt64
}

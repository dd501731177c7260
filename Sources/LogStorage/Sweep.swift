import Primitives

/// Keys that nobody can read any more and that are deleted little by little.
enum Sweep: Equatable {
  /// The entries `next ..< end`, which lie before their log's first index.
  case log(prefix: UInt32, next: LogIndex, end: LogIndex)
  /// Everything under a prefix that no meta names.
  case drop(prefix: UInt32)
}

/// Works through sweeps in their order, a bounded number of keys at a time.
///
/// Point deletes only: a range delete under a busy database makes every read and write look at it.
///
/// **Isolation**: the committer's thread.
struct Sweeper {
  private var waiting: [Sweep]
  /// Whether the files of the first waiting prefix have been removed.
  private var hasDeletedFiles = false
  /// The last keys of it that were deleted, in the log and in the state: what lies before them is
  /// deleted too, and need not be walked over again.
  private var deletedThrough: [[UInt8]?] = [nil, nil]

  init(_ waiting: [Sweep]) { self.waiting = waiting }

  var isIdle: Bool { waiting.isEmpty }

  mutating func add(_ sweeps: [Sweep]) { waiting.append(contentsOf: sweeps) }

  /// Puts up to `keysMax` deletes into `batch`.
  mutating func fill(
    _ batch: WriteBatch, _ database: Database, keysMax: Int
  ) throws(EngineError) {
    guard let sweep = waiting.first else { return }
    do {
      try fill(batch, sweep, database, keysMax: keysMax)
    } catch {
      // What cannot be read cannot be deleted key by key; it is in nobody's way.
      guard error.isCorruption else { throw error }
      finishFirst()
    }
  }

  private mutating func finishFirst() {
    waiting.removeFirst()
    hasDeletedFiles = false
    deletedThrough = [nil, nil]
  }

  private mutating func fill(
    _ batch: WriteBatch, _ sweep: Sweep, _ database: Database, keysMax: Int
  ) throws(EngineError) {
    switch sweep {
    case .log(let prefix, let next, let end):
      let stop = LogIndex(min(end.rawValue, next.rawValue + UInt64(keysMax)))
      var index = next
      while index < stop {
        batch.deleteEntry(database.log, prefix: prefix, index: index)
        index = index.successor
      }
      if stop == end {
        finishFirst()
      } else {
        waiting[0] = .log(prefix: prefix, next: stop, end: end)
      }
    case .drop(let prefix):
      if !hasDeletedFiles {
        hasDeletedFiles = true
        try deleteFiles(prefix, database)
        return
      }
      var budget = keysMax
      for (place, family) in [database.log, database.state].enumerated() {
        budget -= try deleteKeys(prefix, family, place, keysMax: budget, batch, database)
      }
      if budget > 0 { finishFirst() }
    }
  }

  private func deleteFiles(_ prefix: UInt32, _ database: Database) throws(EngineError) {
    guard let upper = KeyLayout.prefixEnd(prefix) else { return }
    let lower = KeyLayout.prefixKey(prefix)
    try database.deleteFiles(database.log, from: lower, to: upper)
    try database.deleteFiles(database.state, from: lower, to: upper)
  }

  /// **Returns**: how many keys were found.
  private mutating func deleteKeys(
    _ prefix: UInt32, _ family: ColumnFamily, _ place: Int, keysMax: Int, _ batch: WriteBatch,
    _ database: Database
  ) throws(EngineError) -> Int {
    guard keysMax > 0 else { return 0 }
    let lower = deletedThrough[place].map { $0 + [0] } ?? KeyLayout.prefixKey(prefix)
    let iterator = KeyIterator(
      database, family, from: lower, to: KeyLayout.prefixEnd(prefix), fillCache: false)
    var count = 0
    iterator.seek(lower)
    while iterator.isValid, count < keysMax {
      batch.delete(family, iterator.key)
      count += 1
      if count == keysMax { deletedThrough[place] = Array(iterator.key) }
      iterator.next()
    }
    try iterator.check()
    return count
  }
}

extension Store {
  /// What an earlier process had no time to delete: the beginnings of logs, states that were
  /// prepared and never put in their place, what was left of replicas.
  func unfinishedSweeps(dropsOrphans: Bool) throws(StorageError) -> [Sweep] {
    var sweeps: [Sweep] = []
    do throws(StorageError) {
      if dropsOrphans { sweeps += try orphanPrefixes().map { .drop(prefix: $0) } }
    } catch {
      // What cannot be read is in nobody's way.
      guard error.isDamage else { throw error }
    }
    for meta in try partitions().values.sorted(by: { $0.prefix < $1.prefix }) {
      let lower = KeyLayout.logKey(meta.prefix, .zero)
      let iterator = KeyIterator(
        database, database.log, from: lower, to: KeyLayout.logKey(meta.prefix, meta.firstIndex),
        fillCache: false)
      iterator.seek(lower)
      if iterator.isValid, let index = KeyLayout.index(ofLogKey: iterator.key) {
        sweeps.append(.log(prefix: meta.prefix, next: index, end: meta.firstIndex))
      }
      do { try iterator.check() } catch {
        // Its replica is found damaged when it is taken in.
        guard error.isCorruption else { throw error.reading(.prefix(meta.prefix)) }
      }
    }
    return sweeps
  }
}

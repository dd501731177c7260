import Primitives

/// Keys that nobody can read any more and that are deleted little by little.
enum Sweep: Equatable {
  /// The entries `next ..< end`, which lie before their log's first index.
  case log(prefix: UInt32, next: LogIndex, end: LogIndex)
  /// Everything under a prefix that no meta names.
  case drop(prefix: UInt32)
  /// A stretch of a prefix's keys (without it) that no meta covers, up to its end without `upTo`.
  case range(SweptFamily, prefix: UInt32, from: [UInt8], upTo: [UInt8]?)
}

enum SweptFamily {
  case log
  case state
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
        batch.deleteEntry(database.log(of: prefix), prefix: prefix, index: index)
        index = index.successor
      }
      if stop == end {
        finishFirst()
      } else {
        waiting[0] = .log(prefix: prefix, next: stop, end: end)
      }
    case .drop(let prefix):
      let lower = KeyLayout.prefixKey(prefix)
      let upper = KeyLayout.prefixEnd(prefix)
      try delete(
        [Stretch(.log, prefix, lower, upper), Stretch(.state, prefix, lower, upper)], batch,
        database, keysMax: keysMax)
    case .range(let family, let prefix, let from, let upTo):
      let lower = KeyLayout.stateKey(prefix, from)
      let upper = upTo.map { KeyLayout.stateKey(prefix, $0) } ?? KeyLayout.prefixEnd(prefix)
      try delete([Stretch(family, prefix, lower, upper)], batch, database, keysMax: keysMax)
    }
  }

  /// Keys of one family, as they lie there.
  private struct Stretch {
    let family: SweptFamily
    let prefix: UInt32
    let lower: [UInt8]
    let upper: [UInt8]?

    init(_ family: SweptFamily, _ prefix: UInt32, _ lower: [UInt8], _ upper: [UInt8]?) {
      self.family = family
      self.prefix = prefix
      self.lower = lower
      self.upper = upper
    }
  }

  /// Works on the first waiting sweep: whole files first, then key by key.
  private mutating func delete(
    _ stretches: [Stretch], _ batch: WriteBatch, _ database: Database, keysMax: Int
  ) throws(EngineError) {
    if !hasDeletedFiles {
      hasDeletedFiles = true
      for stretch in stretches {
        guard let upper = stretch.upper else { continue }
        try database.deleteFiles(
          Self.family(stretch, database), from: stretch.lower, to: upper)
      }
      return
    }
    var budget = keysMax
    for (place, stretch) in stretches.enumerated() {
      budget -= try deleteKeys(stretch, place, keysMax: budget, batch, database)
    }
    if budget > 0 { finishFirst() }
  }

  private static func family(_ stretch: Stretch, _ database: Database) -> ColumnFamily {
    switch stretch.family {
    case .log: database.log(of: stretch.prefix)
    case .state: database.state(of: stretch.prefix)
    }
  }

  /// **Returns**: how many keys were found.
  private mutating func deleteKeys(
    _ stretch: Stretch, _ place: Int, keysMax: Int, _ batch: WriteBatch, _ database: Database
  ) throws(EngineError) -> Int {
    guard keysMax > 0 else { return 0 }
    let family = Self.family(stretch, database)
    let lower = deletedThrough[place].map { $0 + [0] } ?? stretch.lower
    let iterator = KeyIterator(
      database, family, from: lower, to: stretch.upper, fillCache: false)
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
      if dropsOrphans {
        sweeps += try orphanPrefixes().map { .drop(prefix: $0) } + orphanStretches()
      }
    } catch {
      // What cannot be read is in nobody's way.
      guard error.isDamage else { throw error }
    }
    for meta in try partitions().values.sorted(by: { $0.prefix < $1.prefix }) {
      let lower = KeyLayout.logKey(meta.prefix, .zero)
      let iterator = KeyIterator(
        database, database.log(of: meta.prefix), from: lower,
        to: KeyLayout.logKey(meta.prefix, meta.firstIndex), fillCache: false)
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

extension Store {
  /// Stretches of shared states that are nobody's any more: what a crash left of a half that was
  /// given up.
  func orphanStretches() throws(StorageError) -> [Sweep] {
    let places = try places()
    var pieces: [UInt32: [StatePlace.Piece]] = [:]
    for piece in places.flatMap(\.pieces) { pieces[piece.prefix, default: []].append(piece) }
    var sweeps: [Sweep] = []
    for prefix in Set(places.compactMap { $0.shared?.prefix }).sorted() {
      if !places.contains(where: { $0.prefix == prefix }) {
        sweeps.append(.range(.log, prefix: prefix, from: [], upTo: nil))
      }
      var next: [UInt8]? = []
      let covered = (pieces[prefix] ?? []).sorted { $0.lower.lexicographicallyPrecedes($1.lower) }
      for piece in covered {
        if let from = next, from.lexicographicallyPrecedes(piece.lower) {
          sweeps.append(.range(.state, prefix: prefix, from: from, upTo: piece.lower))
        }
        next = piece.upper
      }
      if let from = next { sweeps.append(.range(.state, prefix: prefix, from: from, upTo: nil)) }
    }
    return sweeps
  }
}

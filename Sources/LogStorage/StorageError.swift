package import Primitives

/// Stored bytes that are not what was written, and where they lie.
package struct Damage: Hashable, Sendable, CustomStringConvertible {
  package enum Place: Hashable, Sendable {
    /// The database as a whole: a missing or shortened file, an unreadable manifest.
    case store
    case storeRecord
    case meta(PartitionID)
    case log(prefix: UInt32, index: LogIndex)
    /// Somewhere in the keys of one prefix; the engine did not say at which key.
    case prefix(UInt32)
  }

  package let place: Place
  package let what: String

  package init(_ place: Place, _ what: String) {
    self.place = place
    self.what = what
  }

  package var description: String {
    switch place {
    case .store: "store: \(what)"
    case .storeRecord: "store record: \(what)"
    case .meta(let partition): "meta of \(partition): \(what)"
    case .log(let prefix, let index): "log of prefix \(prefix) at \(index): \(what)"
    case .prefix(let prefix): "prefix \(prefix): \(what)"
    }
  }
}

/// Why the store did not open, answer or write.
package enum StorageError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Another process, or this one, has the directory open.
  case locked(directory: String)
  case otherCluster(directory: String, found: UInt128, expected: UInt128)
  case otherNode(directory: String, found: String, expected: String)
  case newerVersion(directory: String, found: UInt32, known: UInt32)
  case openFailed(directory: String, what: String)
  case damaged(Damage)
  /// `index` was asked for and is not there, though `found`, a later entry, is. Damage, unless
  /// the log was truncated beyond `index` after the caller had read its first index.
  case entryMissing(prefix: UInt32, index: LogIndex, found: LogIndex)
  case readFailed(String)
  /// The store is poisoned: this process writes nothing more.
  case writeFailed(String)
  case queueFull(queuedBytes: Int)
  /// A backup was not made, or cannot be used.
  case backupFailed(String)
  case stopped

  package var description: String {
    switch self {
    case .locked(let directory):
      "data directory \(directory) is in use by another process (its LOCK file is held)"
    case .otherCluster(let directory, let found, let expected):
      """
      data directory \(directory) belongs to cluster \(Base32.encode(found)), \
      expected cluster \(Base32.encode(expected))
      """
    case .otherNode(let directory, let found, let expected):
      "data directory \(directory) belongs to node '\(found)', expected node '\(expected)'"
    case .newerVersion(let directory, let found, let known):
      """
      data directory \(directory) has storage version \(found), \
      this program knows versions up to \(known)
      """
    case .openFailed(let directory, let what):
      "data directory \(directory) cannot be opened: \(what)"
    case .damaged(let damage): "damaged \(damage)"
    case .entryMissing(let prefix, let index, let found):
      "log of prefix \(prefix) has no entry \(index), the next one is \(found)"
    case .readFailed(let what): "read failed: \(what)"
    case .writeFailed(let what): "write failed, the store takes no more writes: \(what)"
    case .queueFull(let queuedBytes): "the committer's queue is full (\(queuedBytes) bytes)"
    case .backupFailed(let what): "backup: \(what)"
    case .stopped: "the committer has stopped"
    }
  }
}

extension StorageError {
  /// Whether it came of stored bytes that are not what was written.
  package var isDamage: Bool {
    switch self {
    case .damaged, .entryMissing: true
    case .writeFailed(let what): EngineError(text: what).isCorruption
    default: false
    }
  }
}

/// What RocksDB said, in its own words.
struct EngineError: Error, Equatable {
  let text: String

  var isCorruption: Bool { text.hasPrefix("Corruption:") }
  var isFileMissing: Bool { text.hasPrefix("IO error: No such file or directory") }
  var isLockHeld: Bool {
    text.hasPrefix("IO error:")
      && (text.contains("While lock file") || text.contains("lock hold by current process"))
  }

  func reading(_ place: Damage.Place) -> StorageError {
    isCorruption ? .damaged(Damage(place, text)) : .readFailed(text)
  }

  func opening(_ directory: String) -> StorageError {
    if isCorruption || isFileMissing { return .damaged(Damage(.store, text)) }
    if isLockHeld { return .locked(directory: directory) }
    return .openFailed(directory: directory, what: text)
  }
}

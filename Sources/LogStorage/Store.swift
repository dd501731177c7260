package import Primitives
import Synchronization

/// Whose data directory the caller believes it opens.
package struct StoreExpectation: Sendable {
  /// `nil` while the cluster is not yet known; see `Store.bindCluster`.
  package let clusterID: UInt128?
  package let nodeName: String

  package init(clusterID: UInt128?, nodeName: String) {
    self.clusterID = clusterID
    self.nodeName = nodeName
  }
}

/// One data directory: the logs, states and metas of all replicas of one node.
///
/// Reading is in `StoreReading.swift`; a `Committer` does the writing. The directory stays locked
/// until the last reference to the store, to its snapshots and to its committer is gone.
///
/// **Isolation**: any thread.
/// **Source**: sections 2.5 and 7 of the design; `KeyLayout` draws the bytes.
package final class Store: Sendable {
  /// Prefixes are made durable in blocks, so that few of them cost a write.
  private static let prefixesPerReservation: UInt32 = 256

  private struct Identity {
    var record: StoreRecord
    /// The next prefix to give out; those up to `record.nextPrefix` are already reserved on disk.
    var nextPrefix: UInt32
  }

  package let directory: String
  package let id: StoreID
  let database: Database
  let options: StoreOptions
  private let identity: Mutex<Identity>

  private init(
    directory: String, database: Database, options: StoreOptions, record: StoreRecord
  ) {
    self.directory = directory
    self.database = database
    self.options = options
    id = record.store
    identity = Mutex(Identity(record: record, nextPrefix: record.nextPrefix))
  }

  /// Opens a data directory, or initialises an empty or missing one.
  ///
  /// - Parameter newStoreID: random; becomes the store's identity when the directory is
  ///   initialised.
  ///
  /// **Throws**: `locked`, `otherCluster`, `otherNode`, `newerVersion`; `damaged` when files are
  /// missing, shortened or unreadable anywhere but at the torn end of the last WAL; `openFailed`
  /// otherwise.
  package static func open(
    directory path: String, expecting expectation: StoreExpectation, newStoreID: StoreID,
    options: StoreOptions = StoreOptions()
  ) throws(StorageError) -> Store {
    try open(
      directory: path, expecting: expectation, newStoreID: newStoreID, options: options,
      successorOf: nil)
  }

  /// - Parameter identity: of the damaged database in whose place a new one is made.
  static func open(
    directory path: String, expecting expectation: StoreExpectation, newStoreID: StoreID,
    options: StoreOptions, successorOf identity: StoreIdentity?
  ) throws(StorageError) -> Store {
    let directory = StoreDirectory(path: path)
    try directory.create()
    var creating = true
    switch try directory.content() {
    case .empty: try directory.mark()
    case .initialising: break
    case .database: creating = false
    case .damagedDatabase:
      throw .damaged(Damage(.store, "the CURRENT file is missing in \(path)"))
    case .knownDamaged:
      throw .damaged(Damage(.store, "it was found damaged while it was in use"))
    case .somethingElse(let name):
      throw .openFailed(directory: path, what: "it is not empty ('\(name)') and not a store")
    }
    if !creating { try checkFamilies(path) }

    let database: Database
    do {
      database = try Database(directory: path, options: options, creating: creating)
    } catch { throw error.opening(path) }

    var record = try readRecord(database)
    if record == nil, creating {
      // An interrupted remaking goes on: the directory says whose it was.
      let earlier = identity ?? StoreIdentity(inDirectory: path)
      record = StoreRecord(
        store: earlier?.store ?? newStoreID,
        clusterID: earlier?.clusterID ?? expectation.clusterID ?? 0,
        nodeName: expectation.nodeName, highestRevision: earlier?.highestRevision ?? 0,
        coordinatorID: earlier?.coordinatorID ?? 0, wasMadeAnew: earlier != nil)
      if let record { try writeRecord(record, database) }
    }
    guard let record else {
      throw .damaged(Damage(.storeRecord, "it is missing"))
    }
    try verify(record, expectation, path)
    let stated = StoreIdentity(of: record).encoded()
    if directory.readIdentity() != stated { try directory.writeIdentity(stated) }
    if creating { try directory.unmark() }
    directory.removeImports()
    let store = Store(directory: path, database: database, options: options, record: record)
    if let clusterID = expectation.clusterID { try store.bindCluster(clusterID) }
    return store
  }

  /// The record as it stands now.
  package var record: StoreRecord { identity.withLock { $0.record } }

  /// Ties a directory that was initialised before its cluster was known to that cluster.
  ///
  /// **Throws**: `otherCluster` when it is tied to another one; `writeFailed`.
  package func bindCluster(_ clusterID: UInt128) throws(StorageError) {
    try identity.withLock { (identity) throws(StorageError) in
      let found = identity.record.clusterID
      guard found != clusterID else { return }
      guard found == 0 else {
        throw .otherCluster(directory: directory, found: found, expected: clusterID)
      }
      var record = identity.record
      record.clusterID = clusterID
      try Self.writeRecord(record, database)
      identity.record = record
      try StoreDirectory(path: directory).writeIdentity(StoreIdentity(of: record).encoded())
    }
  }

  /// Lets the store be written as this version of the layout allows; a program that does not know
  /// that version opens it no more.
  ///
  /// **Throws**: `writeFailed`.
  package func raiseStorageVersion(to version: UInt32) throws(StorageError) {
    precondition(version <= StoreRecord.knownStorageVersion, "version \(version) is not known")
    try identity.withLock { (identity) throws(StorageError) in
      guard identity.record.storageVersion < version else { return }
      var record = identity.record
      record.storageVersion = version
      try Self.writeRecord(record, database)
      identity.record = record
    }
  }

  /// Ties the directory to the coordinator that it follows, once it has met it.
  ///
  /// **Returns**: whether it is the one, and not one that has forgotten what this store has seen.
  /// **Throws**: `writeFailed`.
  package func bindCoordinator(_ id: UInt64, revision: Int64) throws(StorageError) -> Bool {
    try identity.withLock { (identity) throws(StorageError) in
      let found = identity.record
      guard found.coordinatorID == 0 || found.coordinatorID == id,
        revision >= found.highestRevision
      else { return false }
      guard found.coordinatorID == 0 else { return true }
      var record = found
      record.coordinatorID = id
      try Self.writeRecord(record, database)
      identity.record = record
      return true
    }
  }

  /// Remembers that something here cannot be read, so that the store is made anew at the next start
  /// instead of being met again by every compaction. What is installed until then lies apart from
  /// what is damaged.
  package func markDamaged() {
    StoreDirectory(path: directory).markDamaged()
    identity.withLock { identity in
      // Where even this fails the next write will.
      try? database.separate(from: identity.nextPrefix)
    }
  }

  /// A prefix for a replica that is about to be installed, never given out before.
  ///
  /// Writes to disk once in 256 calls: for installing, not for the message path.
  package func reservePrefix() throws(StorageError) -> UInt32 {
    try identity.withLock { (identity) throws(StorageError) in
      if identity.nextPrefix == identity.record.nextPrefix {
        let (next, overflow) = identity.record.nextPrefix.addingReportingOverflow(
          Self.prefixesPerReservation)
        guard !overflow else { throw .writeFailed("no prefix is left") }
        var record = identity.record
        record.nextPrefix = next
        try Self.writeRecord(record, database)
        identity.record = record
      }
      defer { identity.nextPrefix += 1 }
      return identity.nextPrefix
    }
  }

  /// The store as it is now, for reading several things that belong together.
  package func snapshot() -> StoreSnapshot { StoreSnapshot(database) }

  /// Writes `batch` and, in the same write, the store record with at least `revision`.
  ///
  /// The lock is held until the record is written, so that an older record never replaces a newer
  /// one.
  func write(
    _ batch: WriteBatch, raisingRevision revision: Int64, sync: Bool
  ) throws(EngineError) {
    try identity.withLock { (identity) throws(EngineError) in
      var record = identity.record
      record.highestRevision = max(record.highestRevision, revision)
      let key = KeyLayout.storeRecordKey
      batch.put(database.meta, key, KeyLayout.sealRecord(record.encoded(), key: key))
      try database.write(batch, sync: sync)
      identity.record = record
    }
  }

  // MARK: The record on disk

  static func readRecord(_ database: Database) throws(StorageError) -> StoreRecord? {
    let key = KeyLayout.storeRecordKey
    let value: [UInt8]?
    do { value = try database.get(database.meta, key) } catch {
      throw error.reading(.storeRecord)
    }
    guard let value else { return nil }
    let body = try KeyLayout.openRecord(value, key: key, place: .storeRecord)
    do { return try StoreRecord(decoding: body) } catch {
      throw .damaged(Damage(.storeRecord, "\(error)"))
    }
  }

  static func writeRecord(
    _ record: StoreRecord, _ database: Database
  ) throws(StorageError) {
    let key = KeyLayout.storeRecordKey
    let batch = WriteBatch()
    batch.put(database.meta, key, KeyLayout.sealRecord(record.encoded(), key: key))
    do { try database.write(batch, sync: true) } catch { throw .writeFailed(error.text) }
  }

  private static func verify(
    _ record: StoreRecord, _ expectation: StoreExpectation, _ path: String
  ) throws(StorageError) {
    guard record.storageVersion <= StoreRecord.knownStorageVersion else {
      throw .newerVersion(
        directory: path, found: record.storageVersion, known: StoreRecord.knownStorageVersion)
    }
    try verify(StoreIdentity(of: record), expectation, path)
  }

  private static func checkFamilies(_ path: String) throws(StorageError) {
    let names: [String]
    do { names = try Database.familyNames(in: path) } catch { throw error.opening(path) }
    let unknown = names.filter { !Database.familyNames.contains($0) }
    guard unknown.isEmpty else {
      throw .openFailed(
        directory: path,
        what: "another program or version made \(unknown.joined(separator: ", ")) in it")
    }
    // They are made together with the directory, so the list of files has lost them since.
    let missing = Database.familyNames.filter { !names.contains($0) }
    guard missing.isEmpty else {
      throw .damaged(Damage(.store, "\(missing.joined(separator: ", ")) is not in its MANIFEST"))
    }
  }
}

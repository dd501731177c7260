import CRocksDB
import Synchronization

/// Calls into RocksDB and turns its message into an error.
func engineCall<Result>(
  _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) throws(EngineError) -> Result {
  var message: UnsafeMutablePointer<CChar>?
  let result = body(&message)
  guard let message else { return result }
  defer { rocksdb_free(message) }
  throw EngineError(text: String(cString: message))
}

/// Lends strings to a call that takes an array of them.
func withCStrings<Result>(
  _ strings: [String],
  _ body: (UnsafePointer<UnsafePointer<CChar>?>, Int) throws(EngineError) -> Result
) throws(EngineError) -> Result {
  let copies = strings.map { string in
    let bytes = string.utf8CString
    let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: bytes.count)
    _ = copy.initialize(from: bytes)
    return copy
  }
  defer { for copy in copies { copy.deallocate() } }
  let pointers: [UnsafePointer<CChar>?] = copies.map { UnsafePointer($0.baseAddress) }
  return try body(pointers, pointers.count)
}

extension UnsafeRawBufferPointer {
  /// RocksDB takes bytes as `const char *`.
  var characters: UnsafePointer<CChar>? { baseAddress?.assumingMemoryBound(to: CChar.self) }
}

/// One column family of an open `Database`, valid as long as that lives.
struct ColumnFamily: @unchecked Sendable {
  // Safety: RocksDB allows a family's handle to be used by any thread.
  let pointer: OpaquePointer
}

/// One open RocksDB database with the families of a store.
///
/// Logs and states lie in families by their prefixes. Once something of the database is found
/// damaged, prefixes that are given out from then on have families of their own: where a table
/// file has a bad block, also those who only look past it meet it.
///
/// **Invariant**: family handles are destroyed before the database; closing releases the lock
/// file.
/// **Isolation**: any thread.
final class Database: @unchecked Sendable {
  // Safety: the pointers never change after `init`, and RocksDB's database, family and constant
  // option objects may be used by any thread.
  private let pointer: OpaquePointer
  private let readOptions: OpaquePointer
  private let syncedWrite: OpaquePointer
  private let unsyncedWrite: OpaquePointer
  /// RocksDB insists on it; nothing is stored there.
  private let unusedFamily: ColumnFamily
  private let log: ColumnFamily
  private let state: ColumnFamily
  let meta: ColumnFamily
  private let options: StoreOptions

  private struct Later {
    /// The first prefix that lies there.
    let prefix: UInt32
    let log: ColumnFamily
    let state: ColumnFamily
  }

  private let later = Mutex<Later?>(nil)
  private let hasLater = Atomic(false)

  static let familyNames = ["default", "log", "state", "meta"]
  private static let laterNames = (log: "log-2", state: "state-2")

  init(directory: String, options: StoreOptions, creating: Bool) throws(EngineError) {
    let (database, families) = try EngineOptions.open(
      directory: directory, options: options, creating: creating)
    pointer = database
    self.options = options
    unusedFamily = families[0]
    log = families[1]
    state = families[2]
    meta = families[3]
    readOptions = rocksdb_readoptions_create()
    syncedWrite = rocksdb_writeoptions_create()
    unsyncedWrite = rocksdb_writeoptions_create()
    rocksdb_writeoptions_set_sync(syncedWrite, 1)
  }

  deinit {
    for family in [unusedFamily, meta] + logs + states {
      rocksdb_column_family_handle_destroy(family.pointer)
    }
    rocksdb_readoptions_destroy(readOptions)
    rocksdb_writeoptions_destroy(syncedWrite)
    rocksdb_writeoptions_destroy(unsyncedWrite)
    rocksdb_close(pointer)
  }

  // MARK: Families

  /// Where the log of a prefix lies.
  func log(of prefix: UInt32) -> ColumnFamily { laterFamilies(of: prefix)?.log ?? log }

  /// Where the state of a prefix lies.
  func state(of prefix: UInt32) -> ColumnFamily { laterFamilies(of: prefix)?.state ?? state }

  private func laterFamilies(of prefix: UInt32) -> Later? {
    guard isSeparated else { return nil }
    return later.withLock { later in later.flatMap { prefix >= $0.prefix ? $0 : nil } }
  }

  var logs: [ColumnFamily] { [log] + later.withLock { $0.map { [$0.log] } ?? [] } }
  var states: [ColumnFamily] { [state] + later.withLock { $0.map { [$0.state] } ?? [] } }

  /// Something of it was found damaged since it was opened.
  var isSeparated: Bool { hasLater.load(ordering: .acquiring) }

  /// From this prefix on, everything lies apart from what is there. Once; nothing may have been
  /// written under such a prefix.
  func separate(from prefix: UInt32) throws(EngineError) {
    try later.withLock { (later) throws(EngineError) in
      guard later == nil else { return }
      later = Later(
        prefix: prefix,
        log: try EngineOptions.makeFamily(
          Self.laterNames.log, options.logFamilyText, filtered: false, options, in: pointer),
        state: try EngineOptions.makeFamily(
          Self.laterNames.state, options.stateFamilyText, filtered: true, options, in: pointer))
      hasLater.store(true, ordering: .releasing)
    }
  }

  /// The families that a database on disk has, without opening it.
  static func familyNames(in directory: String) throws(EngineError) -> [String] {
    let options = rocksdb_options_create()
    defer { rocksdb_options_destroy(options) }
    var count = 0
    let list = try engineCall { rocksdb_list_column_families(options, directory, &count, $0) }
    guard let list else { return [] }
    defer { rocksdb_list_column_families_destroy(list, count) }
    return (0..<count).compactMap { list[$0].map { String(cString: $0) } }
  }

  /// Writes all of `batch` or nothing. With `sync` it returns after the WAL is on the disk.
  func write(_ batch: WriteBatch, sync: Bool) throws(EngineError) {
    let writes = batch.pointer
    try engineCall { rocksdb_write(pointer, sync ? syncedWrite : unsyncedWrite, writes, $0) }
  }

  func get(
    _ family: ColumnFamily, _ key: [UInt8], at snapshot: StoreSnapshot? = nil
  ) throws(EngineError) -> [UInt8]? {
    let slice = try engineCall { message in
      key.withUnsafeBytes {
        rocksdb_get_pinned_cf(
          pointer, snapshot?.readOptions ?? readOptions, family.pointer, $0.characters, $0.count,
          message)
      }
    }
    guard let slice else { return nil }
    defer { rocksdb_pinnableslice_destroy(slice) }
    var count = 0
    let bytes = rocksdb_pinnableslice_value(slice, &count)
    return Array(UnsafeRawBufferPointer(start: bytes, count: count))
  }

  func iterator(_ family: ColumnFamily, options: OpaquePointer) -> OpaquePointer {
    rocksdb_create_iterator_cf(pointer, options, family.pointer)
  }

  func takeSnapshot() -> OpaquePointer { rocksdb_create_snapshot(pointer) }
  func releaseSnapshot(_ snapshot: OpaquePointer) { rocksdb_release_snapshot(pointer, snapshot) }

  /// Removes the files that hold nothing outside of `lower ..< upper`; other keys of the range
  /// stay.
  func deleteFiles(
    _ family: ColumnFamily, from lower: [UInt8], to upper: [UInt8]
  ) throws(EngineError) {
    try engineCall { message in
      lower.withUnsafeBytes { lower in
        upper.withUnsafeBytes { upper in
          rocksdb_delete_file_in_range_cf(
            pointer, family.pointer, lower.characters, lower.count, upper.characters, upper.count,
            message)
        }
      }
    }
  }

  func approximateBytes(
    _ family: ColumnFamily, from lower: [UInt8], to upper: [UInt8]
  ) throws(EngineError) -> UInt64 {
    var size: UInt64 = 0
    try engineCall { message in
      lower.withUnsafeBytes { lower in
        upper.withUnsafeBytes { upper in
          var (lowerKey, lowerCount) = (lower.characters, lower.count)
          var (upperKey, upperCount) = (upper.characters, upper.count)
          rocksdb_approximate_sizes_cf(
            pointer, family.pointer, 1, &lowerKey, &lowerCount, &upperKey, &upperCount, &size,
            message)
        }
      }
    }
    return size
  }

  /// A number that RocksDB publishes under `name`; zero when this version does not know it.
  func property(_ name: String, of family: ColumnFamily? = nil) -> UInt64 {
    var value: UInt64 = 0
    let failed =
      if let family {
        rocksdb_property_int_cf(pointer, family.pointer, name, &value)
      } else {
        rocksdb_property_int(pointer, name, &value)
      }
    return failed == 0 ? value : 0
  }

  /// Makes a backup. What is in memory is written to files first, which later backups share.
  func backUp(with engine: OpaquePointer) throws(EngineError) {
    try engineCall { rocksdb_backup_engine_create_new_backup_flush(engine, pointer, 1, $0) }
  }

  /// Takes files of sorted keys, none of which the family holds, in at once and durably. The files
  /// are moved.
  func ingest(_ paths: [String], into family: ColumnFamily) throws(EngineError) {
    let options = rocksdb_ingestexternalfileoptions_create()
    defer { rocksdb_ingestexternalfileoptions_destroy(options) }
    rocksdb_ingestexternalfileoptions_set_move_files(options, 1)
    // Nobody reads these keys through a snapshot from before; for one each file would be changed
    // and synced once more, while writes wait.
    rocksdb_ingestexternalfileoptions_set_snapshot_consistency(options, 0)
    try withCStrings(paths) { (paths, count) throws(EngineError) in
      try engineCall {
        rocksdb_ingest_external_file_cf(pointer, family.pointer, paths, count, options, $0)
      }
    }
  }

  /// Writes a family's memtable to a file now.
  func flush(_ family: ColumnFamily) throws(EngineError) {
    let options = rocksdb_flushoptions_create()
    defer { rocksdb_flushoptions_destroy(options) }
    rocksdb_flushoptions_set_wait(options, 1)
    try engineCall { rocksdb_flush_cf(pointer, options, family.pointer, $0) }
  }
}

import CRocksDB
package import Primitives

/// A copy of a whole store as it was at one moment.
///
/// Many of them lie in one directory and share their files: what an earlier one holds already is
/// not copied again. RocksDB's own backup engine makes and checks them.
package struct StoreBackup: Hashable, Sendable {
  /// Ascending in the order of making.
  package let number: UInt32
  /// Seconds since 1970.
  package let time: Int64
  /// Of all its files, also of those that it shares.
  package let bytes: UInt64
}

/// A directory with the backups of one store.
///
/// **Isolation**: one thread.
package final class BackupDirectory {
  /// Copies that belong to a finished backup, one number a line.
  private static let finishedName = "FINISHED"

  private let path: String
  private let environment: OpaquePointer
  private let engine: OpaquePointer

  /// The backups of one store among those of others.
  ///
  /// - Parameter directory: made when it is missing.
  /// **Throws**: `backupFailed`, `openFailed`.
  package convenience init(of store: StoreID, in directory: String) throws(StorageError) {
    let path = Self.path(of: store, in: directory)
    // What it holds is for nobody else to read.
    try StoreDirectory(path: directory).create()
    try StoreDirectory(path: path).create()
    try self.init(path)
  }

  package static func path(of store: StoreID, in directory: String) -> String {
    "\(directory)/\(store)"
  }

  /// **Throws**: `backupFailed`.
  package init(_ path: String) throws(StorageError) {
    let environment = rocksdb_create_default_env()
    guard let environment else { throw .backupFailed("the engine returned no handle") }
    self.environment = environment
    self.path = path
    let options = rocksdb_backup_engine_options_create(path)
    defer { rocksdb_backup_engine_options_destroy(options) }
    rocksdb_backup_engine_options_set_share_table_files(options, 1)
    rocksdb_backup_engine_options_set_sync(options, 1)
    do throws(EngineError) {
      let opened = try engineCall { rocksdb_backup_engine_open_opts(options, environment, $0) }
      guard let opened else { throw EngineError(text: "the engine returned no handle") }
      engine = opened
    } catch {
      rocksdb_env_destroy(environment)
      throw .backupFailed("\(path): \(error.text)")
    }
  }

  deinit {
    rocksdb_backup_engine_close(engine)
    rocksdb_env_destroy(environment)
  }

  /// Those that are whole, in the order of making.
  package var backups: [StoreBackup] {
    let info = rocksdb_backup_engine_get_backup_info(engine)
    defer { rocksdb_backup_engine_info_destroy(info) }
    return (0..<rocksdb_backup_engine_info_count(info)).map { place in
      StoreBackup(
        number: rocksdb_backup_engine_info_backup_id(info, place),
        time: rocksdb_backup_engine_info_timestamp(info, place),
        bytes: rocksdb_backup_engine_info_size(info, place))
    }
  }

  /// Copies the store as it is now; everything that was written before the call is in it. Writing
  /// goes on meanwhile.
  ///
  /// **Throws**: `backupFailed`, with nothing of it left but files that the next one takes over.
  package func add(_ store: Store) throws(StorageError) -> StoreBackup {
    guard !store.database.isSeparated else {
      throw .backupFailed(
        "a part of this store cannot be read; the node makes it anew when it is restarted")
    }
    do throws(EngineError) {
      try store.database.backUp(with: engine)
    } catch { throw .backupFailed(error.text) }
    guard let made = backups.last else { throw .backupFailed("the backup is not there") }
    return made
  }

  /// The backup that this copy is a part of is whole. Copies that are older than as many finished
  /// ones are deleted, and only then, so that a backup that fails never costs one that did not.
  ///
  /// **Throws**: `backupFailed`.
  package func finish(_ number: UInt32, keeping: Int) throws(StorageError) {
    var finished = Self.finished(in: path)
    finished.append(number)
    let text = finished.map { "\($0)\n" }.joined()
    guard WholeFile.write(Array(text.utf8), to: "\(path)/\(Self.finishedName)") else {
      throw .backupFailed("\(path)/\(Self.finishedName) cannot be written")
    }
    guard finished.count > keeping else { return }
    let oldest = finished[finished.count - keeping]
    let kept = UInt32(backups.count { $0.number >= oldest })
    do throws(EngineError) {
      try engineCall { rocksdb_backup_engine_purge_old_backups(engine, kept, $0) }
    } catch { throw .backupFailed(error.text) }
  }

  private static func finished(in path: String) -> [UInt32] {
    let text = WholeFile.read("\(path)/\(finishedName)").map { String(decoding: $0, as: UTF8.self) }
    return (text ?? "").split(separator: "\n").compactMap { UInt32($0) }.sorted()
  }

  /// Whether there are copies of a store: asking makes nothing.
  package static func isOne(_ path: String) -> Bool {
    DirectoryContent.names(in: path)?.contains("meta") ?? false
  }

  /// Makes a data directory of a backup, for a node of this name. The directory forgets which
  /// coordinator it followed: what is decided from now on is decided by another.
  ///
  /// - Parameters:
  ///   - number: `nil` for the latest one.
  ///   - path: an empty or missing directory.
  /// **Throws**: `backupFailed`; `openFailed` when the directory is not empty.
  package func restore(
    _ number: UInt32?, to path: String, nodeName: String
  ) throws(StorageError) -> StoreIdentity {
    let known = backups
    guard let chosen = number ?? known.last?.number, known.contains(where: { $0.number == chosen })
    else {
      throw .backupFailed(
        known.isEmpty
          ? "there is no backup"
          : "there is no backup \(number ?? 0); there are "
            + known.map { "\($0.number)" }.joined(separator: ", "))
    }
    let directory = StoreDirectory(path: path)
    try directory.create()
    guard case .empty = try directory.content() else {
      throw .openFailed(directory: path, what: "it is not empty; allowed is an empty directory")
    }
    let options = rocksdb_restore_options_create()
    defer { rocksdb_restore_options_destroy(options) }
    do throws(EngineError) {
      try engineCall { rocksdb_backup_engine_verify_backup(engine, chosen, $0) }
      try engineCall {
        rocksdb_backup_engine_restore_db_from_backup(engine, path, path, options, chosen, $0)
      }
    } catch { throw .backupFailed(error.text) }
    return try Store.adopt(directory: path, nodeName: nodeName)
  }
}

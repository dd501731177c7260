import CRocksDB
import Glibc
import Primitives

/// Another state for a replica, written into files beside the database, which then takes them in
/// at once under a prefix of their own. Nothing of it is seen before some meta names that prefix;
/// if none ever does, the next start deletes it.
///
/// The files are sorted as the database's own, so that taking them in costs the same however large
/// they are, and no write waits meanwhile.
///
/// **Isolation**: one thread at a time, and not the event loop's: it writes and syncs files.
package final class StateImport: @unchecked Sendable {
  // Safety: whoever holds it calls it from one thread at a time; `store` is Sendable.
  /// Zero until it has begun.
  package private(set) var prefix: UInt32 = 0
  private let store: Store
  private let fileBytesMax: UInt64
  private var writer: Writer?
  private var paths: [String] = []
  private var lastKey: [UInt8]?

  /// - Parameter fileBytesMax: a file that has become this large is closed and another one begun.
  package init(store: Store, fileBytesMax: UInt64 = 64 << 20) {
    self.store = store
    self.fileBytesMax = fileBytesMax
  }

  /// Reserves its prefix. A store that takes a state in has a log that begins later.
  ///
  /// **Throws**: `writeFailed`.
  package func begin() throws(StorageError) {
    try store.raiseStorageVersion(to: 2)
    prefix = try store.reservePrefix()
  }

  /// Adds records, which follow those that were added before in the order of their keys.
  ///
  /// **Throws**: `damaged` when they do not; `writeFailed`.
  package func write(_ records: [(key: [UInt8], value: [UInt8])]) throws(StorageError) {
    precondition(prefix > 0, "it has not begun")
    for record in records {
      if let lastKey, !lastKey.lexicographicallyPrecedes(record.key) {
        throw .damaged(Damage(.prefix(prefix), "the records of a snapshot are not in order"))
      }
      lastKey = record.key
      do throws(EngineError) {
        try openWriter().put(KeyLayout.stateKey(prefix, record.key), record.value)
      } catch { throw .writeFailed(error.text) }
    }
    guard let bytes = writer?.fileBytes, bytes >= fileBytesMax else { return }
    try close()
  }

  /// Lets the database take the files in. Durable when it returns.
  ///
  /// **Throws**: `writeFailed`.
  package func finish() throws(StorageError) {
    try close()
    guard !paths.isEmpty else { return }
    do { try store.database.ingest(paths, into: store.database.state(of: prefix)) } catch {
      throw .writeFailed(error.text)
    }
    removeFiles()
  }

  /// Removes the files. What the database has taken in is to be dropped by its prefix.
  package func abandon() {
    writer = nil
    removeFiles()
  }

  private func openWriter() throws(EngineError) -> Writer {
    if let writer { return writer }
    let directory = StoreDirectory(path: store.directory)
    do { try directory.makeImports() } catch { throw EngineError(text: "\(error)") }
    let path = directory.importPath("\(prefix)-\(paths.count).sst")
    paths.append(path)
    let opened = try Writer(path, store.options)
    writer = opened
    return opened
  }

  private func close() throws(StorageError) {
    guard let writer else { return }
    self.writer = nil
    do { try writer.finish() } catch { throw .writeFailed(error.text) }
  }

  private func removeFiles() {
    for path in paths { unlink(path) }
    paths.removeAll()
  }

  /// One file of sorted keys.
  private final class Writer {
    private let options: EngineOptions.Handle
    private let environment: OpaquePointer
    private let writer: OpaquePointer

    init(_ path: String, _ storeOptions: StoreOptions) throws(EngineError) {
      options = try EngineOptions.stateFiles(storeOptions)
      environment = rocksdb_envoptions_create()
      writer = rocksdb_sstfilewriter_create(environment, options.pointer)
      try engineCall { rocksdb_sstfilewriter_open(writer, path, $0) }
    }

    deinit {
      rocksdb_sstfilewriter_destroy(writer)
      rocksdb_envoptions_destroy(environment)
    }

    var fileBytes: UInt64 {
      var bytes: UInt64 = 0
      rocksdb_sstfilewriter_file_size(writer, &bytes)
      return bytes
    }

    func put(_ key: [UInt8], _ value: [UInt8]) throws(EngineError) {
      try engineCall { message in
        key.withUnsafeBytes { key in
          value.withUnsafeBytes { value in
            rocksdb_sstfilewriter_put(
              writer, key.characters, key.count, value.characters, value.count, message)
          }
        }
      }
    }

    /// Ends the file and syncs it.
    func finish() throws(EngineError) {
      try engineCall { rocksdb_sstfilewriter_finish(writer, $0) }
    }
  }
}

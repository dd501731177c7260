import CRocksDB

/// Walks over the keys of one family between two bounds.
///
/// **Isolation**: one thread. The bytes that it shows are valid until it moves.
struct KeyIterator: ~Copyable {
  private let database: Database
  private let snapshot: StoreSnapshot?
  private let options: OpaquePointer
  private let iterator: OpaquePointer
  /// RocksDB keeps pointers to the bounds, so they live here: first the lower, then the upper.
  private let bounds: UnsafeMutableRawBufferPointer

  /// - Parameters:
  ///   - upper: exclusive; `nil` for the end of the family.
  ///   - sharesFilterPrefix: every key between the bounds has the same filter prefix, so that
  ///     files without it are skipped. Only for walking forwards.
  ///   - fillCache: false for long walks that would push everything else out of the cache.
  init(
    _ database: Database, _ family: ColumnFamily, from lower: [UInt8], to upper: [UInt8]?,
    at snapshot: StoreSnapshot? = nil, sharesFilterPrefix: Bool = false, fillCache: Bool = true
  ) {
    self.database = database
    self.snapshot = snapshot
    options = rocksdb_readoptions_create()
    bounds = .allocate(byteCount: lower.count + (upper?.count ?? 0) + 1, alignment: 1)
    bounds.copyBytes(from: lower)
    let start = bounds.baseAddress?.assumingMemoryBound(to: CChar.self)
    rocksdb_readoptions_set_iterate_lower_bound(options, start, lower.count)
    if let upper {
      UnsafeMutableRawBufferPointer(rebasing: bounds[lower.count...]).copyBytes(from: upper)
      rocksdb_readoptions_set_iterate_upper_bound(
        options, start.map { $0 + lower.count }, upper.count)
    }
    if let snapshot { rocksdb_readoptions_set_snapshot(options, snapshot.pointer) }
    rocksdb_readoptions_set_total_order_seek(options, sharesFilterPrefix ? 0 : 1)
    rocksdb_readoptions_set_prefix_same_as_start(options, sharesFilterPrefix ? 1 : 0)
    rocksdb_readoptions_set_fill_cache(options, fillCache ? 1 : 0)
    iterator = database.iterator(family, options: options)
  }

  deinit {
    rocksdb_iter_destroy(iterator)
    rocksdb_readoptions_destroy(options)
    bounds.deallocate()
  }

  /// False beyond the bounds and after an error; `check` tells which.
  var isValid: Bool { rocksdb_iter_valid(iterator) != 0 }

  /// To the first key at or after `key`.
  func seek(_ key: [UInt8]) {
    key.withUnsafeBytes { rocksdb_iter_seek(iterator, $0.characters, $0.count) }
  }

  /// To the last key at or before `key`.
  func seekBackwards(_ key: [UInt8]) {
    key.withUnsafeBytes { rocksdb_iter_seek_for_prev(iterator, $0.characters, $0.count) }
  }

  /// To the last key between the bounds.
  func seekToLast() { rocksdb_iter_seek_to_last(iterator) }
  func next() { rocksdb_iter_next(iterator) }
  func previous() { rocksdb_iter_prev(iterator) }

  var key: UnsafeRawBufferPointer {
    var count = 0
    let start = rocksdb_iter_key(iterator, &count)
    return UnsafeRawBufferPointer(start: start, count: count)
  }

  var value: UnsafeRawBufferPointer {
    var count = 0
    let start = rocksdb_iter_value(iterator, &count)
    return UnsafeRawBufferPointer(start: start, count: count)
  }

  func check() throws(EngineError) { try engineCall { rocksdb_iter_get_error(iterator, $0) } }
}

/// The store as it was at one moment. Old versions of what it shows stay on disk while it lives.
///
/// **Isolation**: any thread.
package final class StoreSnapshot: @unchecked Sendable {
  // Safety: the pointers never change after `init`; RocksDB reads through a snapshot from any
  // thread.
  private let database: Database
  let pointer: OpaquePointer
  let readOptions: OpaquePointer

  init(_ database: Database) {
    self.database = database
    pointer = database.takeSnapshot()
    readOptions = rocksdb_readoptions_create()
    rocksdb_readoptions_set_snapshot(readOptions, pointer)
  }

  deinit {
    rocksdb_readoptions_destroy(readOptions)
    database.releaseSnapshot(pointer)
  }
}

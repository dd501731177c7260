import CRocksDB

/// Builds RocksDB's options from text, because its C interface has no setter for some of them and
/// because text can be compared with the OPTIONS file that RocksDB writes.
enum EngineOptions {
  /// One option object, freed with this value.
  struct Handle: ~Copyable {
    let pointer: OpaquePointer

    init(_ text: String) throws(EngineError) {
      let base = rocksdb_options_create()
      defer { rocksdb_options_destroy(base) }
      let options = rocksdb_options_create()
      do throws(EngineError) {
        try engineCall { rocksdb_get_options_from_string(base, text, options, $0) }
      } catch {
        rocksdb_options_destroy(options)
        throw error
      }
      guard let options else { throw EngineError(text: "no memory for options") }
      pointer = options
    }

    deinit { rocksdb_options_destroy(pointer) }
  }

  /// Of every 1,024 neighbouring keys of a new file, so many deletes make a compaction worthwhile.
  private static let deletionWindowKeys = 1024
  private static let deletionTriggerKeys = 512
  private static let filterBitsPerKey = 10.0

  /// **Returns**: the database and its families in the order of `Database.familyNames`.
  static func open(
    directory: String, options: StoreOptions, creating: Bool
  ) throws(EngineError) -> (OpaquePointer, [ColumnFamily]) {
    let database = try Handle(options.databaseText(creating: creating))
    let unused = try Handle("write_buffer_size=65536")
    let meta = try Handle(options.metaFamilyText)

    let cache = rocksdb_cache_create_lru(options.blockCacheBytes)
    defer { rocksdb_cache_destroy(cache) }
    let log = try table(options.logFamilyText, cache: cache, filtered: false)
    let state = try table(options.stateFamilyText, cache: cache, filtered: true)
    useTables(meta.pointer, cache: cache, filtered: false)

    let names = Database.familyNames
    let familyOptions: [OpaquePointer?] = [
      unused.pointer, log.pointer, state.pointer, meta.pointer,
    ]
    var handles = [OpaquePointer?](repeating: nil, count: names.count)
    let opened = try withCStrings(names) { (names, count) throws(EngineError) in
      try engineCall {
        rocksdb_open_column_families(
          database.pointer, directory, Int32(count), names, familyOptions, &handles,
          $0)
      }
    }
    let families = handles.compactMap { $0.map { ColumnFamily(pointer: $0) } }
    guard let opened, families.count == names.count else {
      throw EngineError(text: "the engine returned no handle")
    }
    return (opened, families)
  }

  /// Makes a family in an open database, with a cache of its own.
  static func makeFamily(
    _ name: String, _ text: String, filtered: Bool, _ options: StoreOptions,
    in database: OpaquePointer
  ) throws(EngineError) -> ColumnFamily {
    let cache = rocksdb_cache_create_lru(options.blockCacheBytes)
    defer { rocksdb_cache_destroy(cache) }
    let family = try table(text, cache: cache, filtered: filtered)
    let made = try engineCall {
      rocksdb_create_column_family(database, family.pointer, name, $0)
    }
    guard let made else { throw EngineError(text: "the engine returned no handle") }
    return ColumnFamily(pointer: made)
  }

  /// Those of files that are written for the state beside the database.
  static func stateFiles(_ options: StoreOptions) throws(EngineError) -> Handle {
    let state = try Handle(options.stateFamilyText)
    let cache = rocksdb_cache_create_lru(0)
    defer { rocksdb_cache_destroy(cache) }
    useTables(state.pointer, cache: cache, filtered: true)
    return state
  }

  /// Of a log, or of a state (`filtered`). Of states whole stretches are deleted at times, and the
  /// space is wanted back; logs lose their beginnings all the time (see `logFilesPerCompaction`).
  private static func table(
    _ text: String, cache: OpaquePointer?, filtered: Bool
  ) throws(EngineError) -> Handle {
    let family = try Handle(text)
    useTables(family.pointer, cache: cache, filtered: filtered)
    if filtered {
      rocksdb_options_add_compact_on_deletion_collector_factory(
        family.pointer, deletionWindowKeys, deletionTriggerKeys)
    }
    return family
  }

  private static func useTables(
    _ family: OpaquePointer, cache: OpaquePointer?, filtered: Bool
  ) {
    let tables = rocksdb_block_based_options_create()
    defer { rocksdb_block_based_options_destroy(tables) }
    rocksdb_block_based_options_set_block_cache(tables, cache)
    rocksdb_block_based_options_set_format_version(tables, 5)
    rocksdb_block_based_options_set_block_size(tables, 16 << 10)
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(tables, 1)
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(tables, 1)
    if filtered {
      let filter = rocksdb_filterpolicy_create_bloom_full(filterBitsPerKey)
      rocksdb_block_based_options_set_filter_policy(tables, filter)
      rocksdb_block_based_options_set_whole_key_filtering(tables, 1)
    }
    rocksdb_options_set_block_based_table_factory(family, tables)
  }
}

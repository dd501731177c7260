/// How much memory, disk and processor the storage engine of one store may take.
package struct StoreOptions: Sendable {
  package enum Compression: String, Sendable {
    case none = "kNoCompression"
    case lz4 = "kLZ4Compression"
  }

  /// Blocks, indexes and filters of all families together.
  package var blockCacheBytes = 64 << 20
  /// One memtable of the log and of the state.
  package var logMemtableBytes = 64 << 20
  package var stateMemtableBytes = 64 << 20
  /// Memtables of the log that are written out before they are compacted: each compaction goes over
  /// all that is kept of all logs, and most of what a log holds is deleted soon.
  package var logFilesPerCompaction = 12
  /// All memtables together; beyond it the engine flushes early.
  package var memtablesBytesMax = 256 << 20
  /// Bounds the files that a restart has to replay.
  package var walBytesMax = 256 << 20
  /// Flushes and compactions at the same time; a store shares two cores with its event loops.
  package var backgroundJobsMax = 2
  /// Leaves descriptors for links and sessions.
  package var openFilesMax = 512
  package var infoLogFileBytesMax = 4 << 20
  package var infoLogFilesMax = 4
  /// Measured on chat text in blocks of 16 messages: 0.6 of the disk for 0.26 µs CPU a message.
  package var stateCompression = Compression.lz4
  /// The leading bytes of a state key that share a filter: the prefix and an entity's hash.
  package var stateFilterPrefixBytes = 12

  package init() {}

  /// What the C interface has no setter for and what belongs beside it.
  ///
  /// `max_bgerror_resume_count=0`: the engine never retries a failed write behind our back.
  /// `max_manifest_file_size` stays at its default: a manifest that rolls over while a WAL
  /// becomes obsolete could report that WAL as missing before RocksDB 7.9.
  func databaseText(creating: Bool) -> String {
    [
      "wal_recovery_mode=kTolerateCorruptedTailRecords",
      "track_and_verify_wals_in_manifest=true",
      "recycle_log_file_num=0",
      "manual_wal_flush=false",
      "paranoid_checks=true",
      "max_bgerror_resume_count=0",
      "create_if_missing=\(creating)",
      "create_missing_column_families=\(creating)",
      "max_total_wal_size=\(walBytesMax)",
      "db_write_buffer_size=\(memtablesBytesMax)",
      "max_background_jobs=\(backgroundJobsMax)",
      "max_subcompactions=1",
      "max_open_files=\(openFilesMax)",
      "bytes_per_sync=\(1 << 20)",
      "skip_stats_update_on_db_open=true",
      "allow_concurrent_memtable_write=false",
      "enable_write_thread_adaptive_yield=false",
      "max_log_file_size=\(infoLogFileBytesMax)",
      "keep_log_file_num=\(infoLogFilesMax)",
      "info_log_level=WARN_LEVEL",
      "stats_dump_period_sec=0",
      "stats_persist_period_sec=0",
    ].joined(separator: ";")
  }

  /// Entries come in index order under each prefix, so the memtable keeps an insertion hint per
  /// prefix.
  var logFamilyText: String {
    [
      "write_buffer_size=\(logMemtableBytes)",
      "max_write_buffer_number=4",
      "compression=kNoCompression",
      "level_compaction_dynamic_level_bytes=true",
      "level0_file_num_compaction_trigger=\(logFilesPerCompaction)",
      "level0_slowdown_writes_trigger=\(logFilesPerCompaction * 3)",
      "level0_stop_writes_trigger=\(logFilesPerCompaction * 4)",
      "memtable_insert_with_hint_prefix_extractor=fixed:\(KeyLayout.prefixBytes)",
    ].joined(separator: ";")
  }

  var stateFamilyText: String {
    [
      "write_buffer_size=\(stateMemtableBytes)",
      "max_write_buffer_number=4",
      "compression=\(stateCompression.rawValue)",
      "level_compaction_dynamic_level_bytes=true",
      "prefix_extractor=fixed:\(stateFilterPrefixBytes)",
    ].joined(separator: ";")
  }

  var metaFamilyText: String { "write_buffer_size=\(4 << 20);compression=kNoCompression" }
}

/// How much may wait and how much is written at once.
package struct CommitterLimits: Sendable {
  /// One synced write takes submissions up to this size (one larger submission goes alone).
  package var batchBytesMax = 4 << 20
  /// After a synced write of at least `gatherEntriesMin` entries the next one begins when
  /// `gatherEntriesEnough` wait, at the latest `gatherMicroseconds` after it began: a busy store
  /// gathers more for each fsync, and fewer of them leave more time for everything else. An idle
  /// one never waits.
  package var gatherEntriesMin = 8
  package var gatherEntriesEnough = 28
  package var gatherMicroseconds: UInt32 = 3_300
  /// Between two synced writes, submissions that need no sync are written up to this size.
  package var unsyncedBytesPerTurnMax = 256 << 10
  /// From here on `submit` answers `takenQueueFull`: the shell stops admitting.
  package var queuedBytesMax = 64 << 20
  /// From here on `submit` refuses.
  package var queuedBytesLimit = 256 << 20
  /// Point deletes of truncated logs and dropped prefixes between two synced writes: this many, or
  /// twice the entries that the turn has written if that is more, so that sweeping keeps up.
  package var sweptKeysPerTurnMin = 128

  package init() {}
}

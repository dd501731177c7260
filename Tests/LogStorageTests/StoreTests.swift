import Foundation
import Primitives
import Testing

@testable import LogStorage

@Suite struct StoreTests {
  private let directory = TestDirectory()

  @Test func anEmptyDirectoryIsInitialisedAndKeepsItsIdentity() throws {
    do {
      let store = try directory.open(storeID: 41)
      #expect(store.id == StoreID(41))
    }
    let again = try directory.open(storeID: 42)
    #expect(again.id == StoreID(41))
    #expect(again.record.clusterID == 7)
    #expect(again.record.nodeName == "shard-1")
    #expect(again.record.storageVersion == 1)
  }

  @Test func theVersionOfTheLayoutIsRaisedOnceAndStays() throws {
    do {
      let store = try directory.open()
      try store.raiseStorageVersion(to: 2)
      try store.raiseStorageVersion(to: 1)
      #expect(store.record.storageVersion == 2)
    }
    #expect(try directory.open().record.storageVersion == 2)
  }

  @Test func anotherClustersDirectoryIsRefused() throws {
    _ = try directory.open(clusterID: 7)
    #expect(
      throws: StorageError.otherCluster(directory: directory.path, found: 7, expected: 8)
    ) { try directory.open(clusterID: 8) }
  }

  @Test func anotherNodesDirectoryIsRefusedWithBothNames() throws {
    _ = try directory.open(nodeName: "shard-1")
    let error = #expect(throws: StorageError.self) { try directory.open(nodeName: "shard-2") }
    let text = error?.description ?? ""
    #expect(text.contains("shard-1") && text.contains("shard-2") && text.contains(directory.path))
  }

  @Test func aDirectoryThatIsOpenIsRefused() throws {
    let store = try directory.open()
    #expect(throws: StorageError.locked(directory: directory.path)) { try directory.open() }
    #expect(store.id == StoreID(1))
  }

  @Test func aNewerStorageVersionIsRefused() throws {
    do {
      let store = try directory.open()
      var record = store.record
      record.storageVersion = 99
      let key = KeyLayout.storeRecordKey
      let batch = WriteBatch()
      batch.put(store.database.meta, key, KeyLayout.sealRecord(record.encoded(), key: key))
      try store.database.write(batch, sync: true)
    }
    #expect(
      throws: StorageError.newerVersion(
        directory: directory.path, found: 99, known: StoreRecord.knownStorageVersion)
    ) { try directory.open() }
  }

  @Test func aDirectoryWithOtherFilesIsRefused() throws {
    try FileManager.default.createDirectory(
      atPath: directory.path, withIntermediateDirectories: false)
    _ = FileManager.default.createFile(atPath: directory.path + "/notes.txt", contents: nil)
    let error = #expect(throws: StorageError.self) { try directory.open() }
    #expect(error?.description.contains("notes.txt") == true)
  }

  @Test func aLostCurrentFileIsDamageAndNotANewStore() throws {
    _ = try directory.open()
    try FileManager.default.removeItem(atPath: directory.path + "/CURRENT")
    let error = #expect(throws: StorageError.self) { try directory.open() }
    guard case .damaged = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test func anInitialisationThatWasCutShortIsRepeated() throws {
    _ = try directory.open(storeID: 1)
    // The engine writes CURRENT after the manifest and before the first WAL.
    try FileManager.default.removeItem(atPath: directory.path + "/CURRENT")
    for wal in try directory.files(withSuffix: ".log") {
      try FileManager.default.removeItem(atPath: wal)
    }
    _ = FileManager.default.createFile(atPath: directory.path + "/INITIALISING", contents: nil)
    let store = try directory.open(storeID: 2)
    // The directory says whose it is: its replicas were lost, the store is the same.
    #expect(store.id == StoreID(1))
    #expect(store.record.wasMadeAnew)
    #expect(!FileManager.default.fileExists(atPath: directory.path + "/INITIALISING"))
  }

  @Test func aMissingStoreRecordIsDamage() throws {
    do {
      let store = try directory.open()
      let batch = WriteBatch()
      batch.delete(store.database.meta, KeyLayout.storeRecordKey)
      try store.database.write(batch, sync: true)
    }
    #expect(throws: StorageError.damaged(Damage(.storeRecord, "it is missing"))) {
      try directory.open()
    }
  }

  @Test func aStoreIsBoundToItsClusterOnceAndForGood() throws {
    do {
      let store = try directory.open(clusterID: nil)
      #expect(store.record.clusterID == 0)
      try store.bindCluster(5)
      try store.bindCluster(5)
      #expect(throws: StorageError.self) { try store.bindCluster(6) }
    }
    #expect(throws: StorageError.self) { try directory.open(clusterID: 6) }
    #expect(try directory.open(clusterID: nil).record.clusterID == 5)
  }

  @Test func aPrefixIsNeverGivenOutTwice() throws {
    var given: Set<UInt32> = []
    for _ in 0..<3 {
      let store = try directory.open()
      for _ in 0..<300 {
        let prefix = try store.reservePrefix()
        #expect(prefix > 0)
        #expect(given.insert(prefix).inserted)
      }
    }
  }

  /// The engine writes what is really in force into its OPTIONS file.
  @Test func theEngineRunsWithTheOptionsThatSafetyNeeds() throws {
    let store = try directory.open()
    let file = try #require(
      FileManager.default.contentsOfDirectory(atPath: directory.path)
        .filter { $0.hasPrefix("OPTIONS-") }.max())
    let text = try String(contentsOfFile: "\(directory.path)/\(file)", encoding: .utf8)
    let lines = Set(text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) })
    for line in [
      "wal_recovery_mode=kTolerateCorruptedTailRecords",
      "track_and_verify_wals_in_manifest=true", "recycle_log_file_num=0",
      "manual_wal_flush=false", "max_bgerror_resume_count=0", "paranoid_checks=true",
      "max_total_wal_size=\(store.options.walBytesMax)", "max_background_jobs=2",
      "use_fsync=false", "keep_log_file_num=4", "prefix_extractor=rocksdb.FixedPrefix.12",
      "memtable_insert_with_hint_prefix_extractor=rocksdb.FixedPrefix.4",
      "filter_policy=bloomfilter", "compression=kLZ4Compression",
    ] {
      #expect(lines.contains { $0.hasPrefix(line) }, "\(line)")
    }
    #expect(text.contains("CompactOnDeletionCollector"))
  }
}

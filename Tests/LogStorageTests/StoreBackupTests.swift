import Foundation
import Primitives
import Testing

@testable import LogStorage

/// Copies of a store, made while it is written.
@Suite(.timeLimit(.minutes(2))) struct StoreBackupTests {
  private let directory = TestDirectory()
  private let copies = TestDirectory()
  private let restored = TestDirectory()

  private func restore(_ number: UInt32? = nil, name: String = "other") throws(StorageError) {
    _ = try BackupDirectory(copies.path).restore(number, to: restored.path, nodeName: name)
  }

  private func open(_ name: String = "other") throws(StorageError) -> Store {
    try restored.open(nodeName: name, storeID: 99)
  }

  @Test func whatWasWrittenBeforeIsInTheCopy() throws {
    let store = try directory.open(storeID: 41)
    #expect(try store.bindCoordinator(7, revision: 3))
    let committer = try Committer(store: store)
    var batch = appends(1, 1...500)
    for key in UInt8(0)...200 { batch.setState(1, [key], [key]) }
    batch.setMeta(of: PartitionID(0), makeMeta(prefix: 1, appliedIndex: 400))
    batch.raiseRevision(to: 88)
    #expect(committer.commit(batch) == nil)
    let made = try BackupDirectory(copies.path).add(store)
    #expect(made.number == 1 && made.bytes > 0)
    #expect(committer.commit(appends(1, 501...600)) == nil)
    try restore()
    #expect(StoreIdentity(inDirectory: restored.path)?.clusterID == 0, "of no cluster yet")
    let copy = try open()
    #expect(copy.id == StoreID(41))
    #expect(copy.record.coordinatorID == 0 && copy.record.highestRevision == 0)
    #expect(try copy.allEntries(1).count == 500)
    #expect(try copy.scan(1, StateRange(), countMax: 999, bytesMax: .max).records.count == 201)
    #expect(try copy.meta(of: PartitionID(0))?.appliedIndex == index(400))
    #expect(try copy.reservePrefix() >= store.record.nextPrefix)
    committer.stop()
  }

  /// Log, state and meta lie in families of their own, each with its memory and its files.
  @Test func aCopyMadeWhileTheStoreIsWrittenBelongsTogether() throws {
    let store = try directory.open()
    let committer = try Committer(store: store)
    let isDone = Flag()
    let writing = DispatchQueue(label: "writing")
    writing.async {
      var next: UInt64 = 1
      while !isDone.value {
        var batch = appends(1, next...next + 19, payloadBytes: 400)
        // What the state says was applied is in the log.
        batch.setState(1, [1], withUnsafeBytes(of: (next + 19).bigEndian) { Array($0) })
        batch.setMeta(of: PartitionID(0), makeMeta(prefix: 1, appliedIndex: next + 19))
        committer.commit(batch)
        next += 20
      }
    }
    var last = index(0)
    for _ in 0..<6 {
      usleep(50_000)
      let backups = try BackupDirectory(copies.path)
      let made = try backups.add(store)
      try backups.finish(made.number, keeping: 2)
      #expect(backups.backups.count <= 2)
      let target = TestDirectory()
      _ = try backups.restore(made.number, to: target.path, nodeName: "shard-1")
      let copy = try target.open()
      let meta = try #require(try copy.meta(of: PartitionID(0)))
      let applied = try copy.get(1, [1]) ?? []
      #expect(applied == withUnsafeBytes(of: meta.appliedIndex.rawValue.bigEndian) { Array($0) })
      #expect(try copy.lastEntry(1, firstIndex: index(1))?.index ?? index(0) >= meta.appliedIndex)
      #expect(try copy.allEntries(1).count == Int(meta.appliedIndex.rawValue))
      #expect(meta.appliedIndex > last)
      last = meta.appliedIndex
    }
    isDone.value = true
    writing.sync {}
    committer.stop()
  }

  @Test func whatAnEarlierCopyHoldsIsNotCopiedAgain() throws {
    let store = try directory.open()
    let committer = try Committer(store: store)
    #expect(committer.commit(appends(1, 1...4_000, payloadBytes: 2_000)) == nil)
    let backups = try BackupDirectory(copies.path)
    _ = try backups.add(store)
    let first = try Self.bytes(in: copies.path)
    #expect(committer.commit(appends(1, 4_001...4_010, payloadBytes: 2_000)) == nil)
    _ = try backups.add(store)
    let second = try Self.bytes(in: copies.path)
    #expect(first > 8_000_000)
    #expect(second - first < 1_000_000, "\(second - first) bytes for ten entries")
    try restore(1)
    #expect(try open().allEntries(1).count == 4_000)
    committer.stop()
  }

  @Test func copiesOfBackupsThatFailedCostNoneThatDidNot() throws {
    let store = try directory.open()
    let backups = try BackupDirectory(of: store.id, in: copies.path)
    let path = BackupDirectory.path(of: store.id, in: copies.path)
    #expect(BackupDirectory.isOne(path) && !BackupDirectory.isOne(copies.path))
    for finishes in [true, false, false, false, true, false] {
      let made = try backups.add(store)
      if finishes { try backups.finish(made.number, keeping: 2) }
    }
    #expect(backups.backups.map(\.number) == [1, 2, 3, 4, 5, 6])
    try backups.finish(try backups.add(store).number, keeping: 2)
    #expect(backups.backups.map(\.number) == [5, 6, 7])
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o077 == 0, "for nobody else to read")
  }

  @Test func aSmallFileIsThereWholeAndForItsOwnerOnly() throws {
    try FileManager.default.createDirectory(
      atPath: copies.path, withIntermediateDirectories: true)
    let path = copies.path + "/file"
    let bytes = [UInt8](repeating: 7, count: 200_000)
    #expect(WholeFile.write(bytes, to: path, replacing: false))
    #expect(WholeFile.read(path) == bytes)
    #expect(!WholeFile.write([1], to: path, replacing: false), "it exists")
    #expect(WholeFile.write([2], to: path) && WholeFile.read(path) == [2])
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    #expect(try FileManager.default.contentsOfDirectory(atPath: copies.path) == ["file"])
    #expect(!WholeFile.write([1], to: copies.path + "/none/file"))
  }

  @Test func whatCannotBeRestoredIsRefused() throws {
    let store = try directory.open()
    #expect(throws: StorageError.self) { try restore() }
    _ = try BackupDirectory(copies.path).add(store)
    #expect(throws: StorageError.backupFailed("there is no backup 7; there are 1")) {
      try restore(7)
    }
    try FileManager.default.createDirectory(
      atPath: restored.path, withIntermediateDirectories: true)
    try Data([1]).write(to: URL(fileURLWithPath: restored.path + "/something"))
    #expect(throws: StorageError.self) { try restore() }
    try FileManager.default.removeItem(atPath: restored.path + "/something")
    // A copy that was changed is found out before anything is made of it.
    let shared = copies.path + "/shared_checksum"
    let name = try #require(try FileManager.default.contentsOfDirectory(atPath: shared).first)
    let path = "\(shared)/\(name)"
    var bytes = try #require(FileManager.default.contents(atPath: path))
    bytes.append(0)
    try bytes.write(to: URL(fileURLWithPath: path))
    #expect(throws: StorageError.self) { try restore() }
  }

  private final class Flag: @unchecked Sendable {
    // Safety: read and written under `lock`.
    private let lock = NSLock()
    private var isSet = false

    var value: Bool {
      get { lock.withLock { isSet } }
      set { lock.withLock { isSet = newValue } }
    }
  }

  private static func bytes(in path: String) throws -> Int {
    let files = FileManager.default
    return try files.subpathsOfDirectory(atPath: path).reduce(0) { sum, name in
      let attributes = try files.attributesOfItem(atPath: "\(path)/\(name)")
      return sum
        + (attributes[.type] as? FileAttributeType == .typeRegular
          ? attributes[.size] as? Int ?? 0 : 0)
    }
  }
}

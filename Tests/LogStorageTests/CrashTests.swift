import Foundation
import Primitives
import Testing

@testable import LogStorage

/// What is found after the process or the machine went down at a bad moment, or after the disk
/// lost something.
@Suite struct CrashTests {
  private let directory = TestDirectory()

  private func truncate(_ path: String, to size: Int) throws {
    #expect(Foundation.truncate(path, off_t(size)) == 0)
  }

  private func size(_ path: String) throws -> Int {
    try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
  }

  private func flipBit(_ path: String, at offset: Int) throws {
    let file = try #require(FileHandle(forUpdatingAtPath: path))
    try file.seek(toOffset: UInt64(offset))
    let byte = try #require(try file.read(upToCount: 1)?.first)
    try file.seek(toOffset: UInt64(offset))
    try file.write(contentsOf: Data([byte ^ 0x04]))
    try file.close()
  }

  private func isDamage(_ error: StorageError?) -> Bool {
    if case .damaged = error { true } else { false }
  }

  @Test func whateverWasAcknowledgedIsThereAfterACrash() throws {
    var options = StoreOptions()
    options.logMemtableBytes = 64 << 10
    let store = try directory.open(options: options)
    let committer = try Committer(store: store)
    defer { committer.stop() }
    for round in UInt64(0)..<12 {
      for prefix in UInt32(1)...3 {
        var batch = appends(prefix, (20 * round + 1)...(20 * round + 20), payloadBytes: 500)
        batch.setMeta(of: PartitionID(prefix), makeMeta(prefix: prefix, promise: round + 1))
        #expect(committer.commit(batch) == nil)
      }
      try store.database.flush(store.database.log(of: 1))
      for prefix in UInt32(1)...3 {
        #expect(committer.commit(appends(prefix, (20 * round + 20)...(20 * round + 20))) == nil)
      }
      let copy = try directory.copy()
      let crashed = try copy.open(options: options)
      for prefix in UInt32(1)...3 {
        #expect(try crashed.allEntries(prefix).count == Int(20 * round + 20))
        #expect(try crashed.meta(of: PartitionID(prefix))?.promise == Epoch(round + 1))
      }
    }
  }

  /// A child writes from three threads, notes in a file what was acknowledged, and is killed at
  /// any moment.
  @Test func whateverWasAcknowledgedSurvivesAKill() async throws {
    for life in 1...4 {
      let notes = directory.parent + "/acknowledged"
      await #expect(processExitsWith: .signal(SIGKILL)) {
        [path = directory.path as String, notes = notes as String, life = life as Int] in
        try CrashingWriter.run(path: path, notes: notes, life: UInt64(life))
      }
      let store = try directory.open()
      let text = try String(contentsOfFile: notes, encoding: .utf8)
      var acknowledged: [UInt32: UInt64] = [:]
      for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
        let words = line.split(separator: " ")
        guard words.count == 2, let prefix = UInt32(words[0]), let last = UInt64(words[1]) else {
          continue
        }
        acknowledged[prefix] = max(acknowledged[prefix] ?? 0, last)
      }
      #expect(acknowledged.count == 3)
      for (prefix, last) in acknowledged {
        let entries = try store.allEntries(prefix)
        #expect(entries.map(\.index.rawValue) == (0..<entries.count).map { UInt64($0 + 1) })
        #expect(entries.count >= Int(last))
        #expect(try store.meta(of: PartitionID(prefix))?.promise.rawValue ?? 0 >= last)
      }
    }
  }

  /// Every cut leaves a beginning of what was written, in all partitions, and never an error.
  @Test func aTornTailMakesTheLogShorterAndNothingElse() throws {
    // Once more, so that the store record lies in a table and the WAL holds the entries alone.
    _ = try directory.open()
    let store = try directory.open()
    let committer = try Committer(store: store)
    for number in UInt64(1)...30 {
      var batch = appends(1, number...number)
      batch.append(2, index: LogIndex(number), epoch: epoch(1), payload: bytes("twin"))
      #expect(committer.commit(batch) == nil)
    }
    let wal = try #require(try directory.files(withSuffix: ".log").last)
    let whole = try size(wal)
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    var cuts = (0..<24).map { _ in Int.random(in: 0..<whole, using: &random) }
    cuts += [whole, whole - 1]
    var previous = 0
    for cut in cuts.sorted() {
      let copy = try directory.copy()
      let name = try #require(wal.split(separator: "/").last)
      try truncate("\(copy.path)/\(name)", to: cut)
      let torn = try copy.open()
      let entries = try torn.allEntries(1)
      #expect(entries.map(\.index.rawValue) == (0..<entries.count).map { UInt64($0 + 1) })
      #expect(try torn.allEntries(2).count == entries.count)
      #expect(entries.count >= previous)
      previous = entries.count
    }
    #expect(previous == 30)
    committer.stop()
  }

  /// A store with at least two WALs: the log was flushed, an older WAL is kept for the metas in
  /// it.
  private func makeTwoWALs() throws -> TestDirectory {
    let store = try directory.open()
    let committer = try Committer(store: store)
    defer { committer.stop() }
    for round in UInt64(0)..<2 {
      for number in (50 * round + 1)...(50 * round + 50) {
        var batch = appends(1, number...number)
        batch.setMeta(of: PartitionID(0), makeMeta(prefix: 1, promise: number))
        #expect(committer.commit(batch) == nil)
      }
      if round == 0 { try store.database.flush(store.database.log(of: 1)) }
    }
    let copy = try directory.copy()
    #expect(try copy.files(withSuffix: ".log").count >= 2)
    return copy
  }

  @Test func twoWholeWALsOpen() throws {
    let store = try makeTwoWALs().open()
    #expect(try store.allEntries(1).count == 100)
    #expect(try store.meta(of: PartitionID(0))?.promise == epoch(100))
  }

  @Test func aMissingWALBeforeTheLastIsDamage() throws {
    let copy = try makeTwoWALs()
    try FileManager.default.removeItem(atPath: try copy.files(withSuffix: ".log")[0])
    let error = #expect(throws: StorageError.self) { try copy.open() }
    #expect(isDamage(error), "\(String(describing: error))")
  }

  @Test func aShortenedWALBeforeTheLastIsDamage() throws {
    let copy = try makeTwoWALs()
    let wal = try copy.files(withSuffix: ".log")[0]
    try truncate(wal, to: try size(wal) - 40)
    let error = #expect(throws: StorageError.self) { try copy.open() }
    #expect(isDamage(error), "\(String(describing: error))")
  }

  /// Opens a store whose last WAL lost something.
  ///
  /// **Returns**: how many entries there are from the first one on; `nil` when it reports damage.
  private func beginning(of copy: TestDirectory) throws -> Int? {
    switch Result(catching: { try copy.open().allEntries(1) }) {
    case .success(let entries):
      #expect(entries.map(\.index.rawValue) == (0..<entries.count).map { UInt64($0 + 1) })
      return entries.count
    case .failure(let error as StorageError) where isDamage(error): return nil
    case .failure(let error): throw error
    }
  }

  /// It looks like a machine that went down before anything was written: what is missing is found
  /// by whoever leads (fenced), or by comparing.
  @Test func aMissingLastWALLeavesABeginningOrIsDamage() throws {
    let copy = try makeTwoWALs()
    let wal = try #require(try copy.files(withSuffix: ".log").last)
    try FileManager.default.removeItem(atPath: wal)
    #expect(try beginning(of: copy) ?? 0 < 100)
  }

  @Test(arguments: [1, 7, 40, 400, 1_500])
  func aZeroedEndOfTheLastWALLeavesABeginningOrIsDamage(_ length: Int) throws {
    let copy = try makeTwoWALs()
    let wal = try #require(try copy.files(withSuffix: ".log").last)
    let file = try #require(FileHandle(forUpdatingAtPath: wal))
    let whole = try size(wal)
    try #require(whole > length)
    try file.seek(toOffset: UInt64(whole - length))
    try file.write(contentsOf: Data(repeating: 0, count: length))
    try file.close()
    #expect(try beginning(of: copy) ?? 0 < 100)
  }

  @Test func aFlippedBitInAWALIsDamage() throws {
    let copy = try makeTwoWALs()
    let wal = try #require(try copy.files(withSuffix: ".log").last)
    try flipBit(wal, at: try size(wal) / 2)
    let error = #expect(throws: StorageError.self) { try copy.open() }
    #expect(isDamage(error), "\(String(describing: error))")
  }

  @Test func aFlippedBitInATableIsDetectedAtReading() throws {
    do {
      let store = try directory.open()
      let committer = try Committer(store: store)
      #expect(committer.commit(appends(1, 1...200)) == nil)
      committer.stop()
      try store.database.flush(store.database.log(of: 1))
    }
    let table = try #require(try directory.files(withSuffix: ".sst").last)
    try flipBit(table, at: 700)
    let store = try directory.open()
    let error = #expect(throws: StorageError.self) { try store.allEntries(1) }
    #expect(isDamage(error), "\(String(describing: error))")
  }

  @Test func aMissingTableIsDamage() throws {
    do {
      let store = try directory.open()
      let committer = try Committer(store: store)
      #expect(committer.commit(appends(1, 1...20)) == nil)
      committer.stop()
      try store.database.flush(store.database.log(of: 1))
    }
    let table = try #require(try directory.files(withSuffix: ".sst").last)
    try FileManager.default.removeItem(atPath: table)
    let error = #expect(throws: StorageError.self) { try directory.open() }
    #expect(isDamage(error), "\(String(describing: error))")
  }

  /// Many WALs come and go under synced writes; none is ever reported as missing.
  @Test func changesOfWALsRaiseNoFalseAlarm() throws {
    var options = StoreOptions()
    options.logMemtableBytes = 64 << 10
    options.walBytesMax = 200 << 10
    var next: UInt64 = 1
    for _ in 0..<8 {
      let store = try directory.open(options: options)
      let committer = try Committer(store: store)
      for _ in 0..<40 {
        var batch = appends(1, next...(next + 9), payloadBytes: 2000)
        batch.setMeta(of: PartitionID(0), makeMeta(prefix: 1, promise: next))
        #expect(committer.commit(batch) == nil)
        next += 10
      }
      committer.stop()
    }
    #expect(try directory.open().allEntries(1).count == Int(next - 1))
  }
}

/// What the child of a crash test does until it kills itself.
enum CrashingWriter {
  static func run(path: String, notes: String, life: UInt64) throws {
    var options = StoreOptions()
    options.logMemtableBytes = 64 << 10
    let store = try Store.open(
      directory: path, expecting: StoreExpectation(clusterID: 7, nodeName: "shard-1"),
      newStoreID: StoreID(1), options: options)
    let committer = try Committer(store: store)
    let file = open(notes, O_CREAT | O_WRONLY | O_APPEND, 0o600)
    for prefix in UInt32(1)...3 {
      let last = try store.lastEntry(prefix, firstIndex: LogIndex(1))?.index.rawValue ?? 0
      Thread.detachNewThread {
        var next = last
        while true {
          next += 1
          var batch = appends(prefix, next...next, payloadBytes: 700)
          batch.setMeta(of: PartitionID(prefix), makeMeta(prefix: prefix, promise: next))
          guard committer.commit(batch) == nil else { return }
          let note = bytes("\(prefix) \(next)\n")
          _ = note.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        }
      }
    }
    usleep(UInt32(150_000 + 37_000 * life))
    kill(getpid(), SIGKILL)
  }
}

import Dispatch
import Foundation
import Primitives
import Testing
import WalkSupport

@testable import LogStorage

/// States that are prepared beside the database and taken in whole, and logs whose space comes
/// back.
@Suite(.timeLimit(.minutes(2))) struct StateImportTests {
  private let directory = TestDirectory()

  private func records(
    _ count: Int, from first: Int = 0, valueBytes: Int = 8
  ) -> [(key: [UInt8], value: [UInt8])] {
    var dice = Dice(seed: UInt64(first) + 1)
    return (first..<first + count).map { number in
      let key = (0..<12).map { UInt8(truncatingIfNeeded: number >> (8 * (11 - $0))) }
      return (key, (0..<valueBytes).map { _ in UInt8(truncatingIfNeeded: dice.number()) })
    }
  }

  private func all(_ store: Store, _ prefix: UInt32) throws -> [StateRecord] {
    try store.scan(prefix, StateRange(), countMax: .max, bytesMax: .max).records
  }

  private var importedFiles: [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: directory.path + "/imports")) ?? []
  }

  @Test func aStateIsTakenInWholeUnderItsPrefix() throws {
    let store = try directory.open()
    let state = StateImport(store: store, fileBytesMax: 20_000)
    try state.begin()
    let prefix = state.prefix
    #expect(store.record.storageVersion == 2)
    let written = records(3_000, valueBytes: 100)
    for first in stride(from: 0, to: 3_000, by: 250) {
      try state.write(Array(written[first..<first + 250]))
    }
    #expect(importedFiles.count > 5)
    #expect(try all(store, prefix).isEmpty, "not before it is finished")
    try state.finish()
    #expect(importedFiles.isEmpty)
    let found = try all(store, prefix)
    #expect(found.map(\.key) == written.map(\.key) && found.map(\.value) == written.map(\.value))
    #expect(try store.get(prefix, written[1_234].key) == written[1_234].value)
  }

  @Test func anEmptyStateIsAStateToo() throws {
    let store = try directory.open()
    let state = StateImport(store: store)
    try state.begin()
    try state.finish()
    #expect(try all(store, state.prefix).isEmpty)
  }

  @Test func recordsThatAreNotInOrderAreRefused() throws {
    let store = try directory.open()
    let state = StateImport(store: store)
    try state.begin()
    try state.write(records(10))
    #expect(throws: StorageError.self) { try state.write(records(1, from: 9)) }
    state.abandon()
    #expect(importedFiles.isEmpty)
  }

  @Test func whatAProcessLeftBehindIsGoneAfterTheNextStart() throws {
    do {
      let store = try directory.open()
      let taken = StateImport(store: store)
      try taken.begin()
      try taken.write(records(500))
      try taken.finish()
      let begun = StateImport(store: store)
      try begun.begin()
      try begun.write(records(500))
      #expect(importedFiles.count == 1)
    }
    let store = try directory.open()
    #expect(importedFiles.isEmpty)
    let orphans = try store.orphanPrefixes()
    #expect(orphans.count == 1)
    let committer = try Committer(store: store, dropsOrphans: true)
    let deadline = Date(timeIntervalSinceNow: 30)
    while try !store.orphanPrefixes().isEmpty, Date() < deadline { usleep(1_000) }
    #expect(try store.orphanPrefixes().isEmpty)
    committer.stop()
  }

  @Test func aReplicaThatIsSetAsideIsNoOrphan() throws {
    let store = try directory.open()
    let committer = try Committer(store: store)
    var meta = makeMeta(prefix: 9)
    meta.former = [FormerReplica(replica: meta.replica, prefix: 8, isSetAside: true)]
    var batch = appends(8, 1...3)
    batch.setMeta(of: PartitionID(0), meta)
    #expect(committer.commit(batch) == nil)
    #expect(try store.orphanPrefixes().isEmpty)
    committer.stop()
  }

  @Test func otherWritesGoOnWhileAStateIsPreparedAndTakenIn() throws {
    let store = try directory.open()
    let committer = try Committer(store: store)
    let alone = latencies(committer, prefix: 1, first: 1, count: 200).max() ?? 0
    let parts = (0..<256).map { records(256, from: $0 * 256, valueBytes: 1_000) }
    let state = StateImport(store: store)
    try state.begin()
    let isDone = DispatchSemaphore(value: 0)
    DispatchQueue.global().async {
      for part in parts { try? state.write(part) }
      try? state.finish()
      isDone.signal()
    }
    var next: UInt64 = 201
    var during: UInt64 = 0
    while isDone.wait(timeout: .now()) == .timedOut {
      during = max(during, latencies(committer, prefix: 1, first: next, count: 20).max() ?? 0)
      next += 20
    }
    print(
      "longest of \(next) synced writes: \(alone / 1_000) µs, beside 64 MiB \(during / 1_000) µs")
    // A stall of the engine lasts as long as its compactions; this is the disk's share.
    #expect(during < 1_000_000_000)
    #expect(try all(store, state.prefix).count == 65_536)
    committer.stop()
  }

  @Test func aLargePrefixIsDroppedInTheTimeOfItsKeys() throws {
    let store = try directory.open()
    var limits = CommitterLimits()
    limits.sweptKeysPerTurnMin = 500
    let committer = try Committer(store: store, limits: limits)
    var took: [Double] = []
    for (number, count) in [UInt64(20_000), 80_000].enumerated() {
      let prefix = UInt32(number + 1)
      for first in stride(from: UInt64(1), through: count, by: 2_000) {
        #expect(committer.commit(appends(prefix, first...first + 1_999)) == nil)
      }
      let before = committer.metrics.sweptKeyCount
      let begun = MonotonicClock.nanoseconds()
      var batch = StorageBatch(needsSync: true)
      batch.dropPrefix(prefix)
      #expect(committer.commit(batch) == nil)
      #expect(committer.waitForSweptKeys(before + count))
      took.append(Double(MonotonicClock.nanoseconds() - begun) / Double(count))
      #expect(try store.allEntries(prefix).isEmpty)
    }
    print("dropping a key of 20,000 takes \(Int(took[0])) ns, of 80,000 \(Int(took[1])) ns")
    #expect(took[1] < 3 * took[0] + 2_000)
    committer.stop()
  }

  /// Of single synced writes. **Units**: nanoseconds.
  private func latencies(
    _ committer: Committer, prefix: UInt32, first: UInt64, count: UInt64
  ) -> [UInt64] {
    (first..<first + count).map { number in
      let begun = MonotonicClock.nanoseconds()
      committer.commit(appends(prefix, number...number))
      return MonotonicClock.nanoseconds() - begun
    }
  }

  @Test func theSpaceOfAShortenedLogComesBackWithTheNextCompaction() throws {
    var options = StoreOptions()
    options.logFilesPerCompaction = 4
    options.logMemtableBytes = 1 << 20
    options.walBytesMax = 2 << 20
    let store = try directory.open(options: options)
    var limits = CommitterLimits()
    limits.sweptKeysPerTurnMin = 1_000
    let committer = try Committer(store: store, limits: limits)
    for first in stride(from: UInt64(1), through: 40_000, by: 1_000) {
      #expect(committer.commit(appends(1, first...first + 999, payloadBytes: 1_000)) == nil)
    }
    try store.database.flush(store.database.log(of: 1))
    let full = try store.approximateLogBytes(1)
    var batch = StorageBatch(needsSync: false)
    batch.truncatePrefix(
      of: PartitionID(0), to: makeMeta(prefix: 1, firstIndex: 39_001, appliedIndex: 40_000),
      from: index(1))
    #expect(committer.commit(batch) == nil)
    #expect(committer.waitForSweptKeys(39_000))
    try store.database.flush(store.database.log(of: 1))
    // Another log fills as many memtables as are written out before a compaction.
    for first in stride(from: UInt64(1), through: 5_000, by: 500) {
      #expect(committer.commit(appends(2, first...first + 499, payloadBytes: 1_000)) == nil)
    }
    try store.database.flush(store.database.log(of: 2))
    let deadline = Date(timeIntervalSinceNow: 60)
    while try store.approximateLogBytes(1) > full / 10, Date() < deadline { usleep(10_000) }
    #expect(full > 38_000_000)
    #expect(try store.approximateLogBytes(1) <= full / 10)
    #expect(try store.allEntries(1, from: 39_001).count == 1_000)
    committer.stop()
  }
}

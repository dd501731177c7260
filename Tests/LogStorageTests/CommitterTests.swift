import Foundation
import Primitives
import Testing

@testable import LogStorage

@Suite struct CommitterTests {
  private let directory = TestDirectory()

  /// Runs `body` with an open store and its committer, and closes both.
  private func withCommitter<Result>(
    _ limits: CommitterLimits = CommitterLimits(), _ body: (Store, Committer) throws -> Result
  ) throws -> Result {
    let store = try directory.open()
    let committer = try Committer(store: store, limits: limits)
    defer { committer.stop() }
    return try body(store, committer)
  }

  @Test func everythingWrittenIsThereAfterReopening() throws {
    var meta = makeMeta(prefix: 5, promise: 8, appliedIndex: 2)
    meta.rollingHash = 0xabcd
    try withCommitter { (store, committer) throws in
      var batch = appends(5, 1...3)
      batch.setMeta(of: PartitionID(17), meta)
      batch.setState(5, bytes("a"), bytes("one"))
      batch.setState(5, bytes("b"), [])
      batch.raiseRevision(to: 99)
      #expect(committer.commit(batch) == nil)
      var older = StorageBatch(needsSync: true)
      older.raiseRevision(to: 98)
      older.setState(5, bytes("b"), nil)
      #expect(committer.commit(older) == nil)
      #expect(store.record.highestRevision == 99)
    }
    let store = try directory.open()
    #expect(try store.partitions() == [PartitionID(17): meta])
    #expect(try store.meta(of: PartitionID(18)) == nil)
    #expect(try store.allEntries(5).map(\.payload) == (1...3).map { bytes("entry 5/\($0)") })
    #expect(try store.get(5, bytes("a")) == bytes("one"))
    #expect(try store.get(5, bytes("b")) == nil)
    #expect(store.record.highestRevision == 99)
  }

  @Test func aBusyStoreGathersAndAnIdleOneDoesNotWait() throws {
    var limits = CommitterLimits()
    limits.gatherEntriesMin = 5
    limits.gatherMicroseconds = 400_000
    try withCommitter(limits) { (_, committer) throws in
      _ = milliseconds(appends(1, 1...4), committer)
      #expect(milliseconds(appends(1, 5...9), committer) < 350, "the write before was a small one")
      #expect(
        milliseconds(appends(1, 10...10), committer) >= 300, "the write before was a large one")
      #expect(milliseconds(appends(1, 11...11), committer) < 350)
    }
  }

  @Test func aBusyStoreWaitsNoLongerWhenEnoughHasGathered() throws {
    var limits = CommitterLimits()
    limits.gatherEntriesMin = 5
    limits.gatherEntriesEnough = 7
    limits.gatherMicroseconds = 20_000_000
    let began = MonotonicClock.nanoseconds()
    try withCommitter(limits) { (_, committer) throws in
      _ = milliseconds(appends(1, 1...5), committer)
      let fewer = RecordingSink()
      let admission = committer.submit(
        appends(1, 6...9), ticket: StorageTicket(1), sink: fewer)
      #expect(admission == .taken)
      #expect(milliseconds(appends(1, 10...12), committer) < 10_000, "four and three are enough")
      #expect(fewer.wait(forCount: 1))
    }
    let elapsed = (MonotonicClock.nanoseconds() - began) / 1_000_000
    #expect(elapsed < 10_000, "and it ends without waiting for more")
  }

  private func milliseconds(_ batch: StorageBatch, _ committer: Committer) -> UInt64 {
    let began = MonotonicClock.nanoseconds()
    #expect(committer.commit(batch) == nil)
    return (MonotonicClock.nanoseconds() - began) / 1_000_000
  }

  @Test func aSuffixIsReplacedByEntriesOfAHigherEpoch() throws {
    try withCommitter { (store, committer) throws in
      #expect(committer.commit(appends(1, 1...10, epoch: 1)) == nil)
      var batch = StorageBatch(needsSync: true)
      batch.truncateSuffix(1, from: index(6), through: index(10))
      batch.append(1, index: index(6), epoch: epoch(3), payload: bytes("new"))
      #expect(committer.commit(batch) == nil)
    }
    let store = try directory.open()
    let entries = try store.allEntries(1)
    #expect(entries.map(\.index.rawValue) == [1, 2, 3, 4, 5, 6])
    #expect(entries.last?.payload == bytes("new"))
    let extent = try store.logExtent(1, firstIndex: index(1))
    #expect(
      extent.epochStarts == [
        EntryID(epoch: epoch(1), index: index(1)), EntryID(epoch: epoch(3), index: index(6)),
      ])
  }

  /// What a paused follower does when it wakes up: the entries of a leader that is none any more
  /// and those of the next come in one turn.
  @Test func aSuffixOfTheSameBatchIsReplaced() throws {
    try withCommitter { (store, committer) throws in
      #expect(committer.commit(appends(1, 1...4, epoch: 1)) == nil)
      var batch = StorageBatch(needsSync: true)
      for number in 5...7 {
        batch.append(1, index: index(UInt64(number)), epoch: epoch(2), payload: bytes("old"))
      }
      let bytesBefore = batch.bytes
      batch.truncateSuffix(1, from: index(5), through: index(7))
      #expect(batch.bytes <= bytesBefore)
      batch.append(1, index: index(5), epoch: epoch(3), payload: bytes("new"))
      #expect(committer.commit(batch) == nil)
    }
    let store = try directory.open()
    let entries = try store.allEntries(1)
    #expect(entries.map(\.index.rawValue) == [1, 2, 3, 4, 5])
    #expect(entries.last?.payload == bytes("new"))
  }

  @Test func aTruncatedPrefixIsDeletedInChunksAndReadingStartsAtFirstIndex() throws {
    var limits = CommitterLimits()
    limits.sweptKeysPerTurnMin = 7
    try withCommitter(limits) { (store, committer) throws in
      #expect(committer.commit(appends(1, 1...100)) == nil)
      let unswept = committer.metrics.unsyncedWriteCount
      var batch = StorageBatch(needsSync: false)
      batch.truncatePrefix(
        of: PartitionID(0), to: makeMeta(prefix: 1, firstIndex: 61, appliedIndex: 90),
        from: index(1))
      #expect(committer.commit(batch) == nil)
      #expect(try store.allEntries(1, from: 61).map(\.index.rawValue) == Array(61...100))
      #expect(committer.waitForSweptKeys(60))
      #expect(committer.metrics.sweptKeyCount == 60)
      // 60 keys in chunks of 7, and the truncation itself.
      #expect(committer.metrics.unsyncedWriteCount - unswept == 10)
      #expect(throws: StorageError.entryMissing(prefix: 1, index: index(60), found: index(61))) {
        try store.allEntries(1, from: 60)
      }
      #expect(try store.logExtent(1, firstIndex: index(61)).last?.index == index(100))
    }
  }

  @Test func aTruncationThatWasCutShortGoesOnAfterARestart() throws {
    try withCommitter { (store, committer) throws in
      #expect(committer.commit(appends(1, 1...50)) == nil)
      #expect(committer.commit(appends(2, 1...50)) == nil)
      // A crash between the meta and the last chunks: firstIndex stands, some entries remain.
      let batch = WriteBatch()
      for (partition, prefix) in [(0, 1), (1, 2)] {
        let key = KeyLayout.metaKey(PartitionID(UInt32(partition)))
        let meta = makeMeta(prefix: UInt32(prefix), firstIndex: 41, appliedIndex: 40)
        batch.put(store.database.meta, key, KeyLayout.sealRecord(meta.encoded(), key: key))
      }
      for gone in UInt64(1)...20 {
        batch.deleteEntry(store.database.log(of: 1), prefix: 1, index: LogIndex(gone))
      }
      try store.database.write(batch, sync: true)
    }
    try withCommitter { (store, committer) throws in
      #expect(committer.waitForSweptKeys(60))
      #expect(committer.metrics.sweptKeyCount == 60)
      #expect(throws: StorageError.entryMissing(prefix: 1, index: index(1), found: index(41))) {
        try store.allEntries(1)
      }
      #expect(try store.allEntries(2, from: 41).count == 10)
    }
    try withCommitter { (store, _) throws in
      #expect(try store.unfinishedSweeps(dropsOrphans: false).isEmpty)
    }
  }

  @Test func aDroppedPrefixDisappearsAndItsNeighboursStay() throws {
    try withCommitter { (store, committer) throws in
      for prefix in UInt32(1)...3 {
        var batch = appends(prefix, 1...700)
        for key in UInt8(0)...250 { batch.setState(prefix, [key], [key]) }
        batch.setMeta(of: PartitionID(prefix), makeMeta(prefix: prefix))
        #expect(committer.commit(batch) == nil)
        if prefix == 2 {
          try store.database.flush(store.database.log(of: 1))
          try store.database.flush(store.database.state(of: 1))
        }
      }
      var batch = StorageBatch(needsSync: false)
      batch.setMeta(of: PartitionID(2), nil)
      batch.dropPrefix(2)
      #expect(batch.needsSync)
      #expect(committer.commit(batch) == nil)
      let deadline = Date(timeIntervalSinceNow: 30)
      while try store.scan(2, StateRange(), countMax: 1, bytesMax: 9).records.count > 0
        || store.lastEntry(2, firstIndex: index(1)) != nil, Date() < deadline
      { usleep(1000) }
      #expect(try store.allEntries(2).isEmpty)
      #expect(try store.orphanPrefixes().isEmpty)
      for prefix in [UInt32(1), 3] {
        #expect(try store.allEntries(prefix).count == 700)
        let page = try store.scan(prefix, StateRange(), countMax: 999, bytesMax: .max)
        #expect(page.records.count == 251)
      }
    }
  }

  @Test func completionsComeInOrderAndOncePerSinkAndWrite() throws {
    try withCommitter { (store, committer) throws in
      let holding = HoldingSink()
      let sinks = [RecordingSink(), RecordingSink()]
      holding.hold(committer)
      for ticket in UInt64(1)...40 {
        let admission = committer.submit(
          appends(UInt32(ticket), 1...1), ticket: StorageTicket(ticket),
          sink: sinks[Int(ticket % 2)])
        #expect(admission == .taken)
      }
      holding.release()
      #expect(sinks[0].wait(forCount: 20) && sinks[1].wait(forCount: 20))
      #expect(sinks[0].order == Array(stride(from: 2, through: 40, by: 2)))
      #expect(sinks[1].order == Array(stride(from: 1, through: 39, by: 2)))
      #expect(sinks[0].groupSizes == [20] && sinks[1].groupSizes == [20])
      #expect(committer.metrics.syncedWrites.count == 2)
      #expect(committer.metrics.batchSubmissionsMax == 40)
    }
  }

  @Test func manyThreadsShareWritesAndEachSeesItsOwnOrder() throws {
    try withCommitter { (store, committer) throws in
      let threadCount = 16
      let perThread: UInt64 = 100
      let sinks = (0..<threadCount).map { _ in RecordingSink() }
      DispatchQueue.concurrentPerform(iterations: threadCount) { thread in
        for number in 1...perThread {
          _ = committer.submit(
            appends(UInt32(thread + 1), number...number), ticket: StorageTicket(number),
            sink: sinks[thread])
          if number % 10 == 0 { sinks[thread].wait(forCount: Int(number)) }
        }
      }
      for (thread, sink) in sinks.enumerated() {
        #expect(sink.wait(forCount: Int(perThread)))
        #expect(sink.order == Array(1...perThread))
        #expect(try store.allEntries(UInt32(thread + 1)).count == Int(perThread))
      }
      let metrics = committer.metrics
      #expect(metrics.submissionCount == UInt64(threadCount) * perThread)
      #expect(metrics.entryCount == UInt64(threadCount) * perThread)
      #expect(metrics.syncedWrites.count < metrics.submissionCount / 2)
      #expect(metrics.queuedBytes == 0 && metrics.queuedSubmissionCount == 0)
    }
  }

  @Test func aFullQueueSaysSoAndThenRefuses() throws {
    var limits = CommitterLimits()
    limits.queuedBytesMax = 5_000
    limits.queuedBytesLimit = 10_000
    try withCommitter(limits) { (store, committer) throws in
      let holding = HoldingSink()
      let sink = RecordingSink()
      holding.hold(committer)
      var answers: [CommitAdmission] = []
      for number in UInt64(1)...12 {
        answers.append(
          committer.submit(
            appends(1, number...number, payloadBytes: 952), ticket: StorageTicket(number),
            sink: sink))
      }
      #expect(answers[..<5].allSatisfy { $0 == .taken })
      #expect(answers[5..<10].allSatisfy { $0 == .takenQueueFull })
      #expect(answers[10...].allSatisfy { $0 == .refused(.queueFull(queuedBytes: 10_000)) })
      #expect(!committer.hasRoom)
      holding.release()
      #expect(sink.wait(forCount: 10))
      #expect(committer.hasRoom)
      #expect(try store.allEntries(1).count == 10)
      #expect(committer.commit(appends(1, 11...11, payloadBytes: 20_000)) == nil)
    }
  }

  @Test func checkpointsDoNotHoldUpAppends() throws {
    var limits = CommitterLimits()
    limits.unsyncedBytesPerTurnMax = 1000
    try withCommitter(limits) { (store, committer) throws in
      let holding = HoldingSink()
      let sink = RecordingSink()
      holding.hold(committer)
      for number in UInt64(1)...20 {
        var batch = StorageBatch(needsSync: false)
        batch.setState(UInt32(number), [1], [UInt8](repeating: 1, count: 900))
        _ = committer.submit(batch, ticket: StorageTicket(number), sink: sink)
      }
      _ = committer.submit(appends(1, 1...1), ticket: StorageTicket(100), sink: sink)
      holding.release()
      #expect(sink.wait(forCount: 21))
      #expect(sink.order == [100] + Array(1...20))
      #expect(sink.groupSizes == [Int](repeating: 1, count: 21))
      #expect(committer.metrics.unsyncedWriteCount == 20)
      #expect(try store.get(20, [1])?.count == 900)
    }
  }

  @Test func stoppingWritesWhatWaitsAndRefusesTheRest() throws {
    let sink = RecordingSink()
    do {
      let store = try directory.open()
      let committer = try Committer(store: store)
      for number in UInt64(1)...50 {
        _ = committer.submit(
          appends(1, number...number), ticket: StorageTicket(number), sink: sink)
      }
      committer.stop()
      #expect(sink.order == Array(1...50))
      #expect(
        committer.submit(appends(1, 51...51), ticket: StorageTicket(51), sink: sink)
          == .refused(.stopped))
      committer.stop()
    }
    #expect(try directory.open().allEntries(1).count == 50)
  }
}

import ChatCore
import ChatModel
import Primitives
import Testing

@Suite struct CheckpointTests {
  @Test func writesAreSortedAndNameEachKeyOnce() throws {
    var test = try TestPartition()
    for number in 1...40 {
      try test.apply(group(number), createUser(number), listed(number, number, origin: 1))
      try test.apply(send("m", to: number, id: "x"), send("m", to: number, by: 2, id: "x"))
    }
    let checkpoint = test.partition.beginCheckpoint()
    #expect(checkpoint.appliedIndex == LogIndex(80))
    #expect(checkpoint.rollingHash == test.partition.rollingHash)
    let keys = checkpoint.writes.map(\.key)
    #expect(zip(keys, keys.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
    #expect(checkpoint.writes.allSatisfy { $0.value != nil })
  }

  @Test func anIdleCheckpointWritesOnlyItsMark() throws {
    var test = try TestPartition()
    try test.apply(group(1))
    test.checkpoint()
    try test.append([])
    let checkpoint = test.partition.beginCheckpoint()
    #expect(checkpoint.writes.count == 1)
    test.state.write(checkpoint)
    test.partition.checkpointWritten()
    try test.reopen()
    #expect(test.partition.appliedIndex == LogIndex(2))
  }

  @Test func aPartitionGoesOnWhileItsCheckpointIsWritten() throws {
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1))
    try test.apply(send("a", id: "a"))
    let frozen = test.partition.beginCheckpoint()
    #expect(test.partition.entriesSinceCheckpoint == 0)
    try test.apply(send("b", id: "b"), send("again", id: "a"))
    #expect(test.partition.entriesSinceCheckpoint == 1)
    let during = try test.answer(history(.latest))
    #expect(during.historyPage?.events.sequences == [1, 2, 3])
    test.state.write(frozen)
    #expect(try test.answer(history(.latest)) == during)
    test.partition.checkpointWritten()
    #expect(try test.answer(history(.latest)) == during)
    test.checkpoint()
    #expect(test.partition.overlayBytes == 0)
    #expect(try test.answer(history(.latest)) == during)
  }

  @Test func aCrashBeforeTheCheckpointIsWrittenReplaysTheLog() throws {
    var test = try TestPartition()
    try test.apply(group(1), createUser(1))
    test.checkpoint()
    try test.apply(send("a", id: "a"))
    let hash = test.partition.rollingHash
    _ = test.partition.beginCheckpoint()
    try test.reopen()
    #expect(test.partition.rollingHash == hash)
    #expect(try test.apply(send("a", id: "a"))[0].isRepeated)
  }

  @Test func memoryStaysWithinItsBoundAfterACheckpoint() throws {
    let cacheBytesMax = 64 << 10
    var test = try TestPartition(cacheBytesMax: cacheBytesMax)
    for number in 1...60 { try test.apply(group(number, members: [1, 2, 3, 4])) }
    for round in 0..<30 {
      for number in 1...60 {
        try test.apply(
          send(
            "text of some length", to: number, by: round % 4 + 1, device: round % 3 + 1,
            id: "\(round)"))
      }
      #expect(test.partition.overlayBytes > 0)
      test.checkpoint()
      #expect(test.partition.cacheBytes <= cacheBytesMax)
      #expect(test.partition.overlayBytes == 0)
    }
    for number in 1...60 {
      for reader in 1...40 {
        _ = try test.answer(history(.latest, of: number, by: reader, limit: 1))
      }
    }
    #expect(test.partition.cacheBytes <= cacheBytesMax + 4_096, "reads do not pile up either")
  }

  @Test func theLastChangeOfAConversationIsKnownAfterAReload() throws {
    var test = try TestPartition(cacheBytesMax: 0)
    _ = try test.apply([group(1), group(2)], at: 5_000)
    _ = try test.apply([send("a", id: "a")], at: 4_000)
    test.checkpoint()
    try test.reopen()
    #expect(test.partition.lastStamp == WallTime(milliseconds: 5_000))
    let expected: [(EntityID, LogIndex?)] = [
      (.conversation(conversation(1)), LogIndex(2)), (.conversation(conversation(2)), LogIndex(1)),
      (.conversation(conversation(3)), .zero), (.user(user(1)), nil),
    ]
    for (entity, index) in expected {
      #expect(try test.partition.lastChange(of: entity, state: test.state) == index)
    }
  }

  @Test func aBrokenDiskStopsTheReplica() throws {
    var test = try TestPartition(cacheBytesMax: 0)
    try test.apply(group(1))
    test.checkpoint()
    test.state.isBroken = true
    #expect(throws: StateReadError.unreadable("broken")) { try test.answer(history(.latest)) }
    #expect(throws: ApplyError.state(.unreadable("broken"))) { try test.apply(send("a", id: "a")) }
    #expect(throws: StateReadError.unreadable("broken")) {
      try PartitionBox(state: test.state)
    }
  }
}

@Suite struct OutboxTests {
  @Test func confirmedEntriesLeaveAndTheOthersSurviveAReload() throws {
    var test = try TestPartition()
    try test.apply(group(1, members: [1, 2, 3]), createUser(4))
    let all = test.partition.outbox.entries(after: nil, countMax: 100)
    #expect(all.count == 4 && test.partition.outbox.count == 4)
    test.checkpoint()
    try test.apply(
      .outboxConfirmed(
        OutboxConfirmed(entries: [
          all[1].id, all[1].id, OutboxEntryID(index: LogIndex(9), ordinal: 0),
        ])))
    let rest = [all[0], all[2], all[3]]
    #expect(test.partition.outbox.entries(after: nil, countMax: 100) == rest)
    test.checkpoint()
    try test.reopen()
    #expect(test.partition.outbox.entries(after: nil, countMax: 100) == rest)
    try test.apply(.outboxConfirmed(OutboxConfirmed(entries: rest.map(\.id))))
    #expect(test.partition.outbox.isEmpty)
    test.checkpoint()
    try test.reopen()
    #expect(test.partition.outbox.isEmpty)
  }

  @Test func entriesArePagedInTheOrderInWhichTheyWereMade() throws {
    var test = try TestPartition()
    for number in 1...50 { try test.apply(group(number, members: [1, 2, 3])) }
    try test.reopen()
    var paged: [OutboxEntry] = []
    while true {
      let page = test.partition.outbox.entries(after: paged.last?.id, countMax: 7)
      if page.isEmpty { break }
      paged += page
    }
    #expect(paged.count == 150)
    #expect(zip(paged, paged.dropFirst()).allSatisfy { $0.id < $1.id })
  }

  @Test func aLargeOutboxIsRestoredWhole() throws {
    var test = try TestPartition()
    for number in 1...30 { try test.apply(group(number, members: Array(1...20))) }
    let all = test.partition.outbox.entries(after: nil, countMax: .max)
    test.checkpoint()
    try test.reopen()
    #expect(all.count == 600)
    #expect(test.partition.outbox.entries(after: nil, countMax: .max) == all)
  }

  @Test func aFullOutboxRefusesForAWhile() throws {
    var test = try TestPartition()
    var number = 1
    while test.partition.outbox.count + 256 <= ChatCoreLimits.outboxEntriesMax {
      try test.apply(group(number, members: Array(1...256)))
      number += 1
    }
    let result = try test.apply(group(number, members: Array(1...256)))[0]
    #expect(result.refusal == .resourceExhausted)
    #expect(try test.apply(send("a", id: "a"))[0].sequence == 2, "what tells nobody goes on")
    let first = test.partition.outbox.entries(after: nil, countMax: 256).map(\.id)
    try test.apply(.outboxConfirmed(OutboxConfirmed(entries: first)))
    #expect(try test.apply(group(number, members: Array(1...256)))[0].refusal == nil)
  }
}

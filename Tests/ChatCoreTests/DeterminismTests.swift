import ChatCore
import ChatModel
import NodeProtocol
import Primitives
import Testing

/// Random histories against a naive twin, and the same history under different circumstances.
@Suite struct DeterminismTests {
  /// A history with what it gave, entry by entry.
  private struct History {
    var payloads: [[UInt8]] = []
    var results: [[CommandResult]] = []
    var deliveries: [[ApplyOutput.AddressedDelivery]] = []
    var hashes: [UInt64] = []
  }

  private static let seeds: [UInt64] = [1, 2, 0x5eed]
  private static let entryCount = 1_000

  /// Plays a random history on a partition and its twin.
  private func play(seed: UInt64, checkpointPercent: Int) throws -> History {
    print("DeterminismTests seed \(seed)")
    var draw = RandomCommands(seed: seed)
    var test = try TestPartition(cacheBytesMax: checkpointPercent == 0 ? 1 << 30 : 2_048)
    var twin = NaiveChat()
    var history = History()
    var isOpen: Checkpoint?
    for number in 0..<Self.entryCount {
      if draw.chance(2) {
        history.payloads.append([])
        history.results.append(try test.append([]))
        _ = twin.apply([], index: test.partition.appliedIndex, at: 0)
      } else {
        let outbox = twin.outbox
        let commands = (0...draw.below(4)).map { _ in draw.command(outbox: outbox) }
        let time = UInt64(1_000 + number * 4 - draw.below(10))
        let results = try test.apply(commands, at: time)
        let expected = twin.apply(commands, index: test.partition.appliedIndex, at: time)
        #expect(results.map(Self.comparable) == expected.map(Self.comparable), "seed \(seed)")
        history.payloads.append(try #require(test.log.last))
        history.results.append(results)
      }
      history.deliveries.append(test.deliveries)
      history.hashes.append(test.partition.rollingHash)
      #expect(test.outboxCommands == twin.outbox.map(\.command), "seed \(seed)")
      if let checkpoint = isOpen, draw.chance(30) {
        test.state.write(checkpoint)
        test.partition.checkpointWritten()
        isOpen = nil
      } else if isOpen == nil, draw.chance(checkpointPercent) {
        isOpen = test.partition.beginCheckpoint()
      }
      if checkpointPercent > 0, draw.chance(1) {
        try test.reopen()
        isOpen = nil
        #expect(test.partition.rollingHash == history.hashes.last)
      }
      for _ in 0..<2 {
        let query = draw.query(applied: test.partition.appliedIndex)
        let answer = try test.answer(query)
        #expect(Self.comparable(answer) == Self.comparable(twin.answer(query)), "\(query) \(seed)")
      }
    }
    try expectGaplessHistories(&test, twin)
    return history
  }

  private func expectGaplessHistories(_ test: inout TestPartition, _ twin: NaiveChat) throws {
    var longest = 0
    for (id, room) in twin.rooms {
      guard let reader = room.sorted.first?.user else { continue }
      var events: [Event] = []
      while true {
        let query = Query.history(
          HistoryQuery(
            conversation: id, reader: reader, range: .after(Sequence(UInt64(events.count))),
            limit: 200))
        let page = try #require(try test.answer(query).historyPage)
        if page.events.isEmpty { break }
        events += page.events
      }
      #expect(events == room.events)
      longest = max(longest, events.count)
    }
    #expect(longest > 80, "a history that tests something")
  }

  /// A refusal's words are not compared, its code is.
  private static func comparable(_ result: CommandResult) -> CommandResult {
    result.refusal.map { .refused(ServiceError($0, "")) } ?? result
  }

  private static func comparable(_ answer: QueryAnswer) -> QueryAnswer {
    answer.refusal.map { .refused(ServiceError($0, "")) } ?? answer
  }

  @Test(arguments: seeds)
  func aRandomHistoryIsAnsweredAsTheNaiveTwinDoes(seed: UInt64) throws {
    _ = try play(seed: seed, checkpointPercent: 0)
  }

  @Test(arguments: seeds)
  func checkpointsEvictionsAndReloadsChangeNoAnswer(seed: UInt64) throws {
    for percent in [3, 40] { _ = try play(seed: seed, checkpointPercent: percent) }
  }

  /// With the same places of checkpoints, even the stored bytes are the same.
  @Test(arguments: seeds)
  func theSameLogAndCheckpointsGiveTheSameBytes(seed: UInt64) throws {
    let history = try play(seed: seed, checkpointPercent: 0)
    var random = SeededRandom(seed: seed ^ 0xb17e)
    var places = Set((0..<60).map { _ in Int.random(in: 1..<Self.entryCount, using: &random) })
    places.insert(Self.entryCount)
    let calm = try replay(history, places: places, cacheBytesMax: 1 << 30, reopening: nil)
    let harsh = try replay(
      history, places: places, cacheBytesMax: 0, reopening: SeededRandom(seed: seed))
    #expect(calm.hasSameRows(as: harsh))
    #expect(calm.rows.count > 100)
  }

  private func replay(
    _ history: History, places: Set<Int>, cacheBytesMax: Int, reopening: SeededRandom?
  ) throws -> MemoryState {
    var state = MemoryState()
    var partition = try PartitionBox(cacheBytesMax: cacheBytesMax, state: state)
    var reopening = reopening
    var output = ApplyOutput()
    while partition.appliedIndex.rawValue < UInt64(Self.entryCount) {
      let position = Int(partition.appliedIndex.rawValue)
      output.removeAll()
      try partition.apply(
        index: LogIndex(UInt64(position + 1)), payload: history.payloads[position], state: state,
        into: &output)
      #expect(output.results == history.results[position])
      #expect(output.deliveries == history.deliveries[position])
      #expect(partition.rollingHash == history.hashes[position])
      if places.contains(position + 1) {
        let checkpoint = partition.beginCheckpoint()
        #expect(checkpoint.rollingHash == history.hashes[position])
        state.write(checkpoint)
        partition.checkpointWritten()
      }
      if reopening.map({ generator in
        var generator = generator
        let drawn = generator.next()
        reopening = generator
        return drawn % 40 == 0
      }) ?? false {
        partition = try PartitionBox(cacheBytesMax: cacheBytesMax, state: state)
      }
    }
    return state
  }

  private func confirmed(_ ordinal: UInt32) -> Command {
    let id = OutboxEntryID(index: LogIndex(1), ordinal: ordinal)
    return .outboxConfirmed(OutboxConfirmed(entries: [id]))
  }

  @Test func aDifferentHistoryHasADifferentHash() throws {
    var hashes: Set<UInt64> = []
    let variants: [[Command]] = [
      [send("a", id: "1")], [send("b", id: "1")], [send("a", id: "2")],
      [send("a", device: 2, id: "1")], [send("a", by: 2, id: "1")], [],
      [send("a", id: "1"), send("b", id: "2")], [send("b", id: "2"), send("a", id: "1")],
      [change(by: 1, add: [member(3)])], [change(by: 1, remove: [2])], [createUser(1)],
      [createUser(2)], [listed(1, 1, origin: 1)], [listed(1, 1, removed: true, origin: 1)],
      [confirmed(0)], [confirmed(1)],
    ]
    for commands in variants {
      var test = try TestPartition()
      try test.apply(group(1))
      _ = try test.apply(commands, at: 2_000)
      hashes.insert(test.partition.rollingHash)
    }
    #expect(hashes.count == variants.count)
  }
}

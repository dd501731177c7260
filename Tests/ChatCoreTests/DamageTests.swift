import ChatCore
import ChatModel
import Primitives
import Testing

/// Bytes from a log or a disk are an error at worst, never a trap.
@Suite struct DamageTests {
  private func filled() throws -> TestPartition {
    var test = try TestPartition(cacheBytesMax: 0)
    var draw = RandomCommands(seed: 11)
    for number in 0..<400 {
      let outbox = test.partition.outbox.entries(after: nil, countMax: 50).compactMap { entry in
        (try? Command(decoding: entry.command[...])).map { (id: entry.id, command: $0) }
      }
      let commands = (0..<4).map { _ in draw.command(outbox: outbox) }
      _ = try test.apply(commands, at: UInt64(1_000 + number))
      if number % 20 == 0 { test.checkpoint() }
    }
    return test
  }

  @Test func aCommandOfALaterVersionStopsTheReplica() throws {
    var test = try TestPartition()
    var writer = ProtobufWriter()
    writer.message(77) { $0.uint(1, UInt64(5)) }
    let payload = EntryPayload(time: WallTime(milliseconds: 1), commands: [writer.bytes[...]])
    #expect(throws: ApplyError.unknownCommand(LogIndex(1))) {
      try test.append(payload.encoded())
    }
  }

  @Test func anEntryOfALaterVersionStopsTheReplica() throws {
    var test = try TestPartition()
    #expect(throws: ApplyError.malformedEntry(LogIndex(1), .outOfRange(field: 1))) {
      try test.append([0x08, 0x02])
    }
  }

  @Test func truncatedEntriesThrow() throws {
    let payload = EntryPayload(
      time: WallTime(milliseconds: 1),
      commands: [group(1).encoded()[...], send("hello", id: "a").encoded()[...]]
    ).encoded()
    var applied = 0
    for length in 1..<payload.count {
      var test = try TestPartition()
      if (try? test.append(Array(payload.prefix(length)))) != nil { applied += 1 }
    }
    // Cut between two fields it is a shorter entry: after the time, and after the first command.
    // Cut after the version alone it is one without a time.
    #expect(applied == 3)
  }

  @Test func mutatedEntriesNeverTrap() throws {
    let seed: UInt64 = 0xf022
    print("DamageTests seed \(seed)")
    var random = SeededRandom(seed: seed)
    var test = try filled()
    test.checkpoint()
    let payloads = test.log.suffix(100)
    var outcomes = (applied: 0, thrown: 0)
    for payload in payloads {
      for _ in 0..<40 {
        var copy = test
        try copy.reopen()
        var mutated = payload
        for _ in 0...Int.random(in: 0..<3, using: &random) {
          mutated[Int.random(in: 0..<mutated.count, using: &random)] = UInt8.random(
            in: 0...255, using: &random)
        }
        do throws(ApplyError) {
          var output = ApplyOutput()
          try copy.partition.apply(
            index: copy.partition.appliedIndex.successor, payload: mutated, state: copy.state,
            into: &output)
          outcomes.applied += 1
        } catch {
          outcomes.thrown += 1
        }
      }
    }
    #expect(outcomes.applied > 100 && outcomes.thrown > 100, "\(outcomes)")
  }

  @Test func damagedRecordsNeverTrap() throws {
    let seed: UInt64 = 0xd15c
    print("DamageTests seed \(seed)")
    var draw = RandomCommands(seed: seed)
    let test = try filled()
    var damaged = 0
    for round in 0..<2_000 {
      var state = test.state
      for _ in 0...draw.below(3) {
        let position = round < state.rows.count ? round : draw.below(state.rows.count)
        var value = state.rows[position].value
        guard !value.isEmpty else { continue }
        if draw.chance(20) {
          value.removeLast(1 + draw.below(value.count))
        } else {
          value[draw.below(value.count)] = UInt8(draw.below(256))
        }
        state.replaceValue(at: position, with: value)
      }
      damaged += use(state, &draw)
    }
    #expect(damaged > 100)
  }

  /// **Returns**: how often damage was noticed.
  private func use(_ state: MemoryState, _ draw: inout RandomCommands) -> Int {
    guard let partition = try? PartitionBox(cacheBytesMax: 0, state: state) else { return 1 }
    var damaged = 0
    for _ in 0..<6 {
      let query = draw.query(applied: partition.appliedIndex)
      if (try? partition.answer(query, state: state)) == nil { damaged += 1 }
    }
    let outbox = partition.outbox.entries(after: nil, countMax: 20).compactMap { entry in
      (try? Command(decoding: entry.command[...])).map { (id: entry.id, command: $0) }
    }
    for _ in 0..<6 {
      let payload = EntryPayload(
        time: WallTime(milliseconds: 9_000),
        commands: (0..<3).map { _ in draw.command(outbox: outbox).encoded()[...] })
      var output = ApplyOutput()
      do throws(ApplyError) {
        try partition.apply(
          index: partition.appliedIndex.successor, payload: payload.encoded(), state: state,
          into: &output)
      } catch {
        return damaged + 1
      }
      _ = partition.beginCheckpoint()
      partition.checkpointWritten()
    }
    return damaged
  }
}

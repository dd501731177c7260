import ChatCore
import ChatModel
import NodeProtocol
import Primitives
import Testing

/// What happens to positions when an operator has forced a leader.
@Suite struct GenerationTests {
  private func talked() throws -> TestPartition {
    var test = try TestPartition()
    try test.apply(group(1), group(2))
    try test.apply(send("one", to: 1, by: 1, id: "1"))
    try test.apply(send("two", to: 2, by: 1, id: "2"))
    return test
  }

  @Test func positionsOfALaterGenerationAreGreaterThanAllBefore() throws {
    var test = try talked()
    let before = test.partition.position
    #expect(before == LogIndex(3))
    try test.apply(.generationBegan(2), send("three", to: 1, by: 1, id: "3"))
    #expect(test.partition.generation == 2)
    #expect(test.partition.position == LogIndex(4).inGeneration(2))
    #expect(test.partition.position.generation == 2)
    // A cursor beyond what there is now, from before the log was cut short.
    let page = try #require(try test.answer(changes([(1, 5_000), (2, 5_000)])).changesPage)
    #expect(page.events.map(\.sequence) == [Sequence(3)])
    #expect(page.events.first?.index == LogIndex(4).inGeneration(2))
    #expect(page.through == test.partition.position && page.generation == 2)
    let rest = try #require(try test.answer(changes([(1, 2), (2, 2)])).changesPage)
    #expect(rest.events.map(\.conversation) == [conversation(2), conversation(1)])
  }

  @Test func whatIsToldToOtherPartitionsIsNewToThem() throws {
    var test = try talked()
    let before = try #require(
      test.partition.outbox.entries(after: nil, countMax: .max).last?.id.index)
    try test.apply(.generationBegan(1))
    try test.apply(group(3))
    let after = try #require(
      test.partition.outbox.entries(after: nil, countMax: .max).last?.id.index)
    #expect(after > LogIndex(1 << 39) && after > before)
    let origins = test.outboxCommands.compactMap { command -> LogIndex? in
      if case .conversationListed(let listed) = command { listed.origin.index } else { nil }
    }
    #expect(origins.last == LogIndex(5).inGeneration(1))
  }

  @Test func aGenerationNeverGoesBackAndIsToldOnce() throws {
    let test = try talked()
    var output = ApplyOutput()
    for (number, isNew) in [(3, true), (3, false), (1, false), (4, true)] as [(UInt32, Bool)] {
      let payload = EntryPayload(
        time: .zero, commands: [Command.generationBegan(number).encoded()[...]])
      output.removeAll()
      try test.partition.apply(
        index: test.partition.appliedIndex.successor, payload: payload.encoded(),
        state: test.state, into: &output)
      #expect(output.hasNewGeneration == isNew)
    }
    #expect(test.partition.generation == 4)
  }

  @Test func aGenerationOutlivesTheProcess() throws {
    var test = try talked()
    try test.apply(.generationBegan(2))
    let hash = test.partition.rollingHash
    try test.reopen()
    #expect(test.partition.generation == 2 && test.partition.rollingHash == hash)
    test.checkpoint()
    try test.reopen()
    #expect(test.partition.generation == 2)
    #expect(test.partition.position == LogIndex(4).inGeneration(2))
    try test.apply(send("four", to: 1, by: 1, id: "4"))
    test.checkpoint()
    try test.reopen()
    let page = try #require(try test.answer(changes([(1, 1)])).changesPage)
    #expect(page.events.map(\.index) == [LogIndex(2), LogIndex(5).inGeneration(2)])
  }
}

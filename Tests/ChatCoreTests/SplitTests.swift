import ChatModel
import Primitives
import Testing

@testable import ChatCore

/// A partition that is cut in two goes on as two.
@Suite struct SplitTests {
  private static let lower = Token(0)...Token(1 << 63 - 1)
  private static let upper = Token(1 << 63)...Token(.max)

  private func isUpper(_ room: Int) -> Bool {
    Self.upper.contains(EntityID.conversation(conversation(room)).token)
  }

  private func newSequence(_ results: [CommandResult]) -> UInt64? {
    guard case .messageSent(let sequence, _, false)? = results.first else { return nil }
    return sequence.rawValue
  }

  /// Twelve groups, a message in each, and what their members are to be told.
  private func talked(checkpoint: Bool) throws -> TestPartition {
    var test = try TestPartition()
    for room in 1...12 {
      try test.apply(group(room))
      if checkpoint, room == 6 { test.checkpoint() }
      try test.apply(send("hello", to: room, by: 1, id: "\(room)"))
    }
    return test
  }

  private func split(_ level: UInt32 = 1) -> Command {
    .partitionSplit(PartitionSplit(level: level, replicaLimit: 9))
  }

  /// Both halves as their owners open them, each from what it can read.
  private func cut(_ test: inout TestPartition) throws -> (
    lower: TestPartition, upper: TestPartition
  ) {
    try test.apply(split())
    let halves = test.partition.beginSplit(upper: Self.upper)
    test.state.write(halves.lower)
    func isOwn(_ key: [UInt8]) -> Bool {
      key.lexicographicallyPrecedes([UInt8](repeating: 0, count: 8) + [1])
    }
    func isIn(_ tokens: ClosedRange<Token>, _ key: [UInt8]) -> Bool {
      !isOwn(key) && tokens.contains(Token(KeyLayout.hash(of: key)))
    }
    let low = test.state.part { isOwn($0) || isIn(Self.lower, $0) }
    var high = test.state.part { isIn(Self.upper, $0) }
    high.write(halves.upper)
    return (try test.opened(on: low), try test.opened(on: high))
  }

  @Test(arguments: [true, false])
  func `each half answers and goes on as the whole would have`(checkpoint: Bool) throws {
    var test = try talked(checkpoint: checkpoint)
    var (low, high) = try cut(&test)
    #expect(low.partition.level == 1 && high.partition.level == 1)
    #expect(low.partition.position == high.partition.position)
    var upperCount = 0
    for room in 1...12 {
      let text = "again"
      if isUpper(room) {
        upperCount += 1
        // A repeat is one in the half, too.
        guard
          case .messageSent(let sequence, _, let repeated)? = try high.apply(
            send("hello", to: room, by: 1, id: "\(room)")
          ).first
        else {
          Issue.record("\(room) refused")
          continue
        }
        #expect(sequence == Sequence(2) && repeated)
        #expect(newSequence(try high.apply(send(text, to: room, by: 1, id: "next"))) == 3)
      } else {
        #expect(newSequence(try low.apply(send(text, to: room, by: 1, id: "next"))) == 3)
      }
    }
    #expect((1..<12).contains(upperCount))
  }

  @Test(arguments: [true, false])
  func `what is to be told goes with the one whose it is`(checkpoint: Bool) throws {
    var test = try talked(checkpoint: checkpoint)
    let before = test.outboxCommands
    let (low, high) = try cut(&test)
    func rooms(_ test: TestPartition) -> Set<ConversationID> {
      Set(
        test.outboxCommands.compactMap {
          if case .conversationListed(let listed) = $0 { listed.conversation } else { nil }
        })
    }
    #expect(low.outboxCommands.count + high.outboxCommands.count == before.count)
    #expect(rooms(low) == Set((1...12).filter { !isUpper($0) }.map { conversation($0) }))
    #expect(rooms(high) == Set((1...12).filter { isUpper($0) }.map { conversation($0) }))
    // What was stored by an earlier checkpoint leaves the lower half's state.
    #expect(
      low.state.rows.count { KeyLayout.outboxEntry(of: $0.key) != nil }
        == low.outboxCommands.count)
  }

  @Test func `changes since before the cut are found in both halves`() throws {
    var test = try talked(checkpoint: true)
    var (low, high) = try cut(&test)
    for room in 1...12 {
      let query = changes([(room, 0)])
      let page =
        isUpper(room) ? try high.answer(query).changesPage : try low.answer(query).changesPage
      #expect(page?.events.count == 2)
    }
  }

  @Test func `a split is done once, and an earlier one never after it`() throws {
    var test = try talked(checkpoint: false)
    var position = LogIndex.zero
    // A half that began empty goes from no level to its second.
    for (level, expected) in [(2, 2), (2, 2), (1, 2), (3, 3)] as [(UInt32, UInt32)] {
      let isLater = level > test.partition.level
      try test.apply(split(level))
      #expect(test.partition.level == expected)
      if isLater { position = test.partition.position }
      #expect(test.partition.splitPosition == position)
    }
  }

  @Test func `what was cut differs from what was not`() throws {
    var (one, other) = (try talked(checkpoint: false), try talked(checkpoint: false))
    #expect(one.partition.rollingHash == other.partition.rollingHash)
    try one.apply(split())
    try other.apply(.outboxConfirmed(OutboxConfirmed(entries: [])))
    #expect(one.partition.rollingHash != other.partition.rollingHash)
  }
}

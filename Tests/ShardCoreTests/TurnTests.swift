import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore
import Testing
import Simulation
import WalkSupport

/// What one turn takes in, what it makes of it, and when it answers.
@Suite struct TurnTests {
  private let ring = Ring(count: 2)
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var elsewhere: ConversationID { ring.conversation(2, in: 1) }
  private var ada: UserID { ring.user(1, in: 0) }

  /// A rig whose shards lead, with a gateway at the first store and both conversations made.
  private func rig(
    stores: Int = 1, configure: @escaping (inout ShardConfiguration) -> Void = { _ in }
  ) -> ShardRig {
    var rig = ShardRig(stores: stores, configure: configure)
    rig.run(milliseconds: 500)
    let gateway = rig.openGateway(to: 0)
    rig.run(milliseconds: 10)
    rig.command(group(room, creator: ada, members: []), through: gateway)
    if stores == 1 {
      rig.command(group(elsewhere, creator: ada, members: []), through: gateway)
    }
    rig.run(milliseconds: 100)
    #expect(rig.responses.values.allSatisfy { $0.first?.result != nil })
    rig.writes = []
    return rig
  }

  private func entries(_ rig: ShardRig) -> [(partition: PartitionID, commands: Int)] {
    rig.writes.flatMap { item in
      item.write.entries.map { entry in
        (item.partition, (try? EntryPayload(decoding: entry.payload))?.commands.count ?? 0)
      }
    }
  }

  // MARK: Entries

  @Test func `a turn makes one entry per partition of all its commands`() {
    var rig = rig()
    for number in 1...5 {
      rig.command(send("a\(number)", to: room, by: ada), through: 0)
      rig.command(send("b\(number)", to: elsewhere, by: ada), through: 0)
    }
    rig.run(milliseconds: 20)
    let made = entries(rig)
    #expect(made.map(\.commands) == [5, 5])
    #expect(made.map(\.partition) == [PartitionID(0), PartitionID(1)])
    #expect(
      rig.responses.values.compactMap { $0.first?.sequence }.sorted() == [
        2, 2, 3, 3, 4, 4, 5, 5, 6, 6,
      ])
  }

  @Test func `answers keep the order of the commands, and each comes once`() {
    var rig = rig()
    let asked = (1...20).map { rig.command(send("m\($0)", to: room, by: ada), through: 0) }
    rig.run(milliseconds: 20)
    #expect(asked.map { rig.outcome($0)?.sequence } == (2...21).map { UInt64($0) })
    #expect(asked.allSatisfy { rig.responses[$0]?.count == 1 })
  }

  @Test func `commands that are too large together become several entries`() {
    var rig = rig { $0.entryBytesMax = 400 }
    for number in 1...6 {
      let text = String(repeating: "x", count: 100) + "\(number)"
      rig.command(
        .sendMessage(
          SendMessage(
            conversation: room, sender: ada, device: device(1), clientID: clientID("m\(number)"),
            text: text)), through: 0)
    }
    rig.run(milliseconds: 20)
    let made = entries(rig).map(\.commands)
    #expect(made.count > 1 && made.allSatisfy { $0 >= 1 })
    #expect(made.reduce(0, +) == 6)
  }

  @Test func `stamps never go back, although the clock does`() {
    var rig = rig()
    let first = rig.command(send("a", to: room, by: ada), through: 0)
    rig.run(milliseconds: 20)
    rig.stores[0].clockOffset = -60_000
    let second = rig.command(send("b", to: room, by: ada), through: 0)
    rig.run(milliseconds: 20)
    var times: [UInt64] = []
    for request in [first, second] {
      if case .applied(.messageSent(_, let time, _))? = rig.outcome(request) {
        times.append(time.milliseconds)
      }
    }
    #expect(times.count == 2)
    #expect(times == times.sorted())
  }

  // MARK: Answers

  @Test func `an answer leaves only after its entry is durable on the leader`() {
    var rig = rig()
    rig.stores[0].holdsSync = true
    let asked = rig.command(send("m", to: room, by: ada), through: 0)
    rig.run(milliseconds: 2_000)
    #expect(rig.outcome(asked) == nil)
    rig.releaseSyncs(0)
    rig.run(milliseconds: 20)
    #expect(rig.outcome(asked)?.sequence == 2)
  }

  @Test func `an answer leaves only after its entry is durable on every in-sync follower`() {
    var rig = rig(stores: 3)
    #expect(rig.leader(of: 0) == 0)
    for held in [1, 2] {
      rig.stores[held].holdsSync = true
      let asked = rig.command(send("m\(held)", to: room, by: ada), through: 0)
      rig.run(milliseconds: 300)
      #expect(rig.outcome(asked) == nil, "store \(held + 1) has not synced it")
      rig.releaseSyncs(held)
      rig.run(milliseconds: 50)
      #expect(rig.outcome(asked)?.sequence == UInt64(held) + 1)
    }
    let index = rig.stores[0].disk.log(of: PartitionID(0)).entries.last?.index
    for store in rig.stores {
      #expect(store.disk.log(of: PartitionID(0)).entries.last?.index == index)
    }
  }

  @Test func `answers precede the deliveries of their entry`() {
    var rig = rig()
    let subscribe = Subscribe(
      partition: PartitionID(0), entity: .conversation(room), after: nil)
    rig.tell(.subscribe(subscribe), through: 0)
    rig.run(milliseconds: 10)
    rig.received[0] = []
    for number in 1...3 { rig.command(send("m\(number)", to: room, by: ada), through: 0) }
    rig.run(milliseconds: 20)
    let kinds = rig.received[0].compactMap { frame -> String? in
      switch frame {
      case .response: "answer"
      case .delivery: "delivery"
      default: nil
      }
    }
    #expect(kinds == ["answer", "answer", "answer", "delivery", "delivery", "delivery"])
  }

  @Test func `only the last delivery of an entry to a link is marked as the last`() {
    var rig = rig()
    for entity in [EntityID.conversation(room), .conversation(ring.conversation(7, in: 0))] {
      rig.tell(
        .subscribe(Subscribe(partition: PartitionID(0), entity: entity, after: nil)), through: 0)
    }
    rig.command(group(ring.conversation(7, in: 0), creator: ada, members: []), through: 0)
    rig.run(milliseconds: 50)
    rig.received[0] = []
    for number in 1...3 {
      rig.command(send("a\(number)", to: room, by: ada), through: 0)
      rig.command(send("b\(number)", to: ring.conversation(7, in: 0), by: ada), through: 0)
    }
    rig.run(milliseconds: 20)
    let marks = rig.deliveries(0).map(\.isLastOfEntry)
    #expect(marks == [false, false, false, false, false, true])
  }

  @Test func `a repeated send gets the same answer, in one turn and later`() {
    var rig = rig()
    let message = send("m", to: room, by: ada)
    let asked = (0..<2).map { _ in rig.command(message, through: 0) }
    rig.run(milliseconds: 20)
    let other = rig.openGateway(to: 0)
    let later = rig.command(message, through: other)
    rig.run(milliseconds: 20)
    let outcomes = (asked + [later]).map { rig.outcome($0) }
    #expect(outcomes.map { $0?.sequence } == [2, 2, 2])
    let repeats = outcomes.map { outcome -> Bool in
      if case .applied(.messageSent(_, _, repeated: true))? = outcome { true } else { false }
    }
    #expect(repeats == [false, true, true])
  }

  // MARK: Refusals

  @Test func `a command of another partition is refused`() {
    var rig = rig()
    let asked = rig.request(
      .command(send("m", to: room, by: ada).encoded()), in: PartitionID(1), through: 0)
    let read = rig.request(
      .query(.user(ada)), in: PartitionID(1), through: 0)
    rig.run(milliseconds: 20)
    #expect(rig.outcome(asked)?.error?.code == .invalidArgument)
    #expect(rig.outcome(read)?.error?.code == .invalidArgument)
    #expect(rig.writes.isEmpty)
  }

  @Test func `bytes that are no command are refused and reach no log`() {
    var rig = rig()
    var bad: [[UInt8]] = [[], [0xff], [0x0a, 0x7f, 1], Array(repeating: 7, count: 100)]
    bad.append(Command.outboxConfirmed(OutboxConfirmed(entries: [])).encoded())
    let asked = bad.map { rig.request(.command($0), in: PartitionID(0), through: 0) }
    rig.run(milliseconds: 20)
    for request in asked { #expect(rig.outcome(request)?.error?.code == .invalidArgument) }
    #expect(rig.writes.isEmpty)
    let good = rig.command(send("m", to: room, by: ada), through: 0)
    rig.run(milliseconds: 20)
    #expect(rig.outcome(good)?.sequence == 2)
  }

  @Test func `beyond the bound of a turn commands are refused as overloaded`() {
    let size = send("m1", to: room, by: ada).encoded().count
    var rig = rig { $0.pendingCommandBytesMax = max(200, size * 3) }
    let asked = (1...6).map { rig.command(send("m\($0)", to: room, by: ada), through: 0) }
    let other = rig.command(send("m1", to: elsewhere, by: ada), through: 0)
    rig.run(milliseconds: 20)
    let sequences = asked.map { rig.outcome($0)?.sequence }
    #expect(sequences.prefix(3) == [2, 3, 4])
    for request in asked.suffix(3) {
      #expect(rig.outcome(request)?.error?.code == .resourceExhausted)
      #expect(rig.outcome(request)?.error?.retryable == true)
    }
    #expect(rig.outcome(other)?.sequence == 2, "another partition has its own bound")
    let next = rig.command(send("m4", to: room, by: ada), through: 0)
    rig.run(milliseconds: 20)
    #expect(rig.outcome(next)?.sequence == 5, "nothing was done of what was refused")
  }

  @Test func `a read that arrives while others are confirmed waits for no tick`() {
    var rig = rig(stores: 3)
    for _ in 0..<10 {
      let first = rig.query(.user(ada), through: 0)
      rig.run(milliseconds: 1)
      let second = rig.query(.user(ada), through: 0)
      // There, a round of confirmations that ends, one of its own, and back: 1 ms each way.
      rig.run(milliseconds: 6)
      #expect(rig.outcome(first) != nil)
      #expect(rig.outcome(second) != nil)
    }
  }

  @Test func `a partition that this store does not know is refused, and one it only routes too`() {
    var rig = rig(stores: 2)
    #expect(rig.leader(of: 1) == 1)
    let unknown = rig.request(.command([1]), in: PartitionID(99), through: 0)
    let led = rig.command(send("m", to: elsewhere, by: ada), through: 0)
    let read = rig.query(.user(ring.user(3, in: 1)), through: 0)
    rig.run(milliseconds: 50)
    #expect(rig.outcome(unknown)?.error?.retryable == true)
    for request in [led, read] {
      guard case .notLeader(let leader, _)? = rig.outcome(request) else {
        Issue.record("\(String(describing: rig.outcome(request)))")
        continue
      }
      #expect(leader?.store == rig.stores[1].id)
    }
  }

  @Test func `a shard that drains finishes what it took and takes nothing more`() {
    var rig = rig()
    rig.stores[0].holdsSync = true
    let taken = rig.command(send("a", to: room, by: ada), through: 0)
    rig.run(milliseconds: 10)
    rig.input(0) { core, _, actions in core.drain(into: &actions) }
    let refused = rig.command(send("b", to: room, by: ada), through: 0)
    rig.run(milliseconds: 10)
    #expect(rig.received[0].contains(.draining))
    #expect(rig.outcome(refused)?.error?.code == .unavailable)
    #expect(rig.outcome(refused)?.error?.retryable == true)
    #expect(rig.stores[0].isIdle == false)
    rig.releaseSyncs(0)
    rig.run(milliseconds: 20)
    #expect(rig.outcome(taken)?.sequence == 2)
    #expect(rig.stores[0].isIdle == true)
    let read = rig.query(
      .history(HistoryQuery(conversation: room, reader: ada, range: .latest, limit: 9)),
      through: 0)
    rig.run(milliseconds: 20)
    #expect(rig.outcome(read)?.answer?.texts == ["–", "a"])
  }

  @Test func `a gateway that sends what only a shard sends is cut off`() {
    var rig = rig()
    let delivery = Delivery(
      partition: PartitionID(0), index: LogIndex(1),
      content: .sessionClosed(user: ada, device: device(1)))
    rig.tell(.delivery(delivery), through: 0)
    rig.run(milliseconds: 20)
    #expect(rig.closedByShard.count == 1)
  }

  // MARK: Checkpoints

  @Test func `a checkpoint is made after so many entries, or after a while, one at a time`() {
    var rig = rig {
      $0.checkpointEntries = 4
      $0.checkpointInterval = 1_000
    }
    rig.run(milliseconds: 1_100)
    rig.checkpoints = []
    rig.run(milliseconds: 5_000)
    #expect(rig.checkpoints.isEmpty, "nothing changed")
    func say(_ number: Int, then milliseconds: Int) {
      rig.command(send("m\(number)", to: room, by: ada), through: 0)
      rig.run(milliseconds: milliseconds)
    }
    say(1, then: 30)
    #expect(rig.checkpoints.count == 1, "the last one is more than a second old")
    for number in 2...4 { say(number, then: 15) }
    #expect(rig.checkpoints.count == 1)
    say(5, then: 30)
    #expect(rig.checkpoints.count == 2, "so many entries")
    say(6, then: 800)
    #expect(rig.checkpoints.count == 2)
    rig.run(milliseconds: 400)
    #expect(rig.checkpoints.count == 3)
    let applied = rig.status(0, 0)?.appliedIndex
    #expect(rig.stores[0].disk.appliedIndex(of: PartitionID(0)) == applied)
    for number in 7...9 { say(number, then: 15) }
    // The fourth entry is applied; the disk takes nothing from then on.
    say(10, then: 3)
    rig.stores[0].holdsSync = true
    rig.run(milliseconds: 5_000)
    #expect(rig.checkpoints.count == 4, "one at a time")
  }

  @Test func `a process starts where the checkpoint and the log end`() {
    var rig = rig { $0.checkpointEntries = 3 }
    for number in 1...10 {
      rig.command(send("m\(number)", to: room, by: ada), through: 0)
      rig.run(milliseconds: 7)
    }
    rig.run(milliseconds: 30)
    #expect(rig.stores[0].disk.appliedIndex(of: PartitionID(0)) > LogIndex(3))
    rig.restart(0)
    rig.run(milliseconds: 500)
    let gateway = rig.openGateway(to: 0)
    let again = rig.command(send("m3", to: room, by: ada), through: gateway)
    let read = rig.query(
      .history(HistoryQuery(conversation: room, reader: ada, range: .latest, limit: 50)),
      through: gateway)
    rig.run(milliseconds: 50)
    #expect(rig.outcome(again)?.sequence == 4)
    #expect(rig.outcome(read)?.answer?.texts == ["–"] + (1...10).map { "m\($0)" })
  }

  @Test func `a store that cannot write stops its replicas and answers nobody`() {
    var rig = rig()
    rig.stores[0].holdsSync = true
    let asked = rig.command(send("m", to: room, by: ada), through: 0)
    rig.run(milliseconds: 10)
    rig.input(0) { core, now, actions in core.storageFailed(now: now, into: &actions) }
    rig.run(milliseconds: 20)
    #expect(rig.outcome(asked)?.sequence == nil)
    #expect(rig.status(0, 0)?.stop == .storageFailed)
    let later = rig.command(send("n", to: room, by: ada), through: 0)
    rig.run(milliseconds: 500)
    #expect(rig.outcome(later)?.error?.retryable == true)
  }
}

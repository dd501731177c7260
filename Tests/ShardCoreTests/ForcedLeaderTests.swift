import ChatCore
import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Simulation
import Testing
import WalkSupport

@testable import ShardCore

/// An operator puts a replica that fell behind in the place of in-sync ones that are gone (2.6).
@Suite struct ForcedLeaderTests {
  private let ring = Ring(count: 2)
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var ada: UserID { ring.user(1, in: 0) }
  private let first = PartitionID(0)

  /// Stores 0 and 1 have everything of partition 0 and are gone; store 2 has what was sent before
  /// it fell behind, and is made the leader.
  private func forced() throws -> ShardRig {
    var rig = ShardRig(stores: 3)
    rig.run(milliseconds: 500)
    for store in 0..<3 { _ = rig.openGateway(to: store) }
    rig.run(milliseconds: 10)
    rig.command(group(room, creator: ada, members: []), through: 0)
    for number in 1...3 { rig.command(send("kept \(number)", to: room, by: ada), through: 0) }
    rig.run(milliseconds: 500)
    rig.kill(2)
    let isOut = rig.run(upTo: 10_000) {
      $0.coordinator.records[first]?.record.inSync.count == 2
    }
    try #require(isOut)
    for number in 1...3 { rig.command(send("lost \(number)", to: room, by: ada), through: 0) }
    rig.run(milliseconds: 500)
    rig.kill(0)
    rig.kill(1)
    rig.start(2)
    rig.run(milliseconds: 100)
    let seen = try #require(rig.coordinator.records[first])
    let behind = try #require(seen.record.replica(on: store(3)))
    let changed = try #require(seen.record.forcing(behind, others: [store(1), store(2)]))
    guard case .succeeded = rig.coordinator.compareAndSet(first, changed, base: seen.revision)
    else {
      Issue.record("the change is refused")
      return rig
    }
    rig.announceRecords(to: 2)
    return rig
  }

  private func history(_ rig: inout ShardRig) -> [String]? {
    let gateway = rig.openGateway(to: 2)
    let query = HistoryQuery(conversation: room, reader: ada, range: .latest, limit: 20)
    let asked = rig.query(.history(query), through: gateway)
    rig.run(milliseconds: 200)
    return rig.outcome(asked)?.answer?.texts
  }

  @Test func `one that fell behind leads with what it has when another store can be reached`()
    throws
  {
    var rig = try forced()
    rig.run(milliseconds: 3_000)
    #expect(rig.leader(of: 0) == nil, "alone it could commit nothing")
    rig.start(0)
    let leads = rig.run(upTo: 10_000) { $0.leader(of: 0) == 2 }
    try #require(leads)
    rig.run(milliseconds: 3_000)
    #expect(history(&rig) == ["–", "kept 1", "kept 2", "kept 3"])
    let record = try #require(rig.coordinator.records[first]?.record)
    #expect(record.generation == 1)
    #expect(record.inSync.map(\.store).sorted() == [store(1), store(3)].sorted())
    // Positions are those of a new generation before anything else is written.
    #expect(rig.stores[2].hosts.first { $0.partition == first }?.chat.generation == 1)
    let gateway = rig.openGateway(to: 2)
    let sent = rig.command(send("after", to: room, by: ada), through: gateway)
    rig.run(milliseconds: 500)
    #expect(rig.outcome(sent)?.sequence == 5)
    let chats = rig.stores.compactMap {
      $0.hosts.first { $0.partition == first }?.chat.position
    }
    #expect(chats.allSatisfy { $0.generation == 1 } && chats.count == 2, "\(chats)")
  }

  @Test func `what comes back is set aside and neither served nor deleted`() throws {
    var rig = try forced()
    rig.start(0)
    rig.start(1)
    let isWhole = rig.run(upTo: 20_000) { rig in
      rig.leader(of: 0) == 2 && rig.coordinator.records[first]?.record.inSync.count == 3
    }
    try #require(isWhole)
    for place in 0...1 {
      let setAside = rig.notes.contains { noted in
        if case (place, .replicaSetAside(first, _)) = noted { true } else { false }
      }
      #expect(setAside, "store \(place)")
      let host = try #require(rig.stores[place].hosts.first { $0.partition == first })
      #expect(host.former.isEmpty && host.replica.id.number > 3)
    }
    #expect(history(&rig) == ["–", "kept 1", "kept 2", "kept 3"])
    let violations = rig.stores.compactMap(\.disk.violation)
    #expect(violations.isEmpty, "\(violations)")
  }

  @Test func `a subscription from before has to look again`() throws {
    var rig = try forced()
    rig.start(0)
    try #require(rig.run(upTo: 10_000) { $0.leader(of: 0) == 2 })
    rig.run(milliseconds: 3_000)
    let gateway = rig.openGateway(to: 2)
    // Everything up to a position that the log had before and has not any more.
    rig.tell(
      .subscribe(
        Subscribe(partition: first, entity: .conversation(room), after: LogIndex(1_000))),
      through: gateway)
    rig.run(milliseconds: 100)
    let began = rig.received[gateway].compactMap { frame -> Subscribed? in
      if case .subscribed(let subscribed) = frame { subscribed } else { nil }
    }
    #expect(began.count == 1)
    #expect(began.first.map { $0.from > LogIndex(1_000) && $0.generation == 1 } == true)
  }

  @Test func `a survivor that waits in vain for the others goes on alone and loses nothing`() throws
  {
    var rig = ShardRig(stores: 3)
    rig.run(milliseconds: 500)
    for store in 0..<3 { _ = rig.openGateway(to: store) }
    rig.run(milliseconds: 10)
    rig.command(group(room, creator: ada, members: []), through: 0)
    rig.command(send("kept", to: room, by: ada), through: 0)
    rig.run(milliseconds: 500)
    for store in 0..<3 { rig.kill(store) }
    rig.start(1)
    rig.run(milliseconds: 5_000)
    #expect(rig.leader(of: 0) == nil, "another may hold more")
    let seen = try #require(rig.coordinator.records[first])
    let own = try #require(seen.record.replica(on: store(2)))
    let changed = try #require(seen.record.forcing(own, others: [store(1), store(3)]))
    #expect(changed.generation == seen.record.generation + 1)
    _ = rig.coordinator.compareAndSet(first, changed, base: seen.revision)
    rig.start(0)
    for store in 0...1 { rig.announceRecords(to: store) }
    let isLed = rig.run(upTo: 5_000) { $0.leader(of: 0) == 1 }
    #expect(isLed)
    let gateway = rig.openGateway(to: 1)
    let query = HistoryQuery(conversation: room, reader: ada, range: .latest, limit: 20)
    let asked = rig.query(.history(query), through: gateway)
    rig.run(milliseconds: 200)
    #expect(rig.outcome(asked)?.answer?.texts?.last == "kept")
  }

  @Test func `only a replica that is listed may be forced`() {
    let record = PartitionRecord(initialOwners: [store(1), store(2), store(3)])
    let alone = record.forcing(record.inSync[0], others: [store(2)])
    #expect(alone?.inSync == [record.inSync[0]] && alone?.generation == 1)
    #expect(alone?.target.map(\.number) == [1, 4])
    #expect(record.forcing(ReplicaID(store: store(4), number: 9), others: []) == nil)
    var behind = record
    behind.inSync = [record.target[0], record.target[1]]
    let forced = behind.forcing(record.target[2], others: [store(1), store(3), store(5)])
    #expect(forced?.inSync == [record.target[2]])
    #expect(forced?.target.map(\.store) == [store(3), store(1), store(5)])
    #expect(forced?.target.map(\.number) == [3, 4, 5])
    #expect(forced?.nextReplica == 6 && forced?.generation == 1 && forced?.epoch == Epoch(1))
    let emptied = behind.emptied(owners: [store(2), store(6)])
    #expect(emptied.inSync.map(\.number).sorted() == [4, 5] && emptied.epoch == .zero)
    #expect(emptied.generation == 1 && emptied.nextReplica == 6)
  }
}

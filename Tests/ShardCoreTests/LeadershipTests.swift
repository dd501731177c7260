import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

@testable import ShardCore
import Simulation
import WalkSupport

/// Who is suspected, who may lead, and what becomes of reads when leadership is lost.
@Suite struct LeadershipTests {
  private let ring = Ring(count: 2)
  private var room: ConversationID { ring.conversation(1, in: 0) }
  private var ada: UserID { ring.user(1, in: 0) }
  private let first = PartitionID(0)

  private func rig(stores: Int, startsNow: Bool = true) -> ShardRig {
    var rig = ShardRig(stores: stores, startsNow: startsNow)
    rig.run(milliseconds: 500)
    for store in 0..<stores { _ = rig.openGateway(to: store) }
    rig.run(milliseconds: 10)
    return rig
  }

  private func notes(_ rig: ShardRig, _ store: Int) -> [ShardNote] {
    rig.notes.filter { $0.store == store }.map(\.note)
  }

  private var history: Query {
    .history(HistoryQuery(conversation: room, reader: ada, range: .latest, limit: 9))
  }

  // MARK: Reads

  @Test func `a read waits for its barrier, and the record serves where a member is silent`() {
    var rig = rig(stores: 2)
    rig.command(group(room, creator: ada, members: []), through: 0)
    rig.run(milliseconds: 100)
    rig.cut = [[1, 0]]
    let asked = rig.query(history, through: 0)
    rig.run(milliseconds: 100)
    #expect(rig.outcome(asked) == nil, "the follower has not confirmed")
    rig.run(milliseconds: 150)
    #expect(rig.outcome(asked)?.answer?.texts == ["–"])
  }

  @Test func `reads of a turn share one round`() {
    var rig = rig(stores: 2)
    rig.command(group(room, creator: ada, members: []), through: 0)
    rig.run(milliseconds: 100)
    let asked = (0..<10).map { _ in rig.query(history, through: 0) }
    rig.run(milliseconds: 100)
    for request in asked { #expect(rig.responses[request]?.count == 1) }
  }

  @Test func `a read sees what was acknowledged before it, and what shares its turn may be unseen`()
  {
    var rig = rig(stores: 2)
    rig.command(group(room, creator: ada, members: []), through: 0)
    for number in 1...5 {
      let sent = rig.command(send("m\(number)", to: room, by: ada), through: 0)
      let isSent = rig.run(upTo: 500) { $0.outcome(sent) != nil }
      #expect(isSent)
      let asked = rig.query(history, through: 0)
      rig.run(milliseconds: 50)
      #expect(rig.outcome(asked)?.answer?.texts?.last == "m\(number)")
    }
  }

  @Test func `waiting reads and commands fail when leadership is lost`() {
    var rig = rig(stores: 3)
    rig.command(group(room, creator: ada, members: []), through: 0)
    rig.run(milliseconds: 100)
    for peer in [1, 2] { rig.cut.formUnion([[0, peer], [peer, 0]]) }
    rig.stores[0].seesCoordinator = false
    rig.run(milliseconds: 20)
    let read = rig.query(history, through: 0)
    let command = rig.command(send("m", to: room, by: ada), through: 0)
    let isReplaced = rig.run(upTo: 8_000) { ($0.leader(of: 0) ?? 0) != 0 }
    #expect(isReplaced)
    #expect(rig.outcome(command) == nil)
    #expect(rig.outcome(read)?.answer == nil, "a deposed leader must not answer")
    rig.stores[0].seesCoordinator = true
    rig.announceRecords(to: 0)
    rig.run(milliseconds: 500)
    #expect(rig.outcome(command)?.isNotLeader == true)
    #expect(rig.responses[read]?.count == 1)
    #expect(rig.outcome(read)?.answer == nil)
    guard case .notLeader(let leader, _)? = rig.outcome(command) else { return }
    #expect(leader?.store == rig.leader(of: 0).map { rig.stores[$0].id })
  }

  // MARK: Suspicion

  @Test func `a silent peer is suspected after two seconds and forgiven when it speaks`() {
    var rig = rig(stores: 2)
    rig.pause(1)
    rig.run(milliseconds: 1_800)
    #expect(!notes(rig, 0).contains(.peerSuspected(store(2))))
    rig.run(milliseconds: 700)
    #expect(notes(rig, 0).contains(.peerSuspected(store(2))))
    rig.resume(1)
    rig.run(milliseconds: 500)
    #expect(notes(rig, 0).last == .peerReachable(store(2)))
  }

  @Test func `an idle link is not silence: heartbeats go both ways`() {
    var rig = rig(stores: 3)
    rig.run(milliseconds: 10_000)
    for store in 0..<3 {
      #expect(
        !notes(rig, store).contains { if case .peerSuspected = $0 { true } else { false } })
    }
  }

  @Test func `a peer that refuses connections is suspected at once`() {
    var rig = rig(stores: 2)
    rig.kill(1)
    rig.run(milliseconds: 200)
    #expect(notes(rig, 0).contains(.peerSuspected(store(2))))
    rig.start(1)
    rig.run(milliseconds: 300)
    #expect(
      notes(rig, 0).last { note in
        switch note {
        case .peerSuspected, .peerReachable: true
        default: false
        }
      } == .peerReachable(store(2)))
  }

  @Test func `a refusal while the link is open says nothing`() {
    var rig = rig(stores: 2)
    rig.input(0) { $0.connectionRefused(by: store(2), now: $1, into: &$2) }
    rig.run(milliseconds: 100)
    #expect(!notes(rig, 0).contains(.peerSuspected(store(2))))
  }

  @Test func `a peer that is registered and never appears is suspected like a silent one`() {
    var rig = ShardRig(stores: 1)
    rig.input(0) { core, now, _ in
      core.peerRegistered(store(9), boot: BootID(9), now: now)
    }
    rig.run(milliseconds: 1_900)
    #expect(!notes(rig, 0).contains(.peerSuspected(store(9))))
    rig.run(milliseconds: 400)
    #expect(notes(rig, 0).contains(.peerSuspected(store(9))))
  }

  @Test func `after a pause of one's own nobody is suspected for it`() {
    var rig = rig(stores: 3)
    rig.pause(2)
    rig.run(milliseconds: 1_000)
    // What arrived meanwhile is not even read: the network dropped it.
    rig.stores[2].deferred.removeAll { if case .frame = $0 { true } else { false } }
    rig.run(milliseconds: 4_000)
    rig.stores[2].deferred.removeAll { if case .frame = $0 { true } else { false } }
    let before = rig.notes.count
    rig.resume(2)
    rig.run(milliseconds: 1_000)
    let own = rig.notes.dropFirst(before).filter { $0.store == 2 }.map(\.note)
    #expect(own.contains { if case .pausedFor(let pause) = $0 { pause >= 4_000 } else { false } })
    #expect(!own.contains { if case .peerSuspected = $0 { true } else { false } })
    #expect(!own.contains { if case .becameLeader = $0 { true } else { false } })
  }

  // MARK: Clocks

  @Test func `a store whose clock differs from those of most peers does not lead`() {
    var rig = rig(stores: 3, startsNow: false)
    rig.stores[0].clockOffset = 10_000
    rig.run(milliseconds: 1_000)
    for store in 0..<3 { rig.announceRecords(to: store) }
    rig.run(milliseconds: 3_000)
    #expect(notes(rig, 0).contains { if case .clockDisagrees = $0 { true } else { false } })
    #expect(rig.leader(of: 0) != 0)
    rig.stores[0].clockOffset = 0
    rig.run(milliseconds: 1_000)
    #expect(rig.leader(of: 0) != nil)
  }

  @Test func `where the first owner's clock is wrong another one leads from the beginning`() {
    var rig = rig(stores: 3, startsNow: false)
    rig.stores[0].clockOffset = 10_000
    rig.run(milliseconds: 1_000)
    for store in 0..<3 { rig.announceRecords(to: store) }
    rig.run(milliseconds: 5_000)
    #expect([1, 2].contains(rig.leader(of: 0) ?? 0))
  }

  @Test func `a clock that differs from one peer's of two leads on`() {
    var rig = rig(stores: 3, startsNow: false)
    rig.stores[1].clockOffset = -60_000
    rig.run(milliseconds: 1_000)
    for store in 0..<3 { rig.announceRecords(to: store) }
    rig.run(milliseconds: 3_000)
    #expect(rig.leader(of: 0) == 0)
    #expect(rig.leader(of: 1) != 1)
  }

  // MARK: Peers

  @Test func `two connections to one process serve alike`() {
    var rig = rig(stores: 2)
    rig.command(group(room, creator: ada, members: []), through: 0)
    rig.run(milliseconds: 200)
    guard
      let old = rig.connections.indices.last(where: { rig.touches($0, 0) && rig.touches($0, 1) }),
      let new = rig.connect(0, 1), let last = rig.status(1, 0)?.last,
      let leader = rig.status(0, 0)?.replica, let follower = rig.status(1, 0)?.replica,
      let record = rig.coordinator.records[first]
    else {
      Issue.record("no links")
      return
    }
    rig.run(milliseconds: 50)
    func append(on connection: Int, _ text: String) {
      let payload = EntryPayload(
        time: WallTime(milliseconds: 1), commands: [send(text, to: room, by: ada).encoded()[...]])
      let entry = Entry(
        id: EntryID(epoch: last.epoch, index: last.index.successor), payload: payload.encoded())
      let message = ReplicaMessage(
        partition: first, from: leader, fromBoot: rig.stores[0].boot, to: follower,
        epoch: record.record.epoch, revision: record.revision,
        body: .append(previous: last, entries: [entry], commitIndex: last.index))
      let end = rig.connections[connection].ends.firstIndex {
        if case .shard(1, _) = $0 { true } else { false }
      }
      rig.transmit(.replica(message), on: connection, to: end ?? 0)
      rig.run(milliseconds: 50)
    }
    append(on: old, "first")
    #expect(rig.status(1, 0)?.last.index == last.index.successor)
    rig.close(new)
    rig.run(milliseconds: 400)
    // The other one is taken: nobody is suspected, replication goes on.
    #expect(rig.stores[1].link(to: store(1)) != nil)
    rig.command(send("second", to: room, by: ada), through: 0)
    rig.run(milliseconds: 300)
    #expect(rig.status(1, 0)?.appliedIndex == rig.status(0, 0)?.appliedIndex)
  }

  @Test func `a replica that gave itself up answers that it holds nothing`() {
    var rig = rig(stores: 3)
    rig.command(group(room, creator: ada, members: []), through: 0)
    for number in 1...5 { rig.command(send("m\(number)", to: room, by: ada), through: 0) }
    rig.run(milliseconds: 500)
    // The second store loses what it had acknowledged.
    rig.kill(1)
    rig.stores[1].disk.lose(from: LogIndex(2), of: first)
    rig.start(1)
    rig.run(milliseconds: 500)
    let fenced = ReplicaID(store: store(2), number: 2)
    let wasFenced = rig.notes.contains { noted in
      if case (1, .replicaStopped(first, .fenced)) = noted { true } else { false }
    }
    guard wasFenced, let asker = rig.status(2, 0)?.replica else {
      Issue.record("it was not fenced: \(String(describing: rig.status(1, 0)))")
      return
    }
    // A fresh replica has taken its place and is in sync.
    rig.run(milliseconds: 2_000)
    let record = rig.coordinator.records[first]?.record
    #expect(record?.inSync.contains(fenced) == false)
    #expect(record?.inSync.contains { $0.store == store(2) } == true)
    var actions: [ShardAction] = []
    guard let link = rig.stores[1].link(to: store(3)) else {
      Issue.record("no link")
      return
    }
    let inquiry = ReplicaMessage(
      partition: first, from: asker, fromBoot: rig.stores[2].boot, to: fenced, epoch: Epoch(1),
      revision: .zero, body: .inquiry(last: EntryID(epoch: Epoch(1), index: LogIndex(1))))
    let now = rig.instant
    let wall = rig.wall(1)
    rig.stores[1].core?.frameReceived(
      .replica(inquiry), on: link, now: now, wall: wall, into: &actions)
    let answers = actions.compactMap { action -> EntryID?? in
      guard case .send(_, .replica(let message)) = action,
        case .inquiryAnswered(let last, inquirerBoot: rig.stores[2].boot) = message.body
      else { return nil }
      return .some(last)
    }
    #expect(answers == [nil])
  }

  @Test func `a follower takes over when the leader's process is gone, and loses nothing`() {
    var rig = rig(stores: 3)
    rig.command(group(room, creator: ada, members: []), through: 0)
    for number in 1...5 { rig.command(send("m\(number)", to: room, by: ada), through: 0) }
    rig.run(milliseconds: 300)
    let before = rig.now
    rig.kill(0)
    let isReplaced = rig.run(upTo: 5_000) { ($0.leader(of: 0) ?? 0) != 0 }
    #expect(isReplaced)
    #expect(rig.now - before < 1_000_000, "promise P5")
    guard let leader = rig.leader(of: 0) else { return }
    let asked = rig.query(history, through: leader)
    let again = rig.command(send("m5", to: room, by: ada), through: leader)
    rig.run(milliseconds: 300)
    #expect(rig.outcome(asked)?.answer?.texts == ["–", "m1", "m2", "m3", "m4", "m5"])
    #expect(rig.outcome(again)?.sequence == 6)
  }
}

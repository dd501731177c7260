import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

private let a = Names.a
private let b = Names.b
private let c = Names.c
private let d = Names.d

/// Leadership that is handed from one in-sync replica to another.
@Suite struct ReplicaHandoffTests {
  typealias F = ReplicaFixture

  /// `b` is there and has everything, so it may be asked.
  private func leader(
    inSync: [ReplicaID] = [a, b, c], target: [ReplicaID]? = nil,
    configure: (inout ReplicaConfiguration) -> Void = { _ in }
  ) -> F {
    F.leader(inSync: inSync, target: target, configure: configure)
  }

  private func takeOvers(_ fixture: F) -> [EntryID] {
    fixture.sent.compactMap { if case .takeOver(let last) = $0.body { last } else { nil } }
  }

  private func answerRead(_ fixture: inout F, isThere: Bool = true) {
    let record = isThere ? fixture.replica.record : nil
    guard let ticket = fixture.recordReads.last else { return }
    fixture.replica.value.recordRead(
      ticket: ticket, record, now: fixture.now, into: &fixture.actions)
  }

  private func handOver(_ fixture: inout F, to heir: ReplicaID = b) -> Bool {
    fixture.replica.value.handOver(to: heir, now: fixture.now, into: &fixture.actions)
  }

  private func acknowledgeAll(_ leader: inout F) {
    for other in [b, c] {
      leader.acknowledge(leader.replica.lastEntry.index.rawValue, from: other)
    }
  }

  @Test func `the heir is asked once everything is committed, and nothing is taken meanwhile`() {
    var leader = leader()
    _ = leader.propose()
    leader.persistAll()
    #expect(handOver(&leader))
    #expect(leader.replica.acceptsCommands, "not before the coordinator has answered")
    answerRead(&leader)
    #expect(!leader.replica.acceptsCommands)
    #expect(leader.replica.servesReads)
    #expect(leader.propose() == nil)
    leader.acknowledge(2, from: b)
    #expect(takeOvers(leader).isEmpty, "c has not acknowledged")
    leader.acknowledge(2, from: c)
    #expect(takeOvers(leader) == [F.id(1, 2)])
    leader.observe(F.record(2, leader: b, inSync: [a, b, c]))
    #expect(!leader.replica.isLeader)
  }

  @Test func `an idle leader asks at once`() {
    var leader = leader()
    #expect(handOver(&leader))
    answerRead(&leader)
    #expect(takeOvers(leader) == [F.id(1, 1)])
  }

  @Test func `while the coordinator does not answer nothing is closed`() {
    var leader = leader()
    #expect(handOver(&leader))
    answerRead(&leader, isThere: false)
    #expect(leader.replica.acceptsCommands)
    #expect(takeOvers(leader).isEmpty)
    #expect(!handOver(&leader), "not again at once")
    leader.pass(milliseconds: 5_000)
    acknowledgeAll(&leader)
    leader.actions = []
    #expect(handOver(&leader))
    leader.pass(milliseconds: 501)
    #expect(leader.replica.acceptsCommands)
    answerRead(&leader)
    #expect(leader.replica.acceptsCommands, "an answer that is late closes nothing")
  }

  @Test func `a leader goes on when the heir does not come, and waits longer each time`() {
    var leader = leader()
    var pauses: [Int] = []
    for _ in 0..<4 {
      leader.actions = []
      var paused = 0
      while !handOver(&leader), paused < 60_000 {
        leader.pass(milliseconds: 100)
        acknowledgeAll(&leader)
        paused += 100
      }
      pauses.append(paused)
      answerRead(&leader)
      leader.pass(milliseconds: 499)
      #expect(!leader.replica.acceptsCommands)
      leader.pass(milliseconds: 1)
      #expect(leader.replica.acceptsCommands)
      #expect(leader.propose() != nil)
      leader.persistAll()
      acknowledgeAll(&leader)
    }
    #expect(pauses == [0, 5_000, 10_000, 20_000])
  }

  @Test func `a change of somebody else ends a handoff`() {
    var leader = leader()
    #expect(handOver(&leader))
    answerRead(&leader)
    #expect(!leader.replica.acceptsCommands)
    leader.observe(F.record(1, leader: a, inSync: [a, b, c], target: [b, a, c]))
    #expect(leader.replica.acceptsCommands)
  }

  @Test func `who may not be asked`() {
    var leader = leader(inSync: [a, b], target: [a, b, c])
    #expect(!handOver(&leader, to: a), "oneself")
    #expect(!handOver(&leader, to: c), "a learner")
    #expect(!handOver(&leader, to: d), "somebody who is not listed")
    leader.unreachable([b])
    #expect(!handOver(&leader), "one that cannot be reached")
    leader.replica.value.reachabilityChanged(
      unreachable: [], unfit: [b.store], mayLead: true, now: leader.now, into: &leader.actions)
    #expect(!handOver(&leader), "one that says it should not lead")
    leader.unreachable([])
    leader.replica.value.linkReset(store: b.store, now: leader.now, into: &leader.actions)
    #expect(!handOver(&leader), "one of which it is not known what it has")
    leader.acknowledge(1, from: b)
    #expect(handOver(&leader))
    #expect(!handOver(&leader), "twice")
  }

  @Test func `no handoff while the record is being changed, and no change while one is under way`()
  {
    var leader = leader(inSync: [a, b], target: [a, b, c])
    leader.acknowledge(1, from: c)
    #expect(leader.changes.count == 1)
    #expect(!handOver(&leader))
    leader.observe(F.record(1, leader: a, inSync: [a, b, c]))
    #expect(handOver(&leader))
    leader.actions = []
    leader.unreachable([c])
    leader.pass(milliseconds: 400)
    #expect(leader.changes.isEmpty)
    leader.pass(milliseconds: 1_200)
    #expect(leader.changes.map(\.inSync) == [[a, b]])
  }

  @Test func `an heir that has everything promotes itself and takes nobody out`() {
    var heir = F.follower(b)
    heir.append(after: .zero, [F.entry(1, 1)])
    heir.persistAll()
    heir.actions = []
    heir.receive(.takeOver(last: F.id(1, 1)), from: a, epoch: 1)
    #expect(heir.changes.map(\.leader) == [b])
    #expect(heir.changes.map(\.epoch) == [Epoch(2)])
    #expect(heir.changes.map(\.inSync) == [[a, b, c]])
  }

  @Test func `an heir that knows an older record reads it first`() {
    var heir = F.follower(b)
    heir.append(after: .zero, [F.entry(1, 1)])
    heir.persistAll()
    heir.actions = []
    let newer = heir.revision + 1
    heir.receive(.takeOver(last: F.id(1, 1)), from: a, epoch: 1, revision: newer)
    #expect(heir.changes.isEmpty)
    let ticket = heir.recordReads.first ?? 0
    let record = F.record(1, leader: a, inSync: [a, b, c], target: [b, a, c])
    heir.replica.value.recordRead(
      ticket: ticket, VersionedRecord(record: record, revision: Revision(newer)), now: heir.now,
      into: &heir.actions)
    #expect(heir.changes.map(\.leader) == [b])
    #expect(heir.changes.map(\.target) == [[b, a, c]])
  }

  @Test func `one that misses something, is not in sync or should not lead stays a follower`() {
    var behind = F.follower(b)
    behind.append(after: .zero, [F.entry(1, 1)])
    behind.persistAll()
    behind.receive(.takeOver(last: F.id(1, 2)), from: a, epoch: 1)
    #expect(behind.changes.isEmpty)
    behind.unreachable([], mayLead: false)
    behind.receive(.takeOver(last: F.id(1, 1)), from: a, epoch: 1)
    #expect(behind.changes.isEmpty)
    behind.unreachable([])
    behind.receive(.takeOver(last: F.id(1, 1)), from: c, epoch: 1)
    #expect(behind.changes.isEmpty, "only the leader may ask")
    behind.receive(.takeOver(last: F.id(1, 1)), from: a, epoch: 0)
    #expect(behind.changes.isEmpty, "of an earlier epoch")

    var learner = F.follower(c, inSync: [a, b], target: [a, b, c])
    learner.append(after: .zero, [F.entry(1, 1)])
    learner.persistAll()
    learner.receive(.takeOver(last: F.id(1, 1)), from: a, epoch: 1)
    #expect(learner.changes.isEmpty)
  }
}

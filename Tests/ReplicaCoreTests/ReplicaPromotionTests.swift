import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

private let a = Names.a
private let b = Names.b
private let c = Names.c
private let d = Names.d

@Suite struct ReplicaPromotionTests {
  typealias F = ReplicaFixture

  @Test func `the next in order promotes itself when the leader is unreachable`() {
    var follower = F.follower()
    follower.unreachable([a])
    follower.pass(milliseconds: 2)
    #expect(follower.changes.map(\.epoch) == [Epoch(2)])
    #expect(follower.changes.map(\.leader) == [b])
    #expect(follower.changes.map(\.inSync) == [[b, c]])
  }

  @Test func `the second in order waits longer, and not at all when somebody else was first`() {
    var follower = F.follower(c)
    follower.unreachable([a])
    follower.pass(milliseconds: 149)
    #expect(follower.changes.isEmpty)
    var impatient = follower
    impatient.pass(milliseconds: 5)
    #expect(impatient.changes.map(\.leader) == [c])
    follower.observe(F.record(2, leader: b, inSync: [b, c], target: [a, b, c]))
    follower.pass(milliseconds: 1_000)
    #expect(follower.changes.isEmpty)
  }

  @Test func `the in-sync set never goes below its minimum in a promotion`() {
    var follower = F.follower(inSync: [a, b], target: [b, c])
    follower.unreachable([a])
    follower.pass(milliseconds: 2)
    #expect(follower.changes.map(\.inSync) == [[a, b]])
  }

  @Test func `who reaches too few to commit anything does not take the lead`() {
    var follower = F.follower()
    follower.unreachable([a, c])
    follower.pass(milliseconds: 5_000)
    #expect(follower.changes.isEmpty)
    follower.unreachable([a])
    follower.pass(milliseconds: 200)
    #expect(follower.changes.map(\.leader) == [b])
  }

  @Test func `the old leader is the first to go when not all of the absent may`() {
    var follower = F.follower(inSync: [a, b, c], target: [b, c, d])
    follower.unreachable([a, c])
    follower.pass(milliseconds: 2)
    #expect(follower.changes.map(\.inSync) == [[b, c]])
  }

  @Test func `a leader whose process was replaced is replaced, and stays in sync`() {
    var follower = F.follower()
    follower.restarted(a, boot: 900)
    follower.pass(milliseconds: 2)
    #expect(follower.changes.map(\.leader) == [b])
    #expect(follower.changes.map(\.inSync) == [[a, b, c]])
  }

  @Test func `a leader that is reachable again in time is left alone`() {
    var follower = F.follower(c)
    follower.unreachable([a])
    follower.pass(milliseconds: 50)
    follower.unreachable([])
    follower.pass(milliseconds: 2_000)
    #expect(follower.changes.isEmpty)
  }

  @Test func `a store whose clock is off does not lead`() {
    var follower = F.follower()
    follower.unreachable([a], mayLead: false)
    follower.pass(milliseconds: 2_000)
    #expect(follower.changes.isEmpty)
    follower.unreachable([a])
    follower.pass(milliseconds: 2)
    #expect(follower.changes.map(\.leader) == [b])
  }

  @Test func `a learner never promotes itself`() {
    var learner = F(Names.d)
    learner.observe(F.record(1, leader: a, inSync: [a, b], target: [a, b, Names.d]))
    learner.unreachable([a, b])
    learner.pass(milliseconds: 2_000)
    #expect(learner.changes.isEmpty)
  }

  @Test func `a promotion that lost backs off and tries again on the new record`() {
    var follower = F.follower()
    follower.unreachable([a])
    follower.pass(milliseconds: 2)
    let other = F.record(1, leader: a, inSync: [a, b], target: [a, b, c])
    follower.replica.value.changeFinished(
      base: Revision(1),
      outcome: .conflicted(VersionedRecord(record: other, revision: Revision(2))),
      now: follower.now, into: &follower.actions)
    follower.pass(milliseconds: 10)
    #expect(follower.changes.count == 1)
    follower.pass(milliseconds: 150)
    #expect(follower.changes.map(\.inSync) == [[b, c], [a, b]])
  }

  @Test func `after a pause nobody is judged before the record was read`() {
    var follower = F.follower(c)
    follower.unreachable([a])
    follower.replica.value.resumedAfterPause(now: follower.now, into: &follower.actions)
    follower.pass(milliseconds: 1_000)
    #expect(follower.changes.isEmpty)
    #expect(follower.recordReads.count == 1)
  }

  @Test func `a leader that finds a later epoch steps down`() {
    var leader = F.leader()
    leader.observe(F.record(2, leader: b, inSync: [a, b, c]))
    #expect(!leader.replica.isLeader)
    #expect(leader.propose() == nil)
  }

  @Test func `a refusal makes the leader look at the record`() {
    var leader = F.leader()
    leader.receive(.refused(promise: Epoch(2)), from: b, epoch: 2)
    #expect(leader.recordReads.count == 1)
  }

  @Test func `an epoch starts with an entry of its own, which commits what was before it`() {
    var leader = F(a, recovered: F.recovered(a, epochs: [1, 1, 1], promise: 1))
    leader.observe(F.record(2, leader: a, inSync: [a, b]))
    leader.persistAll()
    leader.persistAll()
    #expect(leader.replica.lastEntry == F.id(2, 4))
    #expect(leader.replica.entry(at: LogIndex(4))?.isEpochStart == true)
    leader.acknowledge(3, from: b, epoch: 2)
    #expect(leader.replica.commitIndex == .zero)
    leader.acknowledge(4, from: b, epoch: 2)
    #expect(leader.applies == [LogIndex(4)])
  }

  // MARK: After a restart

  private func restarted(epochs: [UInt64]) -> F {
    var replica = F(
      b, recovered: F.recovered(b, epochs: epochs, promise: 1), boot: BootID(9))
    replica.observe(F.record(1, leader: a, inSync: [a, b, c]))
    replica.unreachable([a])
    return replica
  }

  @Test func `a restarted replica asks the others before it promotes itself`() {
    var replica = restarted(epochs: [1, 1])
    replica.pass(milliseconds: 100)
    #expect(replica.changes.isEmpty)
    #expect(replica.sent(to: c) == [.inquiry(last: F.id(1, 2))])
    replica.receive(.inquiryAnswered(last: F.id(1, 2), inquirerBoot: BootID(9)), from: c, epoch: 1)
    replica.pass(milliseconds: 300)
    #expect(replica.changes.map(\.leader) == [b])
  }

  @Test func `a restarted replica defers to a longer log`() {
    var replica = restarted(epochs: [1, 1])
    replica.receive(.inquiryAnswered(last: F.id(1, 3), inquirerBoot: BootID(9)), from: c, epoch: 1)
    replica.pass(milliseconds: 3_000)
    #expect(replica.changes.isEmpty)
  }

  @Test func `a longer log counts while nobody else answers, even when its store is gone`() {
    var replica = restarted(epochs: [1, 1])
    replica.receive(.inquiryAnswered(last: F.id(1, 3), inquirerBoot: BootID(9)), from: c, epoch: 1)
    replica.unreachable([a, c])
    replica.pass(milliseconds: 3_000)
    #expect(replica.changes.isEmpty)
    replica.unreachable([c])
    replica.receive(.inquiryAnswered(last: F.id(1, 2), inquirerBoot: BootID(9)), from: a, epoch: 1)
    replica.unreachable([c], mayLead: true)
    replica.restarted(a, boot: 900)
    replica.receive(
      .inquiryAnswered(last: F.id(1, 2), inquirerBoot: BootID(9)), from: a, epoch: 1,
      boot: BootID(900))
    replica.pass(milliseconds: 500)
    #expect(replica.changes.map(\.leader) == [b])
  }

  @Test func `one of which nothing is left is no witness, and is not waited for`() {
    var replica = restarted(epochs: [1, 1])
    replica.receive(.inquiryAnswered(last: nil, inquirerBoot: BootID(9)), from: c, epoch: 1)
    replica.pass(milliseconds: 3_000)
    #expect(replica.changes.isEmpty)
    replica.unreachable([], mayLead: true)
    replica.restarted(a, boot: 900)
    replica.receive(
      .inquiryAnswered(last: nil, inquirerBoot: BootID(9)), from: a, epoch: 1, boot: BootID(900))
    replica.pass(milliseconds: 500)
    #expect(replica.changes.map(\.leader) == [b])
  }

  @Test func `an answer to the process before is none`() {
    var replica = restarted(epochs: [1, 1])
    replica.receive(.inquiryAnswered(last: F.id(1, 1), inquirerBoot: BootID(8)), from: c, epoch: 1)
    replica.pass(milliseconds: 1_000)
    #expect(replica.changes.isEmpty)
  }

  @Test func `the only in-sync member has nobody to ask`() {
    var replica = F(b, recovered: F.recovered(b, epochs: [1], promise: 1), boot: BootID(9))
    replica.observe(F.record(1, leader: b, inSync: [b], target: [a, b]))
    replica.pass(milliseconds: 1)
    #expect(replica.changes.map(\.epoch) == [Epoch(2)])
  }

  @Test func `who was ahead is asked again, since it may have lost what was not durable`() {
    var replica = restarted(epochs: [1, 1])
    replica.receive(.inquiryAnswered(last: F.id(1, 3), inquirerBoot: BootID(9)), from: c, epoch: 1)
    replica.actions = []
    replica.pass(milliseconds: 450)
    #expect(replica.sent(to: c).contains(.inquiry(last: F.id(1, 2))))
    replica.receive(.inquiryAnswered(last: F.id(1, 2), inquirerBoot: BootID(9)), from: c, epoch: 1)
    replica.pass(milliseconds: 450)
    #expect(replica.changes.map(\.leader) == [b])
  }

  @Test(arguments: [false, true])
  func `an empty log of a partition with a past compares before it promotes`(seesOldFirst: Bool) {
    var replica = F(b)
    if seesOldFirst {
      replica.observe(F.record(0, leader: a, boot: BootID.none, inSync: [a, b, c]))
    }
    replica.observe(F.record(3, leader: a, inSync: [a, b, c]))
    replica.unreachable([a])
    replica.pass(milliseconds: 2_000)
    #expect(replica.changes.isEmpty)
    replica.receive(
      .inquiryAnswered(last: F.id(3, 9), inquirerBoot: Names.boot(b)), from: c, epoch: 3)
    replica.pass(milliseconds: 2_000)
    #expect(replica.changes.isEmpty)
  }

  @Test func `a leader that a late change names although its process is gone is replaced`() {
    var follower = F(b)
    follower.observe(F.record(1, leader: c, inSync: [a, b, c]))
    follower.restarted(a, boot: 900)
    follower.observe(F.record(2, leader: a, boot: BootID(899), inSync: [a, b, c]))
    follower.receive(
      .inquiryAnswered(last: .zero, inquirerBoot: Names.boot(b)), from: c, epoch: 1)
    follower.pass(milliseconds: 500)
    #expect(follower.changes.map(\.leader) == [b])
  }

  @Test func `a leader that asks as a new process is replaced`() {
    var follower = F.follower()
    follower.receive(.inquiry(last: .zero), from: a, epoch: 1, boot: BootID(900))
    follower.receive(
      .inquiryAnswered(last: .zero, inquirerBoot: Names.boot(b)), from: c, epoch: 1)
    follower.pass(milliseconds: 500)
    #expect(follower.changes.map(\.leader) == [b])
  }

  @Test func `a promotion that is due is not put off by an earlier wake-up`() {
    var follower = F(c)
    follower.observe(F.record(0, leader: a, boot: BootID.none, inSync: [a, b, c]))
    follower.unreachable([a])
    follower.pass(milliseconds: 140)
    follower.unreachable([a])
    follower.pass(milliseconds: 15)
    #expect(follower.changes.map(\.leader) == [c])
  }

  @Test func `what was committed but not applied before a restart is applied`() {
    var follower = F(b, recovered: F.recovered(b, epochs: [1, 1, 1], commit: 3, applied: 1))
    follower.observe(F.record(1, leader: a, inSync: [a, b]))
    #expect(follower.applies == [LogIndex(3)])
  }
}

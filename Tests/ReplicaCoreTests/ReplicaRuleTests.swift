import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

private let a = Names.a
private let b = Names.b
private let c = Names.c
private let d = Names.d

/// The rules of safety, one by one.
@Suite struct ReplicaRuleTests {
  typealias F = ReplicaFixture

  @Test func `rule 1: an entry is committed when every in-sync member has acknowledged it`() {
    var leader = F.leader()
    #expect(leader.propose() == F.id(1, 2))
    leader.persistAll()
    leader.acknowledge(2, from: b)
    #expect(leader.replica.commitIndex == LogIndex(1))
    leader.acknowledge(2, from: c)
    #expect(leader.replica.commitIndex == LogIndex(2))
    #expect(leader.applies == [LogIndex(2)])
  }

  @Test func `rule 1: an entry is not committed before it is durable on the leader`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.acknowledge(2, from: b)
    leader.acknowledge(2, from: c)
    #expect(leader.replica.commitIndex == LogIndex(1))
    leader.persistAll()
    #expect(leader.replica.commitIndex == LogIndex(2))
  }

  @Test func `rule 1: what an earlier process acknowledged does not commit anything more`() {
    var leader = F.leader()
    leader.restarted(b, boot: Names.boot(b).rawValue)
    leader.acknowledge(1, from: b)
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.restarted(b, boot: 77)
    leader.acknowledge(2, from: c)
    #expect(leader.replica.commitIndex == LogIndex(1), "the disk of b may have lost it")
    leader.restarted(b, boot: 77)
    leader.receive(
      .appended(match: LogIndex(2), leaderBoot: leader.replica.boot), from: b, epoch: 1,
      boot: BootID(77))
    #expect(leader.replica.commitIndex == LogIndex(2))
    // Another link to the same process changes nothing.
    leader.restarted(b, boot: 77)
    _ = leader.propose()
    leader.persistAll()
    for other in [b, c] { leader.acknowledge(3, from: other) }
    #expect(leader.replica.commitIndex == LogIndex(3))
  }

  @Test func `rule 2: a member that is being taken out counts until the record has changed`() {
    var leader = F.leader()
    leader.unreachable([c])
    leader.pass(milliseconds: 1)
    #expect(leader.changes.map(\.inSync) == [[a, b]])
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    #expect(leader.replica.commitIndex == LogIndex(1))
    leader.replica.value.changeFinished(
      base: Revision(1), outcome: .succeeded(Revision(5)), now: leader.now, into: &leader.actions)
    #expect(leader.replica.commitIndex == LogIndex(2))
  }

  @Test func `rule 2: a change without an answer is asked for again on the same revision`() {
    var leader = F.leader()
    leader.unreachable([c])
    leader.pass(milliseconds: 1)
    leader.replica.value.changeFinished(
      base: Revision(1), outcome: .unknown, now: leader.now, into: &leader.actions)
    leader.actions = []
    leader.pass(milliseconds: 250)
    let record = F.record(1, leader: a, inSync: [a, b], target: [a, b, c])
    #expect(leader.actions.contains(.compareAndSet(record, base: Revision(1))))
  }

  @Test func `rule 2: a learner that is being taken in counts before the record has changed`() {
    var leader = F.leader(inSync: [a, b], target: [a, b, c])
    leader.acknowledge(1, from: c)
    #expect(leader.changes.map(\.inSync) == [[a, b, c]])
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    #expect(leader.replica.commitIndex == LogIndex(1))
    leader.acknowledge(2, from: c)
    #expect(leader.replica.commitIndex == LogIndex(2))
  }

  @Test func `rule 3: a follower acknowledges only what is durable`() {
    var follower = F.follower()
    follower.append(after: .zero, F.entries(epochs: [1, 1]))
    let tickets = follower.writes.map(\.ticket)
    #expect(tickets.count == 2)
    follower.replica.value.persisted(ticket: tickets[0], now: follower.now, into: &follower.actions)
    #expect(
      !follower.sent(to: a).contains(.appended(match: LogIndex(2), leaderBoot: Names.boot(a))))
    follower.replica.value.persisted(ticket: tickets[1], now: follower.now, into: &follower.actions)
    #expect(follower.sent(to: a).last == .appended(match: LogIndex(2), leaderBoot: Names.boot(a)))
  }

  @Test func `rule 3: a follower acknowledges only what is known to equal the leader's log`() {
    let long = F.recovered(b, epochs: [1, 1, 1, 1], promise: 1)
    var follower = F.follower(recovered: long)
    follower.append(after: F.id(1, 1), [F.entry(1, 2)])
    #expect(follower.sent(to: a) == [.appended(match: LogIndex(2), leaderBoot: Names.boot(a))])
  }

  @Test func `rule 4: nothing is answered before the promise to the leader is durable`() {
    var follower = F.follower()
    follower.receive(.barrier(round: 1), from: a, epoch: 1)
    #expect(follower.sent.isEmpty)
    follower.persistAll()
    #expect(follower.sent(to: a).contains(.barrierConfirmed(round: 1, leaderBoot: Names.boot(a))))
  }

  @Test func `rule 4: a leader says nothing under its epoch before its promise is durable`() {
    var leader = F(a)
    leader.observe(F.record(1, leader: a, inSync: [a, b, c]))
    #expect(leader.sent.isEmpty)
    #expect(!leader.replica.isLeader)
    leader.persistAll()
    #expect(leader.replica.isLeader)
    #expect(leader.sent.count == 2)
  }

  @Test func `rule 4: a promise holds after a restart`() {
    var follower = F(b, recovered: F.recovered(b, epochs: [1], promise: 4))
    follower.observe(F.record(3, leader: a, inSync: [a, b]))
    follower.actions = []
    follower.append(after: F.id(1, 1), [], epoch: 3)
    #expect(follower.sent(to: a) == [.refused(promise: Epoch(4))])
  }

  @Test func `rule 5: a learner joins only when it holds the entry that started the epoch`() {
    var leader = F.leader(inSync: [a, b], target: [a, b, c])
    leader.acknowledge(0, from: c)
    #expect(leader.changes.isEmpty)
    leader.acknowledge(1, from: c)
    #expect(leader.changes.map(\.inSync) == [[a, b, c]])
  }

  @Test func `rule 5: a learner joins only when it holds everything that is committed`() {
    var leader = F.leader(inSync: [a, b], target: [a, b, c])
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.acknowledge(1, from: c)
    #expect(leader.changes.isEmpty)
    leader.acknowledge(2, from: c)
    #expect(leader.changes.map(\.inSync) == [[a, b, c]])
  }

  @Test func `rule 6: a restarted process does not resume an epoch but asks for a new one`() {
    var replica = F(a, recovered: F.recovered(a, epochs: [1], promise: 1), boot: BootID(9))
    replica.observe(F.record(1, leader: a, inSync: [a, b]))
    replica.persistAll()
    #expect(!replica.replica.isLeader)
    replica.receive(.inquiryAnswered(last: F.id(1, 1), inquirerBoot: BootID(9)), from: b, epoch: 1)
    replica.pass(milliseconds: 1)
    #expect(replica.changes.map(\.epoch) == [Epoch(2)])
    #expect(replica.changes.map(\.leaderBoot) == [BootID(9)])
  }

  @Test func `rule 6: a process that finds itself in the record takes the leadership up`() {
    var replica = F(a)
    replica.observe(F.record(0, leader: a, boot: BootID.none, inSync: [a, b]))
    replica.pass(milliseconds: 1)
    #expect(replica.changes.map(\.epoch) == [Epoch(1)])
    replica.replica.value.changeFinished(
      base: Revision(1), outcome: .unknown, now: replica.now, into: &replica.actions)
    replica.observe(F.record(1, leader: a, inSync: [a, b]))
    replica.persistAll()
    #expect(replica.replica.isLeader)
  }

  @Test func `rule 7: a mismatch is refused with the last entry that could be shared`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1, 1], promise: 1))
    follower.append(after: F.id(1, 5), [F.entry(1, 6)])
    #expect(
      follower.sent(to: a) == [
        .mismatched(previous: F.id(1, 5), hint: F.id(1, 2), leaderBoot: Names.boot(a))
      ])
  }

  @Test func `rule 7: a conflicting suffix is replaced in one write`() {
    var follower = F(b, recovered: F.recovered(b, epochs: [1, 1, 1], promise: 2))
    follower.observe(F.record(2, leader: a, inSync: [a, b]))
    follower.actions = []
    follower.append(after: F.id(1, 1), [F.entry(2, 2)], epoch: 2)
    #expect(follower.writes.count == 1)
    #expect(follower.writes.first?.truncatingFrom == LogIndex(2))
    #expect(follower.replica.lastEntry == F.id(2, 2))
    let acknowledged = ReplicaMessage.Body.appended(
      match: LogIndex(2), leaderBoot: Names.boot(a))
    #expect(!follower.sent(to: a).contains(acknowledged))
    follower.persistAll()
    #expect(follower.sent(to: a).last == acknowledged)
  }

  @Test func `rule 7: a conflict at or below the commit index stops the replica`() {
    var follower = F(b, recovered: F.recovered(b, epochs: [1, 1, 1], promise: 2, commit: 2))
    follower.observe(F.record(2, leader: a, inSync: [a, b]))
    follower.append(after: F.id(1, 1), [F.entry(2, 2)], epoch: 2)
    #expect(follower.replica.stop == .conflictBelowCommit(LogIndex(2)))
  }

  @Test func `rule 8: a leader of a lower epoch is refused`() {
    var follower = F.follower()
    follower.observe(F.record(2, leader: c, inSync: [a, b, c]))
    follower.actions = []
    follower.append(after: .zero, [F.entry(1, 1)], epoch: 1)
    #expect(follower.sent(to: a) == [.refused(promise: Epoch(2))])
    #expect(follower.writes.isEmpty)
  }

  @Test func `rule 8: answers to another epoch, process or replica count for nothing`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: c)
    leader.acknowledge(2, from: b, epoch: 0)
    leader.receive(.appended(match: LogIndex(2), leaderBoot: BootID(9)), from: b, epoch: 1)
    leader.acknowledge(2, from: ReplicaID(store: b.store, number: 1))
    #expect(leader.replica.commitIndex == LogIndex(1))
    leader.acknowledge(2, from: b)
    #expect(leader.replica.commitIndex == LogIndex(2))
  }

  @Test func `rule 8: a message of an unknown sender waits until the record is read anew`() {
    var follower = F.follower()
    follower.append(after: .zero, [F.entry(2, 1)], from: d, epoch: 2)
    #expect(follower.recordReads.isEmpty, "its revision is no newer")
    follower.receive(
      .append(previous: .zero, entries: [F.entry(2, 1)], commitIndex: .zero), from: d, epoch: 2,
      revision: 2)
    #expect(follower.recordReads.count == 1)
    #expect(follower.writes.isEmpty)
    let record = F.record(2, leader: d, inSync: [b, d])
    follower.replica.value.recordRead(
      ticket: follower.recordReads[0], VersionedRecord(record: record, revision: Revision(2)),
      now: follower.now, into: &follower.actions)
    #expect(follower.replica.lastEntry == F.id(2, 1))
  }

  @Test func `rule 8: what comes before the first record waits for it`() {
    var follower = F(b, recovered: F.recovered(b, epochs: [1]))
    follower.receive(
      .append(previous: F.id(1, 1), entries: [F.entry(2, 2)], commitIndex: .zero), from: a,
      epoch: 2, revision: 1)
    #expect(follower.actions.isEmpty, "the record is on its way without being asked for")
    follower.observe(F.record(2, leader: a, inSync: [a, b]))
    #expect(follower.replica.lastEntry == F.id(2, 2))
  }

  @Test func `rule 8: the view of the record never goes back`() {
    var follower = F.follower()
    follower.observe(F.record(3, leader: c, inSync: [b, c]), revision: 9)
    follower.observe(F.record(2, leader: a, inSync: [a, b]), revision: 8)
    #expect(follower.replica.record?.revision == Revision(9))
  }

  @Test func `rule 9: a write that failed stops the replica for good`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.replica.value.storageFailed(into: &leader.actions)
    #expect(leader.replica.stop == .storageFailed)
    leader.actions = []
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.observe(F.record(2, leader: a, inSync: [a, b, c]))
    #expect(leader.propose() == nil)
    #expect(leader.pass(milliseconds: 5_000) <= 1)
    #expect(leader.actions.isEmpty)
  }

  @Test func `rule 10: commands need minInSync members, reading and catching up do not`() {
    var leader = F.leader(inSync: [a], target: [a, b], minInSync: 1)
    #expect(leader.replica.acceptsCommands)
    leader = F.leader(inSync: [a], target: [a, b], minInSync: 2)
    #expect(leader.replica.commitIndex == LogIndex(1))
    #expect(!leader.replica.acceptsCommands)
    #expect(leader.propose() == nil)
    leader.read(1)
    #expect(leader.readsReady == [1])
  }

  @Test func `rule 10: commands wait for the entry that started the epoch`() {
    var leader = F(a)
    leader.observe(F.record(1, leader: a, inSync: [a, b]))
    leader.persistAll()
    leader.persistAll()
    #expect(leader.replica.isLeader)
    #expect(!leader.replica.acceptsCommands)
    leader.acknowledge(1, from: b)
    #expect(leader.replica.acceptsCommands)
  }

  @Test func `rule 11: an entry that cannot be applied stops the replica`() {
    var leader = F.leader()
    leader.replica.value.applyFailed(at: LogIndex(1), into: &leader.actions)
    #expect(leader.replica.stop == .applyFailed(LogIndex(1)))
  }
}

import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

private let a = Names.a
private let b = Names.b
private let c = Names.c

@Suite struct ReplicaReadTests {
  typealias F = ReplicaFixture

  private func confirm(_ leader: inout F, _ round: UInt64, _ members: [ReplicaID]) {
    for member in members {
      leader.receive(
        .barrierConfirmed(round: round, leaderBoot: Names.boot(a)), from: member, epoch: 1)
    }
  }

  @Test func `R1: a read waits for every member of the quorum set`() {
    var leader = F.leader()
    leader.read(1)
    confirm(&leader, 1, [b])
    #expect(leader.readsReady.isEmpty)
    confirm(&leader, 1, [c])
    #expect(leader.readsReady == [1])
  }

  @Test func `R1: one round serves all reads that waited when it began`() {
    var leader = F.leader()
    for read in 1...5 {
      leader.replica.value.readRequested(UInt64(read), now: leader.now, into: &leader.actions)
    }
    leader.replica.value.startBarrier(now: leader.now, into: &leader.actions)
    #expect(leader.sent.count == 2)
    confirm(&leader, 1, [b, c])
    #expect(leader.readsReady == [1, 2, 3, 4, 5])
  }

  @Test func `R1: a read that arrives during a round is served by the next`() {
    var leader = F.leader()
    leader.read(1)
    leader.read(2)
    confirm(&leader, 1, [b, c])
    #expect(leader.readsReady == [1])
    leader.pass(milliseconds: 1)
    confirm(&leader, 2, [b, c])
    #expect(leader.readsReady == [1, 2])
  }

  @Test func `R1: a confirmed read waits until what was committed is applied`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.acknowledge(2, from: c)
    leader.read(1)
    confirm(&leader, 1, [b, c])
    #expect(leader.readsReady.isEmpty)
    leader.replica.value.applied(through: LogIndex(2), into: &leader.actions)
    #expect(leader.readsReady == [1])
  }

  @Test func `R1: a read waits for the entry that started the epoch`() {
    var leader = F(a)
    leader.observe(F.record(1, leader: a, inSync: [a, b]))
    leader.persistAll()
    leader.persistAll()
    leader.read(1)
    #expect(!leader.sent(to: b).contains(.barrier(round: 1)))
    leader.acknowledge(1, from: b)
    #expect(leader.sent(to: b).contains(.barrier(round: 1)))
  }

  @Test func `R1: when a member is silent, a read of the record serves instead`() {
    var leader = F.leader()
    leader.read(1)
    confirm(&leader, 1, [b])
    leader.pass(milliseconds: 200)
    #expect(leader.recordReads == [1])
    leader.replica.value.recordRead(
      ticket: 1, leader.replica.record, now: leader.now, into: &leader.actions)
    #expect(leader.readsReady == [1])
  }

  @Test func `R1: a record that names somebody else fails the reads`() {
    var leader = F.leader()
    leader.read(1)
    leader.pass(milliseconds: 200)
    let record = F.record(2, leader: b, inSync: [a, b, c])
    leader.replica.value.recordRead(
      ticket: 1, VersionedRecord(record: record, revision: Revision(2)), now: leader.now,
      into: &leader.actions)
    #expect(leader.readsReady.isEmpty)
    #expect(leader.readsFailed == [1])
    #expect(!leader.replica.isLeader)
  }

  @Test func `R1: reads fail when neither the member nor the coordinator answers`() {
    var leader = F.leader()
    leader.read(1)
    leader.pass(milliseconds: 200)
    leader.replica.value.recordRead(ticket: 1, nil, now: leader.now, into: &leader.actions)
    #expect(leader.readsFailed == [1])
  }

  @Test func `a read of the record that began before a read arrived does not serve it`() {
    var leader = F.leader()
    leader.read(1)
    leader.pass(milliseconds: 200)
    #expect(leader.recordReads == [1])
    confirm(&leader, 1, [b, c])
    leader.read(2)
    leader.pass(milliseconds: 200)
    #expect(leader.recordReads == [1, 2])
    leader.replica.value.recordRead(
      ticket: 1, leader.replica.record, now: leader.now, into: &leader.actions)
    #expect(leader.readsReady == [1])
    leader.replica.value.recordRead(
      ticket: 2, leader.replica.record, now: leader.now, into: &leader.actions)
    #expect(leader.readsReady == [1, 2])
  }

  @Test func `reads fail when leadership is lost, and where nobody leads`() {
    var leader = F.leader()
    leader.read(1)
    leader.observe(F.record(2, leader: b, inSync: [a, b, c]))
    #expect(leader.readsFailed == [1])
    leader.read(2)
    #expect(leader.readsFailed == [1, 2])
  }

  @Test func `reads beyond the bound fail at once`() {
    var leader = F.leader { $0.waitingReadsMax = 1 }
    leader.replica.value.readRequested(1, now: leader.now, into: &leader.actions)
    leader.replica.value.readRequested(2, now: leader.now, into: &leader.actions)
    #expect(leader.readsFailed == [2])
  }
}

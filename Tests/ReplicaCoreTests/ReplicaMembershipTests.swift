import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

private let a = Names.a
private let b = Names.b
private let c = Names.c
private let d = Names.d

@Suite struct ReplicaMembershipTests {
  typealias F = ReplicaFixture

  @Test func `a member that does not acknowledge for lagMax is taken out`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.pass(milliseconds: 2_000)
    #expect(leader.changes.isEmpty)
    leader.pass(milliseconds: 3_500)
    #expect(leader.changes.map(\.inSync) == [[a, b]])
  }

  @Test func `nobody is taken out of the smallest in-sync set`() {
    var leader = F.leader(inSync: [a, b])
    leader.unreachable([b])
    _ = leader.propose()
    leader.pass(milliseconds: 10_000)
    #expect(leader.changes.isEmpty)
  }

  @Test func `a learner joins before a dead member leaves`() {
    var leader = F.leader(inSync: [a, b], target: [a, c])
    leader.unreachable([b])
    leader.pass(milliseconds: 10)
    #expect(leader.changes.isEmpty)
    leader.acknowledge(1, from: c)
    #expect(leader.changes.map(\.inSync) == [[a, b, c]])
    leader.actions = []
    leader.observe(F.record(1, leader: a, inSync: [a, b, c], target: [a, c]))
    #expect(leader.changes.map(\.inSync) == [[a, c]])
  }

  @Test func `a replica that is not wanted leaves when all of the target are in sync`() {
    var leader = F.leader()
    leader.observe(F.record(1, leader: a, inSync: [a, b, c], target: [a, b, d]))
    #expect(leader.changes.isEmpty)
    leader.acknowledge(1, from: d)
    #expect(leader.changes.map(\.inSync) == [[a, b, c, d]])
    leader.actions = []
    leader.observe(F.record(1, leader: a, inSync: [a, b, c, d], target: [a, b, d]))
    #expect(leader.changes.map(\.inSync) == [[a, b, d]])
  }

  @Test func `what an earlier process acknowledged lets nobody join`() {
    var leader = F.leader()
    leader.restarted(c, boot: 77)
    leader.unreachable([c])
    leader.pass(milliseconds: 1)
    #expect(leader.changes.map(\.inSync) == [[a, b]])
    leader.observe(F.record(1, leader: a, inSync: [a, b], target: [a, b, c]))
    leader.actions = []
    leader.unreachable([])
    leader.pass(milliseconds: 100)
    #expect(leader.changes.isEmpty, "its disk may hold less by now")
    leader.receive(
      .appended(match: LogIndex(1), leaderBoot: leader.replica.boot), from: c, epoch: 1,
      boot: BootID(77))
    #expect(leader.changes.map(\.inSync) == [[a, b, c]])
  }

  @Test func `a member that does not say again what it had acknowledged is taken out`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: c)
    leader.restarted(c, boot: 77)
    leader.acknowledge(2, from: b)
    #expect(leader.replica.commitIndex == LogIndex(1))
    leader.actions = []
    leader.pass(milliseconds: 5_000)
    #expect(leader.changes.map(\.inSync).first == [a, b])
  }

  @Test func `a learner that cannot be reached does not join`() {
    var leader = F.leader(inSync: [a, b], target: [a, b, c])
    leader.unreachable([c])
    leader.acknowledge(1, from: c)
    #expect(leader.changes.isEmpty)
  }

  /// Everybody else acknowledges at once, the learner always one entry later.
  private func leaderWithALearnerThatIsLate() -> ReplicaFixture {
    var leader = F.leader(inSync: [a, b], target: [a, b, c])
    leader.acknowledge(0, from: c)
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.acknowledge(1, from: c)
    return leader
  }

  @Test func `a learner that is always one entry late joins all the same`() {
    var leader = leaderWithALearnerThatIsLate()
    #expect(leader.changes.isEmpty)
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(3, from: b)
    #expect(leader.replica.value.commitIndex == LogIndex(2), "it counts before it is a member")
    leader.acknowledge(2, from: c)
    #expect(leader.changes.map(\.inSync) == [[a, b, c]])
  }

  @Test func `a learner that stops holds the others up for lagMax and no longer`() {
    var leader = leaderWithALearnerThatIsLate()
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(3, from: b)
    #expect(leader.replica.value.commitIndex == LogIndex(2))
    leader.pass(milliseconds: 3_500)
    #expect(leader.replica.value.commitIndex == LogIndex(3))
    #expect(leader.changes.isEmpty)
  }

  @Test func `what a learner's earlier process acknowledged does not let it join`() {
    var leader = F.leader(inSync: [a, b], target: [a, b, c])
    leader.unreachable([c])
    leader.acknowledge(1, from: c)
    leader.restarted(c, boot: 900)
    leader.unreachable([])
    leader.pass(milliseconds: 100)
    #expect(leader.changes.isEmpty)
    leader.receive(
      .appended(match: LogIndex(1), leaderBoot: Names.boot(a)), from: c, epoch: 1,
      boot: BootID(900))
    #expect(leader.changes.map(\.inSync) == [[a, b, c]])
  }

  @Test func `a leader that gave itself up is replaced although its store is there`() {
    var follower = F.follower()
    let record = F.record(1, leader: a, inSync: [a, b, c])
    follower.observe(record.giving(up: a) ?? record)
    follower.pass(milliseconds: 2)
    #expect(follower.changes.map(\.leader) == [b])
    #expect(follower.changes.first?.inSync.contains(a) == false)
  }

  @Test func `a replica that the record does not list any more stops`() {
    var follower = F.follower()
    follower.observe(F.record(1, leader: a, inSync: [a, c]))
    #expect(follower.replica.stop == .removed)
    #expect(follower.actions.contains(.stopped(.removed)))
  }

  // MARK: A store that lost what it had acknowledged (section 2.5)

  @Test func `a replica that reports less than it had acknowledged is fenced and taken out`() {
    var leader = F.leader()
    leader.receive(.inquiry(last: .zero), from: c, epoch: 0, boot: BootID(900))
    #expect(leader.sent(to: c).first == .fenced(acknowledged: LogIndex(1), reported: .zero))
    leader.pass(milliseconds: 2_000)
    #expect(leader.changes.map(\.inSync) == [[a, b]])
  }

  @Test func `a fenced replica gives itself up`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1], promise: 1))
    follower.receive(.fenced(acknowledged: LogIndex(2), reported: LogIndex(1)), from: a, epoch: 1)
    #expect(follower.replica.stop == .fenced(acknowledged: LogIndex(2), found: LogIndex(1)))
  }

  @Test func `a leader tells all others what its state is after the last that it applied`() {
    var leader = F.leader()
    leader.actions = []
    leader.replica.value.tellState(hash: 7, into: &leader.actions)
    for other in [b, c] {
      #expect(
        leader.sent(to: other) == [.stateTold(index: leader.replica.appliedIndex, hash: 7)])
    }
    var follower = F.follower()
    follower.actions = []
    follower.replica.value.tellState(hash: 7, into: &follower.actions)
    #expect(follower.actions.isEmpty, "who does not lead has nothing to tell")
  }

  @Test func `a state is compared with the leader's, and with nobody else's`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1], promise: 1))
    follower.actions = []
    let told = ReplicaMessage.Body.stateTold(index: LogIndex(1), hash: 7)
    follower.receive(told, from: c, epoch: 1)
    follower.receive(told, from: a, epoch: 0)
    follower.receive(told, from: a, epoch: 1, boot: BootID(900))
    #expect(!follower.actions.contains(.compareState(at: LogIndex(1), hash: 7)))
    follower.receive(told, from: a, epoch: 1)
    #expect(follower.actions.contains(.compareState(at: LogIndex(1), hash: 7)))
  }

  @Test func `one whose state differs stops, and is not replaced by itself`() {
    var follower = F.follower()
    follower.replica.value.stateDiffers(at: LogIndex(1), into: &follower.actions)
    #expect(follower.replica.stop == .stateDiffers(LogIndex(1)))
    #expect(follower.replica.stop?.isFinal == false)
  }

  @Test func `who compares is not kept waiting by a fenced replica, which holds nothing`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1]))
    follower.receive(.fenced(acknowledged: LogIndex(2), reported: LogIndex(1)), from: a, epoch: 1)
    follower.actions = []
    follower.receive(.inquiry(last: .zero), from: c, epoch: 1)
    #expect(
      follower.sent(to: c) == [.inquiryAnswered(last: nil, inquirerBoot: Names.boot(c))])
  }

  @Test func `a replica whose disk failed may hold what others lost and answers nothing`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1]))
    follower.replica.value.storageFailed(into: &follower.actions)
    follower.actions = []
    follower.receive(.inquiry(last: .zero), from: c, epoch: 1)
    #expect(follower.actions.isEmpty)
  }

  @Test func `a replica that holds what it acknowledged is not fenced`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1, 1], promise: 1))
    follower.receive(.fenced(acknowledged: LogIndex(2), reported: LogIndex(1)), from: a, epoch: 1)
    follower.receive(.fenced(acknowledged: LogIndex(9), reported: LogIndex(1)), from: a, epoch: 0)
    #expect(follower.replica.stop == nil)
  }

  @Test func `a damaged replica is fenced although it has writes under way`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1], promise: 0))
    follower.receive(.barrier(round: 1), from: a, epoch: 1)
    #expect(follower.writes.count == 1)
    follower.receive(.fenced(acknowledged: LogIndex(2), reported: LogIndex(1)), from: a, epoch: 1)
    #expect(follower.replica.stop == .fenced(acknowledged: LogIndex(2), found: LogIndex(1)))
  }

  @Test func `a follower that mismatches where it had acknowledged is fenced`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.acknowledge(2, from: c)
    leader.actions = []
    leader.receive(
      .mismatched(previous: F.id(1, 2), hint: F.id(1, 1), leaderBoot: Names.boot(a)), from: c,
      epoch: 1)
    #expect(leader.sent(to: c) == [.fenced(acknowledged: LogIndex(2), reported: LogIndex(1))])
  }

  @Test func `an old inquiry does not keep a whole follower out`() {
    var leader = F.leader(inSync: [a, b], target: [a, b, c])
    leader.acknowledge(1, from: c)
    leader.observe(F.record(1, leader: a, inSync: [a, b], target: [a, b, c]), revision: 2)
    leader.actions = []
    leader.receive(.inquiry(last: .zero), from: c, epoch: 0)
    let probes = leader.sent(to: c).filter { if case .append = $0 { true } else { false } }
    #expect(probes.count == 1)
    leader.observe(F.record(1, leader: a, inSync: [a, b], target: [b, a, c]), revision: 3)
    leader.actions = []
    leader.acknowledge(1, from: c)
    #expect(leader.changes.map(\.inSync) == [[a, b, c]])
  }
}

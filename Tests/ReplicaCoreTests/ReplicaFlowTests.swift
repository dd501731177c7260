import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Testing

private let a = Names.a
private let b = Names.b
private let c = Names.c

@Suite struct ReplicaFlowTests {
  typealias F = ReplicaFixture

  private func appends(_ fixture: F, to replica: ReplicaID) -> [(
    previous: EntryID, count: Int, commit: UInt64
  )] {
    fixture.sent(to: replica).compactMap {
      guard case .append(let previous, let entries, let commit) = $0 else { return nil }
      return (previous, entries.count, commit.rawValue)
    }
  }

  @Test func `an entry goes to the own disk and to the followers in the same turn`() {
    var leader = F.leader()
    _ = leader.propose()
    #expect(leader.writes.count == 1)
    #expect(appends(leader, to: b).map(\.count) == [1])
    #expect(appends(leader, to: c).map(\.count) == [1])
  }

  @Test func `appends follow each other without waiting, up to the window`() {
    var leader = F.leader { $0.windowEntriesMax = 3 }
    for _ in 0..<5 { _ = leader.propose() }
    #expect(appends(leader, to: b).map(\.count) == [1, 1, 1])
    leader.acknowledge(3, from: b)
    #expect(appends(leader, to: b).count > 3)
    #expect(appends(leader, to: b).reduce(0) { $0 + $1.count } == 5)
  }

  @Test func `the window is bounded in bytes too`() {
    var leader = F.leader { $0.windowBytesMax = 100 }
    for _ in 0..<5 { _ = leader.propose([UInt8](repeating: 1, count: 60)) }
    #expect(appends(leader, to: b).count == 2)
  }

  @Test func `commands are refused when too many bytes are not committed`() {
    var leader = F.leader { $0.uncommittedBytesMax = 60 }
    #expect(leader.propose([UInt8](repeating: 1, count: 60)) != nil)
    #expect(!leader.replica.acceptsCommands)
    #expect(leader.propose() == nil)
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.acknowledge(2, from: c)
    #expect(leader.replica.acceptsCommands)
  }

  @Test func `an idle leader tells the commit index within 50 ms`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.acknowledge(2, from: c)
    leader.actions = []
    leader.pass(milliseconds: 50)
    #expect(appends(leader, to: b).map(\.commit) == [2])
    #expect(appends(leader, to: c).map(\.commit) == [2])
  }

  @Test func `the commit index is told to a follower that owed an answer when it was due`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.persistAll()
    leader.acknowledge(2, from: b)
    leader.replica.value.linkReset(store: b.store, now: leader.now, into: &leader.actions)
    leader.acknowledge(2, from: c)
    leader.actions = []
    leader.pass(milliseconds: 60)
    #expect(appends(leader, to: b).isEmpty)
    leader.acknowledge(2, from: b)
    leader.pass(milliseconds: 50)
    #expect(appends(leader, to: b).map(\.commit) == [2])
  }

  @Test func `an idle partition wakes nobody`() {
    var leader = F.leader()
    leader.pass(milliseconds: 60)
    for member in [b, c] { leader.acknowledge(1, from: member) }
    leader.pass(milliseconds: 2_000)
    leader.actions = []
    #expect(leader.pass(milliseconds: 60_000) == 0)
    #expect(leader.actions.isEmpty)
    var follower = F.follower()
    follower.append(after: .zero, F.entries(epochs: [1]), commit: 1)
    follower.persistAll()
    follower.receive(
      .inquiryAnswered(last: .zero, inquirerBoot: Names.boot(b)), from: a, epoch: 1)
    follower.receive(
      .inquiryAnswered(last: .zero, inquirerBoot: Names.boot(b)), from: c, epoch: 1)
    follower.pass(milliseconds: 2_000)
    #expect(follower.pass(milliseconds: 60_000) == 0)
  }

  @Test func `an append without an answer is sent again from what is known`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.actions = []
    leader.pass(milliseconds: 1_100)
    #expect(appends(leader, to: b).map(\.previous) == [F.id(1, 1)])
  }

  @Test func `after a link reset what was under way is sent again`() {
    var leader = F.leader()
    _ = leader.propose()
    leader.actions = []
    leader.replica.value.linkReset(store: b.store, now: leader.now, into: &leader.actions)
    #expect(appends(leader, to: b).map(\.count) == [0])
    leader.receive(
      .mismatched(previous: F.id(1, 2), hint: F.id(1, 1), leaderBoot: Names.boot(a)), from: b,
      epoch: 1)
    #expect(appends(leader, to: b).map(\.count) == [0, 1])
  }

  // MARK: From storage

  /// A leader of epoch 2 whose first three entries are only on the disk.
  private func longLeader() -> F {
    let whole = F.recovered(a, epochs: [1, 1, 1, 1], promise: 1, commit: 4, applied: 3)
    var leader = F(a, recovered: whole)
    leader.observe(F.record(2, leader: a, inSync: [a, b]))
    leader.persistAll()
    leader.persistAll()
    leader.actions = []
    return leader
  }

  @Test func `a follower that is far behind is served from storage`() {
    var leader = longLeader()
    leader.receive(
      .mismatched(previous: F.id(1, 4), hint: .zero, leaderBoot: Names.boot(a)), from: b, epoch: 2)
    #expect(
      leader.actions.contains(.loadEntries(for: b, from: LogIndex(1), bytesMax: 512 << 10)))
    leader.replica.value.entriesLoaded(
      for: b, from: LogIndex(1), entries: F.entries(epochs: [1, 1, 1]), now: leader.now,
      into: &leader.actions)
    #expect(appends(leader, to: b).map(\.count) == [3])
    leader.acknowledge(3, from: b, epoch: 2)
    #expect(appends(leader, to: b).map(\.count) == [3, 2])
  }

  @Test func `entries that could not be read are asked for again`() {
    var leader = longLeader()
    leader.receive(
      .mismatched(previous: F.id(1, 4), hint: .zero, leaderBoot: Names.boot(a)), from: b, epoch: 2)
    leader.actions = []
    leader.replica.value.entriesLoaded(
      for: b, from: LogIndex(1), entries: [], now: leader.now, into: &leader.actions)
    leader.pass(milliseconds: 1_100)
    #expect(
      leader.actions.contains(.loadEntries(for: b, from: LogIndex(1), bytesMax: 512 << 10)))
  }

  @Test func `entries that were loaded in an earlier leadership and replaced since are not sent`() {
    var leader = longLeader()
    leader.receive(
      .mismatched(previous: F.id(1, 4), hint: .zero, leaderBoot: Names.boot(a)), from: b, epoch: 2)
    leader.actions = []
    leader.replica.value.entriesLoaded(
      for: b, from: LogIndex(1), entries: [F.entry(0, 1), F.entry(0, 2)], now: leader.now,
      into: &leader.actions)
    #expect(appends(leader, to: b).isEmpty)
  }

  @Test func `entries of a peer that do not follow each other are ignored`() {
    var follower = F.follower()
    follower.append(after: .zero, [F.entry(1, 1), F.entry(1, 3)])
    follower.append(after: .zero, [F.entry(2, 1)])
    #expect(follower.replica.lastEntry == .zero)
    #expect(follower.replica.stop == nil)
  }

  @Test func `a repeated append changes nothing and is answered again`() {
    var follower = F.follower()
    follower.append(after: .zero, F.entries(epochs: [1, 1]))
    follower.persistAll()
    follower.actions = []
    follower.append(after: .zero, F.entries(epochs: [1, 1]))
    #expect(follower.writes.isEmpty)
    #expect(follower.sent(to: a) == [.appended(match: LogIndex(2), leaderBoot: Names.boot(a))])
  }

  @Test func `a message before the first record, or for another replica, is dropped`() {
    var follower = F(b)
    follower.append(after: .zero, F.entries(epochs: [1]))
    #expect(follower.actions.isEmpty)
  }

  @Test func `no more messages are held than the bound, and a failed reading drops them`() {
    var follower = F.follower()
    for number in 1...100 {
      follower.receive(
        .append(previous: .zero, entries: [F.entry(2, 1)], commitIndex: .zero), from: Names.d,
        epoch: 2, revision: Int64(number) + 1)
    }
    #expect(follower.recordReads.count == 1)
    follower.replica.value.recordRead(
      ticket: follower.recordReads[0], nil, now: follower.now, into: &follower.actions)
    follower.observe(F.record(2, leader: Names.d, inSync: [b, Names.d]))
    #expect(follower.replica.lastEntry == .zero)
  }
}

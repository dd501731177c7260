import NodeProtocol
import Primitives
@testable import ReplicaCore
import Testing
import WalkSupport

/// Logs that are kept short, and what becomes of those who are too far behind for them.
@Suite struct ReplicaSnapshotTests {
  typealias F = ReplicaFixture
  private let a = Names.a
  private let b = Names.b
  private let d = Names.d

  // MARK: The leader

  /// `a` leads `b`; `d` learns. Everything up to 9 is committed, and the log begins after 6.
  private func leader(
    configure: (inout ReplicaConfiguration) -> Void = { _ in }
  ) -> F {
    var leader = F.leader(
      inSync: [a, b], target: [a, b, d], configure: configure)
    for number in 2...9 {
      _ = leader.propose([UInt8(number)])
      leader.persistAll()
      leader.acknowledge(UInt64(number), from: b)
    }
    leader.replica.value.applied(through: LogIndex(9), into: &leader.actions)
    leader.replica.value.beginLog(after: LogIndex(6))
    leader.actions = []
    return leader
  }

  private func mismatch(_ leader: inout F, previous: UInt64, hint: EntryID) {
    leader.receive(
      .mismatched(
        previous: F.id(1, previous), hint: hint, leaderBoot: leader.replica.boot),
      from: d, epoch: 1)
  }

  private func begun(_ leader: F) -> [UInt64] {
    leader.actions.compactMap {
      if case .beginSnapshot(let replica, let number) = $0, replica == d { number } else { nil }
    }
  }

  private func offers(_ leader: F) -> [EntryID] {
    leader.sent(to: d).compactMap {
      if case .snapshotOffered(_, let last) = $0 { last } else { nil }
    }
  }

  /// The learner has answered that it has nothing, and the state is frozen up to 8.
  private func sending() -> F {
    var leader = leader()
    leader.pass(milliseconds: 1_100)
    mismatch(&leader, previous: 6, hint: .zero)
    leader.replica.value.snapshotBegun(
      for: d, number: 1, through: LogIndex(8), now: leader.now, into: &leader.actions)
    leader.actions = []
    return leader
  }

  private func wanted(_ leader: inout F, number: UInt64 = 1, after key: [UInt8] = []) {
    leader.receive(
      .snapshotWanted(number: number, after: key, leaderBoot: leader.replica.boot), from: d,
      epoch: 1)
  }

  private func chunk(
    _ after: [UInt8], _ through: [UInt8], isLast: Bool = false, number: UInt64 = 1
  ) -> SnapshotChunk {
    var records = StateRecords()
    records.add(key: through, value: [1, 2, 3])
    return SnapshotChunk(
      number: number, after: after, through: through, records: records.bytes,
      checksum: CRC32C.checksum(records.bytes), isLast: isLast)
  }

  @Test func `nobody is sent a snapshot before it has said that the log does not reach back to it`()
  {
    var leader = leader()
    leader.pass(milliseconds: 5_000)
    #expect(begun(leader).isEmpty)
    let probes = leader.sent(to: d).filter {
      if case .append(let previous, _, _) = $0 { previous.index >= LogIndex(6) } else { false }
    }
    #expect(probes.count >= 4 && probes.count == leader.sent(to: d).count)
    mismatch(&leader, previous: 6, hint: .zero)
    #expect(begun(leader) == [1])
    // The same answer once more begins nothing.
    mismatch(&leader, previous: 6, hint: .zero)
    #expect(begun(leader) == [1])
  }

  @Test func `one whose log ends within the leader's gets entries`() {
    var leader = leader()
    leader.pass(milliseconds: 1_100)
    leader.actions = []
    mismatch(&leader, previous: 6, hint: F.id(1, 7))
    #expect(begun(leader).isEmpty)
    mismatch(&leader, previous: 9, hint: F.id(1, 7))
    #expect(begun(leader).isEmpty)
  }

  @Test func `a commit told with an append that was not taken is told again`() {
    var leader = leader()
    leader.pass(milliseconds: 1_100)
    leader.acknowledge(9, from: d)
    leader.actions = []
    // A late answer of one whose log began later than what it had been sent.
    mismatch(&leader, previous: 0, hint: F.id(1, 3))
    #expect(leader.sent(to: d).isEmpty, "it has lost nothing")
    leader.pass(milliseconds: 60)
    #expect(
      leader.sent(to: d) == [
        .append(previous: F.id(1, 9), entries: [], commitIndex: LogIndex(9))
      ])
  }

  @Test func `what is asked for is read once, and sent`() {
    var leader = sending()
    wanted(&leader)
    wanted(&leader)
    let loads = leader.actions.filter { if case .loadChunk = $0 { true } else { false } }
    #expect(loads.count == 1)
    let part = chunk([], [7])
    leader.replica.value.chunkLoaded(
      for: d, number: 1, part, now: leader.now, into: &leader.actions)
    #expect(leader.sent(to: d) == [.snapshotChunk(part)])
    leader.actions = []
    wanted(&leader, number: 2, after: [7])
    #expect(leader.actions.isEmpty, "another snapshot")
  }

  @Test func `a transfer goes on while the log is shortened and grows`() {
    var leader = sending()
    leader.replica.value.beginLog(after: LogIndex(8))
    _ = leader.propose([7])
    leader.persistAll()
    leader.acknowledge(10, from: b)
    let stillSends = leader.replica.value.sendsSnapshot(1, to: d)
    #expect(stillSends && leader.sent(to: d).isEmpty)
  }

  @Test func `without room for another frozen state it asks its shell again, not the follower`() {
    var leader = leader()
    leader.pass(milliseconds: 1_100)
    mismatch(&leader, previous: 6, hint: .zero)
    leader.replica.value.snapshotBegun(
      for: d, number: 1, through: nil, now: leader.now, into: &leader.actions)
    leader.actions = []
    leader.pass(milliseconds: 3_300)
    #expect(begun(leader) == [1, 1, 1] && leader.sent(to: d).isEmpty)
    let free = leader.replica.value.expendable(
      through: LogIndex(9), atLeast: .zero, limit: .zero, now: leader.now)
    #expect(free == LogIndex(9), "nothing is kept for it so far")
  }

  @Test
  func `what is asked for once more on a slow link is sent once more after longer and longer`() {
    var leader = sending()
    var sent = 0
    for _ in 0..<200 {
      wanted(&leader)
      if leader.actions.contains(where: { if case .loadChunk = $0 { true } else { false } }) {
        sent += 1
        leader.actions = []
        leader.replica.value.chunkLoaded(
          for: d, number: 1, chunk([], [7]), now: leader.now, into: &leader.actions)
      }
      leader.actions = []
      leader.pass(milliseconds: 100)
    }
    #expect(sent == 5, "in 20 s: at 0, 1, 3, 7 and 15")
    leader.replica.value.linkReset(store: d.store, now: leader.now, into: &leader.actions)
    leader.actions = []
    wanted(&leader)
    #expect(leader.actions.count == 1, "what was on its way is lost")
  }

  @Test func `it is offered again when the link breaks and when nothing is heard`() {
    var leader = sending()
    leader.replica.value.linkReset(store: d.store, now: leader.now, into: &leader.actions)
    #expect(offers(leader) == [F.id(1, 8)])
    leader.actions = []
    leader.pass(milliseconds: 3_300)
    #expect(offers(leader).count == 3)
  }

  @Test func `of one who asks for nothing any more it is given up`() {
    var leader = sending()
    wanted(&leader)
    leader.replica.value.chunkLoaded(
      for: d, number: 1, chunk([], [7]), now: leader.now, into: &leader.actions)
    leader.pass(milliseconds: 31_500)
    let stillSends = leader.replica.value.sendsSnapshot(1, to: d)
    #expect(!stillSends)
    leader.actions = []
    leader.pass(milliseconds: 3_000)
    #expect(offers(leader).isEmpty && !leader.sent(to: d).isEmpty, "it is asked what it has")
  }

  @Test func `a snapshot that the shell has lost is begun anew`() {
    var leader = sending()
    wanted(&leader)
    leader.replica.value.chunkLoaded(
      for: d, number: 1, nil, now: leader.now, into: &leader.actions)
    leader.pass(milliseconds: 1_100)
    mismatch(&leader, previous: 6, hint: .zero)
    #expect(begun(leader) == [2])
  }

  @Test func `once it is installed, entries follow`() {
    var leader = sending()
    leader.acknowledge(8, from: d)
    let stillSends = leader.replica.value.sendsSnapshot(1, to: d)
    #expect(!stillSends)
    guard case .append(let previous, let entries, _)? = leader.sent(to: d).first else {
      Issue.record("no append")
      return
    }
    #expect(previous == F.id(1, 8) && entries.map(\.index) == [LogIndex(9)])
  }

  @Test func `a log keeps what those who follow need, but not for ever`() {
    var leader = leader()
    leader.acknowledge(7, from: d)
    func expendable(_ bound: UInt64, limit: UInt64 = 0) -> UInt64 {
      leader.replica.value.expendable(
        through: LogIndex(9), atLeast: LogIndex(bound), limit: LogIndex(limit), now: leader.now
      ).rawValue
    }
    #expect(expendable(0) == 7)
    #expect(expendable(8) == 7, "it moves")
    #expect(expendable(0, limit: 8) == 8)
    leader.now = leader.now + 30_001
    #expect(expendable(8) == 8)
    #expect(expendable(99) == 9, "never more than a checkpoint covers")
    leader.unreachable([d])
    #expect(expendable(0) == 9)
    let other = sending()
    let held = other.replica.value.expendable(
      through: LogIndex(9), atLeast: LogIndex(9), limit: .zero, now: other.now)
    #expect(held == LogIndex(8), "what follows the snapshot")
  }

  // MARK: The follower

  private func learner() -> F {
    var learner = F(d)
    learner.observe(F.record(1, leader: a, inSync: [a, b], target: [a, b, d]))
    learner.actions = []
    return learner
  }

  private func offer(_ learner: inout F, number: UInt64 = 1, last: EntryID = F.id(1, 8)) {
    learner.receive(.snapshotOffered(number: number, last: last), from: a, epoch: 1)
  }

  private func steps(_ learner: F) -> [InstallationStep] {
    learner.actions.compactMap { if case .prepare(_, let step) = $0 { step } else { nil } }
  }

  private func wishes(_ learner: F) -> [[UInt8]] {
    learner.sent(to: a).compactMap {
      if case .snapshotWanted(_, let after, _) = $0 { after } else { nil }
    }
  }

  private let first = InstallationID(1)

  @Test func `parts are asked for one after the other, no more than can be written`() {
    var learner = learner()
    offer(&learner)
    #expect(steps(learner) == [.begin])
    #expect(wishes(learner).isEmpty, "the promise is not durable")
    learner.persistAll()
    #expect(wishes(learner) == [[]])
    learner.actions = []
    learner.receive(.snapshotChunk(chunk([], [3])), from: a, epoch: 1)
    #expect(wishes(learner) == [[3]], "while the first is being written")
    learner.receive(.snapshotChunk(chunk([3], [5])), from: a, epoch: 1)
    #expect(wishes(learner) == [[3]], "two are not written yet")
    learner.receive(.snapshotChunk(chunk([5], [9])), from: a, epoch: 1)
    #expect(steps(learner).count == 2)
    learner.replica.value.chunkInstalled(first, into: &learner.actions)
    #expect(wishes(learner) == [[3], [5]])
  }

  @Test func `another offer of the same goes on where it broke off`() {
    var learner = learner()
    offer(&learner)
    learner.persistAll()
    learner.receive(.snapshotChunk(chunk([], [3])), from: a, epoch: 1)
    learner.actions = []
    offer(&learner)
    #expect(wishes(learner) == [[3]] && steps(learner).isEmpty)
    offer(&learner, number: 2)
    #expect(wishes(learner) == [[3], []] && steps(learner) == [.abandon, .begin])
    // One that was on its way on an earlier link.
    offer(&learner, number: 1)
    #expect(steps(learner) == [.abandon, .begin])
  }

  @Test func `a part that was changed on its way is asked for again, a repeated one is dropped`() {
    var learner = learner()
    offer(&learner)
    learner.persistAll()
    learner.actions = []
    let good = chunk([], [3])
    let bad = SnapshotChunk(
      number: 1, after: [], through: [3], records: good.records, checksum: good.checksum ^ 1,
      isLast: false)
    learner.receive(.snapshotChunk(bad), from: a, epoch: 1)
    #expect(steps(learner).isEmpty && wishes(learner) == [[]])
    learner.receive(.snapshotChunk(chunk([], [])), from: a, epoch: 1)
    #expect(steps(learner).isEmpty, "it goes nowhere")
    learner.receive(.snapshotChunk(good), from: a, epoch: 1)
    learner.receive(.snapshotChunk(good), from: a, epoch: 1)
    #expect(steps(learner) == [.write(good)])
  }

  /// One that has everything aside.
  private func ready() -> F {
    var learner = learner()
    offer(&learner)
    learner.persistAll()
    learner.receive(.snapshotChunk(chunk([], [3], isLast: true)), from: a, epoch: 1)
    learner.actions = []
    learner.replica.value.chunkInstalled(first, into: &learner.actions)
    return learner
  }

  @Test func `it takes the place of log and state by one write, acknowledged when that is durable`()
  {
    var learner = ready()
    #expect(steps(learner) == [.finish])
    learner.actions = []
    learner.replica.value.installationReady(first, into: &learner.actions)
    guard case .install(let installation)? = learner.actions.first else {
      Issue.record("not installed")
      return
    }
    #expect(installation.last == F.id(1, 8) && installation.promise == Epoch(1))
    #expect(learner.replica.appliedIndex == LogIndex(8))
    #expect(learner.replica.lastEntry == F.id(1, 8) && learner.sent.isEmpty)
    learner.replica.value.persisted(
      ticket: installation.ticket, now: learner.now, into: &learner.actions)
    #expect(
      learner.sent(to: a) == [.appended(match: LogIndex(8), leaderBoot: Names.boot(a))])
    learner.actions = []
    learner.append(after: F.id(1, 8), [F.entry(1, 9)], commit: 9)
    #expect(learner.applies == [LogIndex(9)])
    // What comes from before it is told from where on entries can be taken.
    learner.append(after: F.id(1, 4), [F.entry(1, 5)])
    #expect(
      learner.sent(to: a).last
        == .mismatched(previous: F.id(1, 4), hint: F.id(1, 8), leaderBoot: Names.boot(a)))
  }

  @Test func `who holds the last entry of a snapshot keeps its log`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1, 1, 1, 1], commit: 2))
    follower.receive(.snapshotOffered(number: 1, last: F.id(1, 3)), from: a, epoch: 1)
    follower.persistAll()
    #expect(steps(follower).isEmpty)
    #expect(
      follower.sent(to: a).contains(.appended(match: LogIndex(3), leaderBoot: Names.boot(a))))
    // And so does one whose log has got there while it was coming in.
    var learner = ready()
    learner.append(after: .zero, F.entries(epochs: [1, 1, 1, 1, 1, 1, 1, 1, 1]))
    learner.actions = []
    learner.replica.value.installationReady(first, into: &learner.actions)
    #expect(steps(learner) == [.abandon] && learner.replica.lastEntry == F.id(1, 9))
  }

  @Test func `a later epoch ends it`() {
    var learner = ready()
    learner.observe(F.record(2, leader: b, inSync: [a, b], target: [a, b, d]))
    learner.receive(
      .append(previous: F.id(1, 8), entries: [], commitIndex: .zero), from: b, epoch: 2)
    #expect(steps(learner).last == .abandon)
    learner.actions = []
    learner.replica.value.installationReady(first, into: &learner.actions)
    #expect(learner.actions.isEmpty)
  }

  @Test func `what could not be written is tried again later`() {
    var learner = ready()
    learner.replica.value.installationFailed(first, now: learner.now)
    learner.actions = []
    offer(&learner)
    #expect(learner.actions.isEmpty)
    learner.pass(milliseconds: 30_100)
    offer(&learner)
    #expect(steps(learner) == [.begin])
  }

  @Test func `another entry where the log begins stops the partition`() {
    var follower = F.follower(recovered: F.recovered(b, epochs: [1, 1, 1], commit: 3, applied: 3))
    follower.replica.value.beginLog(after: LogIndex(3))
    follower.append(after: F.id(0, 3), [F.entry(1, 4)])
    #expect(follower.replica.stop == .conflictBelowCommit(LogIndex(3)))
  }
}

import ClusterModel
import Primitives
import RingControl
import Testing

/// What a change would do, and what is refused.
@Suite struct RingPlanTests {
  @Test(arguments: 3...16)
  func `a node that is added takes its share, and nothing moves between the others`(count: Int)
    throws
  {
    let fixture = RingFixture(members: count, registered: count + 1)
    let plan = try fixture.plan(.add("shard\(count + 1)", weight: nil, zone: nil))
    for move in plan.moves { #expect(move.newcomers.allSatisfy { $0 == store(count + 1) }) }
    #expect(plan.replicaMoves * 100 <= plan.idealMoves * 115)
    #expect(plan.after.maxPermille <= 1_100)
    let share = 256 * 3 / (count + 1)
    #expect(abs(plan.idealMoves - share) <= max(1, share / 20))
    if [3, 8, 16].contains(count) {
      print(
        "\(count) → \(count + 1) nodes: \(plan.replicaMoves) replicas move, ideal "
          + "\(plan.idealMoves), fullest \(plan.after.maxPermille) ‰")
    }
  }

  @Test(arguments: 4...16)
  func `of a node that is drained only what it held moves`(count: Int) throws {
    let fixture = RingFixture(members: count)
    for edit in [RingEdit.drain("shard2"), .remove("shard2")] {
      let plan = try fixture.plan(edit)
      let held = fixture.targets.count { $0.contains(store(2)) }
      #expect(plan.replicaMoves == held && plan.idealMoves == held)
      for move in plan.moves {
        let left = move.before.filter { !move.after.contains($0) }
        #expect(left.allSatisfy { $0 == store(2) })
      }
      #expect(plan.after.maxPermille <= 1_100)
    }
  }

  @Test func `a weight moves replicas to or from one node`() throws {
    let fixture = RingFixture(members: 6)
    let plan = try fixture.plan(.add("shard1", weight: 2, zone: nil))
    #expect(plan.record.change?.kind == .rebalance)
    #expect(!plan.moves.isEmpty)
    for move in plan.moves { #expect(move.newcomers.allSatisfy { $0 == store(1) }) }
    #expect(plan.record.member(named: "shard1")?.weight == 2)
  }

  @Test func `a plan says who will be a member, and what was`() throws {
    let fixture = RingFixture(members: 4)
    let drained = try fixture.plan(.drain("shard2")).record
    #expect(drained.active.map(\.name) == ["shard1", "shard3", "shard4"])
    #expect(drained.change?.formerMembers == fixture.ring.members)
    #expect(drained.changeCount == 1 && drained.change?.number == 1)
    let removed = try fixture.plan(.remove("shard2")).record
    #expect(removed.member(named: "shard2") == nil)
  }

  @Test func `what makes no sense is refused, with what is known`() throws {
    var fixture = RingFixture(members: 3, registered: 4)
    func refusal(_ edit: RingEdit) -> RingEditError? {
      do throws(RingEditError) {
        _ = try fixture.plan(edit)
        return nil
      } catch { return error }
    }
    #expect(
      refusal(.add("shard9", weight: nil, zone: nil))
        == .unknownNode("shard9", known: ["shard1", "shard2", "shard3", "shard4"]))
    #expect(
      refusal(.drain("shard4"))
        == .unknownNode("shard4", known: ["shard1", "shard2", "shard3"]))
    #expect(refusal(.add("shard4", weight: 0, zone: nil)) == .weightOutOfRange(0))
    #expect(refusal(.add("shard4", weight: 1_001, zone: nil)) == .weightOutOfRange(1_001))
    #expect(
      refusal(.add("shard1", weight: nil, zone: nil))
        == .nothingToDo("shard1 is in the ring already"))
    #expect(refusal(.drain("shard1")) == .fewerThanReplicas(left: 2, replicas: 3))
    #expect(refusal(.remove("shard1")) == .fewerThanReplicas(left: 2, replicas: 3))
    fixture.ring.members[0].isDrained = true
    fixture.ring.members[1].isDrained = true
    #expect(refusal(.drain("shard2")) == .nothingToDo("shard2 is drained already"))
    #expect(refusal(.drain("shard3")) == .tooFewMembers(left: 0, minInSync: 2))
    fixture.registered.removeFirst()
    #expect(refusal(.add("shard1", weight: nil, zone: nil)) == .notRegistered("shard1"))
    fixture = RingFixture(members: 3, registered: 4)
    try fixture.apply(.add("shard4", weight: nil, zone: nil))
    #expect(refusal(.drain("shard1")) == .changeUnderWay(kind: .add, subject: "shard4"))
  }

  @Test func `a split copies nothing, changes no member and cannot be turned back`() throws {
    let fixture = RingFixture(members: 4)
    let plan = try fixture.plan(.split())
    #expect(plan.moves.isEmpty && plan.replicaMoves == 0 && plan.leaderChanges == 0)
    #expect(plan.before == plan.after)
    #expect(plan.record.members == fixture.ring.members)
    #expect(plan.record.change?.kind == .split && plan.record.level == 0)
    #expect(plan.record.wantedLevel == 1)
    #expect(plan.record.turnedBack() == nil)
  }

  @Test func `a split that says how many there are to be is not done twice`() throws {
    var fixture = RingFixture(members: 3, partitions: 16)
    #expect(try fixture.plan(.split(to: 32)).record.wantedLevel == 1)
    #expect(throws: RingEditError.otherPartitionCount(64, allowed: 32)) {
      try fixture.plan(.split(to: 64))
    }
    fixture.ring.level = 1
    #expect(throws: RingEditError.nothingToDo("there are 32 partitions already")) {
      try fixture.plan(.split(to: 32))
    }
  }

  @Test func `a ring has at most 65536 partitions`() throws {
    var fixture = RingFixture(members: 3, partitions: 300)
    fixture.ring.level = 6
    #expect(try fixture.plan(.split()).record.wantedLevel == 7)
    fixture.ring.level = 7
    #expect(throws: RingEditError.tooManyPartitions(76_800)) { try fixture.plan(.split()) }
  }

  @Test func `after a split a node takes halves, and nothing moves between the others`() throws {
    var fixture = RingFixture(members: 4, registered: 5)
    try fixture.apply(.split())
    fixture.ring.change = nil
    fixture.ring.level = 1
    let halves = fixture.records.map { $0.cutOff(after: LogIndex(1), holders: $0.inSync, limit: 0) }
    fixture.records += halves
    fixture.revisions += halves.map { _ in 1 }
    let plan = try fixture.plan(.add("shard5", weight: nil, zone: nil))
    for move in plan.moves { #expect(move.newcomers.allSatisfy { $0 == store(5) }) }
    #expect(plan.replicaMoves * 100 <= plan.idealMoves * 115)
    #expect(abs(plan.idealMoves - 512 * 3 / 5) <= 512 * 3 / 5 / 20)
    // Halves of one partition go separate ways.
    let moved = Set(plan.moves.map(\.partition))
    #expect(
      (0..<256).contains { number in
        moved.contains(PartitionID(number)) != moved.contains(PartitionID(number + 256))
      })
  }

  @Test func `a drained node comes back with what it had`() throws {
    var fixture = RingFixture(members: 4)
    let before = fixture.targets
    try fixture.apply(.drain("shard2"))
    fixture.ring.change = nil
    let plan = try fixture.plan(.add("shard2", weight: nil, zone: nil))
    #expect(plan.record.change?.kind == .add)
    #expect(plan.record.active.count == 4)
    #expect(fixture.targets == before)
  }

  @Test func `who is turned back ends where it began`() throws {
    let fixture = RingFixture(members: 3, registered: 4)
    let record = try fixture.plan(.add("shard4", weight: nil, zone: nil)).record
    let back = try #require(record.turnedBack())
    #expect(back.members == fixture.ring.members)
    #expect(back.change?.isTurnedBack == true)
    for move in back.change?.moves ?? [] {
      #expect(fixture.targets[Int(move.partition.rawValue)] == move.after)
    }
    #expect(back.turnedBack() == record)
    #expect(fixture.ring.turnedBack() == nil)
  }

  @Test func `a store takes another one's place in members and moves`() throws {
    let fixture = RingFixture(members: 4)
    let record = try fixture.plan(.drain("shard2")).record
    let replaced = record.replacing(store(3), by: store(9), name: "shard3b")
    #expect(replaced.members.map(\.store) == [store(1), store(2), store(4), store(9)])
    #expect(replaced.member(named: "shard3b")?.store == store(9))
    let all = replaced.change?.moves.flatMap { $0.before + $0.after } ?? []
    #expect(!all.contains(store(3)) && all.contains(store(9)))
    // A member that takes over keeps its own weight and zone.
    let taken = record.replacing(store(2), by: store(4), name: "shard4")
    #expect(taken.members.map(\.store) == [store(1), store(3), store(4)])
    #expect(taken.member(named: "shard4") == fixture.ring.member(named: "shard4"))
  }
}

import ClusterModel
import Primitives
import RingControl
import Testing

/// A change is carried out whatever happens to whoever carries it out.
@Suite struct RingControllerTests {
  private static let second: UInt64 = 1_000_000_000

  private func learners(_ fixture: RingFixture) -> Int {
    fixture.records.count { record in
      record.target.contains { !record.inSync.contains($0) }
    }
  }

  /// Runs controllers that come and go, and leaders that take their time, until nothing is under
  /// way. **Returns**: how many learned at a time at most, and how many retargets were written.
  @discardableResult
  private func run(
    _ fixture: inout RingFixture, seed: UInt64, steps: Int = 20_000,
    at step: Int = -1, _ event: (inout RingFixture) -> Void = { _ in }
  ) -> (most: Int, retargets: Int) {
    var random = SeededRandom(seed: seed)
    // One of them holds the key, and the other only thinks so.
    var controllers = [RingController(fixture.scheme), RingController(fixture.scheme)]
    var holder = 0
    var now = Instant(nanoseconds: Self.second)
    var most = 0
    var retargets = 0
    for number in 0..<steps {
      if number == step { event(&fixture) }
      guard fixture.ring.change != nil else { break }
      now = now + 50
      if random.next() % 30 == 0 {
        holder = 1 - holder
        controllers[holder] = RingController(fixture.scheme)
        fixture.show(&controllers[holder])
      }
      // Now and then one acts on what it saw long ago, or its request is lost.
      let place = Int(random.next() % 2)
      if random.next() % 3 != 0 { fixture.show(&controllers[place]) }
      for action in controllers[place].step(now: now) {
        guard place == holder, random.next() % 10 != 0 else { continue }
        if fixture.carryOut(action), case .retarget = action { retargets += 1 }
      }
      most = max(most, learners(fixture))
      for _ in 0..<4 { fixture.lead(Int(random.next() % UInt64(fixture.records.count))) }
    }
    return (most, retargets)
  }

  private func expectSettled(_ fixture: RingFixture, on goal: [[StoreID]]) {
    // Leadership may follow a little later.
    var fixture = fixture
    for number in fixture.records.indices { fixture.lead(number) }
    #expect(fixture.ring.change == nil)
    #expect(fixture.targets == goal)
    for record in fixture.records {
      #expect(record.inSync == record.target.sorted())
      #expect(record.leader == record.target[0])
    }
  }

  private func goal(_ fixture: RingFixture) -> [[StoreID]] {
    var goal = fixture.targets
    for move in fixture.ring.change?.moves ?? [] { goal[Int(move.partition.rawValue)] = move.after }
    return goal
  }

  @Test(arguments: 1...10)
  func `a node is added, drained and removed by controllers that come and go`(seed: UInt64) throws {
    var fixture = RingFixture(members: 3, partitions: 64, registered: 4)
    for edit in [
      RingEdit.add("shard4", weight: nil, zone: nil), .drain("shard1"), .remove("shard1"),
    ] {
      try fixture.apply(edit)
      let goal = goal(fixture)
      let moves = fixture.ring.change?.moves.count ?? 0
      let (most, retargets) = run(&fixture, seed: seed)
      expectSettled(fixture, on: goal)
      #expect(most <= Int(fixture.ring.movesMax))
      #expect(retargets == moves, "each once")
    }
    #expect(fixture.ring.members.map(\.name) == ["shard2", "shard3", "shard4"])
  }

  @Test(arguments: 1...10)
  func `a change that is turned back ends as it was`(seed: UInt64) throws {
    var fixture = RingFixture(members: 3, partitions: 64, registered: 4)
    let before = fixture.targets
    let members = fixture.ring.members
    try fixture.apply(.add("shard4", weight: nil, zone: nil))
    run(&fixture, seed: seed, at: 40) { fixture in
      if let back = fixture.ring.turnedBack() { fixture.write(back) }
    }
    expectSettled(fixture, on: before)
    #expect(fixture.ring.members == members)
    #expect(fixture.records.allSatisfy { !$0.target.contains { $0.store == store(4) } })
  }

  @Test func `few learn at a time`() throws {
    var fixture = RingFixture(members: 3, partitions: 64, registered: 4)
    fixture.ring.movesMax = 2
    try fixture.apply(.add("shard4", weight: nil, zone: nil))
    #expect(run(&fixture, seed: 3).most == 2)
  }

  @Test func `a newcomer that does not run holds nobody else up, and is not waited for for ever`()
    throws
  {
    var fixture = RingFixture(members: 5, partitions: 64)
    fixture.ring.movesMax = 1
    try fixture.apply(.drain("shard1"))
    fixture.registered.removeAll { $0.store == store(3) }
    let goal = goal(fixture)
    var controller = RingController(fixture.scheme)
    var now = Instant(nanoseconds: Self.second)
    for _ in 0..<1_000 {
      fixture.show(&controller)
      for action in controller.step(now: now) { fixture.carryOut(action) }
      for number in fixture.records.indices { fixture.lead(number) }
      now = now + 50
    }
    let stuck = fixture.records.indices.filter { number in
      !RingController.isSettled(fixture.records[number], on: goal[number])
    }
    #expect(!stuck.isEmpty)
    for number in stuck { #expect(goal[number].contains(store(3))) }
    #expect(fixture.ring.change != nil, "it may only have been started anew")
    fixture.show(&controller)
    for action in controller.step(now: now + RingController.goneMax) { fixture.carryOut(action) }
    #expect(fixture.ring.change == nil, "now something can be done about it")
    #expect(fixture.targets == goal)
    fixture.registered.append(node(3))
    for _ in 0..<10 { for number in fixture.records.indices { fixture.lead(number) } }
    expectSettled(fixture, on: goal)
  }

  @Test func `what is asked for is not asked again before it is answered or given up`() throws {
    var fixture = RingFixture(members: 3, partitions: 64, registered: 4)
    try fixture.apply(.add("shard4", weight: nil, zone: nil))
    var controller = RingController(fixture.scheme)
    fixture.show(&controller)
    let now = Instant(nanoseconds: Self.second)
    let first = controller.step(now: now)
    #expect(first.count >= 8)
    #expect(controller.step(now: now + 1).isEmpty)
    guard case .retarget(let partition, _, _, _)? = first.first else { return }
    controller.failed(partition)
    #expect(controller.step(now: now + 2).count == 1)
    #expect(controller.step(now: now + 3_000).count == first.count)
  }

  @Test func `progress counts what is there, on its way and to come`() throws {
    var fixture = RingFixture(members: 3, partitions: 64, registered: 4)
    try fixture.apply(.add("shard4", weight: nil, zone: nil))
    var controller = RingController(fixture.scheme)
    fixture.show(&controller)
    let total = fixture.ring.change?.moves.count ?? 0
    #expect(controller.progress == RingProgress(done: 0, underWay: 0, total: total))
    let actions = controller.step(now: Instant(nanoseconds: Self.second))
    for action in actions { fixture.carryOut(action) }
    fixture.show(&controller)
    let progress = try #require(controller.progress)
    #expect(progress.underWay == 8 && progress.done + progress.underWay == actions.count)
    #expect(controller.hasChange)
  }

  @Test func `a split is over when every half has a record`() throws {
    var fixture = RingFixture(members: 3, partitions: 3)
    try fixture.apply(.split())
    var controller = RingController(fixture.scheme)
    fixture.show(&controller)
    let now = Instant(nanoseconds: Self.second)
    #expect(controller.progress == RingProgress(done: 0, underWay: 0, total: 3))
    // In any order.
    for (done, number) in [2, 0, 1].enumerated() {
      #expect(controller.step(now: now).isEmpty, "\(done) of 3")
      let half = fixture.half(of: number)
      controller.recordObserved(
        half.partition, VersionedRecord(record: half.record, revision: Revision(50)))
      #expect(controller.progress?.done == done + 1)
    }
    let actions = controller.step(now: now)
    var finished = fixture.ring
    finished.change = nil
    finished.level = 1
    #expect(actions == [.finish(finished, base: Revision(fixture.ringRevision))])
    #expect(controller.step(now: now + 1).isEmpty, "it is asked for already")
  }
}

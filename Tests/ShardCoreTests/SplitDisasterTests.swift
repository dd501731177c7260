import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Simulation
import Testing
import WalkSupport

@testable import ShardCore

/// Splits of what operators had to give up, and splits while something else does not work.
@Suite struct SplitDisasterTests {
  private static let whole = PartitionID(0)
  private static let half = SplitScene.half

  @Test func `a half that began empty does not cut itself, and is cut once by the next split`()
    throws
  {
    var scene = SplitScene()
    scene.split()
    scene.begins()
    scene.rig.run(milliseconds: 300)
    let known = try #require(scene.rig.coordinator.records[Self.half])
    let emptied = known.record.emptied(owners: known.record.target.map(\.store))
    _ = scene.rig.coordinator.compareAndSet(Self.half, emptied, base: known.revision)
    for store in scene.rig.stores.indices { scene.rig.announceRecords(to: store) }
    let isEmpty = scene.rig.run(upTo: 5_000) { rig in
      rig.leader(of: 1).map { rig.stores[$0].hosts.contains { $0.firstGeneration == 1 } } ?? false
    }
    try #require(isEmpty)
    scene.rig.run(milliseconds: 1_000)
    for store in scene.rig.stores { #expect(Set(store.hosts.map(\.partition.rawValue)) == [0, 1]) }

    scene.split(level: 1)
    let isCut = scene.rig.run(upTo: 5_000) { $0.leader(of: 2) != nil && $0.leader(of: 3) != nil }
    try #require(isCut)
    for room in scene.lower {
      let partition = SplitScene.scheme.partition(
        of: EntityID.conversation(room).token, level: 2)
      let gateway = scene.rig.openGateway(to: scene.rig.leader(of: Int(partition.rawValue)) ?? 0)
      let sent = scene.say("kept", in: room, to: partition, through: gateway)
      scene.rig.run(milliseconds: 100)
      #expect(scene.sequence(sent) == 3)
    }
    for partition in 0..<4 {
      let hosts = (0..<3).compactMap { scene.host($0, PartitionID(UInt32(partition))) }
      #expect(hosts.count == 3 && Set(hosts.map(\.rollingHash)).count == 1)
      #expect(hosts.allSatisfy { $0.level == 2 })
    }
    #expect(scene.rig.stores.compactMap(\.disk.violation).isEmpty)
  }

  @Test func `halves of what an operator gave up are not mixed with those made afterwards`()
    throws
  {
    var scene = SplitScene()
    scene.rig.kill(2)
    let isOut = scene.rig.run(upTo: 10_000) {
      $0.coordinator.records[Self.whole]?.record.inSync.count == 2
    }
    try #require(isOut)
    for room in scene.upper { scene.say("lost", in: room) }
    scene.rig.run(milliseconds: 200)
    for store in 0...1 { scene.rig.stores[store].seesCoordinator = false }
    scene.split()
    scene.rig.run(milliseconds: 300)
    #expect((0...1).allSatisfy { scene.host($0, Self.half) != nil } && scene.record == nil)
    for store in 0...1 { scene.rig.kill(store) }

    scene.rig.start(2)
    scene.rig.run(milliseconds: 100)
    let seen = try #require(scene.rig.coordinator.records[Self.whole])
    let behind = try #require(seen.record.replica(on: store(3)))
    let forced = try #require(seen.record.forcing(behind, others: [store(1), store(2)]))
    _ = scene.rig.coordinator.compareAndSet(Self.whole, forced, base: seen.revision)
    for store in 0...1 {
      scene.rig.stores[store].seesCoordinator = true
      scene.rig.start(store)
    }
    for store in 0...2 { scene.rig.announceRecords(to: store) }
    scene.split()
    scene.begins(within: 20_000)
    let isWhole = scene.rig.run(upTo: 20_000) { rig in
      [Self.whole, Self.half].allSatisfy {
        rig.coordinator.records[$0]?.record.inSync.count == 3
      }
    }
    try #require(isWhole)
    let gateway = scene.rig.openGateway(to: scene.rig.leader(of: 1) ?? 2)
    let sent = scene.say("after", in: scene.upper[0], to: Self.half, through: gateway)
    scene.rig.run(milliseconds: 500)
    #expect(scene.sequence(sent) == 3, "what was lost is lost everywhere")
    let hosts = (0..<3).compactMap { scene.host($0, Self.half) }
    #expect(hosts.count == 3 && Set(hosts.map(\.rollingHash)).count == 1)
    #expect(hosts.allSatisfy { !$0.standing.isStopped })
    #expect(scene.rig.stores.compactMap(\.disk.violation).isEmpty)
  }

  @Test func `while the coordinator is away few are cut, and the others go on as before`() throws {
    var rig = ShardRig(stores: 3, partitions: 16)
    rig.run(milliseconds: 500)
    for store in rig.stores.indices { rig.stores[store].seesCoordinator = false }
    let ring = RingRecord(
      members: [],
      change: RingChange(
        number: 1, kind: .split, subject: "", startedAt: .zero, formerMembers: [], moves: []))
    for store in rig.stores.indices {
      rig.input(store) { core, _, _ in core.ringObserved(ring) }
    }
    rig.run(milliseconds: 2_000)
    for store in rig.stores {
      let cut = store.hosts.count { $0.standing.isLeader && $0.level == 1 }
      #expect((1...ShardConfiguration.splitsMaxUsual).contains(cut))
    }
    for store in rig.stores.indices { rig.stores[store].seesCoordinator = true }
    let isCut = rig.run(upTo: 10_000) { rig in (16..<32).allSatisfy { rig.leader(of: $0) != nil } }
    #expect(isCut)
  }

  @Test func `a learner that lags does not hold up those who are in sync`() throws {
    var scene = SplitScene()
    scene.rig.kill(2)
    let isOut = scene.rig.run(upTo: 10_000) {
      $0.coordinator.records[Self.whole]?.record.inSync.count == 2
    }
    try #require(isOut)
    scene.say("while it is away", in: scene.lower[0])
    scene.rig.run(milliseconds: 100)
    scene.rig.start(2)
    scene.rig.stores[2].holdsSync = true
    // It was about to join and is waited for no longer.
    let sent = scene.say("while it lags", in: scene.lower[0])
    let isGivenUp = scene.rig.run(upTo: 5_000) { !($0.responses[sent] ?? []).isEmpty }
    try #require(isGivenUp)
    scene.split()
    scene.begins(within: 300)
    scene.rig.releaseSyncs(2)
    let joins = scene.rig.run(upTo: 5_000) { rig in
      [Self.whole, Self.half].allSatisfy {
        rig.coordinator.records[$0]?.record.inSync.count == 3
      }
    }
    #expect(joins)
  }
}

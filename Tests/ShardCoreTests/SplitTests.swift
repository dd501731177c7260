import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Simulation
import Testing
import WalkSupport

@testable import ShardCore

/// Partitions that are cut in two while they are used.
@Suite struct SplitTests {
  private static let scheme = SplitScene.scheme
  private static let half = SplitScene.half

  @Test func `both halves go on where they were, on the same stores under the same leader`()
    throws
  {
    var scene = SplitScene()
    let before = try #require(scene.rig.coordinator.records[PartitionID(0)])
    scene.split()
    scene.begins()
    let record = try #require(scene.record)
    #expect(record.inSync == before.record.inSync && record.target == before.record.target)
    #expect(record.leader == before.record.leader && record.nextReplica > 4)
    #expect(
      scene.rig.coordinator.records[PartitionID(0)] == before, "nothing changed for the other")
    let last = scene.say("after", in: scene.upper[0], to: Self.half)
    let other = scene.say("after", in: scene.lower[0])
    scene.rig.run(milliseconds: 100)
    #expect(scene.sequence(last) == 3 && scene.sequence(other) == 3)
    for partition in [PartitionID(0), Self.half] {
      let hosts = (0..<3).compactMap { scene.host($0, partition) }
      #expect(hosts.count == 3)
      #expect(Set(hosts.map(\.rollingHash)).count == 1)
      #expect(hosts.allSatisfy { $0.level == 1 })
    }
    for store in scene.rig.stores { #expect(store.disk.violation == nil) }
  }

  @Test func `the upper half is not served any more by what it was cut off from`() {
    var scene = SplitScene()
    scene.split()
    scene.begins()
    let sent = scene.say("astray", in: scene.upper[0])
    let asked = scene.rig.request(
      .query(
        .history(
          HistoryQuery(
            conversation: scene.upper[0], reader: scene.ada, range: .latest, limit: 1))),
      in: PartitionID(0), through: scene.gateway)
    let pulled = scene.rig.request(
      .query(
        .changes(
          ChangesQuery(
            reader: scene.ada,
            requests: [scene.lower[0], scene.upper[0]].map {
              ChangesQuery.Request(conversation: $0, after: .zero)
            }, limit: 9))),
      in: PartitionID(0), through: scene.gateway)
    scene.rig.run(milliseconds: 50)
    for request in [sent, asked, pulled] { #expect(scene.isElsewhere(request)) }
  }

  @Test func `what arrives while it is cut waits, and is answered in its order`() {
    var scene = SplitScene()
    scene.rig.stores[1].holdsSync = true
    scene.split()
    scene.rig.run(milliseconds: 15)
    #expect(scene.host(0, PartitionID(0))?.splitting == 1)
    let sent = (0..<20).map { number in
      scene.say("\(number)", in: number % 2 == 0 ? scene.lower[0] : scene.upper[0])
    }
    scene.rig.run(milliseconds: 15)
    scene.rig.releaseSyncs(1)
    scene.begins()
    let lower = sent.enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
    #expect(lower.map { scene.sequence($0) } == (3...12).map { UInt64($0) })
    for (number, request) in sent.enumerated() where number % 2 == 1 {
      #expect(scene.isElsewhere(request), "\(number)")
    }
  }

  @Test func `subscriptions of the upper half end, the others go on`() {
    var scene = SplitScene()
    for room in [scene.lower[0], scene.upper[0]] {
      scene.rig.tell(
        .subscribe(
          Subscribe(partition: PartitionID(0), entity: .conversation(room), after: nil)),
        through: scene.gateway)
    }
    scene.rig.run(milliseconds: 20)
    scene.split()
    scene.begins()
    let ended = scene.rig.received[scene.gateway].compactMap { frame in
      if case .subscriptionEnded(let ended) = frame { ended.entity } else { nil }
    }
    #expect(ended == [.conversation(scene.upper[0])])
    scene.say("heard", in: scene.lower[0])
    scene.say("not heard", in: scene.upper[0], to: Self.half)
    scene.rig.run(milliseconds: 50)
    #expect(scene.rig.deliveries(scene.gateway).count == 1)
  }

  @Test func `the half begins only when everybody in sync has cut`() {
    var scene = SplitScene()
    scene.rig.stores[2].holdsSync = true
    scene.split()
    scene.rig.run(milliseconds: 200)
    #expect(scene.record == nil && scene.host(2, Self.half) == nil)
    scene.rig.releaseSyncs(2)
    scene.begins()
    #expect(scene.record?.inSync.count == 3)
  }

  @Test func `one that does not cut is not waited for for ever, and learns the half`() {
    var scene = SplitScene()
    scene.split()
    // It has the entry and does not apply it.
    let isAppended = scene.rig.run(upTo: 100) { rig in
      rig.stores[0].hosts[0].splitting != nil
        && rig.stores[2].hosts[0].standing.appliedIndex
          < rig.stores[2].hosts[0].visit { $0.lastEntry.index }
    }
    #expect(isAppended)
    scene.rig.pause(2)
    scene.rig.run(milliseconds: 900)
    #expect(scene.record == nil)
    scene.begins(within: 3_000)
    #expect(scene.record?.inSync.count == 2)
    scene.rig.resume(2)
    let joins = scene.rig.run(upTo: 5_000) {
      $0.coordinator.records[Self.half]?.record.inSync.count == 3
    }
    #expect(joins)
  }

  @Test func `a leader that dies between cut and record is followed by one that goes on`() {
    var scene = SplitScene()
    for store in scene.rig.stores.indices { scene.rig.stores[store].seesCoordinator = false }
    scene.split()
    scene.rig.run(milliseconds: 300)
    #expect((0..<3).allSatisfy { scene.host($0, Self.half) != nil })
    #expect(scene.record == nil, "nobody could write it")
    scene.rig.kill(0)
    for store in [1, 2] { scene.rig.stores[store].seesCoordinator = true }
    scene.begins(within: 5_000)
    #expect(scene.record?.inSync.count ?? 0 >= 2)
    let gateway = scene.rig.openGateway(to: scene.rig.leader(of: 1) ?? 1)
    let sent = scene.say("on", in: scene.upper[0], to: Self.half, through: gateway)
    scene.rig.run(milliseconds: 200)
    #expect(scene.sequence(sent) == 3)
  }

  @Test func `everybody may die between cut and record: the halves are on the disks`() {
    var scene = SplitScene()
    for store in scene.rig.stores.indices { scene.rig.stores[store].seesCoordinator = false }
    scene.split()
    scene.rig.run(milliseconds: 300)
    for store in scene.rig.stores.indices { scene.rig.kill(store) }
    for store in scene.rig.stores.indices {
      scene.rig.stores[store].seesCoordinator = true
      scene.rig.start(store)
    }
    scene.split()
    scene.begins(within: 5_000)
    let gateway = scene.rig.openGateway(to: scene.rig.leader(of: 1) ?? 1)
    let sent = scene.say("on", in: scene.upper[0], to: Self.half, through: gateway)
    scene.rig.run(milliseconds: 200)
    #expect(scene.sequence(sent) == 3)
  }

  @Test func `a crash before the cut is durable cuts again`() {
    var scene = SplitScene()
    scene.rig.stores[1].holdsSync = true
    scene.split()
    scene.rig.run(milliseconds: 100)
    scene.rig.stores[1].heldSyncs = []
    scene.rig.stores[1].holdsSync = false
    scene.rig.restart(1)
    scene.begins(within: 5_000)
    #expect(scene.record?.inSync.count == 3)
    #expect(scene.rig.stores[1].disk.violation == nil)
  }

  @Test func `a store that comes later learns each half for itself`() {
    var scene = SplitScene { $0.checkpointInterval = 100 }
    scene.rig.kill(2)
    let isAlone = scene.rig.run(upTo: 5_000) {
      $0.coordinator.records[PartitionID(0)]?.record.inSync.count == 2
    }
    #expect(isAlone)
    scene.split()
    scene.begins()
    for number in 0..<10 { scene.say("\(number)", in: scene.upper[0], to: Self.half) }
    scene.rig.start(2)
    let joins = scene.rig.run(upTo: 5_000) { rig in
      [PartitionID(0), Self.half].allSatisfy {
        rig.coordinator.records[$0]?.record.inSync.count == 3
      }
    }
    #expect(joins)
    scene.rig.run(milliseconds: 300)
    #expect(Set((0..<3).compactMap { scene.host($0, Self.half)?.rollingHash }).count == 1)
  }

  @Test func `nobody leaves before the half has a record`() {
    var scene = SplitScene(stores: 4)
    let whole = PartitionID(0)
    // Three of the four are to have it.
    let known = scene.rig.coordinator.records[whole]
    guard let known else { return }
    for store in scene.rig.stores.indices { scene.rig.stores[store].hearsRecords = false }
    var record = known.record
    record.target.removeLast()
    scene.split()
    let isCut = scene.rig.run(upTo: 100) { $0.stores[0].hosts.count == 2 }
    #expect(isCut && scene.record == nil)
    // The record has changed, so the half's is asked for in vain until that is heard of.
    _ = scene.rig.coordinator.compareAndSet(whole, record, base: known.revision)
    scene.rig.run(milliseconds: 500)
    #expect(scene.record == nil)
    #expect(scene.rig.coordinator.records[whole]?.record.inSync.count == 4)
    for store in scene.rig.stores.indices {
      scene.rig.stores[store].hearsRecords = true
      scene.rig.announceRecords(to: store)
    }
    scene.begins()
    let leaves = scene.rig.run(upTo: 3_000) { rig in
      [whole, Self.half].allSatisfy { rig.coordinator.records[$0]?.record.inSync.count == 3 }
    }
    #expect(leaves)
  }

  @Test func `a split that is asked for again is done once, and the next one cuts both halves`() {
    var scene = SplitScene()
    scene.split()
    scene.begins()
    scene.split()
    scene.rig.run(milliseconds: 300)
    #expect(scene.rig.coordinator.records.keys.count == 2)
    scene.split(level: 1)
    let isCut = scene.rig.run(upTo: 1_000) { $0.leader(of: 2) != nil && $0.leader(of: 3) != nil }
    #expect(isCut)
    let scheme = Self.scheme
    for room in scene.lower + scene.upper {
      let partition = scheme.partition(of: EntityID.conversation(room).token, level: 2)
      let sent = scene.say("twice", in: room, to: partition)
      scene.rig.run(milliseconds: 50)
      #expect(scene.sequence(sent) == 3)
    }
  }

  @Test func `all partitions together keep what is on its way to a follower within its bound`() {
    var scene = SplitScene()
    func window(_ scene: SplitScene) -> Int? {
      scene.rig.stores[0].core?.configuration.replica.windowBytesMax
    }
    let before = window(scene) ?? 0
    scene.split(level: 5)
    #expect(window(scene) == ShardConfiguration.catchUpBytesPerLink >> 6)
    #expect(window(scene) ?? .max < before)
    // Never less, as a ring has never fewer partitions.
    scene.split(level: 2)
    #expect(window(scene) == ShardConfiguration.catchUpBytesPerLink >> 6)
  }

  @Test func `a ring that was split costs nothing any more`() {
    var scene = SplitScene()
    scene.split()
    scene.begins()
    scene.rig.run(milliseconds: 500)
    #expect(scene.rig.stores.allSatisfy { $0.core?.hasSplits == false })
  }

  @Test func `nothing is cut before every node knows how`() {
    var scene = SplitScene { $0.activeVersion = ProtocolVersion.splits - 1 }
    scene.split()
    scene.rig.run(milliseconds: 300)
    #expect(scene.rig.stores.allSatisfy { $0.hosts.count == 1 })
    for store in scene.rig.stores.indices {
      scene.rig.input(store) { core, _, _ in core.versionActivated(ProtocolVersion.splits) }
    }
    scene.begins()
  }
}

import ClusterModel
import NodeProtocol
import Primitives
import ReplicaCore
import Simulation
import Testing
import WalkSupport

@testable import ShardCore

/// A store whose data were lost and whose identity was kept: whatever was listed for it before then
/// it may have lost.
@Suite struct RemadeStoreTests {
  private let partition = PartitionID(0)

  private func record(target number: UInt32, isInSync: Bool = false) -> PartitionRecord {
    let (own, other) = (
      ReplicaID(store: store(1), number: number), ReplicaID(store: store(2), number: 2)
    )
    return PartitionRecord(
      epoch: Epoch(1), leader: other, leaderBoot: BootID(7),
      inSync: isInSync ? [own, other] : [other], target: [own, other], nextReplica: number + 1,
      generation: 0)
  }

  /// What a store asks for that sees these records, one after the other, and what it hosts then.
  private func shown(
    _ records: [PartitionRecord], wasMadeAnew: Bool = true
  ) -> (changes: [PartitionRecord], replica: ReplicaID?, isStopped: Bool?) {
    var configuration = ShardConfiguration(
      clusterID: 1, node: "shard1", store: store(1), boot: BootID(9), partitionCount: 1,
      minInSync: 2)
    configuration.wasMadeAnew = wasMadeAnew
    var core = ShardCore(configuration: configuration, storage: SimulatedDisk(), seed: 1)
    var actions: [ShardAction] = []
    for (number, record) in records.enumerated() {
      core.recordObserved(
        partition,
        VersionedRecord(record: record, revision: Revision(Int64(number) + 1)),
        now: Instant(nanoseconds: 1_000_000_000), into: &actions)
    }
    let changes = actions.compactMap { action -> PartitionRecord? in
      if case .compareAndSet(_, let record, _) = action { record } else { nil }
    }
    let host = core.inspected.first
    return (changes, host?.replicaID, host?.standing.isStopped)
  }

  @Test(arguments: [false, true])
  func `what it finds listed when it starts is given up, a learner too`(isInSync: Bool) {
    let found = record(target: 3, isInSync: isInSync)
    let (changes, _, isStopped) = shown([found])
    #expect(isStopped == true)
    #expect(changes.map(\.target) == [record(target: 4).target])
    #expect(changes.map(\.inSync) == [found.inSync])
  }

  @Test func `where nobody has led yet it has lost nothing`() {
    let emptied = record(target: 3).emptied(owners: [store(1), store(2)])
    let (changes, replica, isStopped) = shown([emptied])
    #expect(changes.isEmpty)
    #expect(replica == emptied.target[0])
    #expect(isStopped == false)
  }

  @Test func `what is listed for it afterwards begins empty`() {
    let (_, replica, isStopped) = shown([record(target: 3), record(target: 4)])
    #expect(replica == ReplicaID(store: store(1), number: 4))
    #expect(isStopped == false)
  }

  @Test func `a store that has lost nothing takes up what it finds listed`() {
    let (changes, replica, isStopped) = shown([record(target: 3)], wasMadeAnew: false)
    #expect(changes.isEmpty)
    #expect(replica == ReplicaID(store: store(1), number: 3))
    #expect(isStopped == false)
  }
}

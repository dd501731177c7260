import ClusterModel
import Coordination
import NIOPosix
import NodeRuntime
import Primitives
import Testing

/// Who may be made a leader, and what is said when somebody may not.
@Suite(.timeLimit(.minutes(1))) struct LeaderForcingTests {
  private let coordinator: EmbeddedCoordinator
  private let partition = PartitionID(0)
  private let stores = (1...3).map { StoreID($0) }

  init() throws {
    coordinator = try EmbeddedCoordinator.inMemory()
  }

  private func put(_ key: String, _ value: [UInt8]) async throws {
    _ = try await coordinator.transact(.compareAndSet(key, at: .zero, to: value))
  }

  /// A ring of one partition with these shards registered; all stores are in sync unless said
  /// otherwise.
  private func ring(
    registered: [Int], change: (inout PartitionRecord) -> Void = { _ in }
  ) async throws {
    try await put(
      CoordinationKey.cluster,
      ClusterRecord(clusterID: 1, partitionCount: 1, replicaCount: 3).encoded())
    var record = PartitionRecord(initialOwners: stores)
    record.epoch = Epoch(4)
    record.leaderBoot = BootID(70)
    change(&record)
    try await put(CoordinationKey.partition(partition), record.encoded())
    for number in registered {
      let node = NodeRecord(
        name: "shard\(number)", role: .shard, store: StoreID(UInt64(number)),
        boot: BootID(UInt64(70 + number)), laneAddresses: [], operatorAddress: nil, publicURLs: [],
        zone: "", weight: 1, protocolVersion: 1)
      try await put(CoordinationKey.node(node.name), node.encoded())
    }
  }

  private func forcing(to shard: String) async throws -> LeaderForcing {
    try await LeaderForcing(to: shard, in: coordinator)
  }

  private func refusal(
    _ forcing: LeaderForcing, beginsEmpty: Bool = false
  ) -> String? {
    do throws(StartError) {
      _ = try forcing.plan(partition, beginsEmpty: beginsEmpty)
      return nil
    } catch {
      return "\(error)"
    }
  }

  @Test func `the only in-sync replica that is left goes on alone`() async throws {
    try await ring(registered: [2, 4])
    let forcing = try await forcing(to: "shard2")
    #expect(forcing.lostPartitions == [partition])
    let plan = try forcing.plan(partition, beginsEmpty: false)
    #expect(plan.isComplete && !plan.isEmpty)
    #expect(plan.forced.inSync.map(\.store) == [stores[1]])
    #expect(plan.forced.generation == 1)
    #expect(refusal(forcing, beginsEmpty: true)?.contains("leave --empty out") == true)
  }

  @Test func `nobody is forced while another in-sync replica is there`() async throws {
    try await ring(registered: [2, 3])
    let forcing = try await forcing(to: "shard2")
    #expect(forcing.lostPartitions.isEmpty)
    #expect(refusal(forcing)?.contains("shard3 is registered and in sync") == true)
  }

  @Test func `one that leads is left alone`() async throws {
    try await ring(registered: [2, 4]) {
      $0.leader = $0.target[1]
      $0.leaderBoot = BootID(72)
    }
    let forcing = try await forcing(to: "shard2")
    #expect(forcing.lostPartitions.isEmpty)
    #expect(refusal(forcing)?.contains("leads it") == true)
  }

  @Test func `replicas that gave themselves up are nobody's survivors`() async throws {
    try await ring(registered: [1, 2, 3]) { record in
      for replica in record.inSync {
        if let changed = record.giving(up: replica) { record = changed }
      }
    }
    let forcing = try await forcing(to: "shard2")
    #expect(forcing.lostPartitions == [partition])
    let plan = try forcing.plan(partition, beginsEmpty: true)
    #expect(plan.isEmpty && !plan.isComplete)
    #expect(plan.forced.inSync.count == 3)
  }
}

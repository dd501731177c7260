import ClusterModel
import Coordination
import Primitives
import RingControl
import Testing

@testable import NodeRuntime

/// What is looked at before a split begins, which nobody can turn back, and what replaces a store
/// meanwhile.
@Suite(.timeLimit(.minutes(1))) struct RingChangingTests {
  private let coordinator: EmbeddedCoordinator
  private let stores = (1...4).map { StoreID($0) }

  init() throws {
    coordinator = try EmbeddedCoordinator.inMemory()
  }

  private func put(_ key: String, _ value: [UInt8]) async throws {
    _ = try await coordinator.transact(
      Transaction(conditions: [], success: [.put(key: key, value: value, lease: nil)]))
  }

  private func record(inSync: [Int] = [1, 2, 3]) -> PartitionRecord {
    var record = PartitionRecord(initialOwners: Array(stores[0..<3]))
    record.epoch = Epoch(4)
    record.leaderBoot = BootID(71)
    record.inSync = record.target.filter { inSync.contains(Int($0.store.rawValue)) }
    return record
  }

  /// Four partitions on shards 1 to 3, all of them led by shard 1; shard 4 runs beside them.
  private func ring(
    version: UInt32 = ProtocolVersion.splits, registered: ClosedRange<Int> = 1...4
  ) async throws {
    try await put(
      CoordinationKey.cluster,
      ClusterRecord(clusterID: 1, partitionCount: 4, replicaCount: 3).encoded())
    try await put(CoordinationKey.version, ActiveVersion(version).encoded())
    for number in 0..<4 {
      try await put(CoordinationKey.partition(PartitionID(UInt32(number))), record().encoded())
    }
    for number in registered {
      let node = NodeRecord(
        name: "shard\(number)", role: .shard, store: stores[number - 1],
        boot: BootID(UInt64(70 + number)), laneAddresses: [], operatorAddress: nil,
        publicURLs: [], zone: "", weight: 100, protocolVersion: 1)
      try await put(CoordinationKey.node(node.name), node.encoded())
    }
  }

  /// Why a split is not begun; `nil` when it is.
  private func refusal() async throws -> String? {
    do {
      let changing = try await RingChanging(in: coordinator)
      try await changing.apply(try changing.plan(.split()))
      return nil
    } catch let error as StartError {
      return "\(error)"
    }
  }

  private func isBegun() async throws -> Bool {
    try await RingStatus.readMade(coordinator).ring.change?.kind == .split
  }

  @Test func `a ring that is whole is split`() async throws {
    try await ring()
    #expect(try await refusal() == nil)
    #expect(try await isBegun())
  }

  @Test func `not before all nodes know how`() async throws {
    try await ring(version: ProtocolVersion.splits - 1)
    #expect(try await refusal()?.contains("martlet ring activate") == true)
    #expect(try await !isBegun())
  }

  @Test func `not where a replica is missing or nobody leads, for it would not come to its end`()
    async throws
  {
    try await ring()
    try await put(CoordinationKey.partition(PartitionID(1)), record(inSync: [1, 2]).encoded())
    var headless = record()
    headless.leaderBoot = BootID(5)
    try await put(CoordinationKey.partition(PartitionID(2)), headless.encoded())
    #expect(try await refusal()?.contains("2 of 4 partitions are not whole") == true)
    #expect(try await !isBegun())
  }

  @Test func `not while a backup is made`() async throws {
    try await ring()
    try await put(CoordinationKey.backup, BackupRequest(id: 1, phase: .hold).encoded())
    #expect(try await refusal()?.contains("a backup is being made") == true)
    #expect(try await !isBegun())
  }

  @Test func `a store that is gone is replaced in halves too that are made meanwhile`()
    async throws
  {
    try await ring(registered: 2...4)
    let replacement = try await StoreReplacement(of: nil, by: "shard4", in: coordinator)
    #expect(replacement.partitions.count == 4)
    // The half of one that was not replaced yet.
    try await put(CoordinationKey.partition(PartitionID(4)), record().encoded())
    try await replacement.carryOut(in: coordinator)
    let status = try await RingStatus.readMade(coordinator)
    #expect(status.partitions.count == 5)
    for partition in status.partitions {
      #expect(partition.record.target.map(\.store) == [stores[3], stores[1], stores[2]])
    }
  }
}

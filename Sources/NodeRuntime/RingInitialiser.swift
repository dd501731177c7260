package import ClusterModel
package import Coordination
import Credentials
import HashRing
import Primitives

/// Makes the ring: the one thing that is done once in a cluster's life.
package enum RingInitialiser {
  /// Waits until `shardCount` shards are registered, places the partitions on them and writes the
  /// records. Running it again on a cluster that has a ring changes nothing, whatever the numbers.
  ///
  /// **Returns**: the cluster's record, and whether it was made now.
  /// **Throws**: `StartError` for a number that makes no sense; `CoordinationError`.
  package static func initialise(
    shardCount: Int, partitionCount: UInt32, replicaCount: UInt32, in coordinator: any Coordinator
  ) async throws -> (record: ClusterRecord, isNew: Bool) {
    if let item = try await coordinator.get(CoordinationKey.cluster).item {
      return (try ClusterRecord(decoding: item.value), false)
    }
    guard ClusterRecord.partitionCountRange.contains(partitionCount) else {
      throw StartError("--partitions \(partitionCount): allowed is 1 to 65536")
    }
    guard ClusterRecord.replicaCountRange.contains(replicaCount) else {
      throw StartError("--replicas \(replicaCount): allowed is 1 to 7")
    }
    guard shardCount >= Int(replicaCount) else {
      throw StartError(
        "--replicas \(replicaCount): there are \(shardCount) shards; allowed is 1 to \(shardCount)")
    }
    let (nodes, version) = try await shards(shardCount, in: coordinator)
    let ring = try Ring(nodes: nodes)
    let placement = try ring.placement(partitions: partitionCount, replicas: Int(replicaCount))
    try await write(
      placement.map { PartitionRecord(initialOwners: $0.stores) }, in: coordinator)
    let record = try await finish(
      partitionCount: partitionCount, replicaCount: replicaCount, nodes: nodes, version: version,
      in: coordinator)
    return (record, true)
  }

  /// Registered shards, once there are so many, and the version that they all know.
  static func shards(
    _ count: Int, in coordinator: any Coordinator
  ) async throws -> (nodes: [RingNode], version: ActiveVersion) {
    var mirror = Mirror(of: CoordinationKey.nodes, in: coordinator)
    while try await mirror.next() != nil {
      let registered = mirror.items.keys.sorted().compactMap { key in
        mirror.items[key].flatMap { try? NodeRecord(decoding: $0.value) }
      }
      let nodes = registered.compactMap { node in
        node.role == .shard
          ? node.store.map {
            RingNode(store: $0, name: node.name, weight: node.weight, zone: node.zone)
          } : nil
      }
      if nodes.count >= count { return (nodes, VersionActivation.common(registered)) }
    }
    throw CancellationError()
  }

  /// Writes the record of every partition, as long as there is no ring.
  static func write(
    _ records: [PartitionRecord], in coordinator: any Coordinator
  ) async throws {
    let batch = CoordinationLimits.operationsPerTransactionMax
    for start in stride(from: 0, to: records.count, by: batch) {
      let operations = (start..<min(start + batch, records.count)).map { partition in
        Transaction.Operation.put(
          key: CoordinationKey.partition(PartitionID(UInt32(partition))),
          value: records[partition].encoded(), lease: nil)
      }
      _ = try await coordinator.transact(
        Transaction(
          conditions: [.modRevision(of: CoordinationKey.cluster, equals: .zero)],
          success: operations))
    }
  }

  /// Writes what a cluster consists of besides its partitions, and what else is to be there from
  /// the beginning. The cluster's record comes last: nobody starts on half a ring.
  ///
  /// **Returns**: the record, of a cluster that never was before.
  /// **Throws**: `StartError` when there is a ring by now; `CoordinationError`.
  static func finish(
    partitionCount: UInt32, level: UInt32 = 0, replicaCount: UInt32, nodes: [RingNode],
    version: ActiveVersion, with others: [Transaction.Operation] = [],
    in coordinator: any Coordinator
  ) async throws -> ClusterRecord {
    let record = ClusterRecord(
      clusterID: SecureRandom.uint128() | 1, partitionCount: partitionCount,
      replicaCount: replicaCount)
    let members = nodes.map {
      RingMember(store: $0.store, name: $0.name, weight: $0.weight, zone: $0.zone)
    }
    let result = try await coordinator.transact(
      Transaction(
        conditions: [.modRevision(of: CoordinationKey.cluster, equals: .zero)],
        success: others + [
          .put(
            key: CoordinationKey.ring,
            value:
              RingRecord(members: members, level: level).encoded(), lease: nil),
          .put(key: CoordinationKey.version, value: version.encoded(), lease: nil),
          .put(key: CoordinationKey.cluster, value: record.encoded(), lease: nil),
        ]))
    guard result.succeeded else {
      throw StartError(
        "somebody else made the ring at the same time; look at `martlet ring status`")
    }
    return record
  }
}

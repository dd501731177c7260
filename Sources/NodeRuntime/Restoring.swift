import ClusterModel
package import Coordination
import HashRing
import Primitives
import RingControl

/// Makes the ring of a cluster from a backup: on any number of shards, among them those whose data
/// directories were made of the backup's copies. These lead at first; the others learn from them.
///
/// What was acknowledged after the backup is lost, and its numbers are given again; so every
/// partition begins a new generation, and clients that saw more are told to look again.
package enum Restoring {
  /// Waits until `shardCount` shards are registered and writes everything; the cluster's record
  /// comes last, so nobody starts on half a ring.
  ///
  /// **Returns**: how many partitions there are, and the names of the shards.
  /// **Throws**: `StartError` with the reason; `CoordinationError`.
  package static func restore(
    _ manifest: BackupManifest, shardCount: Int, in coordinator: any Coordinator
  ) async throws -> (partitionCount: Int, shards: [String]) {
    guard try await coordinator.get(CoordinationKey.cluster).item == nil else {
      throw StartError(
        "the coordinator has a ring already; a backup is restored into an empty one")
    }
    let (nodes, version) = try await RingInitialiser.shards(shardCount, in: coordinator)
    guard version.number >= manifest.version.number else {
      throw StartError(
        "the shards know version \(version.number) of the protocol, and the backup is of version "
          + "\(manifest.version.number); allowed are later shards")
    }
    let records = try records(manifest, on: nodes, at: Clock.wall())
    try await RingInitialiser.write(records, in: coordinator)
    // Another cluster than the one that was copied: what is left of that one has no part in it.
    _ = try await RingInitialiser.finish(
      partitionCount: manifest.cluster.partitionCount, level: manifest.level,
      replicaCount: manifest.cluster.replicaCount, nodes: nodes, version: version,
      with: manifest.secrets.map { .put(key: $0.key, value: $0.value, lease: nil) },
      in: coordinator)
    return (records.count, nodes.map(\.name).sorted())
  }

  /// A number that grows every ten minutes and fits into positions until the year 2049.
  static func generation(at now: WallTime) -> UInt32 {
    UInt32(min(now.milliseconds / 600_000, UInt64(LogIndex.generationMax) - 1))
  }

  /// The records with which everything begins.
  ///
  /// **Throws**: `StartError` when a copy is on none of the nodes, or there are too few of them.
  static func records(
    _ manifest: BackupManifest, on nodes: [RingNode], at now: WallTime
  ) throws -> [PartitionRecord] {
    let stores = Set(nodes.map(\.store))
    for copy in manifest.copies where !stores.contains(copy.store) {
      throw StartError(
        "no registered shard has the copy of \(copy.node) (store \(copy.store)): "
          + "`martlet restore store` makes its data directory, then start it")
    }
    let replicaCount = Int(manifest.cluster.replicaCount)
    guard nodes.count >= replicaCount else {
      throw StartError(
        "\(nodes.count) shards for \(replicaCount) replicas of each partition; start more")
    }
    let placement = try Ring(nodes: nodes).placement(
      partitions: UInt32(manifest.partitions.count), replicas: replicaCount)
    // A placement is in the order of the circle, and what was cut is not.
    var places: [PartitionID: ReplicaSet] = [:]
    let order = manifest.cluster.scheme.inOrder(level: manifest.level)
    for (partition, set) in zip(order, placement) { places[partition] = set }
    return try manifest.partitions.enumerated().map { number, known in
      guard var forced = known.record.forcing(known.replica, others: []) else {
        throw StartError("\(known.replica) is not one of its partition's record")
      }
      // Also when the same backup is restored once more: no generation is ever told twice.
      forced.generation = max(forced.generation, generation(at: now))
      return forced.retargeted(to: places[PartitionID(UInt32(number))]?.stores ?? [])
    }
  }
}

package import ClusterModel
package import Primitives

/// Who leads which partition, as the coordinator's records and the answers of shards say.
///
/// **Invariant**: what is known of a partition never goes back to a lower revision.
package struct RoutingTable: Sendable {
  private struct Route {
    var record: PartitionRecord?
    var revision = Revision.zero
    /// A leader that a shard named, from a record at least as new as `revision`.
    var hint: (leader: ReplicaID, revision: Revision)?
  }

  package let partitionCount: UInt32
  private var routes: [Route]

  package init(partitionCount: UInt32) {
    precondition(partitionCount > 0, "a ring has partitions")
    self.partitionCount = partitionCount
    routes = Array(repeating: Route(), count: Int(partitionCount))
  }

  /// Whether the cluster has such a partition.
  package func contains(_ partition: PartitionID) -> Bool { partition.rawValue < partitionCount }

  /// The partition whose range holds the token.
  package func partition(of token: Token) -> PartitionID { token.partition(of: partitionCount) }

  /// Takes a record in.
  /// **Returns**: whether it says something new.
  @discardableResult
  package mutating func observe(_ partition: PartitionID, _ observed: VersionedRecord) -> Bool {
    guard contains(partition) else { return false }
    let position = Int(partition.rawValue)
    guard observed.revision > routes[position].revision else { return false }
    routes[position].record = observed.record
    routes[position].revision = observed.revision
    if let hint = routes[position].hint, hint.revision <= observed.revision {
      routes[position].hint = nil
    }
    return true
  }

  /// A shard that does not lead named who does.
  /// **Returns**: whether the table was older than what that shard knew.
  @discardableResult
  package mutating func redirect(
    _ partition: PartitionID, to leader: ReplicaID, revision: Revision
  ) -> Bool {
    guard contains(partition) else { return false }
    let route = routes[Int(partition.rawValue)]
    guard revision > route.hint?.revision ?? route.revision else { return false }
    routes[Int(partition.rawValue)].hint = (leader, revision)
    return true
  }

  /// The newest record that was observed; `nil` before the first.
  package func record(of partition: PartitionID) -> VersionedRecord? {
    guard contains(partition) else { return nil }
    let route = routes[Int(partition.rawValue)]
    return route.record.map { VersionedRecord(record: $0, revision: route.revision) }
  }

  /// Whom to ask. `nil` while the partition never had a leader.
  package func leader(of partition: PartitionID) -> ReplicaID? {
    guard contains(partition) else { return nil }
    let route = routes[Int(partition.rawValue)]
    if let hint = route.hint { return hint.leader }
    guard let record = route.record, record.epoch > .zero else { return nil }
    return record.leader
  }

  /// How many partitions have a leader.
  package var ledCount: Int {
    routes.count { $0.record.map { $0.epoch > .zero } ?? false }
  }
}

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

  package let scheme: PartitionScheme
  private var routes: [Route]
  /// How often the partition that was cut most often was, as far as is known.
  private var level: UInt32 = 0

  /// Bound of what is taken for a partition's number.
  package static let partitionsMax = 65_536

  package init(scheme: PartitionScheme) {
    self.scheme = scheme
    routes = Array(repeating: Route(), count: scheme.count(level: 0))
  }

  /// Whether there can be such a partition as far as is known.
  package func contains(_ partition: PartitionID) -> Bool { partition.rawValue < routes.count }

  /// Whether the partition is one of the first, or its record was observed.
  package func knows(_ partition: PartitionID) -> Bool {
    partition.rawValue < scheme.rootCount
      || contains(partition) && routes[Int(partition.rawValue)].record != nil
  }

  /// The partition whose range holds the token: the latest half that is known.
  package func partition(of token: Token) -> PartitionID {
    known(scheme.partition(of: token, level: level))
  }

  /// The partition itself, or what it would be cut off from.
  package func known(_ partition: PartitionID) -> PartitionID {
    var found = partition
    while !knows(found), let origin = scheme.origin(of: found) { found = origin }
    return found
  }

  /// Takes a record in.
  /// **Returns**: whether it says something new.
  @discardableResult
  package mutating func observe(_ partition: PartitionID, _ observed: VersionedRecord) -> Bool {
    guard partition.rawValue < Self.partitionsMax else { return false }
    grow(for: partition)
    let position = Int(partition.rawValue)
    guard observed.revision > routes[position].revision else { return false }
    routes[position].record = observed.record
    routes[position].revision = observed.revision
    if let hint = routes[position].hint, hint.revision <= observed.revision {
      routes[position].hint = nil
    }
    return true
  }

  /// Makes room for the record of a half.
  private mutating func grow(for partition: PartitionID) {
    guard !contains(partition) else { return }
    level = max(level, scheme.firstLevel(of: partition))
    let missing = scheme.count(level: level) - routes.count
    routes.append(contentsOf: repeatElement(Route(), count: missing))
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
    // Field by field: to take the record out is to retain all its lists, for every request.
    let position = Int(partition.rawValue)
    if let leader = routes[position].hint?.leader { return leader }
    guard routes[position].record?.epoch ?? .zero > .zero else { return nil }
    return routes[position].record?.leader
  }

  /// The replica that should lead, as far as is known.
  package func preferred(_ partition: PartitionID) -> ReplicaID? {
    guard contains(partition) else { return nil }
    return routes[Int(partition.rawValue)].record?.target.first
  }

  /// In which positions of the partition are told, as far as is known; zero before the first
  /// record.
  package func generation(of partition: PartitionID) -> UInt32 {
    guard contains(partition) else { return 0 }
    return routes[Int(partition.rawValue)].record?.generation ?? 0
  }

  /// Whether every partition that is known has a leader.
  package var isLed: Bool {
    routes.indices.allSatisfy { number in
      routes[number].record.map { $0.epoch > .zero } ?? (number >= scheme.rootCount)
    }
  }
}

package import ClusterModel
package import Coordination
package import Primitives

/// Gives a partition whose in-sync replicas are all gone for good a leader that may not have
/// everything. An operator's last resort: what the new leader does not hold is lost, acknowledged
/// or not. Where one in-sync replica is left that waits in vain for the others it goes on alone,
/// and nothing is lost, as far as its disk is well.
package struct LeaderForcing: Sendable {
  /// What is to be written for one partition.
  package struct Plan: Sendable {
    package let partition: PartitionID
    /// As it was seen; the change is refused when it is another one by then.
    package let seen: VersionedRecord
    package let forced: PartitionRecord
    /// Begins anew with nothing.
    package let isEmpty: Bool
    /// The new leader is in sync.
    package let isComplete: Bool
  }

  private let status: RingStatus
  private let leader: NodeRecord
  private let leaderStore: StoreID

  /// Reads how everything stands.
  ///
  /// - Parameter shard: the name of the node that is to lead.
  /// **Throws**: `StartError` when there is no ring or the shard is not registered;
  /// `CoordinationError`.
  package init(to shard: String, in coordinator: any Coordinator) async throws {
    status = try await RingStatus.readMade(coordinator)
    (leader, leaderStore) = try status.shard(named: shard)
  }

  /// Where the shard tells its operator what it holds.
  package var operatorAddress: NodeAddress? { leader.operatorAddress }

  /// Partitions of which no in-sync replica's store is registered, and those that wait in vain for
  /// such stores although the shard's own replica is in sync.
  package var lostPartitions: [PartitionID] {
    status.partitions.filter { item in
      let alive = alive(in: item.record)
      return alive.isEmpty
        || item.state == .leaderless && alive.allSatisfy { $0.store == leaderStore }
    }.map(\.id)
  }

  /// In-sync replicas whose stores are registered. One that has given itself up is no more.
  private func alive(in record: PartitionRecord) -> [ReplicaID] {
    record.inSync.filter { status.name(of: $0.store) != nil && !record.isSuperseded($0) }
  }

  /// - Parameter beginsEmpty: everything in the partition is given up.
  /// **Throws**: `StartError` when something speaks against it, in one line.
  package func plan(_ partition: PartitionID, beginsEmpty: Bool) throws(StartError) -> Plan {
    guard let item = status.partitions.first(where: { $0.id == partition }) else {
      throw StartError("\(partition): allowed is a partition of this ring")
    }
    let record = item.record
    let (least, registered) = (Int(status.cluster.minInSync), status.shards.count)
    guard registered >= least else {
      throw StartError(
        "\(partition): \(registered) of the \(least) shards that have to be in sync are registered; "
          + "start others first, with empty directories if need be: they take part from then on")
    }
    let alive = alive(in: record)
    let survivor = alive.first { $0.store == leaderStore }
    if let other = alive.first(where: { $0 != survivor }) {
      throw StartError(
        "\(partition): \(status.name(of: other.store) ?? "") is registered and in sync; a leader is "
          + "forced only when every in-sync replica, but for one of the new leader, is gone for good "
          + "(one that has just ended counts until its lease is over)")
    }
    if survivor != nil, item.state != .leaderless || beginsEmpty {
      throw StartError(
        "\(partition): \(leader.name) is in sync"
          + (beginsEmpty ? " and holds everything: leave --empty out" : " and leads it"))
    }
    let forced: PartitionRecord
    if beginsEmpty {
      forced = record.emptied(owners: [leaderStore] + others(than: leaderStore, record))
    } else {
      let listed =
        survivor
        ?? record.target.first { $0.store == leaderStore && !record.inSync.contains($0) }
      guard let listed,
        let changed = record.forcing(listed, others: others(than: leaderStore, record))
      else {
        throw StartError(
          "\(partition): \(leader.name) has no replica of it; allowed is a shard that has one, or "
            + "--empty, which gives up everything in the partition")
      }
      forced = changed
    }
    return Plan(
      partition: partition, seen: VersionedRecord(record: record, revision: item.revision),
      forced: forced, isEmpty: beginsEmpty, isComplete: survivor != nil)
  }

  /// Registered shards, members of the ring first, and of these those that should have the
  /// partition already, as many as there should be replicas.
  private func others(than store: StoreID, _ record: PartitionRecord) -> [StoreID] {
    let registered = status.shards.compactMap(\.store).filter { $0 != store }
    let before = record.target.map(\.store)
    let members = status.ring.active.map(\.store)
    let ordered = registered.sorted { one, other in
      let (first, second) = (
        (members.contains(one), before.contains(one)),
        (members.contains(other), before.contains(other))
      )
      if first.0 != second.0 { return first.0 }
      return first.1 && !second.1
    }
    return Array(ordered.prefix(Int(status.cluster.replicaCount) - 1))
  }

  /// Writes it. Trying again after an answer that was lost is safe.
  ///
  /// **Throws**: `StartError` when the record has changed meanwhile or the outcome is not known.
  package static func carryOut(_ plan: Plan, in coordinator: any Coordinator)
    async throws(StartError)
  {
    let outcome = await RecordChange.compareAndSet(
      plan.partition, plan.forced, base: plan.seen.revision, in: coordinator)
    switch outcome {
    case .succeeded: return
    case .conflicted(let found) where found.record == plan.forced: return
    case .conflicted:
      throw StartError("\(plan.partition): its record has changed meanwhile; look and try again")
    case .unknown:
      throw StartError("\(plan.partition): not known whether it was done; look and try again")
    }
  }
}

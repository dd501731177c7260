import ClusterModel
package import Coordination
package import Primitives

/// Makes a backup of a cluster that goes on: of each partition one replica that was in sync while
/// it was copied, so that everything that was acknowledged before the backup began is in it.
///
/// 1. All shards keep in their outboxes what they deliver: what one partition has told another and
///    forgotten is then in the other's copy, whichever is made first.
/// 2. As few stores as have an in-sync replica of every partition are copied.
/// 3. The records and the processes are looked at again: nobody who matters has been replaced
///    meanwhile.
package struct BackupTaking: Sendable {
  private static let leaseSeconds: Int64 = 10
  private static let pollInterval: Milliseconds = 100
  /// Shards say that they keep their outboxes within this time.
  private static let holdTimeout: Milliseconds = 20_000

  private let coordinator: any Coordinator
  /// How long the copies may take.
  private let timeout: Milliseconds

  package init(in coordinator: any Coordinator, timeout: Milliseconds) {
    self.coordinator = coordinator
    self.timeout = timeout
  }

  /// **Throws**: `StartError` with the reason; nothing has changed then, and another try may go
  /// well. `CoordinationError`, `ProtobufError`.
  package func run() async throws -> BackupManifest {
    let status = try await RingStatus.readMade(coordinator)
    let takers = try Self.takers(of: status)
    let lease = try await coordinator.grantLease(ttlSeconds: Self.leaseSeconds)
    do {
      let manifest = try await run(status, takers, under: lease)
      try await coordinator.revoke(lease)
      return manifest
    } catch {
      try? await coordinator.revoke(lease)
      throw error
    }
  }

  private func run(
    _ status: RingStatus, _ takers: [StoreID], under lease: Lease
  ) async throws -> BackupManifest {
    var request = BackupRequest(
      id: UInt64(truncatingIfNeeded: lease.id.rawValue), phase: .hold, takers: takers)
    let begun = try await coordinator.transact(
      .compareAndSet(
        CoordinationKey.backup, at: .zero, to: request.encoded(), lease: lease.id))
    guard begun.succeeded else {
      throw StartError("another backup is being made; wait until it is done")
    }
    let shards = status.shards
    _ = try await reports(request, of: shards, within: Self.holdTimeout, lease)
    request.phase = .take
    let taken = try await coordinator.transact(
      .compareAndSet(
        CoordinationKey.backup, at: begun.revision, to: request.encoded(), lease: lease.id))
    guard taken.succeeded else { throw Self.interrupted }
    let reports = try await reports(request, of: shards, within: timeout, lease)
    let after = try await RingStatus.readMade(coordinator)
    guard try await coordinator.get(CoordinationKey.backup).modRevision == taken.revision else {
      throw Self.interrupted
    }
    return try await manifest(after, began: status, reports, takers)
  }

  private static let interrupted = StartError(
    "the backup was interrupted: the coordinator was away for too long; try again")

  /// Waits until every shard has answered.
  private func reports(
    _ request: BackupRequest, of shards: [NodeRecord], within limit: Milliseconds, _ lease: Lease
  ) async throws -> [BackupReport] {
    let deadline = Clock.now() + limit
    while true {
      let found = try await coordinator.list(CoordinationKey.backupReports).items
        .map { try BackupReport(decoding: $0.value) }
        .filter { $0.id == request.id && $0.phase == request.phase }
      let missing = shards.filter { shard in
        !found.contains { $0.store == shard.store && $0.boot == shard.boot }
      }
      if missing.isEmpty { return found }
      guard lease.state != .lost else { throw Self.interrupted }
      guard Clock.now() < deadline else {
        throw StartError(
          "no answer from " + missing.map(\.name).joined(separator: ", ")
            + " within \(limit.rawValue / 1_000) s; see `martlet ring status`, and try again")
      }
      await Mirror.sleep(Self.pollInterval)
    }
  }

  private func manifest(
    _ after: RingStatus, began before: RingStatus, _ reports: [BackupReport], _ takers: [StoreID]
  ) async throws -> BackupManifest {
    var copies: [BackupManifest.Copy] = []
    for taker in takers {
      guard let report = reports.first(where: { $0.store == taker }),
        let node = after.shards.first(where: { $0.store == taker })
      else { throw StartError("a shard went away while it was copied; try again") }
      guard report.failure.isEmpty else {
        throw StartError("\(node.name) was not copied: \(report.failure)")
      }
      copies.append(
        BackupManifest.Copy(
          node: node.name, store: taker, directory: report.directory, number: report.number,
          bytes: report.bytes))
    }
    var partitions: [(record: PartitionRecord, replica: ReplicaID)] = []
    for item in after.partitions {
      partitions.append(
        (item.record, try Self.replica(of: item, began: before, reports, takers)))
    }
    var secrets: [(key: String, value: [UInt8])] = []
    for key in [CoordinationKey.signingKeys, CoordinationKey.refreshSecret] {
      if let item = try await coordinator.get(key).item { secrets.append((key, item.value)) }
    }
    return BackupManifest(
      time: Clock.wall(), cluster: after.cluster, copies: copies, partitions: partitions,
      secrets: secrets)
  }

  /// The replica of a partition in one of the copies: it was in sync before and after, so it held
  /// everything that had been acknowledged; and whoever led kept its outbox.
  private static func replica(
    of item: RingStatus.Partition, began before: RingStatus, _ reports: [BackupReport],
    _ takers: [StoreID]
  ) throws(StartError) -> ReplicaID {
    let leads = reports.contains {
      $0.store == item.record.leader.store && $0.boot == item.record.leaderBoot
    }
    guard leads else {
      throw StartError("\(item.id) is led by nobody who has answered; try again")
    }
    let earlier = before.partitions.first { $0.id == item.id }?.record.inSync ?? []
    let chosen = item.record.inSync.first { takers.contains($0.store) && earlier.contains($0) }
    guard let chosen else {
      throw StartError("the in-sync set of \(item.id) has changed meanwhile; try again")
    }
    return chosen
  }

  /// As few stores as have an in-sync replica of every partition, nearly.
  ///
  /// **Throws**: `StartError` when a partition has none that is registered.
  static func takers(of status: RingStatus) throws(StartError) -> [StoreID] {
    let registered = Set(status.shards.compactMap(\.store))
    var missing = Dictionary(
      uniqueKeysWithValues: status.partitions.map { item in
        (item.id, item.record.inSync.map(\.store).filter { registered.contains($0) })
      })
    if let lost = missing.filter({ $0.value.isEmpty }).keys.min() {
      throw StartError(
        "\(lost) has no in-sync replica on a registered shard: see `martlet ring status`")
    }
    var takers: [StoreID] = []
    while !missing.isEmpty {
      var counts: [StoreID: Int] = [:]
      for stores in missing.values { for store in stores { counts[store, default: 0] += 1 } }
      let best = counts.max { ($0.value, $1.key) < ($1.value, $0.key) }
      guard let best else { break }
      takers.append(best.key)
      missing = missing.filter { !$0.value.contains(best.key) }
    }
    return takers.sorted()
  }
}

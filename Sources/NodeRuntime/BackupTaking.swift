import ClusterModel
package import Coordination
package import Primitives

/// Why no backup was made, in one line for the operator.
package struct BackupRefusal: Error, CustomStringConvertible, Sendable {
  package let description: String

  init(_ description: String) { self.description = description }
}

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

  /// - Parameter write: writes the manifest down; what it throws ends the backup like any failure.
  /// **Throws**: `BackupRefusal` with the reason; nothing has changed then, and another try may go
  /// well. `StartError` when there is no ring; `CoordinationError`, `ProtobufError`.
  package func run(_ write: (BackupManifest) throws -> Void) async throws -> BackupManifest {
    let status = try await RingStatus.readMade(coordinator)
    let lease = try await coordinator.grantLease(ttlSeconds: Self.leaseSeconds)
    do {
      let manifest = try await run(status.shards, under: lease, write)
      try await coordinator.revoke(lease)
      return manifest
    } catch {
      try? await coordinator.revoke(lease)
      throw error
    }
  }

  private func run(
    _ shards: [NodeRecord], under lease: Lease, _ write: (BackupManifest) throws -> Void
  ) async throws -> BackupManifest {
    var request = BackupRequest(id: UInt64(truncatingIfNeeded: lease.id.rawValue), phase: .hold)
    var revision = try await put(request, at: .zero, lease)
    _ = try await reports(request, of: shards, within: Self.holdTimeout, lease)
    // Whatever was forgotten before is on the disk of everybody who is in sync now.
    let held = try await RingStatus.readMade(coordinator)
    try Self.refuseSplit(of: held)
    request.takers = try Self.takers(of: held)
    request.phase = .take
    revision = try await put(request, at: revision, lease)
    let reports = try await reports(request, of: shards, within: timeout, lease)
    let after = try await RingStatus.readMade(coordinator)
    guard try await coordinator.get(CoordinationKey.backup).modRevision == revision else {
      throw Self.interrupted
    }
    let manifest = try await manifest(after, began: held, reports, request.takers)
    try write(manifest)
    // Now older copies may go. If nobody hears it they stay.
    request.phase = .finish
    if (try? await put(request, at: revision, lease)) != nil {
      _ = try? await self.reports(request, of: shards, within: Self.holdTimeout, lease)
    }
    return manifest
  }

  private func put(
    _ request: BackupRequest, at revision: Revision, _ lease: Lease
  ) async throws -> Revision {
    let result = try await coordinator.transact(
      .compareAndSet(
        CoordinationKey.backup, at: revision, to: request.encoded(), lease: lease.id))
    guard result.succeeded else {
      throw request.phase == .hold
        ? BackupRefusal("another backup is being made; wait until it is done") : Self.interrupted
    }
    return result.revision
  }

  private static let interrupted = BackupRefusal(
    "the backup was interrupted: the coordinator was away for too long; try again")

  /// Waits until every shard has answered. One that has failed, or was replaced by another process,
  /// is not waited for.
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
      if let failed = found.first(where: { !$0.failure.isEmpty }) {
        let name = shards.first { $0.store == failed.store }?.name ?? "\(failed.store)"
        throw BackupRefusal("\(name) was not copied: \(failed.failure)")
      }
      if missing.isEmpty { return found }
      guard lease.state != .lost else { throw Self.interrupted }
      guard Clock.now() < deadline else {
        throw BackupRefusal(
          "no answer from " + missing.map(\.name).joined(separator: ", ")
            + " within \(limit.rawValue / 1_000) s; see `martlet ring status`, and try again")
      }
      let nodes = try await NodeRegistration.all(coordinator)
      if let gone = missing.first(where: { shard in
        !nodes.contains { $0.store == shard.store && $0.boot == shard.boot }
      }) {
        throw BackupRefusal("\(gone.name) went away or was restarted meanwhile; try again")
      }
      await Mirror.sleep(Self.pollInterval)
    }
  }

  private static func refuseSplit(of status: RingStatus) throws {
    guard status.ring.change?.kind == .split else { return }
    throw BackupRefusal("the partitions are being split; wait until that is done, and try again")
  }

  private func manifest(
    _ after: RingStatus, began before: RingStatus, _ reports: [BackupReport], _ takers: [StoreID]
  ) async throws -> BackupManifest {
    var copies: [BackupManifest.Copy] = []
    for taker in takers {
      guard let report = reports.first(where: { $0.store == taker }),
        let node = after.shards.first(where: { $0.store == taker })
      else { throw BackupRefusal("a shard went away while it was copied; try again") }
      copies.append(
        BackupManifest.Copy(
          node: node.name, store: taker, directory: report.directory, number: report.number,
          time: report.time, bytes: report.bytes))
    }
    try Self.refuseSplit(of: after)
    guard before.ring.level == after.ring.level else {
      throw BackupRefusal("the partitions were split meanwhile; try again")
    }
    guard after.partitions.count == after.partitionCount else {
      throw BackupRefusal("records of partitions are missing: see `martlet ring status`")
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
      time: Clock.wall(), version: after.version, cluster: after.cluster,
      level: after.ring.level, copies: copies, partitions: partitions,
      secrets: secrets)
  }

  /// The replica of a partition in one of the copies: it was in sync before and after, so it held
  /// everything that had been acknowledged; and whoever led kept its outbox.
  private static func replica(
    of item: RingStatus.Partition, began before: RingStatus, _ reports: [BackupReport],
    _ takers: [StoreID]
  ) throws(BackupRefusal) -> ReplicaID {
    let leads = reports.contains {
      $0.store == item.record.leader.store && $0.boot == item.record.leaderBoot
    }
    guard leads else {
      throw BackupRefusal("\(item.id) is led by nobody who has answered; try again")
    }
    let earlier = before.partitions.first { $0.id == item.id }.map { sound($0.record) } ?? []
    let chosen = sound(item.record).first { takers.contains($0.store) && earlier.contains($0) }
    guard let chosen else {
      throw BackupRefusal("the in-sync set of \(item.id) has changed meanwhile; try again")
    }
    return chosen
  }

  /// In-sync replicas that have not given themselves up.
  private static func sound(_ record: PartitionRecord) -> [ReplicaID] {
    record.inSync.filter { !record.isSuperseded($0) }
  }

  /// As few stores as have an in-sync replica of every partition, nearly.
  ///
  /// **Throws**: `BackupRefusal` when a partition has none that is registered.
  static func takers(of status: RingStatus) throws(BackupRefusal) -> [StoreID] {
    let registered = Set(status.shards.compactMap(\.store))
    var missing = Dictionary(
      uniqueKeysWithValues: status.partitions.map { item in
        (item.id, sound(item.record).map(\.store).filter { registered.contains($0) })
      })
    if let lost = missing.filter({ $0.value.isEmpty }).keys.min() {
      throw BackupRefusal(
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

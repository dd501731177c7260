package import ClusterModel
package import Coordination
package import Logging
package import Primitives

/// What changed in the coordinator, as values.
package enum ClusterChange: Sendable {
  case record(PartitionID, VersionedRecord)
  case ring(RingRecord, Revision)
  case node(NodeRecord)
  case nodeGone(name: String)
  /// A backup is being made, or (`nil`) none any more.
  case backup(BackupRequest?)
}

/// Follows the coordinator's records and hands their changes on, in order.
package struct ClusterView: Sendable {
  private let coordinator: any Coordinator
  private let logger: Logger

  package init(_ coordinator: any Coordinator, logger: Logger) {
    self.coordinator = coordinator
    self.logger = logger
  }

  /// Waits until the ring has been made.
  ///
  /// **Throws**: `CoordinationError` for what does not pass by itself; `CancellationError`.
  package func clusterRecord() async throws -> ClusterRecord {
    var mirror = Mirror(of: CoordinationKey.cluster, in: coordinator)
    while let update = try await mirror.next() {
      for case .put(let item) in update.changes where item.key == CoordinationKey.cluster {
        return try ClusterRecord(decoding: item.value)
      }
      logger.info("waiting for the ring: `martlet ring init` makes it")
    }
    throw CancellationError()
  }

  /// Runs until cancelled. `deliver` is called for every change, listings included, in the order of
  /// revisions per key.
  ///
  /// **Throws**: `CoordinationError` for what does not pass by itself, such as a coordinator that
  /// went back in time.
  package func follow(_ deliver: @escaping @Sendable ([ClusterChange]) -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for prefix in [
        CoordinationKey.partitions, CoordinationKey.nodes, CoordinationKey.ring,
        CoordinationKey.backup,
      ] {
        group.addTask { try await follow(prefix, deliver) }
      }
      try await group.waitForFailure()
    }
  }

  private func follow(
    _ prefix: String, _ deliver: @Sendable ([ClusterChange]) -> Void
  ) async throws(CoordinationError) {
    var mirror = Mirror(of: prefix, in: coordinator)
    while let update = try await mirror.next() {
      deliver(update.changes.compactMap(change))
    }
  }

  private func change(_ change: MirrorChange) -> ClusterChange? {
    switch change {
    case .put(let item):
      do throws(ProtobufError) {
        if let partition = CoordinationKey.partition(in: item.key) {
          let record = try PartitionRecord(decoding: item.value)
          return .record(partition, VersionedRecord(record: record, revision: item.modRevision))
        }
        if item.key == CoordinationKey.ring {
          return .ring(try RingRecord(decoding: item.value), item.modRevision)
        }
        if item.key == CoordinationKey.backup {
          return .backup(try BackupRequest(decoding: item.value))
        }
        if item.key.hasPrefix(CoordinationKey.nodes) {
          return .node(try NodeRecord(decoding: item.value))
        }
      } catch {
        logger.error(
          "a record cannot be read", metadata: ["key": .string(item.key), "why": "\(error)"])
      }
      return nil
    case .delete(let key, _):
      if key == CoordinationKey.backup { return .backup(nil) }
      guard key.hasPrefix(CoordinationKey.nodes) else { return nil }
      return .nodeGone(name: String(key.dropFirst(CoordinationKey.nodes.count)))
    }
  }
}

/// Changes one partition's record by compare-and-set.
package enum RecordChange {
  /// How a change ended.
  package enum Outcome: Sendable {
    case succeeded(Revision)
    case conflicted(VersionedRecord)
    case unknown
  }

  /// Writes the record if it is still the one of revision `base`.
  package static func compareAndSet(
    _ partition: PartitionID, _ record: PartitionRecord, base: Revision,
    in coordinator: any Coordinator
  ) async -> Outcome {
    let key = CoordinationKey.partition(partition)
    do {
      let result = try await coordinator.transact(
        .compareAndSet(key, at: base, to: record.encoded()))
      if result.succeeded { return .succeeded(result.revision) }
      guard case .get(let item?)? = result.responses.first else { return .unknown }
      return .conflicted(
        VersionedRecord(
          record: try PartitionRecord(decoding: item.value), revision: item.modRevision))
    } catch {
      // Even a refusal to connect may follow a transaction that went through.
      return .unknown
    }
  }

  /// Writes the first record of a partition, if that of `whole` is still the one of `base`.
  ///
  /// **Returns**: the record that there is now; `nil` when there is none, or that is not known.
  package static func make(
    _ partition: PartitionID, _ record: PartitionRecord, of whole: PartitionID, base: Revision,
    in coordinator: any Coordinator
  ) async -> VersionedRecord? {
    let key = CoordinationKey.partition(partition)
    let transaction = Transaction(
      conditions: [
        .modRevision(of: CoordinationKey.partition(whole), equals: base),
        .modRevision(of: key, equals: .zero),
      ],
      success: [.put(key: key, value: record.encoded(), lease: nil)], failure: [.get(key)])
    guard let result = try? await coordinator.transact(transaction) else { return nil }
    if result.succeeded { return VersionedRecord(record: record, revision: result.revision) }
    guard case .get(let item?)? = result.responses.first,
      let found = try? PartitionRecord(decoding: item.value)
    else { return nil }
    return VersionedRecord(record: found, revision: item.modRevision)
  }

  /// A linearizable read of the record. **Returns**: `nil` when there is none, no answer, or it
  /// cannot be read.
  package static func read(
    _ partition: PartitionID, in coordinator: any Coordinator
  ) async -> VersionedRecord? {
    guard let item = try? await coordinator.get(CoordinationKey.partition(partition)).item,
      let record = try? PartitionRecord(decoding: item.value)
    else { return nil }
    return VersionedRecord(record: record, revision: item.modRevision)
  }
}

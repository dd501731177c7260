import ChatCore
import NodeProtocol
package import Primitives
package import ReplicaCore

/// A state that is being sent to a replica.
struct OutgoingSnapshot {
  let partition: PartitionID
  let replica: ReplicaID
  let number: UInt64
  let state: any FrozenState
}

/// Snapshots out and in, and logs that are kept short.
extension ShardCore {
  // MARK: Out

  mutating func beginSnapshot(
    for replica: ReplicaID, number: UInt64, _ position: Int, pending: inout [ReplicaAction],
    now: Instant, into actions: inout [ShardAction]
  ) {
    let partition = hosts[position].partition
    snapshots.removeAll { $0.partition == partition && $0.replica == replica }
    dropUnusedSnapshots()
    var through: LogIndex?
    // A state that is being cut is of no use to anybody, for a part of it may be deleted.
    if hosts[position].cut == nil, snapshots.count < configuration.snapshotsMax {
      do throws(StateReadError) {
        let state = try storage.freezeState(of: partition)
        through = state.appliedIndex
        snapshots.append(
          OutgoingSnapshot(partition: partition, replica: replica, number: number, state: state))
      } catch {
        return hosts[position].visit { $0.gaveUp(.damaged("\(error)"), into: &pending) }
      }
    }
    hosts[position].visit {
      $0.snapshotBegun(for: replica, number: number, through: through, now: now, into: &pending)
    }
    guard let through, let epoch = hosts[position].visit({ $0.epoch(at: through) }) else { return }
    snapshotCounts.begun += 1
    actions.append(
      .note(
        .snapshotBegun(partition, to: replica, through: EntryID(epoch: epoch, index: through))))
  }

  /// Reads the part of a snapshot that a replica asked for.
  ///
  /// **Returns**: `nil` when the snapshot is not there any more.
  func readChunk(
    _ number: UInt64, after key: [UInt8], bytesMax: Int, of partition: PartitionID,
    for replica: ReplicaID
  ) throws(StateReadError) -> SnapshotChunk? {
    let snapshot = snapshots.first {
      $0.partition == partition && $0.replica == replica && $0.number == number
    }
    guard let snapshot else { return nil }
    let (records, isComplete) = try snapshot.state.records(after: key, bytesMax: bytesMax)
    return SnapshotChunk(
      number: number, after: key, through: records.lastKey, records: records.bytes,
      checksum: CRC32C.checksum(records.bytes), isLast: isComplete)
  }

  /// Lets go of what nobody will ask for any more.
  mutating func dropUnusedSnapshots() {
    guard !snapshots.isEmpty else { return }
    snapshots = snapshots.filter { snapshot in
      guard let position = position(of: snapshot.partition) else { return false }
      return hosts[position].visit { $0.sendsSnapshot(snapshot.number, to: snapshot.replica) }
    }
  }

  // MARK: In

  /// Another state was prepared as far as the last step of it said.
  package mutating func prepared(
    _ partition: PartitionID, _ replica: ReplicaID, _ id: InstallationID,
    _ outcome: InstallationOutcome, now: Instant, into actions: inout [ShardAction]
  ) {
    guard let position = position(of: partition, hosting: replica) else { return }
    drive(position, now: now, into: &actions) { replica, pending in
      switch outcome {
      case .written: replica.chunkInstalled(id, into: &pending)
      case .ready: replica.installationReady(id, into: &pending)
      case .failed: replica.installationFailed(id, now: now)
      }
    }
    if outcome == .failed { actions.append(.note(.snapshotNotInstalled(partition))) }
  }

  /// From here on the partition's state is the one that was prepared.
  mutating func install(
    _ installation: ReplicaInstallation, _ position: Int, pending: inout [ReplicaAction],
    now: Instant, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    do throws(StateReadError) {
      let reader = storage.preparedState(of: host.partition, installation.id)
      let chat = try ChatPartition(partition: host.partition, state: reader)
      guard chat.appliedIndex == installation.last.index else {
        throw .unreadable(
          "the snapshot is of \(chat.appliedIndex), not \(installation.last.index)")
      }
      host.replaceState(chat, reader, at: installation.last.index, now: now)
      hasSplits = true
      snapshotCounts.installed += 1
      actions.append(.install(host.partition, host.replicaID, installation))
      actions.append(.note(.snapshotInstalled(host.partition, through: installation.last)))
    } catch {
      actions.append(.prepare(host.partition, host.replicaID, installation.id, .abandon))
      host.visit { $0.gaveUp(.damaged("\(error)"), into: &pending) }
    }
  }

  // MARK: Short logs

  /// A checkpoint up to an entry is written: what it covers may leave the log, if that is too long.
  mutating func shortenLog(
    _ position: Int, checkpointed: LogIndex, now: Instant, into actions: inout [ShardAction]
  ) {
    let host = hosts[position]
    let checkpointed =
      PlantedBug.isActive(.logCutTooFar) ? host.standing.appliedIndex : checkpointed
    // Who does not know the log from its beginning needs a snapshot.
    guard activeVersion >= ProtocolVersion.snapshots else { return }
    guard !host.standing.isStopped, let wanted = host.logSize.excess(factor: 1) else { return }
    let bound = host.logSize.excess(factor: configuration.logPatienceFactor) ?? .zero
    let limit = host.logSize.excess(factor: configuration.logLimitFactor) ?? .zero
    let base = host.visit { replica in
      let index = min(
        wanted,
        replica.expendable(through: checkpointed, atLeast: bound, limit: limit, now: now))
      guard index > replica.baseEntry.index else { return nil as EntryID? }
      replica.beginLog(after: index)
      return replica.baseEntry
    }
    guard let base else { return }
    host.logSize.begin(after: base.index)
    actions.append(.truncate(host.partition, host.replicaID, base: base))
  }
}

/// What came of a step of preparing another state.
package enum InstallationOutcome: Equatable, Sendable {
  /// One part of it is written.
  case written
  /// All of it can be read.
  case ready
  /// It could not be done, and nothing of it is left.
  case failed
}

package import ClusterModel
package import Coordination
import Primitives
package import RingControl

/// What operators do to the ring as a whole: look what a change would do, ask for it, turn it back,
/// watch it. Partitions are moved by the controller, so whoever asked may go away.
package struct RingChanging: Sendable {
  package let status: RingStatus
  private let coordinator: any Coordinator

  /// A ring that changes all the time is read anew so often.
  private static let attemptsMax = 20

  /// Reads how everything stands.
  ///
  /// **Throws**: `StartError` when no ring has been made; `CoordinationError`; `ProtobufError`.
  package init(in coordinator: any Coordinator) async throws {
    self.coordinator = coordinator
    status = try await RingStatus.readMade(coordinator)
  }

  /// What a change would do.
  ///
  /// **Throws**: `StartError` with the reason and the way out.
  package func plan(_ edit: RingEdit) throws(StartError) -> RingPlan {
    guard status.partitions.count == status.partitionCount else {
      throw StartError("records of partitions are missing: see `martlet ring status`")
    }
    let plan: RingPlan
    do throws(RingEditError) {
      plan = try RingPlan(
        edit, of: status.ring, scheme: status.cluster.scheme,
        targets: status.partitions.map { $0.record.target.map(\.store) },
        replicaCount: Int(status.cluster.replicaCount),
        minInSync: Int(status.cluster.minInSync), registered: status.nodes, now: Clock.wall())
    } catch {
      throw StartError(Self.words(error))
    }
    if let why = refusal(of: plan) { throw StartError(why) }
    return plan
  }

  /// What is not turned back is not begun where it could not go on.
  private func refusal(of plan: RingPlan) -> String? {
    guard plan.record.change?.kind == .split else { return nil }
    if status.version.number < ProtocolVersion.splits {
      return "partitions are split from version \(ProtocolVersion.splits) of the protocol on, and "
        + "version \(status.version.number) is active: `martlet ring activate` when all nodes know "
        + "a later one"
    }
    guard status.isWhole else {
      let broken = status.partitions.count { $0.state != .whole }
      return "\(broken) of \(status.partitionCount) partitions are not whole, and a split is not "
        + "turned back: see `martlet ring status`; wait, or `martlet ring replace` or `remove` what "
        + "is gone"
    }
    return nil
  }

  /// Writes a plan, unless the ring or a target has changed since it was made.
  ///
  /// **Throws**: `StartError` when it was not written or that is not known.
  package func apply(_ plan: RingPlan) async throws(StartError) {
    // Only so that the copies are not made in vain: the backup looks itself, too.
    if plan.record.change?.kind == .split,
      let backup = try? await coordinator.get(CoordinationKey.backup), backup.item != nil
    {
      throw StartError("a backup is being made, which a split would spoil: wait until it is done")
    }
    try await write(plan.record, base: status.ringRevision)
  }

  /// Asks for everything to be as it was before the change under way, or, when that is what is
  /// being done, for the change after all.
  ///
  /// **Returns**: the change as it is now.
  /// **Throws**: `StartError` when none is under way.
  package func turnBack() async throws(StartError) -> RingChange {
    if status.ring.change?.kind == .split {
      throw StartError(
        "a split is not turned back, for halves are not joined again: it goes on by itself")
    }
    guard let record = status.ring.turnedBack(), let change = record.change else {
      throw StartError("no change of the ring is under way: nothing to turn back")
    }
    try await write(record, base: status.ringRevision)
    return change
  }

  /// Sets how many partitions learn at a time, or how fast; `nil` leaves it.
  ///
  /// **Returns**: the ring as it is now.
  /// **Throws**: `StartError` for what is out of range or was not written.
  package func limit(
    movesMax: UInt32?, bytesPerSecond: UInt64?
  ) async throws(StartError) -> RingRecord {
    var record = status.ring
    record.movesMax = movesMax ?? record.movesMax
    record.bytesPerSecond = bytesPerSecond ?? record.bytesPerSecond
    guard RingRecord.movesMaxRange.contains(record.movesMax) else {
      throw StartError("--moves-max \(record.movesMax): allowed is 1 to 1024")
    }
    guard RingRecord.bytesPerSecondRange.contains(record.bytesPerSecond) else {
      throw StartError(
        "--bytes-per-second \(record.bytesPerSecond): allowed is 65536 to 17179869184")
    }
    if record != status.ring { try await write(record, base: status.ringRevision) }
    return record
  }

  private func write(_ record: RingRecord, base: Revision) async throws(StartError) {
    let bytes = record.encoded()
    guard bytes.count < CoordinationLimits.requestBytesMax - 4_096 else {
      throw StartError(
        "the change is too large for the coordinator: \(bytes.count) bytes; allowed are "
          + "\(CoordinationLimits.requestBytesMax - 4_096); change fewer nodes or weights at a time"
      )
    }
    do throws(CoordinationError) {
      let result = try await coordinator.transact(
        .compareAndSet(CoordinationKey.ring, at: base, to: bytes))
      if result.succeeded { return }
      if case .get(let found?)? = result.responses.first, found.value == bytes { return }
    } catch {
      throw StartError("not known whether it was done (\(error)): see `martlet ring status`")
    }
    throw StartError("the ring has changed meanwhile; see `martlet ring status` and try again")
  }

  private static func words(_ error: RingEditError) -> String {
    switch error {
    case .changeUnderWay(.split, let subject):
      "a change is under way (split \(subject)): wait for it (`martlet ring status --watch`)"
    case .changeUnderWay(let kind, let subject):
      "a change is under way (\(kind.word) \(subject)): wait for it (`martlet ring status --watch`), "
        + "or turn it back (`martlet ring \(kind.word) \(subject) --abort`)"
    case .unknownNode(let name, let known):
      "'\(name)' is no node that could be meant; allowed is one of \(known.joined(separator: ", "))"
    case .notRegistered(let name):
      "\(name) is not registered: start it first, or `martlet ring remove \(name)`"
    case .otherDisk(let name):
      "\(name) runs with another data directory than the ring knows: `martlet ring replace --shard "
        + "\(name)` puts that in the place of the old one"
    case .nothingToDo(let why): "nothing to do: \(why)"
    case .weightOutOfRange(let weight): "--weight \(weight): allowed is 1 to 1000"
    case .tooManyMembers(let count): "\(count) members; allowed are 1024"
    case .tooManyPartitions(let count): "\(count) partitions; allowed are 65536"
    case .otherPartitionCount(let count, let allowed):
      "--to \(count): a split doubles the partitions; allowed is \(allowed)"
    case .tooFewMembers(let left, let minInSync):
      "\(left) nodes would be left, and \(minInSync) have to be in sync for messages to be taken: "
        + "add a node first"
    case .fewerThanReplicas(let left, let replicas):
      "\(left) nodes would be left for \(replicas) replicas of each partition: add a node first"
    }
  }
}

extension RingChange.Kind {
  /// As it is written on a command line.
  package var word: String {
    switch self {
    case .add, .rebalance: "add"
    case .drain: "drain"
    case .remove: "remove"
    case .split: "split"
    }
  }
}

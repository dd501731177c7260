import ClusterModel
package import Coordination
import RingControl
package import Primitives

/// Puts a shard's store in the place of one that is gone for good, in every partition that should
/// be there (T4). The partitions' leaders do the rest: it learns their logs, is in sync, and the
/// gone one leaves. Safe at any time, also while nobody leads.
package struct StoreReplacement: Sendable {
  package let gone: StoreID
  package let shard: String
  /// Those that should be on the store that is gone.
  package let partitions: [PartitionID]
  private let new: StoreID

  /// A record that changes all the time is read anew so often.
  private static let attemptsMax = 20
  private static let retryPause: Milliseconds = 100

  /// - Parameter gone: `nil` for the only one that is not registered.
  /// **Throws**: `StartError` when the shard is not registered, or when it is not clear which store
  /// is gone; `CoordinationError`.
  package init(of gone: StoreID?, by shard: String, in coordinator: any Coordinator) async throws {
    let status = try await RingStatus.readMade(coordinator)
    let new = try status.shard(named: shard).store
    let missing = status.owners.filter { status.name(of: $0) == nil }.sorted()
    let names = missing.map(\.description).joined(separator: ", ")
    if missing.isEmpty {
      throw StartError("every store that should have partitions is registered: nothing to replace")
    }
    guard let chosen = gone ?? (missing.count == 1 ? missing[0] : nil) else {
      throw StartError("--store is missing; allowed is one that is not registered: \(names)")
    }
    guard missing.contains(chosen) else {
      throw StartError("--store '\(chosen)': allowed is one that is not registered: \(names)")
    }
    let members = status.ring.members.map(\.store)
    guard !members.contains(new) || !members.contains(chosen) else {
      throw StartError(
        "--shard '\(shard)': it is in the ring already; allowed is one that is not, or give the "
          + "gone one's partitions to all: `martlet ring remove \(chosen)`")
    }
    self.gone = chosen
    self.shard = shard
    self.new = new
    partitions = Self.partitions(of: chosen, status)
  }

  /// Writes it, the ring first, then partition after partition, also those that a split makes
  /// meanwhile. Trying again goes on where it stopped.
  ///
  /// **Throws**: `StartError` when the coordinator does not answer or a record keeps changing.
  package func carryOut(in coordinator: any Coordinator) async throws(StartError) {
    try await replaceMember(in: coordinator)
    var rest = partitions
    while !rest.isEmpty {
      for partition in rest { try await carryOut(partition, in: coordinator) }
      do { rest = Self.partitions(of: gone, try await RingStatus.readMade(coordinator)) } catch {
        throw StartError("the ring was not read again (\(error)); look at it, and try again")
      }
    }
  }

  private static func partitions(of gone: StoreID, _ status: RingStatus) -> [PartitionID] {
    status.partitions.filter { item in item.record.target.contains { $0.store == gone } }
      .map(\.id)
  }

  /// Puts the new store in the gone one's place in the ring, and in a change that is under way.
  private func replaceMember(in coordinator: any Coordinator) async throws(StartError) {
    for _ in 0..<Self.attemptsMax {
      guard let reading = try? await coordinator.get(CoordinationKey.ring) else {
        await Mirror.sleep(Self.retryPause)
        continue
      }
      // Without a record the members are those that partitions are on.
      guard let item = reading.item else { return }
      guard let ring = try? RingRecord(decoding: item.value) else { break }
      let replaced = ring.replacing(gone, by: new, name: shard)
      guard replaced != ring else { return }
      let result = try? await coordinator.transact(
        .compareAndSet(CoordinationKey.ring, at: item.modRevision, to: replaced.encoded()))
      if result?.succeeded ?? false { return }
    }
    throw StartError("the ring was not written; look at `martlet ring status`, try again")
  }

  private func carryOut(
    _ partition: PartitionID, in coordinator: any Coordinator
  ) async throws(StartError) {
    for _ in 0..<Self.attemptsMax {
      guard let known = await RecordChange.read(partition, in: coordinator) else { continue }
      guard let changed = changed(known.record) else { return }
      let outcome = await RecordChange.compareAndSet(
        partition, changed, base: known.revision, in: coordinator)
      if case .succeeded = outcome { return }
    }
    throw StartError("\(partition): it was not written; look at `martlet ring status`, try again")
  }

  /// **Returns**: `nil` when there is nothing to change any more. A store that has the partition
  /// already cannot have it twice: the gone one leaves then.
  private func changed(_ record: PartitionRecord) -> PartitionRecord? {
    let stores = record.target.map(\.store)
    guard stores.contains(gone) else { return nil }
    return record.retargeted(
      to: stores.contains(new)
        ? stores.filter { $0 != gone } : stores.map { $0 == gone ? new : $0 })
  }
}

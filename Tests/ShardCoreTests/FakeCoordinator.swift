import ClusterModel
import Primitives
import ReplicaCore

/// One record per partition, changed by compare-and-set.
struct FakeCoordinator {
  private(set) var records: [PartitionID: VersionedRecord] = [:]
  private var revision: Int64 = 0
  private(set) var changeCount = 0

  init(owners: [PartitionID: [StoreID]]) {
    for partition in owners.keys.sorted() {
      revision += 1
      records[partition] = VersionedRecord(
        record: PartitionRecord(initialOwners: owners[partition] ?? []),
        revision: Revision(revision))
    }
  }

  /// **Returns**: the answer, and the record if it was set.
  mutating func compareAndSet(
    _ partition: PartitionID, _ record: PartitionRecord, base: Revision
  ) -> ChangeOutcome {
    guard let current = records[partition] else { preconditionFailure("no record") }
    guard current.revision == base else { return .conflicted(current) }
    revision += 1
    changeCount += 1
    records[partition] = VersionedRecord(record: record, revision: Revision(revision))
    return .succeeded(Revision(revision))
  }
}

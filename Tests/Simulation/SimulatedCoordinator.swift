package import ClusterModel
package import Primitives
package import ReplicaCore

/// One record per partition, changed by compare-and-set.
package struct SimulatedCoordinator {
  package private(set) var records: [PartitionID: VersionedRecord] = [:]
  private var revision: Int64 = 0
  package private(set) var changeCount = 0

  /// - Parameter startsAlone: only the first owner is in sync, the others are learners.
  package init(owners: [PartitionID: [StoreID]], startsAlone: Bool = false) {
    for partition in owners.keys.sorted() {
      revision += 1
      var record = PartitionRecord(initialOwners: owners[partition] ?? [])
      if startsAlone { record.inSync = [record.leader] }
      records[partition] = VersionedRecord(record: record, revision: Revision(revision))
    }
  }

  /// **Returns**: the answer; the record is set when it is `succeeded`.
  package mutating func compareAndSet(
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

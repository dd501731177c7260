package import ClusterModel
package import Primitives
package import ReplicaCore

/// One record per partition, changed by compare-and-set.
package struct SimulatedCoordinator {
  /// The records by partition: numbered from zero, looked up at every step.
  package struct Records {
    fileprivate var found: [VersionedRecord?] = []

    package subscript(partition: PartitionID) -> VersionedRecord? {
      let place = Int(partition.rawValue)
      return place < found.count ? found[place] : nil
    }
    /// In order.
    package var keys: [PartitionID] {
      found.indices.filter { found[$0] != nil }.map { PartitionID(UInt32($0)) }
    }
  }

  package private(set) var records = Records()
  private var revision: Int64 = 0
  package private(set) var changeCount = 0

  /// - Parameter startsAlone: only the first owner is in sync, the others are learners.
  package init(owners: [PartitionID: [StoreID]], startsAlone: Bool = false) {
    for partition in owners.keys.sorted() {
      revision += 1
      var record = PartitionRecord(initialOwners: owners[partition] ?? [])
      if startsAlone { record.inSync = [record.leader] }
      set(partition, record)
    }
  }

  private mutating func set(_ partition: PartitionID, _ record: PartitionRecord) {
    let place = Int(partition.rawValue)
    while records.found.count <= place { records.found.append(nil) }
    records.found[place] = VersionedRecord(record: record, revision: Revision(revision))
  }

  /// The first record of a partition.
  ///
  /// **Returns**: whether it was made: there was none, and that of `whole` is as it was.
  package mutating func make(
    _ partition: PartitionID, _ record: PartitionRecord, of whole: PartitionID, base: Revision
  ) -> Bool {
    guard records[partition] == nil, records[whole]?.revision == base else { return false }
    revision += 1
    set(partition, record)
    return true
  }

  /// **Returns**: the answer; the record is set when it is `succeeded`.
  package mutating func compareAndSet(
    _ partition: PartitionID, _ record: PartitionRecord, base: Revision
  ) -> ChangeOutcome {
    guard let current = records[partition] else { preconditionFailure("no record") }
    guard current.revision == base else { return .conflicted(current) }
    revision += 1
    changeCount += 1
    set(partition, record)
    return .succeeded(Revision(revision))
  }
}

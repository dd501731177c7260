package import ClusterModel
package import Primitives
import ShardCore

/// Holds the replicas of every partition against each other while everything goes on: each is owned
/// by one leader, and all that are in sync have the same state after the same entry, one that was
/// applied since this began.
///
/// Replicas tell what their states hash to after every so many entries, and now. What they tell at
/// different times can be compared, because a state after an entry never changes.
package struct RingVerification: Sendable {
  /// How a partition stands.
  package enum Finding: Equatable, Sendable {
    case equal(at: LogIndex)
    /// Nothing was seen of all its replicas after the same entry so far.
    case open
    /// Two states after the same entry.
    case differs(at: LogIndex, StoreID, StoreID)
    /// Leaders at the same time: none or several.
    case owned(by: [StoreID])
  }

  private struct Replica {
    var epoch = Epoch.zero
    var leads = false
    var hashes: [LogIndex: UInt64] = [:]
  }

  private var seen: [PartitionID: [StoreID: Replica]] = [:]
  /// Where the leader was when it was asked first.
  private var floors: [PartitionID: LogIndex] = [:]

  package init() {}

  /// What a shard answered under `/partitions?format=marks`; what it said before of who leads is
  /// void.
  ///
  /// **Returns**: `false` when it is not that.
  package mutating func take(_ text: String, from store: StoreID) -> Bool {
    for partition in seen.keys { seen[partition]?[store]?.leads = false }
    for line in text.split(separator: "\n") {
      guard let report = ReplicaReport(line) else { return false }
      var replica = seen[report.partition]?[store] ?? Replica()
      replica.epoch = report.epoch
      replica.leads = report.role == .leads
      for mark in report.marks { replica.hashes[mark.index] = mark.hash }
      if replica.leads, floors[report.partition] == nil {
        floors[report.partition] = report.marks.last?.index
      }
      seen[report.partition, default: [:]][store] = replica
    }
    return true
  }

  /// - Parameter record: as it was read after the shards had been asked.
  package func finding(_ partition: PartitionID, _ record: PartitionRecord) -> Finding {
    let replicas = seen[partition] ?? [:]
    let owners = replicas.filter { $0.value.leads && $0.value.epoch >= record.epoch }.keys.sorted()
    guard owners == [record.leader.store] else { return .owned(by: owners) }
    let stores = record.inSync.map(\.store)
    guard let first = stores.first, let known = replicas[first] else { return .open }
    var equalAt: LogIndex?
    for (index, hash) in known.hashes.sorted(by: { $0.key < $1.key }) {
      var isEverywhere = true
      for store in stores.dropFirst() {
        guard let other = replicas[store]?.hashes[index] else {
          isEverywhere = false
          continue
        }
        if other != hash { return .differs(at: index, first, store) }
      }
      if isEverywhere { equalAt = index }
    }
    guard let equalAt, equalAt >= floors[partition] ?? .zero else { return .open }
    return .equal(at: equalAt)
  }
}

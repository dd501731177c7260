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
    var isStopped = false
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
      let parts = line.split(separator: " ")
      guard parts.count >= 4, let number = UInt32(parts[0]), let epoch = UInt64(parts[2]) else {
        return false
      }
      let partition = PartitionID(number)
      var replica = seen[partition]?[store] ?? Replica()
      replica.epoch = Epoch(epoch)
      replica.leads = parts[1] == "leads"
      replica.isStopped = parts[1] == "stopped"
      var last = LogIndex.zero
      for mark in parts[3...] {
        let pair = mark.split(separator: "=")
        guard pair.count == 2, let index = UInt64(pair[0]), let hash = UInt64(pair[1], radix: 16)
        else { return false }
        last = LogIndex(index)
        replica.hashes[last] = hash
      }
      if replica.leads, floors[partition] == nil { floors[partition] = last }
      seen[partition, default: [:]][store] = replica
    }
    return true
  }

  /// The line that a shard tells of one of its replicas.
  static func line(_ item: ShardCore.PartitionStatus) -> String {
    let role = item.isLeader ? "leads" : item.stop == nil ? "follows" : "stopped"
    let epoch = item.record?.record.epoch.rawValue ?? 0
    let marks = item.marks.map { "\($0.index.rawValue)=\(String($0.hash, radix: 16))" }
    return "\(item.partition.rawValue) \(role) \(epoch) " + marks.joined(separator: " ")
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

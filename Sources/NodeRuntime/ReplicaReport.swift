import ClusterModel
package import Primitives
package import ShardCore

/// What a shard tells its operators' tools of one of its replicas: a line of
/// `/partitions?format=marks`.
///
/// ```
/// partition role epoch bytes index=hash …      3 leads 12 40960 64=9f… 71=2c…
/// ```
package struct ReplicaReport: Equatable, Sendable {
  package enum Role: String, Sendable {
    case leads, follows, stopped
  }

  package let partition: PartitionID
  package let role: Role
  package let epoch: Epoch
  /// About what it takes on the disk. **Units**: bytes.
  package let bytes: UInt64
  /// What its state hashes to after some entries, ascending; the last one is now.
  package let marks: [StateMark]

  /// **Returns**: `nil` when it is no such line.
  package init?(_ line: some StringProtocol) {
    let parts = line.split(separator: " ")
    guard parts.count >= 5, let number = UInt32(parts[0]),
      let role = Role(rawValue: String(parts[1])),
      let epoch = UInt64(parts[2]), let bytes = UInt64(parts[3])
    else { return nil }
    var marks: [StateMark] = []
    for mark in parts[4...] {
      let pair = mark.split(separator: "=")
      guard pair.count == 2, let index = UInt64(pair[0]), let hash = UInt64(pair[1], radix: 16)
      else { return nil }
      marks.append(StateMark(index: LogIndex(index), hash: hash))
    }
    partition = PartitionID(number)
    self.role = role
    self.epoch = Epoch(epoch)
    self.bytes = bytes
    self.marks = marks
  }

  static func line(_ item: ShardCore.PartitionStatus, bytes: UInt64) -> String {
    let role: Role = item.isLeader ? .leads : item.stop == nil ? .follows : .stopped
    let epoch = item.record?.record.epoch.rawValue ?? 0
    let marks = item.marks.map { "\($0.index.rawValue)=\(String($0.hash, radix: 16))" }
    return "\(item.partition.rawValue) \(role.rawValue) \(epoch) \(bytes) "
      + marks.joined(separator: " ")
  }
}

/// How much the partitions take, as their shards tell: of each the largest replica, and of each
/// store all of them.
package struct PartitionSizes: Equatable, Sendable {
  private var sizes: [PartitionID: UInt64] = [:]
  private var totals: [StoreID: UInt64] = [:]

  package init() {}

  /// What a shard answered under `/partitions?format=marks`.
  package mutating func take(_ text: String, from store: StoreID) {
    totals[store] = 0
    for line in text.split(separator: "\n") {
      guard let report = ReplicaReport(line) else { continue }
      totals[store, default: 0] += report.bytes
      sizes[report.partition] = max(sizes[report.partition] ?? 0, report.bytes)
    }
  }

  /// **Units**: bytes; zero where nobody has told.
  package subscript(partition: PartitionID) -> UInt64 { sizes[partition] ?? 0 }

  /// **Units**: bytes; `nil` where nobody has told.
  package func total(on store: StoreID) -> UInt64? { totals[store] }
}

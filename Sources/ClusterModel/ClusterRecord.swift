package import Primitives

/// What is decided once, when the ring is made, and is the same for every node.
package struct ClusterRecord: Equatable, Sendable {
  /// Random, made with the ring; never zero.
  package var clusterID: UInt128
  /// With how many partitions the ring was made; the `RingRecord` says how often it was split.
  package var partitionCount: UInt32
  /// How many replicas each partition should have.
  package var replicaCount: UInt32
  /// The fewest in-sync replicas with which commands are accepted.
  package var minInSync: UInt32

  /// Bounds of `partitionCount`.
  package static let partitionCountRange: ClosedRange<UInt32> = 1...65_536
  package static let replicaCountRange: ClosedRange<UInt32> = 1...7

  /// `minInSync` is 2 when a partition has two replicas or more (promise P1).
  package init(clusterID: UInt128, partitionCount: UInt32, replicaCount: UInt32) {
    self.clusterID = clusterID
    self.partitionCount = partitionCount
    self.replicaCount = replicaCount
    self.minInSync = min(2, replicaCount)
  }

  package var scheme: PartitionScheme { PartitionScheme(rootCount: partitionCount) }

  /// The bytes of `martlet.v1.ClusterRecord`.
  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 40)
    writer.identifier(1, clusterID)
    writer.uint(2, partitionCount)
    writer.uint(3, replicaCount)
    writer.uint(4, minInSync)
    return writer.bytes
  }

  /// **Throws**: `ProtobufError` when the bytes are no cluster record or a value is out of range.
  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    self.init(clusterID: 0, partitionCount: 0, replicaCount: 0)
    while let field = try reader.next() {
      switch field.number {
      case 1: clusterID = try field.identifier()
      case 2: partitionCount = try field.uint32()
      case 3: replicaCount = try field.uint32()
      case 4: minInSync = try field.uint32()
      default: break
      }
    }
    guard clusterID != 0 else { throw .missingField(1) }
    guard Self.partitionCountRange.contains(partitionCount) else { throw .outOfRange(field: 2) }
    guard Self.replicaCountRange.contains(replicaCount) else { throw .outOfRange(field: 3) }
    guard (1...replicaCount).contains(minInSync) else { throw .outOfRange(field: 4) }
  }
}

/// Names of the keys in the coordinator. Everything of Martlet's lies under one root.
package enum CoordinationKey {
  /// What all keys begin with.
  package static let root = "/martlet/v1/"
  /// The `ClusterRecord`.
  package static let cluster = root + "cluster"
  /// The `RingRecord`.
  package static let ring = root + "ring"
  /// Whoever holds it may move partitions: a store's id, under a lease.
  package static let controller = root + "controller"
  /// What the keys of all `PartitionRecord`s begin with.
  package static let partitions = root + "partitions/"
  /// What the keys of all `NodeRecord`s begin with.
  package static let nodes = root + "nodes/"
  /// The keys that sign and verify access tokens.
  package static let signingKeys = root + "signing-keys"
  /// 32 bytes, made once: from them and a refresh token follows the next one.
  package static let refreshSecret = root + "refresh-secret"

  /// The `ActiveVersion`; version 1 when there is none.
  package static let version = root + "version"
  /// The `BackupRequest` of a tool that makes a backup.
  package static let backup = root + "backup"
  /// What the keys of all `BackupReport`s begin with.
  package static let backupReports = root + "backup-reports/"

  /// Eight decimal digits, so that the order of keys is the order of partitions.
  package static func partition(_ partition: PartitionID) -> String {
    let digits = String(partition.rawValue)
    return partitions + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  /// The partition whose record lies under `key`; `nil` for any other key.
  package static func partition(in key: String) -> PartitionID? {
    guard key.hasPrefix(partitions) else { return nil }
    return UInt32(key.dropFirst(partitions.count)).map { PartitionID($0) }
  }

  /// Where the node of this name is registered.
  package static func node(_ name: String) -> String { nodes + name }
}

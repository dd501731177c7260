package import ClusterModel
package import Primitives

/// What a backup is: which stores were copied, which of their replicas hold what was acknowledged,
/// and what the coordinator knew.
///
/// **Shape** (one file): 8 bytes `MARTLETB`, protobuf, then CRC-32C of all before it, 4 bytes,
/// big-endian. It holds the secrets that sign tokens.
package struct BackupManifest: Equatable, Sendable {
  /// The copy of one store.
  package struct Copy: Equatable, Sendable {
    package var node: String
    package var store: StoreID
    /// As the shard sees it.
    package var directory: String
    package var number: UInt32
    /// When it was made. Seconds since 1970.
    package var time: Int64
    /// Of all its files, also of those that it shares with earlier ones.
    package var bytes: UInt64

    package init(
      node: String, store: StoreID, directory: String, number: UInt32, time: Int64, bytes: UInt64
    ) {
      self.node = node
      self.store = store
      self.directory = directory
      self.number = number
      self.time = time
      self.bytes = bytes
    }
  }

  package var time: WallTime
  /// Of the protocol, when it was made.
  package var version: ActiveVersion
  package var cluster: ClusterRecord
  /// How often all partitions were cut in two.
  package var level: UInt32
  package var copies: [Copy]
  /// Of every partition: its record, and the replica in one of the copies.
  package var partitions: [(record: PartitionRecord, replica: ReplicaID)]
  /// Keys of the coordinator that a restored cluster needs as they were.
  package var secrets: [(key: String, value: [UInt8])]

  package init(
    time: WallTime, version: ActiveVersion, cluster: ClusterRecord, level: UInt32 = 0,
    copies: [Copy], partitions: [(record: PartitionRecord, replica: ReplicaID)],
    secrets: [(key: String, value: [UInt8])]
  ) {
    self.time = time
    self.version = version
    self.cluster = cluster
    self.level = level
    self.copies = copies
    self.partitions = partitions
    self.secrets = secrets
  }

  package static func == (left: Self, right: Self) -> Bool { left.encoded() == right.encoded() }

  private static let magic = Array("MARTLETB".utf8)
  private static let version: UInt64 = 1

  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter()
    writer.uint(1, Self.version)
    writer.uint(2, time.milliseconds)
    writer.element(3, cluster.encoded())
    for copy in copies {
      writer.message(4) {
        $0.string(1, copy.node)
        $0.fixed64(2, copy.store.rawValue)
        $0.string(3, copy.directory)
        $0.uint(4, copy.number)
        $0.uint(5, copy.bytes)
        $0.int(6, copy.time)
      }
    }
    for (record, replica) in partitions {
      writer.message(5) {
        $0.element(1, record.encoded())
        $0.message(2) { replica.encode(into: &$0) }
      }
    }
    for (key, value) in secrets {
      writer.message(6) {
        $0.string(1, key)
        $0.data(2, value)
      }
    }
    writer.element(7, version.encoded())
    writer.uint(8, level)
    return CRC32C.sealing(Self.magic + writer.bytes)
  }

  /// **Throws**: `StartError` in words for the operator.
  package init(decoding bytes: [UInt8]) throws(StartError) {
    guard bytes.starts(with: Self.magic), bytes.count >= Self.magic.count + CRC32C.size else {
      throw StartError("it is no backup's manifest")
    }
    guard let body = CRC32C.opening(bytes) else {
      throw StartError("the manifest is damaged: its checksum does not match")
    }
    do throws(ProtobufError) {
      self = try Self.decode(Array(body.dropFirst(Self.magic.count)))
    } catch {
      throw StartError("the manifest cannot be read: \(error)")
    }
  }

  private static func decode(_ bytes: [UInt8]) throws(ProtobufError) -> BackupManifest {
    var version: UInt64 = 0
    var time: UInt64 = 0
    var active: ActiveVersion?
    var cluster: ClusterRecord?
    var level: UInt32 = 0
    var copies: [Copy] = []
    var partitions: [(record: PartitionRecord, replica: ReplicaID)] = []
    var secrets: [(key: String, value: [UInt8])] = []
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: time = try field.uint64()
      case 3: cluster = try ClusterRecord(decoding: Array(try field.bytes()))
      case 4: copies.append(try copy(try field.reader()))
      case 5: partitions.append(try partition(try field.reader()))
      case 6: secrets.append(try secret(try field.reader()))
      case 7: active = try ActiveVersion(decoding: Array(try field.bytes()))
      case 8: level = try field.uint32()
      default: break
      }
    }
    guard version == Self.version else { throw .outOfRange(field: 1) }
    guard let cluster else { throw .missingField(3) }
    guard let active else { throw .missingField(7) }
    guard level <= RingRecord.levelMax else { throw .outOfRange(field: 8) }
    guard partitions.count == cluster.scheme.count(level: level) else {
      throw .outOfRange(field: 5)
    }
    return BackupManifest(
      time: WallTime(milliseconds: time), version: active, cluster: cluster, level: level,
      copies: copies, partitions: partitions, secrets: secrets)
  }

  private static func copy(_ reader: ProtobufReader) throws(ProtobufError) -> Copy {
    var copy = Copy(node: "", store: StoreID(0), directory: "", number: 0, time: 0, bytes: 0)
    var reader = reader
    while let field = try reader.next() {
      switch field.number {
      case 1: copy.node = try field.string()
      case 2: copy.store = StoreID(try field.fixed64())
      case 3: copy.directory = try field.string()
      case 4: copy.number = try field.uint32()
      case 5: copy.bytes = try field.uint64()
      case 6: copy.time = try field.int64()
      default: break
      }
    }
    return copy
  }

  private static func partition(
    _ reader: ProtobufReader
  ) throws(ProtobufError) -> (record: PartitionRecord, replica: ReplicaID) {
    var record: PartitionRecord?
    var replica: ReplicaID?
    var reader = reader
    while let field = try reader.next() {
      switch field.number {
      case 1: record = try PartitionRecord(decoding: Array(try field.bytes()))
      case 2: replica = try ReplicaID(decoding: try field.reader())
      default: break
      }
    }
    guard let record else { throw .missingField(1) }
    guard let replica else { throw .missingField(2) }
    return (record, replica)
  }

  private static func secret(
    _ reader: ProtobufReader
  ) throws(ProtobufError) -> (key: String, value: [UInt8]) {
    var secret: (key: String, value: [UInt8]) = ("", [])
    var reader = reader
    while let field = try reader.next() {
      switch field.number {
      case 1: secret.key = try field.string()
      case 2: secret.value = Array(try field.bytes())
      default: break
      }
    }
    return secret
  }
}

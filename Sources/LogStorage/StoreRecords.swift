package import Primitives

/// What a store remembers of one of its replicas, beside the log and the state.
///
/// **Invariant**: `firstIndex` ≤ `appliedIndex` + 1; `promise` never goes down.
package struct PartitionMeta: Hashable, Sendable {
  package var replica: ReplicaID
  /// Under which the replica's log and state lie in this store.
  package var prefix: UInt32
  /// No message of a lower epoch is accepted any more.
  package var promise: Epoch
  /// The first index that the log still holds, or would hold next when it is empty.
  package var firstIndex: LogIndex
  /// The entry before `firstIndex`, all of whose effects are in the state.
  package var snapshotIndex: LogIndex
  package var snapshotEpoch: Epoch
  /// The last entry whose effects are in the state family.
  package var appliedIndex: LogIndex
  package var commitIndex: LogIndex
  /// Over the state writes up to `appliedIndex`.
  package var rollingHash: UInt64
  package var generation: UInt32
  /// Where the entities lie, if the partition was cut in two since this replica has its prefix.
  package var shared: StatePlace.Shared?
  /// Earlier replicas of the partition whose log and state still lie under prefixes of their own.
  package var former: [FormerReplica] = []
  /// Nobody uses the replica any more; it is kept for a person to look at.
  package var isSetAside = false

  package init(
    replica: ReplicaID, prefix: UInt32, promise: Epoch = .zero,
    firstIndex: LogIndex = LogIndex(1), snapshotIndex: LogIndex = .zero,
    snapshotEpoch: Epoch = .zero, appliedIndex: LogIndex = .zero, commitIndex: LogIndex = .zero,
    rollingHash: UInt64 = 0, generation: UInt32 = 0, shared: StatePlace.Shared? = nil
  ) {
    self.replica = replica
    self.prefix = prefix
    self.promise = promise
    self.firstIndex = firstIndex
    self.snapshotIndex = snapshotIndex
    self.snapshotEpoch = snapshotEpoch
    self.appliedIndex = appliedIndex
    self.commitIndex = commitIndex
    self.rollingHash = rollingHash
    self.generation = generation
    self.shared = shared
  }

  package var place: StatePlace { StatePlace(prefix: prefix, shared: shared) }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 64)
    writer.fixed64(1, replica.store.rawValue)
    writer.uint(2, replica.number)
    writer.uint(3, prefix)
    writer.uint(4, promise.rawValue)
    writer.uint(5, firstIndex.rawValue)
    writer.uint(6, snapshotIndex.rawValue)
    writer.uint(7, snapshotEpoch.rawValue)
    writer.uint(8, appliedIndex.rawValue)
    writer.uint(9, commitIndex.rawValue)
    writer.fixed64(10, rollingHash)
    writer.uint(11, generation)
    for earlier in former {
      writer.message(12) {
        $0.uint(1, earlier.replica.number)
        $0.uint(2, earlier.prefix)
        $0.bool(3, earlier.isSetAside)
        $0.uint(4, earlier.firstIndex.rawValue)
        earlier.shared?.encode(as: 5, into: &$0)
      }
    }
    writer.bool(13, isSetAside)
    shared?.encode(as: 14, into: &writer)
    return writer.bytes
  }

  init(decoding bytes: ArraySlice<UInt8>) throws(ProtobufError) {
    self.init(
      replica: ReplicaID(store: StoreID(0), number: 0), prefix: 0, firstIndex: .zero)
    var store = StoreID(0)
    var number: UInt32 = 0
    var former: [FormerReplica] = []
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      switch field.number {
      case 1: store = StoreID(try field.fixed64())
      case 2: number = try field.uint32()
      case 3: prefix = try field.uint32()
      case 4: promise = Epoch(try field.uint64())
      case 5: firstIndex = LogIndex(try field.uint64())
      case 6: snapshotIndex = LogIndex(try field.uint64())
      case 7: snapshotEpoch = Epoch(try field.uint64())
      case 8: appliedIndex = LogIndex(try field.uint64())
      case 9: commitIndex = LogIndex(try field.uint64())
      case 10: rollingHash = try field.fixed64()
      case 11: generation = try field.uint32()
      case 12: former.append(try FormerReplica(decoding: try field.reader()))
      case 13: isSetAside = try field.bool()
      case 14: shared = try StatePlace.Shared(decoding: try field.reader())
      default: break
      }
    }
    replica = ReplicaID(store: store, number: number)
    self.former = former.map { $0.on(store) }
  }
}

/// A replica that is out of service, and where what is left of it lies.
package struct FormerReplica: Hashable, Sendable {
  package let replica: ReplicaID
  package let prefix: UInt32
  /// Kept for a person to look at.
  package let isSetAside: Bool
  /// Of its log.
  package let firstIndex: LogIndex
  /// As in `PartitionMeta`.
  package let shared: StatePlace.Shared?

  package init(
    replica: ReplicaID, prefix: UInt32, isSetAside: Bool = false,
    firstIndex: LogIndex = LogIndex(1), shared: StatePlace.Shared? = nil
  ) {
    self.replica = replica
    self.prefix = prefix
    self.isSetAside = isSetAside
    self.firstIndex = firstIndex
    self.shared = shared
  }

  package var place: StatePlace { StatePlace(prefix: prefix, shared: shared) }

  /// The store is that of the meta in which it stands.
  fileprivate func on(_ store: StoreID) -> FormerReplica {
    FormerReplica(
      replica: ReplicaID(store: store, number: replica.number), prefix: prefix,
      isSetAside: isSetAside, firstIndex: firstIndex, shared: shared)
  }

  fileprivate init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    var (number, prefix, isSetAside, first) = (UInt32(0), UInt32(0), false, LogIndex(1))
    var shared: StatePlace.Shared?
    while let field = try reader.next() {
      switch field.number {
      case 1: number = try field.uint32()
      case 2: prefix = try field.uint32()
      case 3: isSetAside = try field.bool()
      case 4: first = LogIndex(try field.uint64())
      case 5: shared = try StatePlace.Shared(decoding: try field.reader())
      default: break
      }
    }
    self.init(
      replica: ReplicaID(store: StoreID(0), number: number), prefix: prefix,
      isSetAside: isSetAside, firstIndex: first, shared: shared)
  }
}

extension StatePlace.Shared {
  fileprivate func encode(as field: Int, into writer: inout ProtobufWriter) {
    writer.message(field) {
      $0.uint(1, prefix)
      $0.fixed64(2, tokens.lowerBound.rawValue)
      $0.fixed64(3, tokens.upperBound.rawValue)
    }
  }

  fileprivate init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    var (prefix, first, last) = (UInt32(0), UInt64(0), UInt64(0))
    while let field = try reader.next() {
      switch field.number {
      case 1: prefix = try field.uint32()
      case 2: first = try field.fixed64()
      case 3: last = try field.fixed64()
      default: break
      }
    }
    guard first <= last else { throw .outOfRange(field: 3) }
    self.init(prefix: prefix, tokens: Token(first)...Token(last))
  }
}

/// What a store remembers of itself.
package struct StoreRecord: Hashable, Sendable {
  /// The latest layout of keys and values that this program reads.
  ///
  /// | version | brought |
  /// |---|---|
  /// | 1 | the beginning |
  /// | 2 | logs that begin later than with their first entry |
  /// | 3 | states that halves of a partition share |
  package static let knownStorageVersion: UInt32 = 3

  package let store: StoreID
  /// Zero until the store has met its cluster.
  package var clusterID: UInt128
  package let nodeName: String
  package var storageVersion: UInt32
  /// The coordinator's highest revision that this store has seen.
  package var highestRevision: Int64
  /// **Invariant**: greater than every prefix that was ever given out.
  package var nextPrefix: UInt32
  /// The coordinator that `highestRevision` is of; zero until the store has met it.
  package var coordinatorID: UInt64
  /// The directory was made anew after damage: replicas that it does not hold were lost.
  package var wasMadeAnew: Bool

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 64)
    writer.fixed64(1, store.rawValue)
    writer.identifier(2, clusterID)
    writer.string(3, nodeName)
    writer.uint(4, storageVersion)
    writer.int(5, highestRevision)
    writer.uint(6, nextPrefix)
    writer.fixed64(7, coordinatorID)
    writer.bool(8, wasMadeAnew)
    return writer.bytes
  }

  init(
    store: StoreID, clusterID: UInt128, nodeName: String,
    storageVersion: UInt32 = 1, highestRevision: Int64 = 0,
    nextPrefix: UInt32 = 1, coordinatorID: UInt64 = 0, wasMadeAnew: Bool = false
  ) {
    self.store = store
    self.clusterID = clusterID
    self.nodeName = nodeName
    self.storageVersion = storageVersion
    self.highestRevision = highestRevision
    self.nextPrefix = nextPrefix
    self.coordinatorID = coordinatorID
    self.wasMadeAnew = wasMadeAnew
  }

  init(decoding bytes: ArraySlice<UInt8>) throws(ProtobufError) {
    var store = StoreID(0)
    var clusterID: UInt128 = 0
    var nodeName = ""
    var storageVersion: UInt32 = 0
    var highestRevision: Int64 = 0
    var nextPrefix: UInt32 = 0
    var coordinatorID: UInt64 = 0
    var wasMadeAnew = false
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      switch field.number {
      case 1: store = StoreID(try field.fixed64())
      case 2: clusterID = try field.identifier()
      case 3: nodeName = try field.string()
      case 4: storageVersion = try field.uint32()
      case 5: highestRevision = try field.int64()
      case 6: nextPrefix = try field.uint32()
      case 7: coordinatorID = try field.fixed64()
      case 8: wasMadeAnew = try field.bool()
      default: break
      }
    }
    self.init(
      store: store, clusterID: clusterID, nodeName: nodeName, storageVersion: storageVersion,
      highestRevision: highestRevision, nextPrefix: nextPrefix, coordinatorID: coordinatorID,
      wasMadeAnew: wasMadeAnew)
  }
}

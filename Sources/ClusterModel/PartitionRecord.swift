package import Primitives

/// Who owns a partition: the one thing about it that the coordinator decides, by compare-and-set.
///
/// | change | by | effect |
/// |---|---|---|
/// | T1 promote | an in-sync replica | `epoch` + 1, itself leads; the unreachable leave `inSync` |
/// | T2 shrink | the leader of this epoch | one other replica leaves `inSync` |
/// | T3 expand | the leader of this epoch | a learner that caught up joins `inSync` |
/// | T4 retarget | the ring controller | `target`, with replica numbers from `nextReplica` |
/// | T5 split | the leader of this epoch | the record of the upper half is made; this one stays |
/// | force | an operator | one replica alone is in sync, or empty ones are; `generation` + 1 |
///
/// **Invariant**: `inSync` is never empty and is sorted; every number in use is below
/// `nextReplica`.
package struct PartitionRecord: Equatable, Sendable {
  package var epoch: Epoch
  package var leader: ReplicaID
  package var leaderBoot: BootID
  /// The replicas that hold every acknowledged entry. Sorted, without duplicates.
  package var inSync: [ReplicaID]
  /// Where the partition should live, in order of preference: the first should lead.
  package var target: [ReplicaID]
  /// The number of the next replica to be made; never goes down.
  package var nextReplica: UInt32
  /// Grows only when an operator forces a leader from outside of `inSync`.
  package var generation: UInt32
  /// The position up to which this partition and the one it was cut off from are the same; zero
  /// when the ring was made with it.
  package var origin: LogIndex

  package init(
    epoch: Epoch, leader: ReplicaID, leaderBoot: BootID, inSync: [ReplicaID], target: [ReplicaID],
    nextReplica: UInt32, generation: UInt32, origin: LogIndex = .zero
  ) {
    self.epoch = epoch
    self.leader = leader
    self.leaderBoot = leaderBoot
    self.inSync = inSync.sorted()
    self.target = target
    self.nextReplica = nextReplica
    self.generation = generation
    self.origin = origin
  }

  /// The record of a partition that never had an entry: everybody is in sync with an empty log.
  package init(initialOwners stores: [StoreID]) {
    let replicas = stores.enumerated().map { ReplicaID(store: $1, number: UInt32($0 + 1)) }
    precondition(!replicas.isEmpty, "a partition needs an owner")
    self.init(
      epoch: .zero, leader: replicas[0], leaderBoot: .none, inSync: replicas, target: replicas,
      nextReplica: UInt32(replicas.count + 1), generation: 0)
  }

  /// Everybody who has a part in this partition, in-sync members first.
  package var members: [ReplicaID] { inSync + target.filter { !inSync.contains($0) } }

  package func hasMember(_ replica: ReplicaID) -> Bool {
    inSync.contains(replica) || target.contains(replica)
  }

  /// The life of this partition on `store` that the record lists, if any.
  package func replica(on store: StoreID) -> ReplicaID? {
    members.filter { $0.store == store }.max { $0.number < $1.number }
  }

  /// Whether a replica gave itself up: the target lists a later one of the same store in its place.
  package func isSuperseded(_ replica: ReplicaID) -> Bool {
    target.contains { $0.store == replica.store && $0.number > replica.number }
  }

  /// The record with another target (T4): a store that the record lists keeps its replica, any
  /// other gets one that never was.
  package func retargeted(to stores: [StoreID]) -> PartitionRecord {
    var changed = self
    changed.target = stores.map { replica(on: $0) ?? changed.freshReplicas(on: [$0])[0] }
    return changed
  }

  /// The record after a replica gave itself up: a fresh one of the same store is in its place in
  /// the target, and if it led, nobody does. The replica's own change, safe because neither counts
  /// for commits and because it is conditioned on the revision like every other change.
  ///
  /// **Returns**: `nil` when there is nothing to change.
  package func giving(up replica: ReplicaID) -> PartitionRecord? {
    var changed = self
    if let place = target.firstIndex(of: replica) {
      changed.target[place] = ReplicaID(store: replica.store, number: nextReplica)
      changed.nextReplica += 1
    }
    if leader == replica, epoch > .zero { changed.leaderBoot = .none }
    return changed == self ? nil : changed
  }

  /// The record after an operator has put a replica in the place of in-sync ones that are gone for
  /// good: it alone is in sync and is to lead, and every other store begins anew. What it does not
  /// hold is lost, acknowledged or not.
  ///
  /// One that is in sync itself holds everything that was acknowledged, unless its disk has lost
  /// something, which nobody is left to tell: it goes on alone.
  ///
  /// - Parameter others: where the partition should live besides.
  /// **Returns**: `nil` when the replica is not one that the record lists.
  package func forcing(_ replica: ReplicaID, others: [StoreID]) -> PartitionRecord? {
    guard hasMember(replica) else { return nil }
    var changed = self
    changed.epoch = epoch.successor
    changed.leader = replica
    changed.leaderBoot = .none
    changed.inSync = [replica]
    changed.target = [replica] + changed.freshReplicas(on: others.filter { $0 != replica.store })
    changed.generation += 1
    return changed
  }

  /// The record of a partition that begins anew, since no replica of it is left: everybody is in
  /// sync with an empty log.
  package func emptied(owners: [StoreID]) -> PartitionRecord {
    precondition(!owners.isEmpty, "a partition needs an owner")
    var changed = self
    let replicas = changed.freshReplicas(on: owners)
    changed.epoch = .zero
    changed.leader = replicas[0]
    changed.leaderBoot = .none
    changed.inSync = replicas.sorted()
    changed.target = replicas
    changed.generation += 1
    return changed
  }

  /// The record of the half that is cut off after a position, while this one stands: it is to live
  /// on the same stores, and whoever has no half learns it. This one's leader leads the half, too,
  /// and takes that up like any epoch that it has not led; if it has no half, nobody leads yet.
  ///
  /// - Parameter holders: those that hold the half; at least one. They may be members no more.
  /// - Parameter limit: lower numbers may be names of such.
  package func cutOff(
    after origin: LogIndex, holders: [ReplicaID], limit: UInt32
  ) -> PartitionRecord {
    precondition(!holders.isEmpty, "nobody holds the half")
    var half = self
    half.epoch = epoch.successor
    half.inSync = holders.sorted()
    half.target = target.map { wanted in
      holders.first { $0.store == wanted.store } ?? wanted
    }
    half.origin = origin
    half.nextReplica = max(nextReplica, limit)
    if !holders.contains(leader) {
      half.leader = half.inSync[0]
      half.leaderBoot = .none
    }
    return half
  }

  private mutating func freshReplicas(on stores: [StoreID]) -> [ReplicaID] {
    stores.map { store in
      defer { nextReplica += 1 }
      return ReplicaID(store: store, number: nextReplica)
    }
  }

  /// Whether the leader has given itself up: its process may live, but it does not lead.
  package var isLeaderless: Bool { epoch > .zero && leaderBoot == .none }
}

extension PartitionRecord {
  private static let version: UInt64 = 1

  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 128)
    writer.uint(1, Self.version)
    writer.uint(2, epoch.rawValue)
    writer.message(3) { leader.encode(into: &$0) }
    writer.fixed64(4, leaderBoot.rawValue)
    for replica in inSync { writer.message(5) { replica.encode(into: &$0) } }
    for replica in target { writer.message(6) { replica.encode(into: &$0) } }
    writer.uint(7, nextReplica)
    writer.uint(8, generation)
    writer.uint(9, origin.rawValue)
    return writer.bytes
  }

  /// **Throws**: `ProtobufError` when the bytes are no record that this version can read.
  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    var epoch = Epoch.zero
    var leader: ReplicaID?
    var leaderBoot = BootID.none
    var inSync: [ReplicaID] = []
    var target: [ReplicaID] = []
    var nextReplica: UInt32 = 0
    var generation: UInt32 = 0
    var origin = LogIndex.zero
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: epoch = Epoch(try field.uint64())
      case 3: leader = try ReplicaID(decoding: try field.reader())
      case 4: leaderBoot = BootID(try field.fixed64())
      case 5: inSync.append(try ReplicaID(decoding: try field.reader()))
      case 6: target.append(try ReplicaID(decoding: try field.reader()))
      case 7: nextReplica = try field.uint32()
      case 8: generation = try field.uint32()
      case 9: origin = LogIndex(try field.uint64())
      default: break
      }
    }
    guard version == Self.version else { throw .outOfRange(field: 1) }
    guard let leader else { throw .missingField(3) }
    guard !inSync.isEmpty else { throw .missingField(5) }
    guard (inSync + target + [leader]).allSatisfy({ $0.number < nextReplica }) else {
      throw .outOfRange(field: 7)
    }
    self.init(
      epoch: epoch, leader: leader, leaderBoot: leaderBoot, inSync: inSync, target: target,
      nextReplica: nextReplica, generation: generation, origin: origin)
  }
}

extension ReplicaID {
  package func encode(into writer: inout ProtobufWriter) {
    writer.fixed64(1, store.rawValue)
    writer.uint(2, number)
  }

  package init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    var store: UInt64 = 0
    var number: UInt32 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: store = try field.fixed64()
      case 2: number = try field.uint32()
      default: break
      }
    }
    guard store != 0 else { throw .missingField(1) }
    self.init(store: StoreID(store), number: number)
  }
}

/// A partition's record together with the revision that a change of it must name.
package struct VersionedRecord: Equatable, Sendable {
  package let record: PartitionRecord
  package let revision: Revision

  package init(record: PartitionRecord, revision: Revision) {
    self.record = record
    self.revision = revision
  }
}

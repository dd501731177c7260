package import Primitives

/// A store that is, or was, part of the ring.
package struct RingMember: Hashable, Sendable {
  package var store: StoreID
  /// Of the node that had the store when it became a member.
  package var name: String
  /// The share of replicas that it should get, relative to the others. 1 to 1,000.
  package var weight: UInt32
  /// What fails together; empty when nobody has said.
  package var zone: String
  /// It should hold nothing, and stays a member so that it can be taken in again.
  package var isDrained: Bool

  package init(
    store: StoreID, name: String, weight: UInt32, zone: String, isDrained: Bool = false
  ) {
    self.store = store
    self.name = name
    self.weight = weight
    self.zone = zone
    self.isDrained = isDrained
  }
}

/// One partition whose replica set changes with the ring. Both sets in order of preference.
package struct RingMove: Hashable, Sendable {
  package var partition: PartitionID
  package var before: [StoreID]
  package var after: [StoreID]

  package init(partition: PartitionID, before: [StoreID], after: [StoreID]) {
    self.partition = partition
    self.before = before
    self.after = after
  }

  /// Stores that have to learn the partition.
  package var newcomers: [StoreID] { after.filter { !before.contains($0) } }

  /// The same the other way round.
  package var reversed: RingMove {
    RingMove(partition: partition, before: after, after: before)
  }
}

/// A change of the ring that is being carried out.
package struct RingChange: Equatable, Sendable {
  /// What an operator asked for.
  package enum Kind: UInt32, Sendable, CaseIterable {
    case add = 1
    case drain = 2
    case remove = 3
    /// Weights or zones of the members are others.
    case rebalance = 4
    /// Every partition is cut in two, once.
    case split = 5
  }

  /// Counts the changes of this ring.
  package var number: UInt64
  package var kind: Kind
  /// The node that it is about.
  package var subject: String
  /// By the clock of whoever asked for it.
  package var startedAt: WallTime
  /// The members to go back to.
  package var formerMembers: [RingMember]
  /// In the order of their partitions.
  package var moves: [RingMove]
  /// An operator wants everything to be as it was: `moves` and members are the way back.
  package var isTurnedBack: Bool

  package init(
    number: UInt64, kind: Kind, subject: String, startedAt: WallTime, formerMembers: [RingMember],
    moves: [RingMove], isTurnedBack: Bool = false
  ) {
    self.number = number
    self.kind = kind
    self.subject = subject
    self.startedAt = startedAt
    self.formerMembers = formerMembers
    self.moves = moves
    self.isTurnedBack = isTurnedBack
  }
}

/// Which stores make the ring, and what is on its way: what an operator decides, and the controller
/// carries out. Where a partition is and should be stands in its own record.
///
/// **Invariant**: members are sorted by store, each at most once; a change under way has its target
/// members in `members` already.
package struct RingRecord: Equatable, Sendable {
  package var members: [RingMember]
  package var change: RingChange?
  /// Changes so far, the one under way included.
  package var changeCount: UInt64
  /// Partitions that learn a new replica at a time.
  package var movesMax: UInt32
  /// What one store reads for replicas that learn their log. **Units**: bytes per second.
  package var bytesPerSecond: UInt64
  /// How often all partitions were cut in two; the change under way not included.
  package var level: UInt32

  package static let membersMax = 1_024
  package static let movesMaxRange: ClosedRange<UInt32> = 1...1_024
  package static let bytesPerSecondRange: ClosedRange<UInt64> = 65_536...(16 << 30)
  /// No ring has more than 65,536 partitions.
  package static let levelMax: UInt32 = 16
  package static let usualMovesMax: UInt32 = 8
  package static let usualBytesPerSecond: UInt64 = 64 << 20

  package init(
    members: [RingMember], change: RingChange? = nil, changeCount: UInt64 = 0,
    movesMax: UInt32 = Self.usualMovesMax, bytesPerSecond: UInt64 = Self.usualBytesPerSecond,
    level: UInt32 = 0
  ) {
    self.members = members.sorted { $0.store < $1.store }
    self.change = change
    self.changeCount = changeCount
    self.movesMax = movesMax
    self.bytesPerSecond = bytesPerSecond
    self.level = level
  }

  /// How often every partition will have been cut when the change under way is over.
  package var wantedLevel: UInt32 { change?.kind == .split ? level + 1 : level }

  /// Those that should hold replicas.
  package var active: [RingMember] { members.filter { !$0.isDrained } }

  /// The member with a name, or with a store's id.
  package func member(named name: String) -> RingMember? {
    members.first { $0.name == name } ?? members.first { $0.store.description == name }
  }
}

// MARK: - Bytes

extension RingRecord {
  private static let version: UInt64 = 1

  /// The bytes of `martlet.v1.RingRecord`.
  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 256)
    writer.uint(1, Self.version)
    for member in members { writer.message(2) { member.encode(into: &$0) } }
    if let change { writer.message(3) { change.encode(into: &$0) } }
    writer.uint(4, changeCount)
    writer.uint(5, movesMax)
    writer.uint(6, bytesPerSecond)
    writer.uint(7, level)
    return writer.bytes
  }

  /// **Throws**: `ProtobufError` when the bytes are no ring record that this version can read.
  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    self.init(members: [], movesMax: 0, bytesPerSecond: 0)
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: members.append(try RingMember(decoding: try field.reader()))
      case 3: change = try RingChange(decoding: try field.reader())
      case 4: changeCount = try field.uint64()
      case 5: movesMax = try field.uint32()
      case 6: bytesPerSecond = try field.uint64()
      case 7: level = try field.uint32()
      default: break
      }
    }
    guard version == Self.version else { throw .outOfRange(field: 1) }
    guard zip(members, members.dropFirst()).allSatisfy({ $0.store < $1.store }) else {
      throw .outOfRange(field: 2)
    }
    guard Self.movesMaxRange.contains(movesMax) else { throw .outOfRange(field: 5) }
    guard Self.bytesPerSecondRange.contains(bytesPerSecond) else { throw .outOfRange(field: 6) }
    guard level <= Self.levelMax else { throw .outOfRange(field: 7) }
  }
}

extension RingMember {
  fileprivate func encode(into writer: inout ProtobufWriter) {
    writer.fixed64(1, store.rawValue)
    writer.string(2, name)
    writer.uint(3, weight)
    writer.string(4, zone)
    writer.bool(5, isDrained)
  }

  fileprivate init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    self.init(store: StoreID(0), name: "", weight: 0, zone: "")
    while let field = try reader.next() {
      switch field.number {
      case 1: store = StoreID(try field.fixed64())
      case 2: name = try field.string()
      case 3: weight = try field.uint32()
      case 4: zone = try field.string()
      case 5: isDrained = try field.bool()
      default: break
      }
    }
    guard store.rawValue != 0 else { throw .missingField(1) }
    guard weight > 0 else { throw .missingField(3) }
  }
}

extension RingChange {
  fileprivate func encode(into writer: inout ProtobufWriter) {
    writer.uint(1, number)
    writer.uint(2, kind.rawValue)
    writer.string(3, subject)
    writer.uint(4, startedAt.milliseconds)
    for member in formerMembers { writer.message(5) { member.encode(into: &$0) } }
    let stores = Set(moves.flatMap { $0.before + $0.after }).sorted()
    var places: [StoreID: Int] = [:]
    for (place, store) in stores.enumerated() {
      places[store] = place
      writer.message(6) { $0.fixed64(1, store.rawValue) }
    }
    func bytes(_ set: [StoreID]) -> [UInt8] {
      set.flatMap { store -> [UInt8] in
        let place = places[store] ?? 0
        return [UInt8(place >> 8), UInt8(place & 0xff)]
      }
    }
    for move in moves {
      writer.message(7) {
        $0.uint(1, move.partition.rawValue)
        $0.data(2, bytes(move.before))
        $0.data(3, bytes(move.after))
      }
    }
    writer.bool(8, isTurnedBack)
  }

  fileprivate init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    var kind: Kind?
    var stores: [StoreID] = []
    self.init(
      number: 0, kind: .add, subject: "", startedAt: .zero, formerMembers: [], moves: [])
    while let field = try reader.next() {
      switch field.number {
      case 1: number = try field.uint64()
      case 2: kind = Kind(rawValue: try field.uint32())
      case 3: subject = try field.string()
      case 4: startedAt = WallTime(milliseconds: try field.uint64())
      case 5: formerMembers.append(try RingMember(decoding: try field.reader()))
      case 6:
        var store = try field.reader()
        while let field = try store.next() {
          if field.number == 1 { stores.append(StoreID(try field.fixed64())) }
        }
      case 7: moves.append(try RingMove(decoding: try field.reader(), stores))
      case 8: isTurnedBack = try field.bool()
      default: break
      }
    }
    guard let kind else { throw .missingField(2) }
    self.kind = kind
  }
}

extension RingMove {
  fileprivate init(
    decoding reader: ProtobufReader, _ stores: [StoreID]
  ) throws(ProtobufError) {
    var reader = reader
    self.init(partition: PartitionID(0), before: [], after: [])
    while let field = try reader.next() {
      switch field.number {
      case 1: partition = PartitionID(try field.uint32())
      case 2: before = try Self.set(try field.bytes(), stores, field: 2)
      case 3: after = try Self.set(try field.bytes(), stores, field: 3)
      default: break
      }
    }
    guard !before.isEmpty else { throw .missingField(2) }
    guard !after.isEmpty else { throw .missingField(3) }
  }

  private static func set(
    _ bytes: ArraySlice<UInt8>, _ stores: [StoreID], field: Int
  ) throws(ProtobufError) -> [StoreID] {
    guard bytes.count.isMultiple(of: 2) else { throw .wrongLength(field: field) }
    var set: [StoreID] = []
    var rest = bytes
    while let high = rest.popFirst(), let low = rest.popFirst() {
      let place = Int(high) << 8 | Int(low)
      guard place < stores.count else { throw .outOfRange(field: field) }
      set.append(stores[place])
    }
    return set
  }
}

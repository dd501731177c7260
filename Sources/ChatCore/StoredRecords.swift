import ChatModel
import Primitives

/// A value of the `state` family: field 1 is its version, the others are its own.
protocol StoredRecord {
  init(decoding bytes: [UInt8]) throws(ProtobufError)
  func encoded() -> [UInt8]
}

/// The version that this code writes and the only one that it reads.
enum RecordVersion {
  static let current: UInt64 = 1
  /// No counter comes this far; a stored one beyond is damage, and sums of two never overflow.
  static let numberMax = UInt64(Int64.max) / 2

  static func check(_ version: UInt64) throws(ProtobufError) {
    guard version == current else { throw .outOfRange(field: 1) }
  }
}

extension StateReader {
  func record<Record: StoredRecord>(
    _ type: Record.Type, _ key: [UInt8]
  ) throws(StateReadError) -> Record? {
    guard let bytes = try value(key) else { return nil }
    return try decode(type, key, bytes)
  }

  func decode<Record: StoredRecord>(
    _ type: Record.Type, _ key: [UInt8], _ bytes: [UInt8]
  ) throws(StateReadError) -> Record {
    do { return try Record(decoding: bytes) } catch { throw .damaged(key: key) }
  }
}

/// How far the stored state has come.
struct AppliedMark: StoredRecord {
  var appliedIndex: LogIndex
  var rollingHash: UInt64
  var time: WallTime
  var generation: UInt32
  /// With which the partition was cut last, and where.
  var split: PartitionSplit?
  var splitPosition: LogIndex

  init(
    appliedIndex: LogIndex, rollingHash: UInt64, time: WallTime, generation: UInt32,
    split: PartitionSplit? = nil, splitPosition: LogIndex = .zero
  ) {
    self.appliedIndex = appliedIndex
    self.rollingHash = rollingHash
    self.time = time
    self.generation = generation
    self.split = split
    self.splitPosition = splitPosition
  }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    self.init(appliedIndex: .zero, rollingHash: 0, time: .zero, generation: 0)
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: appliedIndex = LogIndex(try field.uint64())
      case 3: rollingHash = try field.fixed64()
      case 4: time = WallTime(milliseconds: try field.uint64())
      case 5: generation = try field.uint32()
      case 6: split = try PartitionSplit(decoding: try field.bytes())
      case 7: splitPosition = LogIndex(try field.uint64())
      default: break
      }
    }
    try RecordVersion.check(version)
    guard generation <= LogIndex.generationMax else { throw .outOfRange(field: 5) }
    guard appliedIndex.rawValue <= RecordVersion.numberMax else { throw .outOfRange(field: 2) }
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 40)
    writer.uint(1, RecordVersion.current)
    writer.uint(2, appliedIndex.rawValue)
    writer.fixed64(3, rollingHash)
    writer.uint(4, time.milliseconds)
    writer.uint(5, generation)
    if let split { writer.message(6) { split.encode(into: &$0) } }
    writer.uint(7, splitPosition.rawValue)
    return writer.bytes
  }
}

/// A conversation without its events, members and windows.
struct ConversationHead: StoredRecord, Equatable, Sendable {
  var kind: ConversationKind
  var title: String
  /// The newest event and the entry that made it.
  var sequence: Sequence
  var lastIndex: LogIndex
  var memberCount: Int
  var adminCount: Int
  var created: WallTime
  var creator: UserID
  /// Where the newest block of events lies; zero while there is none.
  var lastBlock: Sequence
  var lastBlockIndex: LogIndex

  init(kind: ConversationKind, title: String, created: WallTime, creator: UserID) {
    self.kind = kind
    self.title = title
    self.created = created
    self.creator = creator
    sequence = .zero
    lastIndex = .zero
    memberCount = 0
    adminCount = 0
    lastBlock = .zero
    lastBlockIndex = .zero
  }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    self.init(kind: .direct, title: "", created: .zero, creator: UserID(0))
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2:
        guard let kind = ConversationKind(rawValue: try field.uint32()) else {
          throw .outOfRange(field: 2)
        }
        self.kind = kind
      case 3: title = try field.string()
      case 4: sequence = Sequence(try field.uint64())
      case 5: lastIndex = LogIndex(try field.uint64())
      case 6: memberCount = Int(try field.uint32())
      case 7: adminCount = Int(try field.uint32())
      case 8: created = WallTime(milliseconds: try field.uint64())
      case 9: creator = UserID(try field.identifier())
      case 10: lastBlock = Sequence(try field.uint64())
      case 11: lastBlockIndex = LogIndex(try field.uint64())
      default: break
      }
    }
    try RecordVersion.check(version)
    guard sequence != .zero else { throw .missingField(4) }
    guard sequence.rawValue <= RecordVersion.numberMax else { throw .outOfRange(field: 4) }
    guard lastBlock <= sequence, lastBlock != .zero else { throw .outOfRange(field: 10) }
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 64 + title.utf8.count)
    writer.uint(1, RecordVersion.current)
    writer.uint(2, kind.rawValue)
    writer.string(3, title)
    writer.uint(4, sequence.rawValue)
    writer.uint(5, lastIndex.rawValue)
    writer.uint(6, UInt32(clamping: memberCount))
    writer.uint(7, UInt32(clamping: adminCount))
    writer.uint(8, created.milliseconds)
    writer.identifier(9, creator.rawValue)
    writer.uint(10, lastBlock.rawValue)
    writer.uint(11, lastBlockIndex.rawValue)
    return writer.bytes
  }
}

/// A member, whose id is in the key.
struct MemberRecord: StoredRecord, Equatable, Sendable {
  var handle: Handle
  var role: MemberRole
  /// The event with which this membership began.
  var joined: Sequence

  init(handle: Handle, role: MemberRole, joined: Sequence) {
    self.handle = handle
    self.role = role
    self.joined = joined
  }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    var handle: Handle?
    var role: MemberRole?
    var joined = Sequence.zero
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: handle = Handle(try field.string())
      case 3: role = MemberRole(rawValue: try field.uint32())
      case 4: joined = Sequence(try field.uint64())
      default: break
      }
    }
    try RecordVersion.check(version)
    guard let handle else { throw .missingField(2) }
    guard let role else { throw .missingField(3) }
    self.init(handle: handle, role: role, joined: joined)
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 8 + handle.text.utf8.count)
    writer.uint(1, RecordVersion.current)
    writer.string(2, handle.text)
    writer.uint(3, role.rawValue)
    writer.uint(4, joined.rawValue)
    return writer.bytes
  }

  func member(_ user: UserID) -> Member { Member(user: user, handle: handle, role: role) }
}

/// The owner of a handle.
struct HandleOwner: StoredRecord, Equatable, Sendable {
  var user: UserID

  init(user: UserID) { self.user = user }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    self.init(user: UserID(0))
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: user = UserID(try field.identifier())
      default: break
      }
    }
    try RecordVersion.check(version)
    guard user.rawValue != 0 else { throw .missingField(2) }
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 24)
    writer.uint(1, RecordVersion.current)
    writer.identifier(2, user.rawValue)
    return writer.bytes
  }
}

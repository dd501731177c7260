import ChatModel
import Primitives

/// An account. Deleted ones stay as a tombstone, so that an id is never used twice.
struct Account: StoredRecord, Equatable, Sendable {
  /// The numbers are stored.
  enum Standing: UInt32, Sendable {
    /// Its handle is being claimed.
    case pending = 1
    case active = 2
    /// Its handle belonged to somebody else.
    case deleted = 3
  }

  var standing: Standing
  var handle: Handle
  var displayName: String
  var passwordHash: String

  init(standing: Standing, handle: Handle, displayName: String, passwordHash: String) {
    self.standing = standing
    self.handle = handle
    self.displayName = displayName
    self.passwordHash = passwordHash
  }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    var standing: Standing?
    var handle: Handle?
    var displayName = ""
    var passwordHash = ""
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: standing = Standing(rawValue: try field.uint32())
      case 3: handle = Handle(try field.string())
      case 4: displayName = try field.string()
      case 5: passwordHash = try field.string()
      default: break
      }
    }
    try RecordVersion.check(version)
    guard let standing else { throw .missingField(2) }
    guard let handle else { throw .missingField(3) }
    self.init(
      standing: standing, handle: handle, displayName: displayName, passwordHash: passwordHash)
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(
      reservingBytes: 48 + displayName.utf8.count + passwordHash.utf8.count)
    writer.uint(1, RecordVersion.current)
    writer.uint(2, standing.rawValue)
    writer.string(3, handle.text)
    writer.string(4, displayName)
    writer.string(5, passwordHash)
    return writer.bytes
  }

  func profile(_ user: UserID) -> UserProfile {
    UserProfile(user: user, handle: handle, displayName: displayName)
  }
}

/// A login of one device.
struct Session: Equatable, Sendable {
  var device: DeviceID
  var deviceName: String
  var refreshTokenHash: [UInt8]
  /// The hash that the last rotation replaced; empty before the first.
  var replacedHash: [UInt8]
  var expires: WallTime
  /// The entry that opened the session or rotated its token last.
  var lastUsed: LogIndex
}

/// All sessions of one user, in the order of their devices: few, and always needed together.
struct Sessions: StoredRecord, Equatable, Sendable {
  var all: [Session]

  init(_ all: [Session] = []) { self.all = all }

  func position(of device: DeviceID) -> Int? { all.firstIndex { $0.device == device } }

  /// **Returns**: the session that was used longest ago; of two, that of the lower device.
  var leastRecentlyUsed: Int? {
    all.indices.min { (all[$0].lastUsed, all[$0].device) < (all[$1].lastUsed, all[$1].device) }
  }

  mutating func insert(_ session: Session) {
    all.insert(session, at: all.firstIndex { session.device < $0.device } ?? all.count)
  }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    self.init()
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: all.append(try Session(decoding: try field.reader()))
      default: break
      }
    }
    try RecordVersion.check(version)
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 8 + all.count * 128)
    writer.uint(1, RecordVersion.current)
    for session in all { writer.message(2) { session.encode(into: &$0) } }
    return writer.bytes
  }

  var bytes: Int { 48 + all.reduce(0) { $0 + 224 + $1.deviceName.utf8.count } }
}

extension Session {
  fileprivate func encode(into writer: inout ProtobufWriter) {
    writer.fixed64(1, device.rawValue)
    writer.string(2, deviceName)
    writer.data(3, refreshTokenHash)
    writer.data(4, replacedHash)
    writer.uint(5, expires.milliseconds)
    writer.uint(6, lastUsed.rawValue)
  }

  fileprivate init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    self.init(
      device: DeviceID(0), deviceName: "", refreshTokenHash: [], replacedHash: [], expires: .zero,
      lastUsed: .zero)
    while let field = try reader.next() {
      switch field.number {
      case 1: device = DeviceID(try field.fixed64())
      case 2: deviceName = try field.string()
      case 3: refreshTokenHash = Array(try field.bytes())
      case 4: replacedHash = Array(try field.bytes())
      case 5: expires = WallTime(milliseconds: try field.uint64())
      case 6: lastUsed = LogIndex(try field.uint64())
      default: break
      }
    }
    guard device.rawValue != 0 else { throw .missingField(1) }
    guard !refreshTokenHash.isEmpty else { throw .missingField(3) }
  }
}

/// One conversation of a user's list, or the tombstone of one.
struct Listing: StoredRecord, Equatable, Sendable {
  /// The entry of the conversation's partition that said so; only a greater one changes it.
  var originIndex: LogIndex
  var joined: LogIndex
  var listed: LogIndex
  var isRemoved: Bool

  init(originIndex: LogIndex, joined: LogIndex, listed: LogIndex, isRemoved: Bool) {
    self.originIndex = originIndex
    self.joined = joined
    self.listed = listed
    self.isRemoved = isRemoved
  }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    self.init(originIndex: .zero, joined: .zero, listed: .zero, isRemoved: false)
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: originIndex = LogIndex(try field.uint64())
      case 3: joined = LogIndex(try field.uint64())
      case 4: listed = LogIndex(try field.uint64())
      case 5: isRemoved = try field.bool()
      default: break
      }
    }
    try RecordVersion.check(version)
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 32)
    writer.uint(1, RecordVersion.current)
    writer.uint(2, originIndex.rawValue)
    writer.uint(3, joined.rawValue)
    writer.uint(4, listed.rawValue)
    writer.bool(5, isRemoved)
    return writer.bytes
  }

  func listedConversation(_ conversation: ConversationID) -> ListedConversation {
    ListedConversation(conversation: conversation, joined: joined, listed: listed)
  }
}

/// How many conversations a user's list holds, tombstones left out.
struct ListingCount: StoredRecord, Equatable, Sendable {
  var count: Int

  init(_ count: Int = 0) { self.count = count }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    self.init()
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: count = Int(try field.uint32())
      default: break
      }
    }
    try RecordVersion.check(version)
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 8)
    writer.uint(1, RecordVersion.current)
    writer.uint(2, UInt32(clamping: count))
    return writer.bytes
  }
}

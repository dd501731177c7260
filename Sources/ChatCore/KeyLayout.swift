import ChatModel
import Primitives

/// Keys of the `state` family, after the store's own prefix. Numbers are big-endian, so that the
/// order of keys is the order of numbers; the hash comes before the kind, so that a split of the
/// partition cuts the family at one key.
///
/// **Shape**:
/// ```
///  offset 0          8      9         25     26
///        +----------+------+---------+------+--------------------------------------------+
///        | hash (8) | 0x01 | id (16) | 0x01 |                           conversation     |
///        |          |      |         | 0x02 | user (16)                 member           |
///        |          |      |         | 0x03 | user, device (8), segment (8)     window   |
///        |          |      |         | 0x04 | first sequence (8), its index (8)    block |
///        | hash (8) | 0x02 | id (16) | 0x01 |                           account          |
///        |          |      |         | 0x02 |                           sessions         |
///        |          |      |         | 0x03 |                           listing count    |
///        |          |      |         | 0x04 | conversation (16)         listing          |
///        | hash (8) | 0x03 | handle (3 to 32 bytes) | 0x01             its owner        |
///        | 00 × 8   | 0x00 | 00 × 8           | 0x01                   applied mark     |
///        | 00 × 8   | 0x00 | source's hash (8)| 0x02 | index (8), ordinal (4)    outbox |
///        +----------+------+------------------+------------------------------------------+
/// ```
/// Keys of the partition itself are all below `0000000000000000 01`; every other one begins with
/// the hash of its entity. Storage relies on that to cut a partition in two.
///
/// Every tag is below 0x20 and every byte of a handle above it, so no key is the beginning of a
/// key of another entity.
enum KeyLayout {
  enum Kind {
    static let partition: UInt8 = 0
    static let conversation: UInt8 = 1
    static let user: UInt8 = 2
    static let handle: UInt8 = 3
  }

  private enum Tag {
    static let conversationHead: UInt8 = 1
    static let member: UInt8 = 2
    static let window: UInt8 = 3
    static let block: UInt8 = 4
    static let account: UInt8 = 1
    static let sessions: UInt8 = 2
    static let listingCount: UInt8 = 3
    static let listing: UInt8 = 4
    static let handleOwner: UInt8 = 1
    static let appliedMark: UInt8 = 1
    static let outboxEntry: UInt8 = 2
  }

  // MARK: conversations

  private static func conversation(
    _ id: ConversationID, _ hash: UInt64, _ tag: UInt8, moreBytes: Int = 0
  ) -> [UInt8] {
    var key = entity(hash, Kind.conversation, moreBytes: 17 + moreBytes)
    key.append(bigEndian: id.rawValue)
    key.append(tag)
    return key
  }

  static func conversationHead(_ id: ConversationID, hash: UInt64) -> [UInt8] {
    conversation(id, hash, Tag.conversationHead)
  }

  static func members(_ id: ConversationID, hash: UInt64) -> [UInt8] {
    conversation(id, hash, Tag.member)
  }

  static func member(_ id: ConversationID, hash: UInt64, user: UserID) -> [UInt8] {
    var key = conversation(id, hash, Tag.member, moreBytes: 16)
    key.append(bigEndian: user.rawValue)
    return key
  }

  static func window(_ window: WindowKey, hash: UInt64) -> [UInt8] {
    var key = conversation(window.conversation, hash, Tag.window, moreBytes: 32)
    key.append(bigEndian: window.user.rawValue)
    key.append(bigEndian: window.device.rawValue)
    return key
  }

  static func windowSegment(_ window: WindowKey, hash: UInt64, segment: UInt64) -> [UInt8] {
    var key = self.window(window, hash: hash)
    key.append(bigEndian: segment)
    return key
  }

  /// **Returns**: the number of the segment under a key of a window.
  static func segment(of key: [UInt8]) -> UInt64 { UInt64(bigEndian: key.suffix(8)) }

  static func blocks(_ id: ConversationID, hash: UInt64) -> [UInt8] {
    conversation(id, hash, Tag.block)
  }

  static func block(
    _ id: ConversationID, hash: UInt64, first: Sequence, index: LogIndex
  ) -> [UInt8] {
    var key = conversation(id, hash, Tag.block, moreBytes: 16)
    key.append(bigEndian: first.rawValue)
    key.append(bigEndian: index.rawValue)
    return key
  }

  /// **Returns**: the first sequence number of the block under a key, and the entry that made it.
  static func blockStart(of key: [UInt8]) -> (first: Sequence, index: LogIndex) {
    (
      Sequence(UInt64(bigEndian: key.dropLast(8).suffix(8))),
      LogIndex(UInt64(bigEndian: key.suffix(8)))
    )
  }

  // MARK: users

  private static func user(_ id: UserID, _ tag: UInt8, moreBytes: Int = 0) -> [UInt8] {
    let hash = EntityID.user(id).token.rawValue
    var key = entity(hash, Kind.user, moreBytes: 17 + moreBytes)
    key.append(bigEndian: id.rawValue)
    key.append(tag)
    return key
  }

  static func account(_ id: UserID) -> [UInt8] { user(id, Tag.account) }
  static func sessions(_ id: UserID) -> [UInt8] { user(id, Tag.sessions) }
  static func listingCount(_ id: UserID) -> [UInt8] { user(id, Tag.listingCount) }
  static func listings(_ id: UserID) -> [UInt8] { user(id, Tag.listing) }

  static func listing(_ id: UserID, _ conversation: ConversationID) -> [UInt8] {
    var key = user(id, Tag.listing, moreBytes: 16)
    key.append(bigEndian: conversation.rawValue)
    return key
  }

  // MARK: handles

  static func handleOwner(_ handle: Handle) -> [UInt8] {
    let hash = EntityID.handle(handle).token.rawValue
    var key = entity(hash, Kind.handle, moreBytes: handle.text.utf8.count + 1)
    key.append(contentsOf: handle.text.utf8)
    key.append(Tag.handleOwner)
    return key
  }

  // MARK: the partition

  /// Everything that belongs to the partition itself.
  static var partitionRange: (from: [UInt8], upTo: [UInt8]) {
    (entity(0, Kind.partition, moreBytes: 0), entity(0, Kind.partition + 1, moreBytes: 0))
  }

  static var appliedMark: [UInt8] {
    var key = entity(0, Kind.partition, moreBytes: 9)
    key.append(bigEndian: UInt64(0))
    key.append(Tag.appliedMark)
    return key
  }

  static func outboxEntry(_ id: OutboxEntryID, sourceHash: UInt64) -> [UInt8] {
    var key = entity(0, Kind.partition, moreBytes: 21)
    key.append(bigEndian: sourceHash)
    key.append(Tag.outboxEntry)
    key.append(bigEndian: id.index.rawValue)
    key.append(bigEndian: id.ordinal)
    return key
  }

  /// **Returns**: what an outbox entry's key says, or `nil` for another key.
  static func outboxEntry(of key: [UInt8]) -> (id: OutboxEntryID, sourceHash: UInt64)? {
    guard key.count == 30, key[17] == Tag.outboxEntry else { return nil }
    return (
      OutboxEntryID(
        index: LogIndex(UInt64(bigEndian: key[18..<26])),
        ordinal: UInt32(truncatingIfNeeded: UInt64(bigEndian: key[26..<30]))),
      UInt64(bigEndian: key[9..<17])
    )
  }

  // MARK: parts

  private static func entity(_ hash: UInt64, _ kind: UInt8, moreBytes: Int) -> [UInt8] {
    var key: [UInt8] = []
    key.reserveCapacity(9 + moreBytes)
    key.append(bigEndian: hash)
    key.append(kind)
    return key
  }

  /// **Returns**: the first key after all that begin with `prefix`, whose last byte is a tag.
  static func end(of prefix: [UInt8]) -> [UInt8] {
    var key = prefix
    if let last = key.popLast() { key.append(last &+ 1) }
    return key
  }

  /// **Returns**: the identifier of 128 bits with which a key ends.
  static func lastIdentifier(of key: [UInt8]) -> UInt128 {
    let high = UInt128(UInt64(bigEndian: key.dropLast(8).suffix(8)))
    return high << 64 | UInt128(UInt64(bigEndian: key.suffix(8)))
  }

  /// The entity hash with which every key begins.
  static func hash(of key: [UInt8]) -> UInt64 { UInt64(bigEndian: key.prefix(8)) }
}

extension [UInt8] {
  mutating func append<Number: FixedWidthInteger>(bigEndian number: Number) {
    Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
  }
}

extension UInt64 {
  fileprivate init(bigEndian bytes: ArraySlice<UInt8>) {
    self = 0
    for byte in bytes { self = self << 8 | UInt64(byte) }
  }
}

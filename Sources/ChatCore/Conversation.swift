import ChatModel
import Primitives

/// A conversation in memory: its head, and its newest events. Members and windows have tables of
/// their own, so that a large group can leave memory in parts.
///
/// ```
///  1 … … … … … │ durableThrough │ … frozenThrough │ … head.sequence
///  in blocks   │ in blocks      │ being written   │ not yet
///       └──── not in `recent` ──┴───── `recent` may begin anywhere up to durableThrough + 1 ────
/// ```
struct Conversation: Sendable {
  /// The entity's place on the ring.
  var hash: UInt64
  var head: ConversationHead
  /// The newest events, without gaps; the last is the head's.
  private(set) var recent: [Event] = []
  private var recentBytes = 0
  /// Events through this one are in a written checkpoint.
  private(set) var durableThrough: UInt64
  /// Events through this one are in a checkpoint, written or being written.
  private var frozenThrough: UInt64

  /// A conversation as it is stored, or (with a head without events) one that begins.
  init(hash: UInt64, head: ConversationHead) {
    self.hash = hash
    self.head = head
    durableThrough = head.sequence.rawValue
    frozenThrough = head.sequence.rawValue
  }

  /// What an emptied slot holds.
  static var placeholder: Conversation {
    Conversation(
      hash: 0,
      head: ConversationHead(kind: .direct, title: "", created: .zero, creator: UserID(0)))
  }

  var bytes: Int { 320 + head.title.utf8.count + recentBytes }

  /// The sequence number of the first event in `recent`, or the next one to come.
  var firstRecent: UInt64 { head.sequence.rawValue + 1 - UInt64(recent.count) }

  mutating func append(_ event: Event) {
    head.sequence = event.sequence
    head.lastIndex = event.index
    recent.append(event)
    recentBytes += event.memoryBytes
  }

  /// **Returns**: the event with this number, which must be recent.
  func recentEvent(_ sequence: UInt64) -> Event { recent[Int(sequence - firstRecent)] }

  /// **Returns**: the number of the first recent event of an entry above `index`.
  func firstRecent(above index: LogIndex) -> UInt64 {
    var low = 0
    var high = recent.count
    while low < high {
      let middle = (low + high) / 2
      if recent[middle].index > index { high = middle } else { low = middle + 1 }
    }
    return firstRecent + UInt64(low)
  }

  /// Adds the head and the events since the last call to a checkpoint, as blocks of bounded size.
  mutating func freeze(_ id: ConversationID, into writes: inout [StateWrite]) {
    var start = Int(frozenThrough + 1 - firstRecent)
    while start < recent.count {
      var end = start
      var bytes = 0
      while end < recent.count, end - start < ChatCoreLimits.blockEventsMax,
        bytes < ChatCoreLimits.blockBytesMax
      {
        bytes += recent[end].content.textBytes
        end += 1
      }
      let first = recent[start]
      writes.append(
        StateWrite(
          key: KeyLayout.block(id, hash: hash, first: first.sequence, index: first.index),
          value: EventBlock.encoded(recent[start..<end])))
      head.lastBlock = first.sequence
      head.lastBlockIndex = first.index
      start = end
    }
    frozenThrough = head.sequence.rawValue
    writes.append(
      StateWrite(key: KeyLayout.conversationHead(id, hash: hash), value: head.encoded()))
  }

  /// What was frozen is stored: only the newest events stay in memory.
  mutating func written() {
    durableThrough = frozenThrough
    var dropped = 0
    while dropped < recent.count, recent[dropped].sequence.rawValue <= durableThrough,
      recent.count - dropped > ChatCoreLimits.recentEventsKept
        || recentBytes > ChatCoreLimits.recentBytesKept
    {
      recentBytes -= recent[dropped].memoryBytes
      dropped += 1
    }
    guard dropped > 0 else { return }
    recent.removeFirst(dropped)
    if recent.capacity > ChatCoreLimits.recentCapacityMax { recent = Array(recent) }
  }
}

/// Names one member of one conversation.
struct MemberKey: Hashable, Sendable {
  var conversation: ConversationID
  var user: UserID
}

/// Names one conversation of one user's list.
struct ListingKey: Hashable, Sendable {
  var user: UserID
  var conversation: ConversationID
}

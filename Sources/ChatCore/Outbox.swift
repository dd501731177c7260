package import ChatModel
import Primitives

/// What one partition must tell another, until the other side confirms it.
package struct OutboxEntry: Equatable, Sendable {
  package let id: OutboxEntryID
  /// Whose partition the command is for.
  package let target: EntityID
  /// An encoded `Command`.
  package let command: [UInt8]
}

/// A partition's undelivered outbox entries, in the order of their ids.
package struct Outbox: Sendable {
  private struct Slot: Sendable {
    let entry: OutboxEntry
    let sourceHash: UInt64
    /// In a checkpoint, written or being written.
    var isStored: Bool
    var isRemoved: Bool
  }

  private var slots: [Slot] = []
  private var deletedKeys: [[UInt8]] = []
  /// Entries about listings that the log entry being applied made. A later one about the same
  /// listing replaces the earlier, for the receiver, which compares log indexes, could not order
  /// them.
  private var listings: [ListingKey: Int] = [:]
  private var nextOrdinal: UInt32 = 0
  /// Entries that are not confirmed.
  package private(set) var count = 0
  /// What the next checkpoint will hold of the outbox.
  private(set) var changedBytes = 0

  init() {}

  package var isEmpty: Bool { count == 0 }

  /// Entries after one of them (or from the first on), oldest first.
  package func entries(after id: OutboxEntryID?, countMax: Int) -> [OutboxEntry] {
    var entries: [OutboxEntry] = []
    var position = id.map { firstPosition(after: $0) } ?? 0
    while position < slots.count, entries.count < countMax {
      if !slots[position].isRemoved { entries.append(slots[position].entry) }
      position += 1
    }
    return entries
  }

  private func firstPosition(after id: OutboxEntryID) -> Int {
    var low = 0
    var high = slots.count
    while low < high {
      let middle = (low + high) / 2
      if slots[middle].entry.id <= id { low = middle + 1 } else { high = middle }
    }
    return low
  }

  // MARK: changes

  /// A new log entry is applied: ordinals start again.
  mutating func entryBegan() {
    nextOrdinal = 0
    if !listings.isEmpty { listings.removeAll(keepingCapacity: true) }
  }

  func hasRoom(for added: Int) -> Bool { count + added <= ChatCoreLimits.outboxEntriesMax }

  mutating func append(
    _ command: Command, target: EntityID, index: LogIndex, sourceHash: UInt64
  ) -> OutboxEntry {
    if case .conversationListed(let listed) = command {
      let listing = ListingKey(user: listed.user, conversation: listed.conversation)
      if let earlier = listings.updateValue(slots.count, forKey: listing) { remove(at: earlier) }
    }
    let entry = OutboxEntry(
      id: OutboxEntryID(index: index, ordinal: nextOrdinal), target: target,
      command: command.encoded())
    nextOrdinal += 1
    slots.append(Slot(entry: entry, sourceHash: sourceHash, isStored: false, isRemoved: false))
    count += 1
    changedBytes += 96 + entry.command.count
    return entry
  }

  mutating func confirm(_ id: OutboxEntryID) -> Bool {
    let position = firstPosition(after: id) - 1
    guard position >= 0, slots[position].entry.id == id, !slots[position].isRemoved else {
      return false
    }
    remove(at: position)
    return true
  }

  private mutating func remove(at position: Int) {
    guard !slots[position].isRemoved else { return }
    slots[position].isRemoved = true
    count -= 1
    if slots[position].isStored {
      let slot = slots[position]
      changedBytes += 64
      deletedKeys.append(KeyLayout.outboxEntry(slot.entry.id, sourceHash: slot.sourceHash))
    }
  }

  /// Takes out what entities of these tokens emitted.
  ///
  /// **Returns**: the entries as they are stored.
  mutating func removeAll(from tokens: ClosedRange<Token>) -> [StateWrite] {
    var removed: [StateWrite] = []
    for position in slots.indices where tokens.contains(Token(slots[position].sourceHash)) {
      guard !slots[position].isRemoved else { continue }
      removed.append(Self.stored(slots[position]))
      remove(at: position)
    }
    return removed
  }

  // MARK: storage

  private static func stored(_ slot: Slot) -> StateWrite {
    StateWrite(
      key: KeyLayout.outboxEntry(slot.entry.id, sourceHash: slot.sourceHash),
      value: StoredCommand(command: slot.entry.command).encoded())
  }

  private var unstoredPositions: Range<Int> {
    var first = slots.count
    while first > 0, !slots[first - 1].isStored { first -= 1 }
    return first..<slots.count
  }

  /// Adds what changed since the last call to a checkpoint and forgets what was removed.
  mutating func freeze(into writes: inout [StateWrite]) {
    for position in unstoredPositions {
      slots[position].isStored = true
      guard !slots[position].isRemoved else { continue }
      writes.append(Self.stored(slots[position]))
    }
    for key in deletedKeys { writes.append(StateWrite(key: key, value: nil)) }
    deletedKeys.removeAll(keepingCapacity: true)
    listings.removeAll(keepingCapacity: true)
    changedBytes = 0
    if count < slots.count { slots.removeAll { $0.isRemoved } }
  }

  /// Entries as they are stored, in any order.
  init(stored: [(key: [UInt8], value: [UInt8])]) throws(StateReadError) {
    for (key, value) in stored {
      guard let (id, sourceHash) = KeyLayout.outboxEntry(of: key) else { throw .damaged(key: key) }
      let entry: OutboxEntry
      do {
        let bytes = try StoredCommand(decoding: value).command
        guard let target = try Command(decoding: bytes[...]).entity else {
          throw ProtobufError.unknownVariant
        }
        entry = OutboxEntry(id: id, target: target, command: bytes)
      } catch {
        throw .damaged(key: key)
      }
      slots.append(Slot(entry: entry, sourceHash: sourceHash, isStored: true, isRemoved: false))
    }
    slots.sort { $0.entry.id < $1.entry.id }
    count = slots.count
  }
}

/// **Shape**: version (1), an encoded command (2).
private struct StoredCommand: StoredRecord {
  var command: [UInt8]

  init(command: [UInt8]) { self.command = command }

  init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    self.init(command: [])
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: command = Array(try field.bytes())
      default: break
      }
    }
    try RecordVersion.check(version)
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 8 + command.count)
    writer.uint(1, RecordVersion.current)
    writer.data(2, command)
    return writer.bytes
  }
}

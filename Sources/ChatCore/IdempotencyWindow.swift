import ChatModel
import Primitives

/// Whose sends a window remembers.
struct WindowKey: Hashable, Sendable {
  var conversation: ConversationID
  var user: UserID
  var device: DeviceID
}

/// The last 1,024 client ids that one device used in one conversation, with what was answered.
///
/// Ids are counted from zero; id n lies at n mod 1,024. They are stored in segments of 16 under a
/// key each, so that a checkpoint rewrites the last segment instead of the whole window; segments
/// whose ids are all forgotten are deleted.
struct IdempotencyWindow: Sendable {
  struct Entry: Equatable, Sendable {
    var digest: UInt128
    var sequence: Sequence
    var time: WallTime
  }

  static let capacity = ChatLimits.idempotencyWindowCount
  private static let segmentEntries = UInt64(ChatCoreLimits.windowSegmentEntries)

  private var entries: [Entry] = []
  /// The low halves of the digests' low halves, beside each other: what a search looks through.
  private var fingerprints: [UInt32] = []
  /// Ids ever recorded.
  private(set) var recordedCount: UInt64 = 0
  /// Ids that are in a checkpoint, written or being written.
  private var frozenCount: UInt64 = 0
  private var firstStoredSegment: UInt64 = 0

  init() {}

  /// Roughly what a checkpoint writes of a window that changed.
  static let changeBytes = 512

  var bytes: Int {
    192 + entries.capacity * MemoryLayout<Entry>.stride + fingerprints.capacity * 4
  }

  private var firstRemembered: UInt64 { recordedCount - UInt64(entries.count) }

  mutating func record(_ entry: Entry) {
    let fingerprint = UInt32(truncatingIfNeeded: entry.digest)
    if entries.count < Self.capacity {
      entries.append(entry)
      fingerprints.append(fingerprint)
    } else {
      let position = Int(recordedCount % UInt64(Self.capacity))
      entries[position] = entry
      fingerprints[position] = fingerprint
    }
    recordedCount += 1
  }

  func entry(_ digest: UInt128) -> Entry? {
    let fingerprint = UInt32(truncatingIfNeeded: digest)
    var start = 0
    while let position = position(of: fingerprint, from: start) {
      if entries[position].digest == digest { return entries[position] }
      start = position + 1
    }
    return nil
  }

  /// Sixteen at a time, for most searches look through everything and find nothing.
  private func position(of fingerprint: UInt32, from start: Int) -> Int? {
    fingerprints.withUnsafeBytes { bytes in
      let count = fingerprints.count
      let wanted = SIMD16<UInt32>(repeating: fingerprint)
      var position = start
      while position + 16 <= count {
        let lanes = bytes.loadUnaligned(fromByteOffset: position * 4, as: SIMD16<UInt32>.self)
        if any(lanes .== wanted) { break }
        position += 16
      }
      while position < count {
        if bytes.load(fromByteOffset: position * 4, as: UInt32.self) == fingerprint {
          return position
        }
        position += 1
      }
      return nil
    }
  }
}

// MARK: storage

extension IdempotencyWindow {
  /// A window as it is stored: its segments, ascending and without a gap.
  ///
  /// **Throws**: `StateReadError.damaged` when they are not.
  init(segments: [(key: [UInt8], value: [UInt8])]) throws(StateReadError) {
    for (position, segment) in segments.enumerated() {
      let number = KeyLayout.segment(of: segment.key)
      let stored: (offset: UInt64, entries: [Entry])
      do {
        stored = try Self.decodeSegment(segment.value)
      } catch {
        throw .damaged(key: segment.key)
      }
      guard number <= UInt64(UInt32.max) << 16,
        stored.offset + UInt64(stored.entries.count) <= Self.segmentEntries
      else { throw .damaged(key: segment.key) }
      let first = number * Self.segmentEntries
      if position == 0 {
        firstStoredSegment = number
        recordedCount = first + stored.offset
      }
      guard recordedCount == first + stored.offset else { throw .damaged(key: segment.key) }
      entries += stored.entries
      recordedCount += UInt64(stored.entries.count)
    }
    if let first = segments.first, entries.count < Self.capacity, firstRemembered > 0 {
      throw .damaged(key: first.key)
    }
    placeIntoRing()
    frozenCount = recordedCount
  }

  /// Forgets what is older than the window and puts the rest where its ordinals say.
  private mutating func placeIntoRing() {
    let excess = entries.count - Self.capacity
    if excess > 0 { entries.removeFirst(excess) }
    if entries.count == Self.capacity {
      let start = Int(firstRemembered % UInt64(Self.capacity))
      if start > 0 { entries = Array(entries.suffix(start) + entries.dropLast(start)) }
    }
    fingerprints = entries.map { UInt32(truncatingIfNeeded: $0.digest) }
  }

  /// Adds what changed since the last call to a checkpoint.
  mutating func freeze(key: WindowKey, hash: UInt64, into writes: inout [StateWrite]) {
    let size = Self.segmentEntries
    let firstLive = firstRemembered / size
    let storedEnd = (frozenCount + size - 1) / size
    while firstStoredSegment < min(firstLive, storedEnd) {
      let key = KeyLayout.windowSegment(key, hash: hash, segment: firstStoredSegment)
      writes.append(StateWrite(key: key, value: nil))
      firstStoredSegment += 1
    }
    if storedEnd <= firstLive { firstStoredSegment = firstLive }
    var segment = max(frozenCount / size, firstLive)
    while segment * size < recordedCount {
      let first = max(segment * size, firstRemembered)
      let end = min((segment + 1) * size, recordedCount)
      writes.append(
        StateWrite(
          key: KeyLayout.windowSegment(key, hash: hash, segment: segment),
          value: encodedSegment(offset: first - segment * size, ordinals: first..<end)))
      segment += 1
    }
    frozenCount = recordedCount
  }

  /// **Shape**: version (1), position of the first entry in the segment (2), time in milliseconds
  /// (3) and sequence number (4) of the first entry, repeated entry (5): digest (1), sequence
  /// numbers (2) and milliseconds (3) after the first.
  private func encodedSegment(offset: UInt64, ordinals: Range<UInt64>) -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 32 + ordinals.count * 30)
    let first = entries[Int(ordinals.lowerBound % UInt64(Self.capacity))]
    writer.uint(1, RecordVersion.current)
    writer.uint(2, offset)
    writer.uint(3, first.time.milliseconds)
    writer.uint(4, first.sequence.rawValue)
    for ordinal in ordinals {
      let entry = entries[Int(ordinal % UInt64(Self.capacity))]
      writer.message(5) {
        $0.identifier(1, entry.digest)
        $0.uint(2, entry.sequence.rawValue &- first.sequence.rawValue)
        $0.uint(3, entry.time.milliseconds &- first.time.milliseconds)
      }
    }
    return writer.bytes
  }

  private static func decodeSegment(
    _ bytes: [UInt8]
  ) throws(ProtobufError) -> (offset: UInt64, entries: [Entry]) {
    var reader = ProtobufReader(bytes)
    var version: UInt64 = 0
    var offset: UInt64 = 0
    var time: UInt64 = 0
    var sequence: UInt64 = 0
    var entries: [Entry] = []
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: offset = try field.uint64()
      case 3: time = try field.uint64()
      case 4: sequence = try field.uint64()
      case 5:
        entries.append(try decodeEntry(try field.reader(), time: time, sequence: sequence))
      default: break
      }
    }
    try RecordVersion.check(version)
    guard offset < segmentEntries else { throw .outOfRange(field: 2) }
    guard !entries.isEmpty else { throw .missingField(5) }
    return (offset, entries)
  }

  private static func decodeEntry(
    _ body: ProtobufReader, time: UInt64, sequence: UInt64
  ) throws(ProtobufError) -> Entry {
    var body = body
    var digest: UInt128 = 0
    var later: UInt64 = 0
    var further: UInt64 = 0
    while let field = try body.next() {
      switch field.number {
      case 1: digest = try field.identifier()
      case 2: further = try field.uint64()
      case 3: later = try field.uint64()
      default: break
      }
    }
    return Entry(
      digest: digest, sequence: Sequence(sequence &+ further),
      time: WallTime(milliseconds: time &+ later))
  }
}

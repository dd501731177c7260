import ChatModel
import Primitives

/// Events of one conversation that were new at a checkpoint, under one key.
///
/// **Shape**: version (1), time of the first event in milliseconds (2), repeated author, 16 bytes
/// each (3), repeated event (4). An event is: author's position in field 3 (1), milliseconds after
/// the block's time (2), entries after the block's index (3), and either the text of a message (4)
/// or a whole `martlet.v1.Event` (5). Sequence numbers follow from that in the key, without gaps.
enum EventBlock {
  static func encoded(_ events: ArraySlice<Event>) -> [UInt8] {
    guard let first = events.first else { return [] }
    var authors: [UserID] = []
    let positions = events.map { position(of: $0.author, in: &authors) }
    let textBytes = events.reduce(0) { $0 + 16 + $1.content.textBytes }
    var writer = ProtobufWriter(reservingBytes: 32 + authors.count * 18 + textBytes)
    writer.uint(1, RecordVersion.current)
    writer.uint(2, first.time.milliseconds)
    for author in authors { writer.element(3, author.bytes) }
    for (event, author) in zip(events, positions) {
      writer.message(4) {
        $0.uint(1, UInt64(author))
        $0.uint(2, event.time.milliseconds &- first.time.milliseconds)
        $0.uint(3, event.index.rawValue &- first.index.rawValue)
        if case .message(let text) = event.content {
          $0.string(4, text)
        } else {
          $0.message(5) { event.encode(into: &$0) }
        }
      }
    }
    return writer.bytes
  }

  /// A bounded search: a block with many authors may name one of them twice.
  private static func position(of author: UserID, in authors: inout [UserID]) -> Int {
    let searched = authors.prefix(ChatCoreLimits.blockAuthorsSearchedMax)
    if let position = searched.firstIndex(of: author) { return position }
    authors.append(author)
    return authors.count - 1
  }

  /// **Returns**: those events of the block whose sequence numbers are wanted, and the last
  /// sequence number of the block.
  static func decode(
    _ bytes: [UInt8], conversation: ConversationID, start: (first: Sequence, index: LogIndex),
    wanted: ClosedRange<UInt64>
  ) throws(ProtobufError) -> (events: [Event], last: UInt64) {
    try ProtobufScanner.read(bytes[...]) { reader throws(ProtobufError) in
      try decode(&reader, conversation: conversation, start: start, wanted: wanted)
    }
  }

  private static func decode(
    _ reader: inout ProtobufScanner, conversation: ConversationID,
    start: (first: Sequence, index: LogIndex), wanted: ClosedRange<UInt64>
  ) throws(ProtobufError) -> (events: [Event], last: UInt64) {
    var version: UInt64 = 0
    var time: UInt64 = 0
    var authors: [UserID] = []
    var events: [Event] = []
    var count: UInt64 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: version = try field.uint64()
      case 2: time = try field.uint64()
      case 3: authors.append(UserID(try field.identifier()))
      case 4:
        let sequence = start.first.rawValue &+ count
        count += 1
        guard wanted.contains(sequence) else { continue }
        let item = try Item(decoding: try field.reader())
        events.append(
          try item.event(
            conversation: conversation, sequence: Sequence(sequence), time: time,
            index: start.index.rawValue, authors: authors))
      default: break
      }
    }
    try RecordVersion.check(version)
    guard count > 0 else { throw .missingField(4) }
    return (events, start.first.rawValue &+ (count - 1))
  }

  private struct Item {
    var author: UInt64 = 0
    var time: UInt64 = 0
    var index: UInt64 = 0
    var text: String?
    var whole: ProtobufScanner?

    init(decoding reader: ProtobufScanner) throws(ProtobufError) {
      var reader = reader
      while let field = try reader.next() {
        switch field.number {
        case 1: author = try field.uint64()
        case 2: time = try field.uint64()
        case 3: index = try field.uint64()
        case 4: text = try field.string()
        case 5: whole = try field.reader()
        default: break
        }
      }
    }

    func event(
      conversation: ConversationID, sequence: Sequence, time base: UInt64, index first: UInt64,
      authors: [UserID]
    ) throws(ProtobufError) -> Event {
      guard author < UInt64(authors.count) else { throw .outOfRange(field: 1) }
      let index = first &+ index
      if let whole {
        let event = try Event(decoding: whole)
        guard event.conversation == conversation, event.sequence == sequence,
          event.index.rawValue == index
        else { throw .outOfRange(field: 5) }
        return event
      }
      guard let text else { throw .missingField(4) }
      return Event(
        conversation: conversation, sequence: sequence, time: WallTime(milliseconds: base &+ time),
        author: authors[Int(author)], index: LogIndex(index), content: .message(text: text))
    }
  }
}

extension EventContent {
  /// Roughly what the content is stored in.
  var textBytes: Int {
    switch self {
    case .message(let text), .titleChanged(let text): text.utf8.count
    case .created(_, let title, let members): title.utf8.count + 64 * members.count
    case .membersChanged(let added, let removed): 64 * added.count + 16 * removed.count
    }
  }
}

extension Event {
  /// Roughly what the event weighs in memory.
  var memoryBytes: Int { MemoryLayout<Event>.stride + 32 + content.textBytes }
}

import ClusterModel
import NodeProtocol
import Primitives

/// `martlet.v1.ReplicaMessage`
extension ReplicaMessage {
  func encode(into writer: inout FrameWriter) {
    encodeEnvelope(into: &writer)
    body.encode(into: &writer)
  }

  fileprivate func encodeEnvelope(into writer: inout FrameWriter) {
    writer.uint(1, partition.rawValue)
    writer.message(2) { from.encode(into: &$0) }
    writer.fixed64(3, fromBoot.rawValue)
    writer.message(4) { to.encode(into: &$0) }
    writer.uint(5, epoch.rawValue)
    writer.int(6, revision.rawValue)
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var partition = PartitionID(0)
    var from: ReplicaID?
    var fromBoot = BootID.none
    var to: ReplicaID?
    var epoch = Epoch.zero
    var revision = Revision.zero
    var body: Body?
    while let field = try reader.next() {
      switch field.number {
      case 1: partition = PartitionID(try field.uint32())
      case 2: from = try ReplicaID(decoding: try field.reader())
      case 3: fromBoot = BootID(try field.fixed64())
      case 4: to = try ReplicaID(decoding: try field.reader())
      case 5: epoch = Epoch(try field.uint64())
      case 6: revision = Revision(try field.int64())
      case 7...22:
        guard body == nil else { throw .unknownVariant }
        body = try Body(decoding: try field.reader(), variant: field.number)
      default: break
      }
    }
    guard let from else { throw .missingField(2) }
    guard let to else { throw .missingField(4) }
    guard let body else { throw .unknownVariant }
    self.init(
      partition: partition, from: from, fromBoot: fromBoot, to: to, epoch: epoch,
      revision: revision, body: body)
  }
}

extension ReplicaMessage.Body {
  fileprivate func encode(into writer: inout FrameWriter) {
    switch self {
    case .append(let previous, let entries, let commitIndex):
      writer.message(7) {
        $0.message(1) { previous.encode(into: &$0) }
        $0.uint(2, commitIndex.rawValue)
        for entry in entries {
          $0.message(3) {
            entry.id.encode(into: &$0)
            $0.data(3, entry.payload)
          }
        }
      }
    case .appended(let match, let leaderBoot):
      writer.message(8) {
        $0.uint(1, match.rawValue)
        $0.fixed64(2, leaderBoot.rawValue)
      }
    case .mismatched(let previous, let hint, let leaderBoot):
      writer.message(9) {
        $0.message(1) { previous.encode(into: &$0) }
        $0.message(2) { hint.encode(into: &$0) }
        $0.fixed64(3, leaderBoot.rawValue)
      }
    case .refused(let promise): writer.message(10) { $0.uint(1, promise.rawValue) }
    case .barrier(let round): writer.message(11) { $0.uint(1, round) }
    case .barrierConfirmed(let round, let leaderBoot):
      writer.message(12) {
        $0.uint(1, round)
        $0.fixed64(2, leaderBoot.rawValue)
      }
    case .inquiry(let last): writer.message(13) { $0.message(1) { last.encode(into: &$0) } }
    case .inquiryAnswered(let last, let inquirerBoot):
      writer.message(14) {
        if let last { $0.message(1) { last.encode(into: &$0) } }
        $0.fixed64(2, inquirerBoot.rawValue)
      }
    case .fenced(let acknowledged, let reported):
      writer.message(15) {
        $0.uint(1, acknowledged.rawValue)
        $0.uint(2, reported.rawValue)
      }
    case .stateTold(let index, let hash):
      writer.message(16) {
        $0.uint(1, index.rawValue)
        $0.fixed64(2, hash)
      }
    case .takeOver(let last): writer.message(17) { $0.message(1) { last.encode(into: &$0) } }
    case .snapshotOffered(let number, let last):
      writer.message(18) {
        $0.uint(1, number)
        $0.message(2) { last.encode(into: &$0) }
      }
    case .snapshotWanted(let number, let after, let leaderBoot):
      writer.message(19) {
        $0.uint(1, number)
        $0.data(2, after)
        $0.fixed64(3, leaderBoot.rawValue)
      }
    case .snapshotChunk(let chunk): writer.message(20) { chunk.encode(into: &$0) }
    case .splitAsked(let level): writer.message(21) { $0.uint(1, level) }
    case .splitDone(let level, let origin):
      writer.message(22) {
        $0.uint(1, level)
        $0.uint(2, origin?.rawValue ?? 0)
      }
    }
  }

  fileprivate init(decoding reader: ProtobufScanner, variant: Int) throws(ProtobufError) {
    switch variant {
    case 7:
      self = try Self.append(decoding: reader)
      return
    case 19, 20:
      self = try Self.snapshot(decoding: reader, isChunk: variant == 20)
      return
    default: break
    }
    var reader = reader
    var entry: EntryID?
    var hint = EntryID.zero
    var first: UInt64 = 0
    var second: UInt64 = 0
    var boot = BootID.none
    while let field = try reader.next() {
      switch (variant, field.number) {
      case (9, 1), (13, 1), (14, 1), (17, 1), (18, 2):
        entry = try EntryID(decoding: try field.reader())
      case (9, 2): hint = try EntryID(decoding: try field.reader())
      case (8, 2), (9, 3), (12, 2), (14, 2): boot = BootID(try field.fixed64())
      case (15, 2), (22, 2): second = try field.uint64()
      case (16, 2): second = try field.fixed64()
      case (21, 1), (22, 1): first = UInt64(try field.uint32())
      case (_, 1): first = try field.uint64()
      default: break
      }
    }
    switch variant {
    case 8: self = .appended(match: LogIndex(first), leaderBoot: boot)
    case 9: self = .mismatched(previous: entry ?? .zero, hint: hint, leaderBoot: boot)
    case 10: self = .refused(promise: Epoch(first))
    case 11: self = .barrier(round: first)
    case 12: self = .barrierConfirmed(round: first, leaderBoot: boot)
    case 13: self = .inquiry(last: entry ?? .zero)
    case 14: self = .inquiryAnswered(last: entry, inquirerBoot: boot)
    case 15: self = .fenced(acknowledged: LogIndex(first), reported: LogIndex(second))
    case 16: self = .stateTold(index: LogIndex(first), hash: second)
    case 17: self = .takeOver(last: entry ?? .zero)
    case 21: self = .splitAsked(level: UInt32(first))
    case 22:
      self = .splitDone(level: UInt32(first), origin: second == 0 ? nil : LogIndex(second))
    default: self = .snapshotOffered(number: first, last: entry ?? .zero)
    }
  }

  private static func snapshot(
    decoding reader: ProtobufScanner, isChunk: Bool
  ) throws(ProtobufError) -> Self {
    var reader = reader
    var number: UInt64 = 0
    var after: [UInt8] = []
    var through: [UInt8] = []
    var records: [UInt8] = []
    var checksum: UInt32 = 0
    var isLast = false
    var boot = BootID.none
    while let field = try reader.next() {
      switch (isChunk, field.number) {
      case (_, 1): number = try field.uint64()
      case (_, 2): after = try field.bytes()
      case (true, 3): through = try field.bytes()
      case (true, 4): records = try field.bytes()
      case (true, 5): checksum = try field.uint32()
      case (true, 6): isLast = try field.bool()
      case (false, 3): boot = BootID(try field.fixed64())
      default: break
      }
    }
    guard isChunk else {
      return .snapshotWanted(number: number, after: after, leaderBoot: boot)
    }
    return .snapshotChunk(
      SnapshotChunk(
        number: number, after: after, through: through, records: records, checksum: checksum,
        isLast: isLast))
  }

  private static func append(decoding reader: ProtobufScanner) throws(ProtobufError) -> Self {
    var reader = reader
    var previous = EntryID.zero
    var commitIndex = LogIndex.zero
    var entries: [Entry] = []
    while let field = try reader.next() {
      switch field.number {
      case 1: previous = try EntryID(decoding: try field.reader())
      case 2: commitIndex = LogIndex(try field.uint64())
      case 3: entries.append(try Entry(decoding: try field.reader()))
      default: break
      }
    }
    return .append(previous: previous, entries: entries, commitIndex: commitIndex)
  }
}

extension SnapshotChunk {
  fileprivate func encode(into writer: inout FrameWriter) {
    writer.uint(1, number)
    writer.data(2, after)
    writer.data(3, through)
    writer.data(4, records)
    writer.uint(5, checksum)
    writer.bool(6, isLast)
  }
}

extension EntryID {
  fileprivate func encode(into writer: inout FrameWriter) {
    writer.uint(1, epoch.rawValue)
    writer.uint(2, index.rawValue)
  }

  fileprivate var bytes: Int { FieldBytes.uint(epoch.rawValue) + FieldBytes.uint(index.rawValue) }

  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var epoch: UInt64 = 0
    var index: UInt64 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: epoch = try field.uint64()
      case 2: index = try field.uint64()
      default: break
      }
    }
    self.init(epoch: Epoch(epoch), index: LogIndex(index))
  }
}

extension Entry {
  /// An entry without epoch or index is refused, so that few bytes never make many entries.
  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var epoch: UInt64 = 0
    var index: UInt64 = 0
    var payload: [UInt8] = []
    while let field = try reader.next() {
      switch field.number {
      case 1: epoch = try field.uint64()
      case 2: index = try field.uint64()
      case 3: payload = try field.bytes()
      default: break
      }
    }
    guard epoch != 0 else { throw .missingField(1) }
    guard index != 0 else { throw .missingField(2) }
    self.init(id: EntryID(epoch: Epoch(epoch), index: LogIndex(index)), payload: payload)
  }

  /// **Units**: bytes of the message that the entry becomes.
  fileprivate var messageBytes: Int {
    id.bytes + (payload.isEmpty ? 0 : FieldBytes.element(payload.count))
  }
}

extension ReplicaID {
  /// **Units**: bytes of the message that the id becomes.
  fileprivate var messageBytes: Int {
    FieldBytes.fixed64(store.rawValue) + FieldBytes.uint(UInt64(number))
  }
}

/// An append with all its lengths known beforehand, so that entries are copied once.
struct AppendLayout {
  private let message: ReplicaMessage
  private let previous: EntryID
  private let entries: [Entry]
  private let commitIndex: LogIndex
  private let bodyBytes: Int
  private let messageBytes: Int

  init(
    _ message: ReplicaMessage, _ previous: EntryID, _ entries: [Entry], _ commitIndex: LogIndex
  ) {
    self.message = message
    self.previous = previous
    self.entries = entries
    self.commitIndex = commitIndex
    var bodyBytes = FieldBytes.element(previous.bytes) + FieldBytes.uint(commitIndex.rawValue)
    for entry in entries { bodyBytes += FieldBytes.element(entry.messageBytes) }
    self.bodyBytes = bodyBytes
    messageBytes =
      FieldBytes.uint(UInt64(message.partition.rawValue))
      + FieldBytes.element(message.from.messageBytes)
      + FieldBytes.fixed64(message.fromBoot.rawValue)
      + FieldBytes.element(message.to.messageBytes)
      + FieldBytes.uint(message.epoch.rawValue)
      + FieldBytes.uint(UInt64(bitPattern: message.revision.rawValue))
      + FieldBytes.element(bodyBytes)
  }

  /// **Units**: bytes of the `LinkFrame`.
  var frameBytes: Int { FieldBytes.element(messageBytes) }

  func write(to writer: inout FrameWriter) {
    writer.header(3, bytes: messageBytes)
    message.encodeEnvelope(into: &writer)
    writer.header(7, bytes: bodyBytes)
    writer.message(1) { previous.encode(into: &$0) }
    writer.uint(2, commitIndex.rawValue)
    for entry in entries {
      writer.header(3, bytes: entry.messageBytes)
      entry.id.encode(into: &writer)
      writer.data(3, entry.payload)
    }
  }
}

package import Primitives

/// What an operator's tool asks of all shards while it makes a backup. It lies under a lease of
/// that tool: when the tool is gone, so is the request.
///
/// ```
///  hold ──── every shard keeps in its outboxes what it has delivered, and says so
///  take ──── the chosen ones copy their stores, and say so
///  finish ── the backup is written down: the chosen ones may delete what is too old
///  (deleted) everything goes on as ever
/// ```
package struct BackupRequest: Equatable, Sendable {
  package enum Phase: UInt32, Sendable {
    case hold = 1
    case take = 2
    case finish = 3
  }

  package var id: UInt64
  package var phase: Phase
  /// Whose stores are to be copied.
  package var takers: [StoreID]

  package init(id: UInt64, phase: Phase, takers: [StoreID] = []) {
    self.id = id
    self.phase = phase
    self.takers = takers
  }

  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter()
    writer.fixed64(1, id)
    writer.uint(2, phase.rawValue)
    for taker in takers { writer.message(3) { $0.fixed64(1, taker.rawValue) } }
    return writer.bytes
  }

  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    var id: UInt64 = 0
    var phase: Phase?
    var takers: [StoreID] = []
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      switch field.number {
      case 1: id = try field.fixed64()
      case 2: phase = Phase(rawValue: try field.uint32())
      case 3:
        var taker = try field.reader()
        while let part = try taker.next() {
          if part.number == 1 { takers.append(StoreID(try part.fixed64())) }
        }
      default: break
      }
    }
    guard let phase else { throw .outOfRange(field: 2) }
    self.init(id: id, phase: phase, takers: takers)
  }
}

/// A shard's answer to a `BackupRequest`.
package struct BackupReport: Equatable, Sendable {
  /// The request's.
  package var id: UInt64
  package var phase: BackupRequest.Phase
  package var store: StoreID
  package var boot: BootID
  /// Why it was not done; empty when it was.
  package var failure = ""
  /// Of the copy, in its directory.
  package var number: UInt32 = 0
  package var bytes: UInt64 = 0
  package var directory = ""
  /// When the copy was made. Seconds since 1970.
  package var time: Int64 = 0

  package init(id: UInt64, phase: BackupRequest.Phase, store: StoreID, boot: BootID) {
    self.id = id
    self.phase = phase
    self.store = store
    self.boot = boot
  }

  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter()
    writer.fixed64(1, id)
    writer.uint(2, phase.rawValue)
    writer.fixed64(3, store.rawValue)
    writer.fixed64(4, boot.rawValue)
    writer.string(5, failure)
    writer.uint(6, number)
    writer.uint(7, bytes)
    writer.string(8, directory)
    writer.int(9, time)
    return writer.bytes
  }

  package init(decoding bytes: [UInt8]) throws(ProtobufError) {
    self.init(id: 0, phase: .hold, store: StoreID(0), boot: .none)
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      switch field.number {
      case 1: id = try field.fixed64()
      case 2:
        guard let known = BackupRequest.Phase(rawValue: try field.uint32()) else {
          throw .outOfRange(field: 2)
        }
        phase = known
      case 3: store = StoreID(try field.fixed64())
      case 4: boot = BootID(try field.fixed64())
      case 5: failure = try field.string()
      case 6: number = try field.uint32()
      case 7: self.bytes = try field.uint64()
      case 8: directory = try field.string()
      case 9: time = try field.int64()
      default: break
      }
    }
  }
}

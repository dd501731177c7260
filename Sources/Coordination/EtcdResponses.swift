import Primitives

/// What every answer of etcd begins with.
struct EtcdHeader: Hashable, Sendable {
  var clusterID: UInt64 = 0
  var revision = Revision.zero

  init() {}

  init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    while let field = try reader.next() {
      switch field.number {
      case 1: clusterID = try field.uint64()
      case 3: revision = Revision(try field.int64())
      default: break
      }
    }
  }

  /// Reads only the header of an answer of any kind.
  init(ofResponse bytes: [UInt8]) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      guard field.number == 1 else { continue }
      self = try EtcdHeader(decoding: try field.reader())
      guard clusterID != 0 else { throw .missingField(1) }
      return
    }
    throw .missingField(1)
  }

  var position: CoordinationPosition {
    CoordinationPosition(serviceID: clusterID, revision: revision)
  }
}

/// A key as etcd stores it, which may be none of Martlet's.
struct EtcdKeyValue: Hashable, Sendable {
  var key: [UInt8] = []
  var value: [UInt8] = []
  var modRevision = Revision.zero
  var lease: Int64 = 0

  init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    while let field = try reader.next() {
      switch field.number {
      case 1: key = Array(try field.bytes())
      case 3: modRevision = Revision(try field.int64())
      case 5: value = Array(try field.bytes())
      case 6: lease = try field.int64()
      default: break
      }
    }
  }

  /// `nil` when the key breaks `KeyRule`: somebody else's.
  var name: String? { KeyRule.isValid(key) ? String(decoding: key, as: UTF8.self) : nil }

  var item: KeyValue? {
    name.map {
      KeyValue(
        key: $0, value: value, modRevision: modRevision, lease: lease == 0 ? nil : LeaseID(lease))
    }
  }
}

struct EtcdRangeResponse: Hashable, Sendable {
  var header = EtcdHeader()
  var items: [EtcdKeyValue] = []
  var isMore = false

  init(decoding reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    while let field = try reader.next() {
      switch field.number {
      case 1: header = try EtcdHeader(decoding: try field.reader())
      case 2: items.append(try EtcdKeyValue(decoding: try field.reader()))
      case 3: isMore = try field.bool()
      default: break
      }
    }
  }
}

enum EtcdTransactionResponse {
  static func decode(_ bytes: [UInt8]) throws(ProtobufError) -> TransactionResult {
    var reader = ProtobufReader(bytes)
    var header = EtcdHeader()
    var succeeded = false
    var responses: [TransactionResult.Response] = []
    while let field = try reader.next() {
      switch field.number {
      case 1: header = try EtcdHeader(decoding: try field.reader())
      case 2: succeeded = try field.bool()
      case 3: responses.append(try operation(try field.reader()))
      default: break
      }
    }
    return TransactionResult(
      succeeded: succeeded, revision: header.revision, responses: responses)
  }

  private static func operation(
    _ reader: ProtobufReader
  ) throws(ProtobufError) -> TransactionResult.Response {
    var reader = reader
    while let field = try reader.next() {
      switch field.number {
      case 1: return .get(try EtcdRangeResponse(decoding: try field.reader()).items.first?.item)
      case 2: return .put
      case 3: return .delete(didExist: try deletedCount(try field.reader()) > 0)
      default: break
      }
    }
    throw .unknownVariant
  }

  private static func deletedCount(_ reader: ProtobufReader) throws(ProtobufError) -> Int64 {
    var reader = reader
    while let field = try reader.next() {
      if field.number == 2 { return try field.int64() }
    }
    return 0
  }
}

struct EtcdWatchResponse: Sendable {
  var header = EtcdHeader()
  var watchID: Int64 = 0
  var isCanceled = false
  var compactRevision = Revision.zero
  var cancelReason = ""
  /// More parts of the same answer follow.
  var isFragment = false
  /// In order of revision; those of keys that are none of Martlet's are left out.
  var events: [(revision: Revision, event: WatchEvent)] = []

  init(decoding bytes: ArraySlice<UInt8>) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      switch field.number {
      case 1: header = try EtcdHeader(decoding: try field.reader())
      case 2: watchID = try field.int64()
      case 4: isCanceled = try field.bool()
      case 5: compactRevision = Revision(try field.int64())
      case 6: cancelReason = try field.string()
      case 7: isFragment = try field.bool()
      case 11: try appendEvent(try field.reader())
      default: break
      }
    }
  }

  private mutating func appendEvent(_ reader: ProtobufReader) throws(ProtobufError) {
    var reader = reader
    var isDelete = false
    var stored: EtcdKeyValue?
    while let field = try reader.next() {
      switch field.number {
      case 1: isDelete = try field.uint64() == 1
      case 2: stored = try EtcdKeyValue(decoding: try field.reader())
      default: break
      }
    }
    guard let stored else { throw .missingField(2) }
    guard let item = stored.item else { return }
    let event =
      isDelete ? WatchEvent.delete(key: item.key, revision: item.modRevision) : .put(item)
    events.append((item.modRevision, event))
  }
}

/// The answer to a grant or to a renewal.
struct EtcdLeaseResponse: Hashable, Sendable {
  var header = EtcdHeader()
  var id = LeaseID(0)
  /// Zero or less: the lease is gone.
  var ttlSeconds: Int64 = 0

  init(decoding bytes: ArraySlice<UInt8>) throws(ProtobufError) {
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      switch field.number {
      case 1: header = try EtcdHeader(decoding: try field.reader())
      case 2: id = LeaseID(try field.int64())
      case 3: ttlSeconds = try field.int64()
      default: break
      }
    }
  }
}

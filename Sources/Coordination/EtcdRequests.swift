import Primitives

/// The methods of etcd v3 that are called.
enum EtcdMethod {
  static let range = "/etcdserverpb.KV/Range"
  static let transaction = "/etcdserverpb.KV/Txn"
  static let watch = "/etcdserverpb.Watch/Watch"
  static let grantLease = "/etcdserverpb.Lease/LeaseGrant"
  static let revokeLease = "/etcdserverpb.Lease/LeaseRevoke"
  static let keepLeaseAlive = "/etcdserverpb.Lease/LeaseKeepAlive"
}

/// Builds etcd's requests by hand: generated messages hold keys and values as Foundation's `Data`.
///
/// **Source**: the schema `Wire/Proto/etcd/rpc.proto`; tested against its generated code.
enum EtcdRequest {
  /// Where the keys that begin with `prefix` end, exclusive.
  ///
  /// **Returns**: the least key above them all; when there is none, a zero byte: "no end".
  static func rangeEnd(ofPrefix prefix: [UInt8]) -> [UInt8] {
    var end = prefix
    while let last = end.popLast() {
      if last < 0xff { return end + [last + 1] }
    }
    return [0]
  }

  /// `rangeEnd` empty: one key. `limit` and `revision` zero: no limit, the newest.
  static func range(
    key: [UInt8], rangeEnd: [UInt8] = [], limit: Int = 0, revision: Revision = .zero
  ) -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: key.count + rangeEnd.count + 24)
    writer.data(1, key)
    writer.data(2, rangeEnd)
    writer.int(3, Int64(limit))
    writer.int(4, revision.rawValue)
    return writer.bytes
  }

  static func transaction(_ transaction: Transaction) -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 256)
    for condition in transaction.conditions { writer.message(1) { encode(condition, &$0) } }
    for operation in transaction.success { writer.message(2) { encode(operation, &$0) } }
    for operation in transaction.failure { writer.message(3) { encode(operation, &$0) } }
    return writer.bytes
  }

  private enum Relation {
    static let greater: UInt64 = 1
  }

  private enum Target {
    static let modRevision: UInt64 = 2
    static let value: UInt64 = 3
  }

  private static func encode(_ condition: Transaction.Condition, _ writer: inout ProtobufWriter) {
    switch condition {
    case .modRevision(let key, let revision):
      writer.uint(2, Target.modRevision)
      writer.string(3, key)
      // Left out when zero, which etcd reads as zero.
      writer.int(6, revision.rawValue)
    case .exists(let key):
      writer.uint(1, Relation.greater)
      writer.uint(2, Target.modRevision)
      writer.string(3, key)
    case .value(let key, let value):
      writer.uint(2, Target.value)
      writer.string(3, key)
      writer.element(7, value)
    }
  }

  private static func encode(_ operation: Transaction.Operation, _ writer: inout ProtobufWriter) {
    switch operation {
    case .get(let key):
      writer.message(1) { $0.string(1, key) }
    case .put(let key, let value, let lease):
      writer.message(2) {
        $0.string(1, key)
        $0.data(2, value)
        $0.int(3, lease?.rawValue ?? 0)
      }
    case .delete(let key):
      writer.message(3) { $0.string(1, key) }
    }
  }

  /// `fragment` lets etcd cut answers that would pass its limit on messages.
  static func createWatch(
    id: Int64, key: [UInt8], rangeEnd: [UInt8], startRevision: Revision
  ) -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: key.count + rangeEnd.count + 32)
    writer.message(1) {
      $0.data(1, key)
      $0.data(2, rangeEnd)
      $0.int(3, startRevision.rawValue)
      $0.int(7, id)
      $0.bool(8, true)
    }
    return writer.bytes
  }

  static func cancelWatch(id: Int64) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.message(2) { $0.int(1, id) }
    return writer.bytes
  }

  /// etcd chooses the id.
  static func grantLease(ttlSeconds: Int64) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.int(1, ttlSeconds)
    return writer.bytes
  }

  static func lease(_ id: LeaseID) -> [UInt8] {
    var writer = ProtobufWriter()
    writer.int(1, id.rawValue)
    return writer.bytes
  }
}

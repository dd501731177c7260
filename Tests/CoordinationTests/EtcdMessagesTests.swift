@testable import Coordination
import Foundation
import HTTP2Engine
import Primitives
import SwiftProtobuf
import Testing
import Transport
import Wire

/// The hand-written codec against the code generated from etcd's schema.
@Suite struct EtcdMessagesTests {
  @Test func `Requests equal those of the generated code`() throws {
    var range = EtcdRangeRequest()
    range.key = Data("a".utf8)
    range.rangeEnd = Data("b".utf8)
    range.limit = 1_000
    range.revision = 77
    #expect(
      EtcdRequest.range(key: [97], rangeEnd: [98], limit: 1_000, revision: Revision(77))
        == Array(try range.serializedData()))

    var watch = EtcdWatchRequest()
    watch.createRequest.key = Data("a".utf8)
    watch.createRequest.rangeEnd = Data("b".utf8)
    watch.createRequest.startRevision = 300
    watch.createRequest.watchID = 4
    watch.createRequest.fragment = true
    #expect(
      EtcdRequest.createWatch(id: 4, key: [97], rangeEnd: [98], startRevision: Revision(300))
        == Array(try watch.serializedData()))
    watch = EtcdWatchRequest()
    watch.cancelRequest.watchID = 1 << 40
    #expect(EtcdRequest.cancelWatch(id: 1 << 40) == Array(try watch.serializedData()))

    var grant = EtcdLeaseGrantRequest()
    grant.ttl = 9
    #expect(EtcdRequest.grantLease(ttlSeconds: 9) == Array(try grant.serializedData()))
    var renewal = EtcdLeaseKeepAliveRequest()
    renewal.id = .max
    #expect(EtcdRequest.lease(LeaseID(.max)) == Array(try renewal.serializedData()))
  }

  @Test func `A transaction means to the generated code what was asked for`() throws {
    let transaction = Transaction(
      conditions: [
        .modRevision(of: "a", equals: Revision(5)), .modRevision(of: "b", equals: .zero),
        .exists("c"), .value(of: "d", equals: [1, 2]), .value(of: "e", equals: []),
      ],
      success: [
        .put(key: "a", value: [9], lease: LeaseID(77)), .put(key: "b", value: [], lease: nil),
        .delete("c"),
      ],
      failure: [.get("a"), .get("b")])
    let request = try EtcdTxnRequest(serializedBytes: EtcdRequest.transaction(transaction))
    let keys = request.compare.map { String(decoding: $0.key, as: UTF8.self) }
    #expect(keys == ["a", "b", "c", "d", "e"])
    #expect(request.compare.map(\.target) == [.mod, .mod, .mod, .value, .value])
    #expect(request.compare.map(\.result) == [.equal, .equal, .greater, .equal, .equal])
    #expect(request.compare.map(\.modRevision) == [5, 0, 0, 0, 0])
    #expect(request.compare.map { Array($0.value) } == [[], [], [], [1, 2], []])
    #expect(request.success.count == 3)
    #expect(request.success[0].requestPut.key == Data("a".utf8))
    #expect(request.success[0].requestPut.value == Data([9]))
    #expect(request.success[0].requestPut.lease == 77)
    #expect(request.success[1].requestPut.key == Data("b".utf8))
    #expect(request.success[2].requestDeleteRange.key == Data("c".utf8))
    #expect(request.success[2].requestDeleteRange.rangeEnd.isEmpty)
    #expect(request.failure.map(\.requestRange.key) == [Data("a".utf8), Data("b".utf8)])
  }

  @Test func `Prefixes end where the next prefix begins`() {
    #expect(EtcdRequest.rangeEnd(ofPrefix: [1, 2]) == [1, 3])
    #expect(EtcdRequest.rangeEnd(ofPrefix: [1, 0xff]) == [2])
    #expect(EtcdRequest.rangeEnd(ofPrefix: [0xff, 0xff]) == [0])
  }

  private func stored(_ key: String, _ revision: Int64) -> Wire.EtcdKeyValue {
    var stored = Wire.EtcdKeyValue()
    stored.key = Data(key.utf8)
    stored.value = Data([1, 2, 3])
    stored.createRevision = 2
    stored.modRevision = revision
    stored.version = 3
    stored.lease = 7
    return stored
  }

  private func item(_ key: String, _ revision: Int64) -> KeyValue {
    KeyValue(
      key: key, value: [1, 2, 3], modRevision: Revision(revision), lease: LeaseID(7))
  }

  private var header: EtcdResponseHeader {
    var header = EtcdResponseHeader()
    header.clusterID = .max
    header.memberID = 4
    header.revision = 99
    header.raftTerm = 5
    return header
  }

  private let position = CoordinationPosition(serviceID: .max, revision: Revision(99))

  @Test func `Answers of the generated code are understood`() throws {
    var range = Wire.EtcdRangeResponse()
    range.header = header
    range.kvs = [stored("a", 5), stored("\u{7f}", 6)]
    range.more = true
    range.count = 9
    let bytes: [UInt8] = try range.serializedBytes()
    let read = try Coordination.EtcdRangeResponse(decoding: ProtobufReader(bytes))
    #expect(read.header.position == position)
    #expect(try EtcdHeader(ofResponse: bytes).position == position)
    // The second key is none of Martlet's.
    #expect(read.items.map(\.item) == [item("a", 5), nil])
    #expect(read.isMore)

    var transaction = EtcdTxnResponse()
    transaction.header = header
    transaction.succeeded = true
    transaction.responses = [
      EtcdResponseOp(), EtcdResponseOp(), EtcdResponseOp(), EtcdResponseOp(),
    ]
    transaction.responses[0].responsePut = EtcdPutResponse()
    transaction.responses[1].responseRange.kvs = [stored("b", 8)]
    transaction.responses[2].responseRange.header = header
    transaction.responses[3].responseDeleteRange.deleted = 1
    #expect(
      try EtcdTransactionResponse.decode(try transaction.serializedBytes())
        == TransactionResult(
          succeeded: true, revision: Revision(99),
          responses: [.put, .get(item("b", 8)), .get(nil), .delete(didExist: true)]))
  }

  private func watchResponse() throws -> [UInt8] {
    var watch = Wire.EtcdWatchResponse()
    watch.header = header
    watch.watchID = 3
    watch.canceled = true
    watch.compactRevision = 50
    watch.cancelReason = "compacted"
    watch.fragment = true
    watch.events = [EtcdEvent(), EtcdEvent(), EtcdEvent()]
    watch.events[0].kv = stored("a", 60)
    watch.events[1].type = .delete
    watch.events[1].kv.key = Data("b".utf8)
    watch.events[1].kv.modRevision = 61
    watch.events[2].kv.key = Data([0xff])
    return try watch.serializedBytes()
  }

  @Test func `A watch's answer of the generated code is understood`() throws {
    let read = try Coordination.EtcdWatchResponse(decoding: try watchResponse()[...])
    #expect(read.header.position == position)
    #expect(read.watchID == 3)
    #expect(read.isCanceled)
    #expect(read.compactRevision == Revision(50))
    #expect(read.cancelReason == "compacted")
    #expect(read.isFragment)
    #expect(read.events.map(\.revision) == [Revision(60), Revision(61)])
    #expect(
      read.events.map(\.event) == [
        .put(item("a", 60)), .delete(key: "b", revision: Revision(61)),
      ])

    var renewal = EtcdLeaseKeepAliveResponse()
    renewal.header = header
    renewal.id = 5
    renewal.ttl = 6
    let bytes: [UInt8] = try renewal.serializedBytes()
    let lease = try EtcdLeaseResponse(decoding: bytes[...])
    #expect(lease.id == LeaseID(5))
    #expect(lease.ttlSeconds == 6)
    #expect(lease.header.position == position)
  }

  @Test func `Cut and damaged answers never trap`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    let good = try watchResponse()
    var failures = 0
    func read(_ bytes: [UInt8]) {
      do {
        _ = try Coordination.EtcdWatchResponse(decoding: bytes[...])
        _ = try EtcdHeader(ofResponse: bytes)
        _ = try Coordination.EtcdRangeResponse(decoding: ProtobufReader(bytes))
        _ = try EtcdTransactionResponse.decode(bytes)
        _ = try EtcdLeaseResponse(decoding: bytes[...])
      } catch { failures += 1 }
    }
    for count in 0..<good.count { read(Array(good.prefix(count))) }
    #expect(failures > good.count / 2)
    for _ in 0..<20_000 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(
          in: 0...255, using: &random)
      }
      read(bytes)
    }
  }
}

@Suite struct EtcdFailureTests {
  private func error(
    _ code: GRPCCode, _ message: String = "", mayHaveRun: Bool = true, isRepeatable: Bool = false
  ) -> CoordinationError {
    EtcdFailure.error(
      GRPCCallFailure(GRPCStatus(code, message), mayHaveRun: mayHaveRun),
      isRepeatable: isRepeatable)
  }

  private func isUnknown(_ error: CoordinationError) -> Bool {
    if case .outcomeUnknown = error { true } else { false }
  }

  private func isUnavailable(_ error: CoordinationError) -> Bool {
    if case .unavailable = error { true } else { false }
  }

  @Test func `What may have been done is never called a failure`() {
    for code in [
      GRPCCode.unavailable, .deadlineExceeded, .cancelled, .unknown, .internal, .aborted,
    ] {
      #expect(isUnknown(error(code)))
      #expect(isUnknown(error(code, "etcdserver: request timed out")))
      #expect(isUnavailable(error(code, isRepeatable: true)))
      #expect(isUnavailable(error(code, mayHaveRun: false)))
    }
    #expect(isUnknown(error(.unavailable, "etcdserver: leader changed")))
    #expect(isUnknown(error(.resourceExhausted, "stream ended with ENHANCE_YOUR_CALM")))
  }

  @Test func `What etcd refused before proposing it may be repeated`() {
    #expect(isUnavailable(error(.unavailable, "etcdserver: no leader")))
    #expect(isUnavailable(error(.resourceExhausted, "etcdserver: too many requests")))
    #expect(error(.notFound, "etcdserver: requested lease not found") == .leaseNotFound)
    guard case .refused = error(.resourceExhausted, "etcdserver: mvcc: database space exceeded")
    else {
      Issue.record("a full database stays full")
      return
    }
  }

  @Test func `A revision that is no longer kept is told from other refusals`() {
    let text = "etcdserver: mvcc: required revision has been compacted"
    #expect(EtcdFailure.isCompacted(error(.outOfRange, text)))
    #expect(!EtcdFailure.isCompacted(error(.outOfRange, "etcdserver: mvcc: future revision")))
    #expect(!EtcdFailure.isCompacted(error(.unavailable, text)))
  }

  @Test func `Back-off grows, with jitter, and stays below half of the shortest lease`() {
    for seed in UInt64(0)..<100 {
      var backOff = ReconnectBackOff(seed: seed)
      let delays = (0..<30).map { _ in backOff.next().rawValue }
      let shortestLease = UInt64(CoordinationLimits.leaseSecondsRange.lowerBound) * 1_000
      #expect(delays.allSatisfy { $0 < shortestLease / 2 })
      #expect(delays[0] <= ReconnectBackOff.firstMilliseconds)
      #expect((delays.last ?? 0) >= ReconnectBackOff.millisecondsMax / 2)
      #expect(Set(delays.suffix(20)).count > 1)
      backOff.reset()
      #expect(backOff.next().rawValue <= ReconnectBackOff.firstMilliseconds)
    }
  }
}

package import Logging
package import NIOCore
package import Primitives

/// The coordinator kept by an etcd cluster (v3, gRPC).
///
/// One connection serves everything; when it is lost or silent the next endpoint is tried. Reads
/// and whatever certainly was not done are repeated within `EtcdConfiguration.requestTimeout`;
/// watches resume after the last revision that they delivered; leases go on being renewed. An
/// endpoint that answers with another identity, or with a revision below one seen before, is not
/// used.
///
/// **Isolation**: any task. Its work is done on one event loop.
///
/// **Source**: etcd.io, "API reference", v3.4.
package final class EtcdCoordinator: Coordinator {
  private let client: EtcdClient

  /// Begins to connect at once. `shutDown` must be called before this object is let go of.
  ///
  /// **Throws**: `refused` for a configuration that cannot work.
  package init(
    _ configuration: EtcdConfiguration, eventLoop: any EventLoop, logger: Logger
  ) throws(CoordinationError) {
    guard !configuration.endpoints.isEmpty else { throw .refused("no etcd endpoint") }
    guard configuration.tls != nil || !configuration.endpoints.contains(where: \.usesTLS) else {
      throw .refused("an https endpoint needs TLS settings")
    }
    let client = EtcdClient(configuration, eventLoop: eventLoop, logger: logger)
    self.client = client
    eventLoop.execute { client.start() }
  }

  package var position: CoordinationPosition? { client.position }

  package func get(_ key: String) async throws(CoordinationError) -> Reading {
    try KeyRule.check(key)
    let request = EtcdRequest.range(key: Array(key.utf8))
    let response = try await range(request, deadline: deadline())
    return Reading(item: response.items.first?.item, position: response.header.position)
  }

  /// Long listings are read in pages, all as of the first page's revision. Should that be compacted
  /// meanwhile, the listing begins anew.
  package func list(_ prefix: String) async throws(CoordinationError) -> Listing {
    try KeyRule.check(prefix)
    let deadline = deadline()
    while true {
      do throws(CoordinationError) {
        return try await listOnce(prefix, deadline: deadline)
      } catch {
        guard EtcdFailure.isCompacted(error), client.eventLoop.instant < deadline else {
          throw error
        }
      }
    }
  }

  private func listOnce(
    _ prefix: String, deadline: Instant
  ) async throws(CoordinationError) -> Listing {
    var start = Array(prefix.utf8)
    let end = EtcdRequest.rangeEnd(ofPrefix: start)
    var items: [KeyValue] = []
    var position: CoordinationPosition?
    while true {
      let request = EtcdRequest.range(
        key: start, rangeEnd: end, limit: EtcdLimits.listPageKeysMax,
        revision: position?.revision ?? .zero)
      let page = try await range(request, deadline: deadline)
      let listed = position ?? page.header.position
      position = listed
      items += page.items.compactMap(\.item)
      guard page.isMore, let last = page.items.last else {
        return Listing(items: items, position: listed)
      }
      start = last.key + [0]
    }
  }

  private func range(
    _ request: [UInt8], deadline: Instant
  ) async throws(CoordinationError) -> EtcdRangeResponse {
    let bytes = try await call(EtcdMethod.range, request, deadline: deadline, isRepeatable: true)
    do throws(ProtobufError) {
      return try EtcdRangeResponse(decoding: ProtobufReader(bytes))
    } catch {
      throw EtcdFailure.unreadable(error, isRepeatable: true)
    }
  }

  package func transact(
    _ transaction: Transaction
  ) async throws(CoordinationError) -> TransactionResult {
    try transaction.validate()
    let isRepeatable = transaction.isReadOnly
    let bytes = try await call(
      EtcdMethod.transaction, EtcdRequest.transaction(transaction), deadline: deadline(),
      isRepeatable: isRepeatable)
    do throws(ProtobufError) {
      return try EtcdTransactionResponse.decode(bytes)
    } catch {
      throw EtcdFailure.unreadable(error, isRepeatable: isRepeatable)
    }
  }

  package func watch(
    _ prefix: String, after revision: Revision?
  ) async throws(CoordinationError) -> WatchStream {
    try KeyRule.check(prefix)
    let start: Revision
    if let revision { start = revision } else { start = try await get(prefix).position.revision }
    let source = WatchSource()
    let stream = WatchStream(source)
    let client = client
    let _: Void = try await client.eventLoop.request { completion in
      client.addWatch(prefix, after: start, source)
      completion(.success(()))
    }
    return stream
  }

  // MARK: Leases

  package func grantLease(ttlSeconds: Int64) async throws(CoordinationError) -> Lease {
    try Lease.checkSeconds(ttlSeconds)
    let client = client
    let since = client.eventLoop.instant
    // Repeatable: a grant whose answer was lost runs out unused.
    let bytes = try await call(
      EtcdMethod.grantLease, EtcdRequest.grantLease(ttlSeconds: ttlSeconds), deadline: deadline(),
      isRepeatable: true)
    let granted: EtcdLeaseResponse
    do throws(ProtobufError) { granted = try EtcdLeaseResponse(decoding: bytes[...]) } catch {
      throw EtcdFailure.unreadable(error, isRepeatable: true)
    }
    guard granted.id.rawValue != 0, granted.ttlSeconds > 0 else {
      throw .refused("a grant without an id or time")
    }
    return try await client.eventLoop.request { completion in
      if client.isShutDown { return completion(.failure(.shutDown)) }
      completion(
        .success(client.beginLease(granted.id, ttlSeconds: granted.ttlSeconds, since: since)))
    }
  }

  package func resumeLease(_ id: LeaseID) async throws(CoordinationError) -> Lease {
    let client = client
    return try await client.eventLoop.request { client.resumeLease(id, $0) }
  }

  package func revoke(_ lease: Lease) async throws(CoordinationError) {
    let client = client
    let _: Void = try await client.eventLoop.request { completion in
      client.removeLease(lease.id)
      lease.markLost()
      completion(.success(()))
    }
    do throws(CoordinationError) {
      _ = try await call(
        EtcdMethod.revokeLease, EtcdRequest.lease(lease.id), deadline: deadline(),
        isRepeatable: true)
    } catch {
      guard error == .leaseNotFound else { throw error }
    }
  }

  package func shutDown() async {
    let client = client
    await withCheckedContinuation { continuation in
      client.eventLoop.execute {
        client.shutDown().whenComplete { _ in continuation.resume() }
      }
    }
  }

  // MARK: Calls

  private func deadline() -> Instant {
    client.eventLoop.instant + client.configuration.requestTimeout
  }

  private func call(
    _ path: String, _ message: [UInt8], deadline: Instant, isRepeatable: Bool
  ) async throws(CoordinationError) -> [UInt8] {
    let client = client
    return try await client.eventLoop.request { completion in
      client.perform(
        EtcdCall(
          path: path, message: message, deadline: deadline, isRepeatable: isRepeatable,
          completion: completion))
    }
  }
}

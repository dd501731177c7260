import HTTP2Engine
import NIOCore
import Primitives
import Transport

/// The leases that one client renews, on one stream, each every third of its time.
struct EtcdLeaseTable {
  final class Entry {
    let id: LeaseID
    /// `nil` until the first answer to a lease that is being resumed.
    var lease: Lease?
    var timer: RepeatedTask?
    /// When the oldest renewal without an answer was sent on the present stream.
    var sentAt: Instant?
    /// Waits for the first answer.
    var onResume: Completion<Lease>?

    init(id: LeaseID) { self.id = id }
  }

  var entries: [LeaseID: Entry] = [:]
  var stream: GRPCClientStream?
  var streamNumber: UInt64 = 0
}

extension EtcdClient {
  private static let requireLeader = [HTTP2HeaderField("hasleader", "true")]

  // MARK: Life of a lease

  /// Renews a lease that was just granted; `since` is when the grant was asked for.
  func beginLease(_ id: LeaseID, ttlSeconds: Int64, since: Instant) -> Lease {
    eventLoop.preconditionInEventLoop()
    let lease = Lease(id: id, ttlSeconds: ttlSeconds, aliveUntil: since.after(seconds: ttlSeconds))
    let entry = EtcdLeaseTable.Entry(id: id)
    entry.lease = lease
    leases.entries[id] = entry
    startTimer(entry, ttlSeconds: ttlSeconds)
    renew(entry)
    return lease
  }

  /// Renews a lease that somebody else was granted.
  func resumeLease(_ id: LeaseID, _ completion: @escaping Completion<Lease>) {
    eventLoop.preconditionInEventLoop()
    if isShutDown { return completion(.failure(.shutDown)) }
    if let known = leases.entries[id] {
      guard let lease = known.lease else {
        return completion(.failure(.unavailable("this lease is being resumed already")))
      }
      return completion(.success(lease))
    }
    let entry = EtcdLeaseTable.Entry(id: id)
    leases.entries[id] = entry
    let time = TimeAmount(configuration.requestTimeout)
    let timer = eventLoop.assumeIsolated().scheduleTask(in: time) {
      self.finishResume(entry, .failure(.unavailable("no answer to the renewal")))
    }
    entry.onResume = { result in
      timer.cancel()
      completion(result)
    }
    renew(entry)
  }

  private func finishResume(
    _ entry: EtcdLeaseTable.Entry, _ result: Result<Lease, CoordinationError>
  ) {
    guard let completion = entry.onResume else { return }
    entry.onResume = nil
    if case .failure = result { removeLease(entry.id) }
    completion(result)
  }

  /// Renews no more. What becomes of the lease is the service's matter.
  func removeLease(_ id: LeaseID) {
    eventLoop.preconditionInEventLoop()
    leases.entries.removeValue(forKey: id)?.timer?.cancel()
    guard leases.entries.isEmpty else { return }
    leases.stream?.cancel()
    loseLeaseStream()
  }

  func endLeases() {
    for entry in leases.entries.values { finishResume(entry, .failure(.shutDown)) }
    for id in leases.entries.keys { removeLease(id) }
  }

  private func startTimer(_ entry: EtcdLeaseTable.Entry, ttlSeconds: Int64) {
    let period = TimeAmount.milliseconds(Lease.renewalMilliseconds(ttlSeconds: ttlSeconds))
    let id = entry.id
    entry.timer = eventLoop.scheduleRepeatedTask(initialDelay: period, delay: period) { _ in
      self.renewalDue(id)
    }
  }

  // MARK: Renewing

  private func renewalDue(_ id: LeaseID) {
    guard let entry = leases.entries[id] else { return }
    if let sentAt = entry.sentAt, let connection, !(sentAt < connection.lastReceived) {
      // A third of the lease's time without a byte: there is time to ask another member.
      return drop(connection, .unavailable("no answer to a renewal"))
    }
    renew(entry)
  }

  private func renew(_ entry: EtcdLeaseTable.Entry) {
    guard let connection else { return }
    guard let stream = leases.stream else { return openLeaseStream(connection) }
    if entry.sentAt == nil { entry.sentAt = eventLoop.instant }
    if stream.send(EtcdRequest.lease(entry.id)) == .full {
      drop(connection, .unavailable("the lease stream takes nothing"))
    }
  }

  /// Opens the stream, if it has a use, and renews everything on it.
  func openLeaseStream(_ connection: GRPCClientConnection) {
    guard !leases.entries.isEmpty else { return }
    leases.streamNumber += 1
    let number = leases.streamNumber
    do throws(GRPCCallFailure) {
      let path = EtcdMethod.keepLeaseAlive
      leases.stream = try connection.openStream(path, metadata: Self.requireLeader) {
        guard self.leases.streamNumber == number else { return }
        self.leaseStreamEvent($0, connection)
      }
    } catch {
      return drop(connection, EtcdFailure.error(error, isRepeatable: true))
    }
    for entry in leases.entries.values.sorted(by: { $0.id.rawValue < $1.id.rawValue }) {
      renew(entry)
    }
  }

  func loseLeaseStream() {
    leases.stream = nil
    leases.streamNumber += 1
    for entry in leases.entries.values { entry.sentAt = nil }
  }

  private func leaseStreamEvent(_ event: GRPCClientStreamEvent, _ connection: GRPCClientConnection)
  {
    switch event {
    case .message(let bytes):
      do {
        let response = try EtcdLeaseResponse(decoding: bytes)
        try checkIdentity(response.header)
        renewalAnswered(response)
      } catch let error as CoordinationError {
        drop(connection, error)
      } catch {
        drop(connection, .unavailable("unreadable lease answer: \(error)"))
      }
    case .ended(let failure):
      loseLeaseStream()
      drop(connection, .unavailable("lease stream ended: \(failure.status)"))
    }
  }

  private func renewalAnswered(_ response: EtcdLeaseResponse) {
    guard let entry = leases.entries[response.id] else { return }
    guard response.ttlSeconds > 0 else {
      removeLease(entry.id)
      entry.lease?.markLost()
      return finishResume(entry, .failure(.leaseNotFound))
    }
    // Several renewals may be under way; only the oldest one's time is known.
    guard let sentAt = entry.sentAt else { return }
    entry.sentAt = nil
    let until = sentAt.after(seconds: response.ttlSeconds)
    if let lease = entry.lease { return lease.renewed(until: until) }
    let lease = Lease(id: entry.id, ttlSeconds: response.ttlSeconds, aliveUntil: until)
    entry.lease = lease
    startTimer(entry, ttlSeconds: response.ttlSeconds)
    finishResume(entry, .success(lease))
  }
}

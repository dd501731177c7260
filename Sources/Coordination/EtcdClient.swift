import HTTP2Engine
import Logging
import NIOCore
import Primitives
import Synchronization
import Transport

/// One request of etcd, until it is answered or its time is up.
struct EtcdCall {
  let path: String
  let message: [UInt8]
  let deadline: Instant
  /// Doing it twice does no harm.
  let isRepeatable: Bool
  /// Takes the answer's bytes, whose header has been checked.
  let completion: Completion<[UInt8]>
}

/// Keeps one proven connection to one of the endpoints, and sends calls over it.
///
/// ```
///            ┌──────────── back-off, next endpoint ───────────┐
///            ▼                                                │ failed, lost, drained,
///        connecting ──► probing (a linearizable read) ──► ready │ silent, went back in time
///            └────────────────┴───────────────────────────────┴──►
/// ```
/// **Isolation**: its event loop.
final class EtcdClient: @unchecked Sendable {
  // Safety: everything mutable but `seen` is touched on `eventLoop` only, which methods check.

  private enum Phase {
    case idle
    case waiting(Scheduled<Void>)
    /// The future is fulfilled when the attempt is over, whatever has become of it.
    case connecting(EventLoopFuture<Void>)
    case probing(GRPCClientConnection)
    case ready(GRPCClientConnection, since: Instant)
    case shutDown
  }

  let eventLoop: any EventLoop
  let configuration: EtcdConfiguration
  private let logger: Logger
  private let seen: Mutex<CoordinationPosition?>

  private var phase = Phase.idle
  private var endpointIndex = 0
  private var backOff: ReconnectBackOff
  /// Since when there has been no connection, and what the log says of it.
  private var outage: Outage?
  private var lastFailure = CoordinationError.unavailable("not connected yet")
  /// Attempts in a row that found another or a forgetful service.
  private var wentBackCount = 0
  private var liveness: RepeatedTask?

  private struct Outage {
    let began: Instant
    var told: Instant
    var attempts = 1
  }

  private struct WaitingCall {
    let call: EtcdCall
    let timer: Scheduled<Void>
  }
  private var waiting: [UInt64: WaitingCall] = [:]
  private var waitingNumber: UInt64 = 0

  var watches = EtcdWatchTable()
  var leases = EtcdLeaseTable()

  init(_ configuration: EtcdConfiguration, eventLoop: any EventLoop, logger: Logger) {
    self.configuration = configuration
    self.eventLoop = eventLoop
    self.logger = logger
    seen = Mutex(configuration.known)
    backOff = ReconnectBackOff(seed: configuration.jitterSeed)
    endpointIndex = Int(configuration.jitterSeed % UInt64(configuration.endpoints.count))
  }

  /// **Isolation**: any thread.
  var position: CoordinationPosition? { seen.withLock { $0 } }

  var isShutDown: Bool { if case .shutDown = phase { true } else { false } }

  /// The connection, when it is proven and takes calls.
  var connection: GRPCClientConnection? {
    if case .ready(let connection, _) = phase, connection.isUsable { connection } else { nil }
  }

  // MARK: Position

  /// Compares an answer with what was seen before its request was sent. Answers of concurrent
  /// requests overtake each other, so what was seen since does not count.
  func check(_ header: EtcdHeader, since floor: CoordinationPosition?) throws(CoordinationError) {
    if let floor, header.clusterID != floor.serviceID || header.revision < floor.revision {
      throw .wentBackInTime(known: floor, found: header.position)
    }
    saw(header.position)
  }

  /// For what no linearizable read has answered: only the identity must be right.
  func checkIdentity(_ header: EtcdHeader) throws(CoordinationError) {
    guard let known = position, header.clusterID == known.serviceID else {
      throw .wentBackInTime(known: position ?? header.position, found: header.position)
    }
  }

  func saw(_ found: CoordinationPosition) {
    seen.withLock { known in
      if let before = known, before.revision >= found.revision { return }
      known = found
    }
  }

  // MARK: Life

  func start() {
    eventLoop.preconditionInEventLoop()
    let interval = TimeAmount(configuration.livenessInterval)
    liveness = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
      self.lookAlive()
    }
    connect()
  }

  /// **Returns**: fulfilled when nothing uses the event loop any more. An attempt to connect cannot
  /// be broken off: it is waited for, `connectTimeout` at most.
  func shutDown() -> EventLoopFuture<Void> {
    eventLoop.preconditionInEventLoop()
    let before = phase
    phase = .shutDown
    liveness?.cancel()
    failWaiting(.shutDown)
    endWatches(.success(()))
    endLeases()
    switch before {
    case .waiting(let timer): timer.cancel()
    case .probing(let connection), .ready(let connection, _): connection.close()
    case .connecting(let attempt): return attempt
    case .idle, .shutDown: break
    }
    return eventLoop.makeSucceededVoidFuture()
  }

  private func connect() {
    guard !isShutDown else { return }
    let endpoint = configuration.endpoints[endpointIndex % configuration.endpoints.count]
    let target = GRPCClientTarget(
      address: endpoint.address, tls: endpoint.usesTLS ? configuration.tls : nil)
    let settings = GRPCClientConfiguration(
      connectTimeout: configuration.connectTimeout, messageBytesMax: EtcdLimits.messageBytesMax,
      callsMax: EtcdLimits.callsInFlightMax)
    let attempt = GRPCClientConnection.connect(
      to: target, configuration: settings, on: eventLoop)
    let end = eventLoop.makePromise(of: Void.self)
    phase = .connecting(end.futureResult)
    attempt.whenComplete { result in
      defer { end.succeed() }
      switch result {
      case .success(let connection): self.connected(connection, endpoint)
      case .failure(let error):
        guard !self.isShutDown else { return }
        self.retry(.unavailable("\(endpoint): \(Self.text(error))"))
      }
    }
  }

  private static func text(_ error: any Error) -> String {
    (error as? GRPCCallFailure).map { "\($0.status)" } ?? "\(error)"
  }

  private func connected(_ connection: GRPCClientConnection, _ endpoint: EtcdEndpoint) {
    guard !isShutDown else { return connection.close() }
    phase = .probing(connection)
    connection.onClose = { status in self.closed(connection, "\(endpoint): \(status)") }
    connection.onDraining = { self.draining(connection, endpoint) }
    probe(connection) {
      guard case .probing(let current) = self.phase, current === connection else { return }
      self.becomeReady(connection, endpoint)
    }
  }

  /// A linearizable read: shows that the member has a leader and how far the service is.
  private func probe(_ connection: GRPCClientConnection, _ onSuccess: @escaping () -> Void) {
    let floor = position
    let request = EtcdRequest.range(key: [0x6d], limit: 1)
    connection.call(EtcdMethod.range, request, timeout: configuration.probeTimeout) { result in
      do throws(CoordinationError) {
        try self.check(Self.header(result, isRepeatable: true), since: floor)
      } catch {
        return self.drop(connection, error)
      }
      onSuccess()
    }
  }

  private static func header(
    _ result: Result<[UInt8], GRPCCallFailure>, isRepeatable: Bool
  ) throws(CoordinationError) -> EtcdHeader {
    switch result {
    case .success(let bytes):
      do throws(ProtobufError) { return try EtcdHeader(ofResponse: bytes) } catch {
        throw EtcdFailure.unreadable(error, isRepeatable: isRepeatable)
      }
    case .failure(let failure):
      throw EtcdFailure.error(failure, isRepeatable: isRepeatable)
    }
  }

  private func becomeReady(_ connection: GRPCClientConnection, _ endpoint: EtcdEndpoint) {
    phase = .ready(connection, since: eventLoop.instant)
    wentBackCount = 0
    logger.info(
      "etcd connected",
      metadata: ["endpoint": "\(endpoint)", "revision": "\(position?.revision ?? .zero)"])
    outage = nil
    openWatchStream(connection)
    openLeaseStream(connection)
    let calls = waiting.sorted { $0.key < $1.key }.map(\.value)
    waiting = [:]
    for waitingCall in calls {
      waitingCall.timer.cancel()
      perform(waitingCall.call)
    }
  }

  private func lookAlive() {
    guard let connection,
      !(eventLoop.instant.milliseconds(since: connection.lastReceived)
        < configuration.livenessInterval)
    else { return }
    probe(connection) {}
  }

  // MARK: Losing a connection

  /// Gives up a connection that was found to be of no use.
  func drop(_ connection: GRPCClientConnection, _ reason: CoordinationError) {
    eventLoop.preconditionInEventLoop()
    guard isCurrent(connection) else { return }
    leave(reason)
    connection.abandon("\(reason)")
  }

  private func closed(_ connection: GRPCClientConnection, _ reason: String) {
    guard isCurrent(connection) else { return }
    leave(.unavailable(reason))
  }

  private func draining(_ connection: GRPCClientConnection, _ endpoint: EtcdEndpoint) {
    guard isCurrent(connection) else { return }
    leave(.unavailable("\(endpoint) takes no more calls"))
    connection.closeWhenIdle()
  }

  private func isCurrent(_ connection: GRPCClientConnection) -> Bool {
    switch phase {
    case .probing(let current), .ready(let current, _): current === connection
    case .idle, .waiting, .connecting, .shutDown: false
    }
  }

  private func leave(_ reason: CoordinationError) {
    if case .ready(_, let since) = phase,
      !(eventLoop.instant.milliseconds(since: since) < EtcdLimits.goodConnectionMilliseconds)
    {
      backOff.reset()
    }
    loseWatchStream()
    loseLeaseStream()
    retry(reason)
  }

  private func retry(_ reason: CoordinationError) {
    lastFailure = reason
    endpointIndex += 1
    if case .wentBackInTime = reason {
      wentBackCount += 1
      logger.error("etcd went back in time", metadata: ["reason": "\(reason)"])
    } else {
      wentBackCount = 0
      tellOutage(reason)
    }
    if wentBackCount >= configuration.endpoints.count {
      failWaiting(reason)
      endWatches(.failure(reason))
    }
    let timer = eventLoop.scheduleTask(in: TimeAmount(backOff.next())) { self.connect() }
    phase = .waiting(timer)
  }

  /// The first failure of an outage is told, and then one in each interval.
  private func tellOutage(_ reason: CoordinationError) {
    let now = eventLoop.instant
    guard var outage else {
      self.outage = Outage(began: now, told: now)
      return logger.notice("etcd not connected", metadata: ["reason": "\(reason)"])
    }
    outage.attempts += 1
    if !(now.milliseconds(since: outage.told) < EtcdLimits.outageTellingMilliseconds) {
      outage.told = now
      logger.notice(
        "etcd still not connected",
        metadata: [
          "reason": "\(reason)", "attempts": "\(outage.attempts)",
          "milliseconds": "\(now.milliseconds(since: outage.began).rawValue)",
        ])
    }
    self.outage = outage
  }

  // MARK: Calls

  /// Sends a call, now or when there is a connection.
  func perform(_ call: EtcdCall) {
    eventLoop.preconditionInEventLoop()
    if isShutDown { return call.completion(.failure(.shutDown)) }
    guard eventLoop.instant < call.deadline else { return call.completion(.failure(lastFailure)) }
    if let connection { send(call, connection) } else { wait(call) }
  }

  private func wait(_ call: EtcdCall) {
    guard waiting.count < EtcdLimits.callsWaitingMax else {
      return call.completion(.failure(.unavailable("too many calls wait for etcd")))
    }
    waitingNumber += 1
    let number = waitingNumber
    let timer = eventLoop.scheduleTask(
      deadline: .uptimeNanoseconds(call.deadline.nanoseconds)
    ) {
      guard let overdue = self.waiting.removeValue(forKey: number) else { return }
      overdue.call.completion(.failure(self.lastFailure))
    }
    waiting[number] = WaitingCall(call: call, timer: timer)
  }

  private func failWaiting(_ error: CoordinationError) {
    let calls = waiting.sorted { $0.key < $1.key }.map(\.value)
    waiting = [:]
    for waitingCall in calls {
      waitingCall.timer.cancel()
      waitingCall.call.completion(.failure(error))
    }
  }

  private func send(_ call: EtcdCall, _ connection: GRPCClientConnection) {
    let sentAt = eventLoop.instant
    let floor = position
    let timeout = max(1, call.deadline.milliseconds(since: sentAt))
    connection.call(call.path, call.message, timeout: timeout) { result in
      switch result {
      case .success(let bytes):
        self.answered(call, bytes, floor, connection)
      case .failure(let failure):
        if failure.status.code == .deadlineExceeded, !(sentAt < connection.lastReceived) {
          self.drop(connection, .unavailable("silent"))
        }
        self.failed(call, EtcdFailure.error(failure, isRepeatable: call.isRepeatable))
      }
    }
  }

  private func answered(
    _ call: EtcdCall, _ bytes: [UInt8], _ floor: CoordinationPosition?,
    _ connection: GRPCClientConnection
  ) {
    do throws(CoordinationError) {
      try check(try Self.header(.success(bytes), isRepeatable: call.isRepeatable), since: floor)
    } catch {
      drop(connection, error)
      return call.completion(.failure(error))
    }
    call.completion(.success(bytes))
  }

  private func failed(_ call: EtcdCall, _ error: CoordinationError) {
    let again = eventLoop.instant + EtcdLimits.retryMilliseconds
    guard case .unavailable = error, again < call.deadline, !isShutDown else {
      return call.completion(.failure(error))
    }
    lastFailure = error
    eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(EtcdLimits.retryMilliseconds)) {
      self.perform(call)
    }
  }
}

extension TimeAmount {
  init(_ time: Milliseconds) { self = .milliseconds(Int64(clamping: time.rawValue)) }
}

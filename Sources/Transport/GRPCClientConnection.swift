package import ClusterModel
package import HTTP2Engine
package import NIOCore
import NIOPosix
package import Primitives
import SocketErrors
package import TLSEngine

/// How a call failed.
package struct GRPCCallFailure: Error, Hashable, Sendable {
  package let status: GRPCStatus
  /// False when the server certainly has not begun to work on it, so that anything may be repeated.
  package let mayHaveRun: Bool

  package init(_ status: GRPCStatus, mayHaveRun: Bool) {
    self.status = status
    self.mayHaveRun = mayHaveRun
  }
}

/// Where a client connects to, and how.
package struct GRPCClientTarget: Sendable {
  package let address: NodeAddress
  /// `nil`: HTTP/2 with prior knowledge, without TLS. Otherwise a client's context with ALPN `h2`.
  package let tls: TLSContext?
  /// Whom the certificate must name; `nil` means the host of the address.
  package let peerName: TLSPeerName?

  package init(address: NodeAddress, tls: TLSContext? = nil, peerName: TLSPeerName? = nil) {
    self.address = address
    self.tls = tls
    self.peerName = peerName
  }
}

/// Bounds and times of one connection.
package struct GRPCClientConfiguration: Sendable {
  package var http2: HTTP2Configuration
  /// From the first packet to the server's SETTINGS, name resolution and TLS included.
  package var connectTimeout: Milliseconds
  /// The largest message to accept. **Units**: bytes.
  package var messageBytesMax: Int
  /// Calls and streams open at the same time; more are refused.
  package var callsMax: Int

  package init(
    http2: HTTP2Configuration = .etcdClient, connectTimeout: Milliseconds = 1_000,
    messageBytesMax: Int = 4 << 20, callsMax: Int = 4_096
  ) {
    self.http2 = http2
    self.connectTimeout = connectTimeout
    self.messageBytesMax = messageBytesMax
    self.callsMax = callsMax
  }
}

/// One HTTP/2 connection to a gRPC server: unary calls and bidirectional streams. It never
/// reconnects; whoever owns it decides when and to whom. It sends no PINGs.
///
/// ```
/// connecting ── SETTINGS ──► open ── GOAWAY ──► draining ── last call done ──► closed
///      └─────────────────────┴── lost, close() ────┴──────────────────────────►
/// ```
/// A turn of the loop that makes many calls writes them with one flush.
///
/// **Isolation**: its event loop, callbacks included; `unary` may be called from any task.
///
/// **Source**: "gRPC over HTTP2".
package final class GRPCClientConnection: @unchecked Sendable {
  // Safety: everything mutable is touched on `eventLoop` only, which every method checks.

  package let eventLoop: any EventLoop
  package let target: GRPCClientTarget
  let configuration: GRPCClientConfiguration

  /// Called once, when the connection is over. Every call has been answered before.
  package var onClose: ((GRPCStatus) -> Void)?
  /// Called once, when the server takes no more calls; those in flight go on.
  package var onDraining: (() -> Void)?

  let http2: HTTP2Connection
  var calls: [StreamID: GRPCClientCall] = [:]
  private var handler: HTTP2Handler?
  private var ready: EventLoopPromise<GRPCClientConnection>?
  private var isEnding = false
  private var isClosed = false
  private let startedAt: Instant
  /// What ended the connection, as far as it is known before the channel closes.
  private var reason: GRPCStatus?

  private init(
    _ target: GRPCClientTarget, _ configuration: GRPCClientConfiguration,
    ready: EventLoopPromise<GRPCClientConnection>
  ) {
    eventLoop = ready.futureResult.eventLoop
    self.target = target
    self.configuration = configuration
    self.ready = ready
    startedAt = .now(of: eventLoop)
    http2 = HTTP2Connection(role: .client, configuration: configuration.http2, now: startedAt)
  }

  // MARK: Connecting

  /// **Returns**: the connection when the server's SETTINGS have come.
  ///
  /// **Throws** (the future): `GRPCCallFailure` with `mayHaveRun` false.
  package static func connect(
    to target: GRPCClientTarget, configuration: GRPCClientConfiguration = .init(),
    on eventLoop: any EventLoop
  ) -> EventLoopFuture<GRPCClientConnection> {
    let promise = eventLoop.makePromise(of: GRPCClientConnection.self)
    eventLoop.execute {
      GRPCClientConnection(target, configuration, ready: promise).connect()
    }
    return promise.futureResult
  }

  private func connect() {
    let timeout = TimeAmount(configuration.connectTimeout)
    let timer = eventLoop.scheduleTask(in: timeout) { self.fail(.unavailable, "connect timed out") }
    ready?.futureResult.whenComplete { _ in timer.cancel() }
    ClientBootstrap(group: eventLoop)
      .connectTimeout(timeout)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try self.setUp(channel) }
      }
      .connect(host: target.address.host, port: Int(target.address.port))
      .whenFailure { self.fail(.unavailable, "connect: \(SocketErrors.text(of: $0))") }
  }

  private func setUp(_ channel: any Channel) throws {
    guard !isClosed else { throw ChannelError.ioOnClosedChannel }
    let pipeline = channel.pipeline.syncOperations
    if let context = target.tls {
      let tls = try TLSConnection(client: context, expecting: expectedPeer)
      try pipeline.addHandler(TLSHandler(tls, handshakeTimeout: nil))
    }
    let handler = HTTP2Handler(http2, now: startedAt, delegate: self)
    try pipeline.addHandler(handler)
    self.handler = handler
  }

  private var expectedPeer: TLSPeerName {
    if let name = target.peerName { return name }
    let host = target.address.host
    let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
    return isAddress ? .address(host) : .name(host)
  }

  // MARK: State

  /// Whether a call would be sent.
  package var isUsable: Bool { !isEnding && !isClosed && http2.acceptsRequests }

  /// Calls that have not ended.
  package var openCallCount: Int { calls.count }

  /// When bytes last came from the server.
  package var lastReceived: Instant { handler?.lastReceived ?? startedAt }

  var authority: String { target.address.description }

  func scheduleFlush() { handler?.scheduleFlush() }

  // MARK: Ending

  /// Ends every call with `cancelled` and closes.
  package func close() {
    eventLoop.preconditionInEventLoop()
    fail(.cancelled, "connection closed by this side")
  }

  /// Ends every call with `unavailable`: something above found the connection to be of no use.
  package func abandon(_ reason: String) {
    eventLoop.preconditionInEventLoop()
    fail(.unavailable, reason)
  }

  /// Closes when the last unary call is answered; streams are cancelled now.
  package func closeWhenIdle() {
    eventLoop.preconditionInEventLoop()
    for call in calls.values.filter(\.isStream) { cancel(call.id) }
    http2.shutdown()
    scheduleFlush()
  }

  private func fail(_ code: GRPCCode, _ message: String) {
    guard !isClosed, !isEnding else { return }
    isEnding = true
    reason = reason ?? GRPCStatus(code, message)
    guard let handler else { return http2Closed(nil) }
    http2.terminate(.none)
    handler.close()
  }
}

// MARK: - From the connection

extension GRPCClientConnection: HTTP2HandlerDelegate {
  func http2Opened(_ handler: HTTP2Handler) {
    guard target.tls == nil || handler.tlsPeer?.alpn == HTTP2Library.applicationProtocol else {
      return fail(.unavailable, "the server did not agree on h2")
    }
  }

  func http2Received(_ events: [HTTP2Event]) {
    for event in events {
      switch event {
      case .peerSettings:
        ready?.succeed(self)
        ready = nil
      case .goAway(_, let code, let debug):
        let text = String(decoding: debug, as: UTF8.self)
        reason = reason ?? GRPCStatus(.unavailable, "server sent GOAWAY \(code) \(text)")
        onDraining?()
        onDraining = nil
      default:
        handleCallEvent(event)
      }
    }
  }

  func http2WillWrite() {}

  func http2Closed(_ error: (any Error)?) {
    guard !isClosed else { return }
    isClosed = true
    let status = endStatus(error)
    // What was not even sent, or what the engine had forgotten to report: nothing is left open.
    for call in calls.values.sorted(by: { $0.id < $1.id }) {
      forget(call.id)
      call.end(.failure(GRPCCallFailure(status, mayHaveRun: true)))
    }
    ready?.fail(GRPCCallFailure(status, mayHaveRun: false))
    ready = nil
    onClose?(status)
    onClose = nil
    onDraining = nil
    handler = nil
  }

  /// Why calls end that the server did not end.
  func endStatus(_ error: (any Error)? = nil) -> GRPCStatus {
    if let reason { return reason }
    guard let error = error ?? http2.failure else {
      return GRPCStatus(.unavailable, "connection lost")
    }
    return GRPCStatus(.unavailable, "connection lost: \(error)")
  }
}

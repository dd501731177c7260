package import NIOCore
import Primitives
package import WebSocketEngine

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What the public port does with what comes. Called on the connection's event loop.
package struct PublicHandlers: Sendable {
  package var onRequest: @Sendable (HTTPRequest, HTTPResponder) -> Void
  /// A request for the WebSocket's path that passed the policy; it is to be accepted or refused.
  package var onWebSocket: @Sendable (HTTPRequest, WebSocketUpgrader) -> Void
  /// What goes with an error status of the connection's own: a short body and its fields.
  package var refusal: @Sendable (Int) -> (headers: HTTPFields.List, body: ByteBuffer)

  package init(
    onRequest: @escaping @Sendable (HTTPRequest, HTTPResponder) -> Void,
    onWebSocket: @escaping @Sendable (HTTPRequest, WebSocketUpgrader) -> Void,
    refusal: @escaping @Sendable (Int) -> (headers: HTTPFields.List, body: ByteBuffer) = { _ in
      ([], ByteBuffer())
    }
  ) {
    self.onRequest = onRequest
    self.onWebSocket = onWebSocket
    self.refusal = refusal
  }

  /// Answers a handshake that broke the protocol or the policy.
  func refuse(_ error: WebSocketUpgradeError, _ responder: HTTPResponder) {
    let refusal = refusal(error.httpStatus)
    responder.respond(
      error.httpStatus, headers: error.responseHeaders + refusal.headers, body: refusal.body)
  }
}

/// Where WebSockets are and who may open one.
package struct WebSocketEndpoint: Sendable {
  package var path: String
  package var policy: WebSocketUpgradePolicy

  package init(path: String = "/v1/ws", policy: WebSocketUpgradePolicy) {
    self.path = path
    self.policy = policy
  }
}

/// One connection of the public port, in whatever phase: unknown, HTTP/1.1, HTTP/2 or WebSocket.
protocol PublicPeer: AnyObject {
  /// Its place in `PublicLoop.peers`; only the loop writes it.
  var slot: Int { get set }
  /// Looks whether a time is over.
  func check(now: Instant)
  /// Takes no more requests and ends when those that run are answered.
  func drain()
  func abort()
  func forEachSession(_ body: (WebSocketSession) -> Void)
}

/// What the public connections of one event loop share: one timer for all of their deadlines, one
/// task for all that is to be flushed in a turn.
///
/// **Isolation**: its event loop.
final class PublicLoop: @unchecked Sendable {
  // Safety: everything mutable is touched on `eventLoop` only.

  let eventLoop: any EventLoop
  let limits: PublicLimits
  let handlers: PublicHandlers
  let endpoint: WebSocketEndpoint
  private(set) var isDraining = false
  var counters = PublicCounters()

  private var peers: [any PublicPeer] = []
  private var unflushed: [WebSocketSession] = []
  private var sweeper: RepeatedTask?
  private var date: (second: Int, text: String) = (-1, "")
  private var whenEmpty: EventLoopPromise<Void>?
  private var abortAt = Instant.distantFuture

  init(
    _ eventLoop: any EventLoop, limits: PublicLimits, handlers: PublicHandlers,
    endpoint: WebSocketEndpoint
  ) {
    self.eventLoop = eventLoop
    self.limits = limits
    self.handlers = handlers
    self.endpoint = endpoint
  }

  func start() {
    let interval = TimeAmount(limits.sweepInterval)
    sweeper = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
      self.sweep()
    }
  }

  func stop() {
    sweeper?.cancel()
    sweeper = nil
  }

  var now: Instant { .now(of: eventLoop) }

  func count(_ limit: PublicLimit) { counters.limits[limit, default: 0] += 1 }

  // MARK: Connections

  func add(_ peer: any PublicPeer) {
    peer.slot = peers.count
    peers.append(peer)
    counters.connectionsOpen += 1
    if isDraining { peer.drain() }
  }

  /// The same connection in its next phase.
  func replace(_ peer: any PublicPeer, by next: any PublicPeer) {
    precondition(peers[peer.slot] === peer, "a connection that is not of this loop")
    next.slot = peer.slot
    peers[peer.slot] = next
  }

  func remove(_ peer: any PublicPeer) {
    precondition(peers[peer.slot] === peer, "a connection that is not of this loop")
    let last = peers.removeLast()
    if last !== peer {
      last.slot = peer.slot
      peers[last.slot] = last
    }
    counters.connectionsOpen -= 1
    if isDraining, peers.isEmpty { whenEmpty?.succeed() }
  }

  private func sweep() {
    let now = now
    // Backwards, since a connection that ends is replaced by the last one.
    for index in peers.indices.reversed() where index < peers.count {
      peers[index].check(now: now)
    }
    guard now >= abortAt else { return }
    for index in peers.indices.reversed() where index < peers.count { peers[index].abort() }
  }

  /// Requests that run are answered, WebSockets closed one after the other during `grace`, and what
  /// is left after that and the time for closing handshakes is cut off.
  func drain(grace: Milliseconds, code: WebSocketCloseCode) -> EventLoopFuture<Void> {
    if let whenEmpty { return whenEmpty.futureResult }
    let promise = eventLoop.makePromise(of: Void.self)
    whenEmpty = promise
    isDraining = true
    let now = now
    abortAt = now + grace + limits.webSocket.closeTimeout
    var sessions: [WebSocketSession] = []
    for peer in peers { peer.forEachSession { sessions.append($0) } }
    for (index, session) in sessions.enumerated() {
      let delay = Milliseconds(grace.rawValue * UInt64(index) / UInt64(sessions.count))
      session.close(at: now + delay, code)
    }
    for index in peers.indices.reversed() where index < peers.count { peers[index].drain() }
    if peers.isEmpty { promise.succeed() }
    return promise.futureResult
  }

  /// Cuts everything off.
  func abortAll() {
    for index in peers.indices.reversed() where index < peers.count { peers[index].abort() }
    stop()
  }

  // MARK: Flushing

  /// Flushes a session at the end of this turn of the loop.
  func flushLater(_ session: WebSocketSession) {
    if unflushed.isEmpty {
      eventLoop.execute {
        var sessions: [WebSocketSession] = []
        swap(&sessions, &self.unflushed)
        for session in sessions { session.flush() }
        sessions.removeAll(keepingCapacity: true)
        if self.unflushed.isEmpty { swap(&sessions, &self.unflushed) }
      }
    }
    unflushed.append(session)
  }

  // MARK: Date

  /// The value of the `Date` field. **Source**: RFC 9110, section 5.6.7.
  var dateText: String {
    var seconds = time(nil)
    if seconds != date.second {
      var parts = tm()
      gmtime_r(&seconds, &parts)
      let day = Self.days[Int(parts.tm_wday)]
      let month = Self.months[Int(parts.tm_mon)]
      func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
      date = (
        seconds,
        "\(day), \(two(parts.tm_mday)) \(month) \(parts.tm_year + 1900) "
          + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
      )
    }
    return date.text
  }

  private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  private static let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]
}

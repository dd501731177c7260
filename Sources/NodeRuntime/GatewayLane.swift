import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import Logging
import NIOCore
import NodeProtocol
import Primitives
import TLSEngine
import Transport
import Wire

/// Somebody who gets a session's answers and events: a WebSocket or a stream of server-sent events.
protocol SessionOutput: AnyObject {
  func answer(_ frame: ServerFrame)
  /// `frames` encodes the body once per encoding, for all sessions that get it.
  ///
  /// **Returns**: whether it wants to be told of the turn's end.
  func push(_ body: ServerBody, _ frames: EncodedPush) -> Bool
  /// What was answered in this turn may go out.
  func turnEnded()
  func end(_ error: ServiceError)
}

/// One event of a turn, framed at most once per encoding and shared by all sessions.
final class EncodedPush {
  private let frame: ServerFrame
  private var encoded: [ClientEncoding: ByteBuffer] = [:]

  init(_ body: ServerBody) { frame = ServerFrame(ref: "", body: body) }

  func webSocketFrame(as encoding: ClientEncoding) -> ByteBuffer {
    if let found = encoded[encoding] { return found }
    let bytes = ClientCodec.encode(frame, as: encoding)
    let framed =
      encoding == .json
      ? WebSocketSession.frame(text: bytes) : WebSocketSession.frame(binary: bytes)
    encoded[encoding] = framed
    return framed
  }
}

/// One event loop of a gateway: feeds its core with client operations, frames of shards, records
/// and time, and carries its actions out.
///
/// **Isolation**: `eventLoop`; `deliver` hops there.
final class GatewayLane: @unchecked Sendable {
  // Safety: all state is touched on `eventLoop` only.
  private static let tickInterval: Milliseconds = 10
  /// A link that says nothing for this long is closed and opened anew.
  private static let linkSilenceMax: Milliseconds = 2_000

  let eventLoop: any EventLoop
  private var core: GatewayCore
  private let dialer: ShardDialer
  private let logger: Logger
  private var links: [StoreID: LinkConnection] = [:]
  private var outputs: [SessionID: any SessionOutput] = [:]
  private var calls: [CallID: (CallResult) -> Void] = [:]
  private var touched: [any SessionOutput] = []
  private var lastNumber: UInt64 = 0
  private var actions: [GatewayAction] = []
  private var isPerforming = false
  private var isTurnScheduled = false
  private var ticking: RepeatedTask?

  init(core: GatewayCore, dialer: ShardDialer, on eventLoop: any EventLoop, logger: Logger) {
    self.core = core
    self.dialer = dialer
    self.eventLoop = eventLoop
    self.logger = logger
  }

  func start() {
    eventLoop.preconditionInEventLoop()
    dialer.onLink = { [weak self] store, link in self?.opened(store, link) }
    ticking = eventLoop.scheduleRepeatedTask(
      initialDelay: Self.tickInterval.timeAmount, delay: Self.tickInterval.timeAmount
    ) { [weak self] _ in
      guard let self else { return }
      turn { $0.tick(now: $1, into: &$2) }
      for store in core.silentLinks(longerThan: Self.linkSilenceMax, now: Clock.now()) {
        links[store]?.close()
      }
    }
  }

  /// What the coordinator says. Callable from anywhere.
  func deliver(_ changes: [ClusterChange]) {
    eventLoop.execute { [self] in
      for change in changes {
        switch change {
        case .record(let partition, let record):
          turn { $0.recordObserved(partition, record, now: $1, into: &$2) }
        case .node(let node):
          guard node.role == .shard, let store = node.store,
            let address = node.laneAddresses.first
          else { continue }
          dialer.connect(to: store, node: node.name, at: address, after: 0)
        case .nodeGone, .ring, .backup: break
        }
      }
    }
  }

  func drain() { turn { core, _, actions in core.drain(into: &actions) } }

  func stop() {
    ticking?.cancel()
    dialer.stop()
    for link in links.values { link.close() }
  }

  var isReady: Bool { core.isReady }
  var sessionCount: Int { core.sessionCount }
  var pendingRequestCount: Int { core.pendingRequestCount }
  var subscriptionCount: Int { core.subscriptionCount }
  var linkCount: Int { links.count }
  var sends: DurationHistogram { core.sends }

  // MARK: Clients

  /// An authenticated client connection begins.
  func open(
    _ output: any SessionOutput, identity: Identity, hello: Hello, ref: String
  ) -> SessionID {
    lastNumber += 1
    let id = SessionID(lastNumber)
    outputs[id] = output
    turn {
      $0.sessionOpened(
        id, user: identity.user, device: identity.device, hello: hello, ref: ref, now: $1,
        into: &$2)
    }
    return id
  }

  func close(_ id: SessionID) {
    outputs[id] = nil
    turn { core, _, actions in core.sessionClosed(id, into: &actions) }
  }

  func receive(_ frames: [ClientFrame], from id: SessionID) {
    turn { core, now, actions in
      for frame in frames { core.frameReceived(frame, from: id, now: now, into: &actions) }
    }
  }

  func congestionChanged(_ id: SessionID, isCongested: Bool) {
    turn { $0.congestionChanged(id, isCongested: isCongested, now: $1, into: &$2) }
  }

  func cursor(of id: SessionID) -> Cursor? { core.cursor(of: id) }

  /// A call for HTTP; `completion` runs once, on this loop.
  func call(_ call: GatewayCall, _ completion: @escaping (CallResult) -> Void) {
    lastNumber += 1
    let id = CallID(lastNumber)
    calls[id] = completion
    turn { $0.call(id, call, now: $1, into: &$2) }
  }

  // MARK: Links

  private func opened(_ store: StoreID, _ link: LinkConnection) {
    guard let hello = link.peer else { return link.close() }
    links[store] = link
    link.onFrames = { [weak self] frames in
      self?.turn { core, now, actions in
        for frame in frames {
          core.frameReceived(frame, from: store, now: now, into: &actions)
        }
      }
    }
    link.onClose = { [weak self] reason in
      guard let self, links[store] === link else { return }
      links[store] = nil
      logger.info("link closed", metadata: ["node": .string(hello.node), "why": "\(reason)"])
      turn { $0.linkClosed(store, now: $1, into: &$2) }
      dialer.unlinked(store, after: 0)
    }
    logger.info("link open", metadata: ["node": .string(hello.node), "boot": "\(hello.boot)"])
    turn { $0.linkOpened(store, peer: hello, now: $1, into: &$2) }
  }

  // MARK: Turns

  private func turn(_ input: (inout GatewayCore, Instant, inout [GatewayAction]) -> Void) {
    eventLoop.preconditionInEventLoop()
    input(&core, Clock.now(), &actions)
    perform()
    guard !isTurnScheduled, !touched.isEmpty else { return }
    isTurnScheduled = true
    eventLoop.execute { [self] in
      isTurnScheduled = false
      let ended = touched
      touched.removeAll(keepingCapacity: true)
      for output in ended { output.turnEnded() }
    }
  }

  /// An action may end in another input, whose actions then follow the present ones.
  private func perform() {
    guard !isPerforming else { return }
    isPerforming = true
    defer { isPerforming = false }
    var next = 0
    while next < actions.count {
      let action = actions[next]
      next += 1
      perform(action)
    }
    actions.removeAll(keepingCapacity: true)
  }

  private func perform(_ action: GatewayAction) {
    switch action {
    case .send(let store, let frame):
      links[store]?.send(frame)
    case .answer(let id, let frame):
      guard let output = outputs[id] else { return }
      output.answer(frame)
      touched.append(output)
    case .push(let body, let ids):
      let push = EncodedPush(body)
      for id in ids {
        guard let output = outputs[id] else { continue }
        if output.push(body, push) { touched.append(output) }
      }
    case .finish(let id, let result):
      calls.removeValue(forKey: id)?(result)
    case .endSession(let id, let error):
      outputs[id]?.end(error)
    }
  }
}

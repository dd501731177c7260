import ChatModel
import ClientProtocol
import DequeModule
import Primitives

typealias WireConversation = ChatModel.ConversationID

/// What a client's shell is to do, in this order.
enum ClientAction: Equatable, Sendable {
  /// Open a WebSocket to this gateway of the list and name it `attempt`.
  case dial(gateway: Int, attempt: UInt64)
  /// Close that WebSocket, or stop opening it; nothing more is wanted of it.
  case hangUp(attempt: UInt64)
  case write([ClientFrame])
  case ping
  /// Exchange the refresh token at this gateway.
  case refreshToken(gateway: Int)
  /// Stop or go on reading from the socket.
  case setReading(Bool)
  case deliver([Delivery])
  case complete(UInt64, Result<ServerBody, MartletError>)
  case stateChanged(MachineState)
  /// Every event from here on will be delivered: what `connect` waits for.
  case ready
  /// Nothing follows.
  case ended(MartletError)
}

/// `ConnectionState` with the gateway's place in the list.
enum MachineState: Hashable, Sendable {
  case connecting(gateway: Int)
  case connected(gateway: Int)
  case waiting(Milliseconds, why: String)
  case closed
}

/// What goes to the consumer, in the order in which it is to be seen.
enum Delivery: Equatable, Sendable {
  case event(ChatModel.Event)
  /// What followed this number was erased, or what was seen may not have happened.
  case cut(WireConversation, after: Sequence)
  /// Everything before this was delivered.
  case cursor(Cursor)
}

/// Why a WebSocket is gone.
enum SocketLoss: Equatable, Sendable {
  case lost(String)
  /// The gateway refused the access token in the handshake.
  case unauthenticated
}

/// A client's side of its session, across connections, as a value: without sockets, clock or
/// randomness of its own.
///
/// ```
///          connect                 time                opened               welcome
///   idle ──────────▶ waiting ─────────────▶ dialing ───────────▶ greeting ──────────▶ open
///                      ▲ ▲  token is good      │ failed,            │ refused           │ draining
///                      │ └─────────────────────┘ too late           │                   ▼
///                      ├────────────────────────────────────────────┴──── lost ──── leaving
///                      └───────────────── answered, too late ──── emptying ◀──────────┘ time
///   any ── close, signed out ──▶ closed
/// ```
///
/// **Invariant**: of the events that one consumer sees, the sequence numbers of a conversation are
/// dense, unless a `cut` is between them. Unacknowledged sends of a conversation are sent in the
/// order of their submission, with the same ids, before newer ones.
///
/// **Source**: DESIGN promises P2 and P3; martlet/v1/client.proto.
struct ClientSessionMachine {
  struct Configuration: Hashable, Sendable {
    /// At least 1.
    var gatewayCount: Int
    var wantsEvents = true
    var connectTimeout: Milliseconds = 5_000
    /// What was never written fails when there was no connection for so long.
    var unreachableTimeout: Milliseconds = 30_000
    var backoffBase: Milliseconds = 100
    var backoffMax: Milliseconds = 10_000
    /// A connection that lasted so long forgets earlier failures.
    var stableAfter: Milliseconds = 10_000
    var pingInterval: Milliseconds = 10_000
    var silenceMax: Milliseconds = 20_000
    /// Clients of a gateway that stops leave it at a random time within this.
    var drainSpread: Milliseconds = 1_000
    /// How long answers are awaited, after that, before leaving.
    var drainTimeout: Milliseconds = 2_000
    /// Sends of one conversation under way.
    var sendsInFlightMax = ChatLimits.unacknowledgedSendsMax
    /// Operations under way on one connection; a gateway's bound is 1,024.
    var inFlightMax = 1_000
    /// Sends of one conversation that follow each other before another one has its turn.
    var sendBurstMax = 32
    /// Operations that wait or are under way.
    var operationsMax = 65_536
    /// Deliveries that wait for the consumer before reading stops.
    var bufferedEventsMax = 1_024
    /// Deliveries that may wait while an answer is awaited; beyond, events are given up and pulled
    /// again later.
    var shedEventsMax: Int { bufferedEventsMax * 8 }
    /// Deliveries held back while a gap is filled.
    var heldMax = 8_192
    /// Events of one page while a gap is filled.
    var fillPageMax = ChatLimits.historyPageMax
    /// Before a refused operation is tried again; doubled with every refusal.
    var retryBase: Milliseconds = 50
    var retryMax: Milliseconds = 5_000
    /// How exactly deadlines of operations are kept.
    var expiryInterval: Milliseconds = 100
    /// Tokens in a row that gateways may refuse although they are fresh.
    var rejectionsMax = 3

    init(gatewayCount: Int) {
      precondition(gatewayCount > 0, "a client without gateways")
      self.gatewayCount = gatewayCount
    }
  }

  enum Phase: Equatable {
    case idle
    /// `distantFuture`: until there is a good token.
    case waiting(until: Instant)
    case dialing(deadline: Instant)
    case greeting(deadline: Instant)
    case open
    /// The gateway stops; goes on until then.
    case leaving(at: Instant)
    /// Awaits answers and sends nothing more.
    case emptying(deadline: Instant)
    case closed
  }

  struct Token: Equatable {
    var text: String
    var expires: Instant
    /// From when a new one is asked for.
    var refreshAt: Instant
    var isRefreshing = false
    var isRejected = false
    var refreshFailures = 0
    /// Fresh tokens that were refused in a row.
    var rejections = 0

    func isUsable(_ now: Instant) -> Bool { !isRejected && now < expires }
  }

  let configuration: Configuration
  var random: SeededRandom

  // Connection
  var phase = Phase.idle
  var gateway: Int
  var attempt: UInt64 = 0
  var failures = 0
  var openedAt = Instant.zero
  var lastHeard = Instant.zero
  var lastPing = Instant.zero
  var token: Token
  var isReady = false
  /// Since when no gateway has welcomed this client, once it wants one.
  var unreachableSince: Instant?
  /// Why the last attempt or connection came to nothing.
  var lastLoss = "no gateway answered in time"

  // Operations
  var operations: [UInt64: PendingOperation] = [:]
  var lastOrder: UInt64 = 0
  var inFlightCount = 0
  var outboxes: [WireConversation: Outbox] = [:]
  /// Conversations that may send, each once.
  var sendable: Deque<WireConversation> = []
  /// Conversations that recover from a refusal.
  var recovering: Set<WireConversation> = []
  var waitingCalls: Deque<UInt64> = []
  /// Calls that were refused and are tried again.
  var delayedCalls: [UInt64] = []
  var nextExpiry = Instant.distantFuture

  // Events
  var cursor: Cursor?
  var places: [WireConversation: ReadingPlace] = [:]
  var fill: GapFill?
  var held: Deque<Delivery> = []
  var deliveries: [Delivery] = []
  var undelivered = 0
  var isShedding = false
  var isReading = true

  init(
    configuration: Configuration, seed: UInt64, token: String, lifetime: Milliseconds,
    resuming cursor: Cursor? = nil, places: [WireConversation: Sequence] = [:], now: Instant
  ) {
    self.configuration = configuration
    self.cursor = cursor
    self.places = places.mapValues { ReadingPlace(last: $0) }
    random = SeededRandom(seed: seed)
    gateway = 0
    self.token = Token(text: token, expires: now, refreshAt: now)
    gateway = Int(random.next(upperBound: UInt64(configuration.gatewayCount)))
    setToken(token, lifetime: lifetime, now: now)
  }

  // MARK: Inputs

  mutating func connectRequested(now: Instant, into actions: inout [ClientAction]) {
    guard phase == .idle else { return }
    unreachableSince = now
    phase = .waiting(until: now)
    timePassed(now: now, into: &actions)
  }

  mutating func closeRequested(now: Instant, into actions: inout [ClientAction]) {
    end(.closed, now: now, into: &actions)
  }

  /// Runs everything whose time has come. To be called at `nextDeadline`; earlier does no harm.
  mutating func timePassed(now: Instant, into actions: inout [ClientAction]) {
    guard phase != .closed else { return }
    tendToken(now: now, into: &actions)
    tendConnection(now: now, into: &actions)
    tendOperations(now: now, into: &actions)
    settle(now: now, into: &actions)
  }

  /// When `timePassed` is wanted next.
  var nextDeadline: Instant {
    var next = nextExpiry
    switch phase {
    case .idle, .closed: return next
    case .waiting(let until): next = min(next, until)
    case .dialing(let deadline), .greeting(let deadline): next = min(next, deadline)
    case .open: next = min(next, silenceDeadline)
    case .leaving(let at): next = min(next, silenceDeadline, at)
    case .emptying(let deadline): next = min(next, silenceDeadline, deadline)
    }
    if !token.isRefreshing { next = min(next, token.refreshAt) }
    for conversation in recovering {
      if let outbox = outboxes[conversation], outbox.inFlight.isEmpty {
        next = min(next, outbox.resumeAt)
      }
    }
    for id in delayedCalls {
      if let operation = operations[id] { next = min(next, operation.retryAt) }
    }
    return next
  }

  /// What follows from whatever has changed, once per input.
  mutating func settle(now: Instant, into actions: inout [ClientAction]) {
    if case .emptying = phase, inFlightCount == 0 {
      move(to: nextGateway, now: now, into: &actions)
    }
    pump(now: now, into: &actions)
    if !deliveries.isEmpty {
      actions.append(.deliver(deliveries))
      deliveries.removeAll(keepingCapacity: true)
    }
    considerReady(into: &actions)
    // An answer lies behind the events of its socket, so reading may stop only when none is
    // awaited.
    let wantsReading = undelivered < configuration.bufferedEventsMax || inFlightCount > 0
    if isConnected, wantsReading != isReading {
      isReading = wantsReading
      if wantsReading { lastHeard = now }
      actions.append(.setReading(wantsReading))
    }
  }

  /// How it stands, for whoever looks for the reason.
  var summary: String {
    "\(phase), \(undelivered) undelivered\(isShedding ? ", shedding" : ""), "
      + "\(isReading ? "" : "not ")reading, fill \(fill.map { "\($0)" } ?? "none"), "
      + "\(held.count) held, \(inFlightCount) of \(operations.count) operations under way, "
      + "\(waitingCalls.count) calls wait, cursor \(cursor.map { "\($0)" } ?? "none"), "
      + "places \(places.sorted { $0.key < $1.key }), next \(nextDeadline), last lost: \(lastLoss)"
  }

  /// Whether the gateway has welcomed this client.
  var isConnected: Bool {
    switch phase {
    case .open, .leaving, .emptying: true
    case .idle, .waiting, .dialing, .greeting, .closed: false
    }
  }

  mutating func end(_ error: MartletError, now: Instant, into actions: inout [ClientAction]) {
    guard phase != .closed else { return }
    let hadSocket = hasSocket
    phase = .closed
    if hadSocket { actions.append(.hangUp(attempt: attempt)) }
    for operation in operations.values.sorted(by: { $0.order < $1.order }) {
      let unknown = MartletError.outcomeUnknown("the client was closed")
      actions.append(
        .complete(
          operation.id, .failure(operation.wasWritten && error == .closed ? unknown : error)))
    }
    operations = [:]
    outboxes = [:]
    (sendable, waitingCalls, held) = ([], [], [])
    (recovering, delayedCalls) = ([], [])
    inFlightCount = 0
    nextExpiry = .distantFuture
    fill = nil
    if !deliveries.isEmpty { actions.append(.deliver(deliveries)) }
    deliveries = []
    actions.append(.stateChanged(.closed))
    actions.append(.ended(error))
  }

  /// A random duration from zero to `limit`, both included.
  mutating func jitter(_ limit: Milliseconds) -> Milliseconds {
    Milliseconds(UInt64.random(in: 0...limit.rawValue, using: &random))
  }

  /// `base` times 2^`exponent`, at most `limit`.
  static func doubled(
    _ base: Milliseconds, _ exponent: Int, limit: Milliseconds
  ) -> Milliseconds {
    let factor = UInt64(1) << UInt64(min(max(exponent, 0), 30))
    let (product, overflow) = base.rawValue.multipliedReportingOverflow(by: factor)
    return overflow ? limit : min(Milliseconds(product), limit)
  }
}

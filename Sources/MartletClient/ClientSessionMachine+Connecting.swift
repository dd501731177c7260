import ChatModel
import ClientProtocol
import Primitives

extension ClientSessionMachine {
  static let helloRef = "hello"
  static let tokenRefused = "the gateway refuses the access token"

  // MARK: Inputs from the socket

  /// The WebSocket is open: say hello.
  mutating func socketOpened(
    _ attempt: UInt64, now: Instant, into actions: inout [ClientAction]
  ) {
    guard attempt == self.attempt, case .dialing(let deadline) = phase else { return }
    phase = .greeting(deadline: deadline)
    // Somebody answers, whatever it says to the hello.
    unreachableSince = nil
    lastHeard = now
    lastPing = now
    let hello = Hello(token: token.text, cursor: cursor, events: configuration.wantsEvents)
    actions.append(.write([ClientFrame(ref: Self.helloRef, operation: .hello(hello))]))
  }

  mutating func socketClosed(
    _ attempt: UInt64, _ loss: SocketLoss, now: Instant, into actions: inout [ClientAction]
  ) {
    guard attempt == self.attempt, hasSocket else { return }
    switch loss {
    case .unauthenticated:
      lastLoss = Self.tokenRefused
      rejectToken(now: now, into: &actions)
    case .lost(let why): lastLoss = why
    }
    lose(isSocketGone: true, now: now, into: &actions)
    timePassed(now: now, into: &actions)
  }

  /// Bytes came in, whatever they are.
  mutating func heard(_ attempt: UInt64, now: Instant) {
    guard attempt == self.attempt else { return }
    lastHeard = now
  }

  mutating func framesReceived(
    _ attempt: UInt64, _ frames: [ServerFrame], now: Instant, into actions: inout [ClientAction]
  ) {
    for frame in frames {
      guard attempt == self.attempt, hasSocket else { break }
      receive(frame, now: now, into: &actions)
    }
    settle(now: now, into: &actions)
  }

  private mutating func receive(
    _ frame: ServerFrame, now: Instant, into actions: inout [ClientAction]
  ) {
    switch frame.body {
    case .event(let event): deliverableReceived(.event(event), now: now, into: &actions)
    case .cursor(let cursor): deliverableReceived(.cursor(cursor), now: now, into: &actions)
    case .gap(let conversation):
      let last = places[conversation]?.last ?? .zero
      deliverableReceived(.cut(conversation, after: last), now: now, into: &actions)
    case .behind: break
    case .draining: beginLeaving(now: now)
    case .welcome where frame.ref == Self.helloRef: welcomed(now: now, into: &actions)
    case .error(let error) where frame.ref == Self.helloRef:
      sessionRefused(error, now: now, into: &actions)
    case .error(let error) where frame.ref.isEmpty:
      sessionRefused(error, now: now, into: &actions)
    default:
      guard let id = UInt64(frame.ref) else { return }
      answered(id, frame.body, now: now, into: &actions)
    }
  }

  // MARK: Connecting

  var hasSocket: Bool {
    switch phase {
    case .dialing, .greeting, .open, .leaving, .emptying: true
    case .idle, .waiting, .closed: false
    }
  }

  mutating func tendConnection(now: Instant, into actions: inout [ClientAction]) {
    switch phase {
    case .waiting(let until):
      guard now >= until else { return }
      guard token.isUsable(now) else {
        phase = .waiting(until: .distantFuture)
        return
      }
      attempt += 1
      phase = .dialing(deadline: now + configuration.connectTimeout)
      actions.append(.stateChanged(.connecting(gateway: gateway)))
      actions.append(.dial(gateway: gateway, attempt: attempt))
    case .dialing(let deadline), .greeting(let deadline):
      if now >= deadline {
        lastLoss = "no welcome in time"
        lose(isSocketGone: false, now: now, into: &actions)
      }
    case .open:
      listen(now: now, into: &actions)
    case .leaving(let at):
      if now >= at { phase = .emptying(deadline: now + configuration.drainTimeout) }
      listen(now: now, into: &actions)
    case .emptying(let deadline):
      if now >= deadline || inFlightCount == 0 {
        move(to: nextGateway, now: now, into: &actions)
      } else {
        listen(now: now, into: &actions)
      }
    case .idle, .closed:
      break
    }
  }

  private mutating func welcomed(now: Instant, into actions: inout [ClientAction]) {
    guard case .greeting = phase else { return }
    phase = .open
    openedAt = now
    isReading = true
    token.rejections = 0
    actions.append(.stateChanged(.connected(gateway: gateway)))
  }

  /// Without a cursor events begin at an instant that only the first cursor tells. Comes behind the
  /// deliveries, so that who waited finds that cursor delivered.
  mutating func considerReady(into actions: inout [ClientAction]) {
    guard !isReady, isConnected, cursor != nil || !configuration.wantsEvents else { return }
    isReady = true
    actions.append(.ready)
  }

  /// The gateway refuses the hello, or says why it ends the session.
  private mutating func sessionRefused(
    _ error: ServiceError, now: Instant, into actions: inout [ClientAction]
  ) {
    lastLoss = "\(MartletError(error))"
    if error.code == .unauthenticated {
      rejectToken(now: now, into: &actions)
      lose(isSocketGone: false, now: now, into: &actions)
    } else if case .greeting = phase, !error.retryable {
      end(MartletError(error), now: now, into: &actions)
    } else {
      let pause = Milliseconds(UInt64(error.retryAfterMilliseconds))
      lose(isSocketGone: false, pause: pause, now: now, into: &actions)
    }
    timePassed(now: now, into: &actions)
  }

  // MARK: Silence

  var silenceDeadline: Instant {
    guard isReading else { return .distantFuture }
    return min(
      max(lastHeard, lastPing) + configuration.pingInterval, lastHeard + configuration.silenceMax)
  }

  private mutating func listen(now: Instant, into actions: inout [ClientAction]) {
    // What is not read cannot be heard.
    guard isReading else { return }
    if now >= lastHeard + configuration.silenceMax {
      lose(isSocketGone: false, now: now, into: &actions)
    } else if now >= max(lastHeard, lastPing) + configuration.pingInterval {
      lastPing = now
      actions.append(.ping)
    }
  }

  // MARK: Leaving and losing

  private mutating func beginLeaving(now: Instant) {
    switch phase {
    case .open:
      phase = .leaving(at: now + jitter(configuration.drainSpread))
    case .greeting:
      // Not welcomed yet, so nothing is under way: the deadline makes it go elsewhere.
      phase = .greeting(deadline: now)
    case .idle, .waiting, .dialing, .leaving, .emptying, .closed:
      break
    }
  }

  var nextGateway: Int { (gateway + 1) % configuration.gatewayCount }

  /// Leaves in good order and dials at once.
  mutating func move(to gateway: Int, now: Instant, into actions: inout [ClientAction]) {
    actions.append(.hangUp(attempt: attempt))
    phase = .waiting(until: now)
    self.gateway = gateway
    connectionEnded(now: now, into: &actions)
    tendConnection(now: now, into: &actions)
  }

  /// The connection is of no more use: another gateway, after a pause.
  mutating func lose(
    isSocketGone: Bool, pause: Milliseconds = 0, now: Instant, into actions: inout [ClientAction]
  ) {
    guard hasSocket else { return }
    if !isSocketGone { actions.append(.hangUp(attempt: attempt)) }
    unreachableSince = unreachableSince ?? now
    if isConnected, now >= openedAt + configuration.stableAfter { failures = 0 }
    let limit = Self.doubled(
      configuration.backoffBase, failures, limit: configuration.backoffMax)
    failures += 1
    let wait = max(jitter(limit), min(pause, configuration.backoffMax))
    phase = .waiting(until: now + wait)
    gateway = nextGateway
    connectionEnded(now: now, into: &actions)
    actions.append(.stateChanged(.waiting(wait, why: lastLoss)))
  }

  private mutating func connectionEnded(now: Instant, into actions: inout [ClientAction]) {
    isReading = true
    isShedding = false
    restoreOperations(now: now, into: &actions)
    held.removeAll()
    fill = nil
  }

  // MARK: Tokens

  /// A longer life is not believed.
  private static let lifetimeMax: Milliseconds = 31_536_000_000

  mutating func setToken(_ text: String, lifetime: Milliseconds, now: Instant) {
    let rejections = token.rejections
    let whole = min(lifetime, Self.lifetimeMax)
    // Early enough for some failures, late enough to be rare: a minute before the end, or, with a
    // short life, after two thirds of it.
    let early = max(whole.rawValue * 2 / 3, whole.rawValue >= 60_000 ? whole.rawValue - 60_000 : 0)
    token = Token(
      text: text, expires: now + whole, refreshAt: now + Milliseconds(early))
    token.rejections = rejections
  }

  mutating func tokenRefreshed(
    _ text: String, lifetime: Milliseconds, now: Instant, into actions: inout [ClientAction]
  ) {
    guard phase != .closed else { return }
    setToken(text, lifetime: lifetime, now: now)
    if phase == .waiting(until: .distantFuture) { phase = .waiting(until: now) }
    timePassed(now: now, into: &actions)
  }

  /// - Parameters:
  ///   - final: why the refresh token is good for nothing, or `nil` when another try may help.
  ///   - why: what came of the try, in the latter case.
  mutating func refreshFailed(
    final: MartletError? = nil, why: String = "", now: Instant, into actions: inout [ClientAction]
  ) {
    guard phase != .closed else { return }
    if let final { return end(final, now: now, into: &actions) }
    if unreachableSince != nil { lastLoss = why }
    let limit = Self.doubled(
      configuration.backoffBase, token.refreshFailures, limit: configuration.backoffMax)
    token.isRefreshing = false
    token.refreshFailures += 1
    token.refreshAt = now + max(jitter(limit), 1)
    timePassed(now: now, into: &actions)
  }

  mutating func tendToken(now: Instant, into actions: inout [ClientAction]) {
    guard phase != .idle, !token.isRefreshing, now >= token.refreshAt else { return }
    token.isRefreshing = true
    let choice = (gateway + token.refreshFailures) % configuration.gatewayCount
    actions.append(.refreshToken(gateway: choice))
  }

  private mutating func rejectToken(now: Instant, into actions: inout [ClientAction]) {
    token.rejections += 1
    guard token.rejections <= configuration.rejectionsMax else {
      return end(
        .signedOut("gateways refuse this device's tokens"), now: now, into: &actions)
    }
    token.isRejected = true
    if !token.isRefreshing { token.refreshAt = now }
  }
}

extension SeededRandom {
  /// A number below `upperBound`.
  mutating func next(upperBound: UInt64) -> UInt64 {
    UInt64.random(in: 0..<upperBound, using: &self)
  }
}

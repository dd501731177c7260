package import Primitives

/// What the shell is to do for a connection, in this order.
package enum WebSocketAction: Hashable, Sendable {
  /// Hand a message to the session.
  case deliverText([UInt8])
  case deliverBinary([UInt8])
  /// The peer answered a ping of ours.
  case pongReceived([UInt8])
  /// Frame this (masked, if this is a client) and write it.
  case send(WebSocketOpcode, payload: [UInt8])
  /// The session is over; comes exactly once.
  case ended(WebSocketEnd)
  /// Flush what was written, then end the transport. (Shut down sending, read until the peer ends,
  /// and close: a close with unread bytes resets TCP and the peer may never see the close frame.)
  case closeTransport
}

/// How a session ended.
package enum WebSocketEnd: Hashable, Sendable {
  /// Both sent a close frame. `code` and `reason` are the peer's.
  case closed(code: WebSocketCloseCode?, reason: String)
  /// The peer broke the protocol or passed a limit, and was told so.
  case failed(WebSocketError)
  /// The transport ended, or the peer did not answer our close frame in time.
  case lost
}

/// One WebSocket connection after its handshake: decoding, pongs and the closing handshake.
///
/// ```
///              close(…)                  peer's close frame
///   open ───────────────────▶ closing ────────────────────────▶ closed
///    │                           └── deadline, transport ended ──▶ │
///    ├── peer's close frame: echo its code ──────────────────────▶ │
///    ├── violation: send its close code ─────────────────────────▶ │
///    └── transport ended ────────────────────────────────────────▶ │
/// ```
/// After either side's close frame, messages are dropped: their sender has no acknowledgement and
/// will send them again on another connection.
///
/// **Source**: RFC 6455, sections 5.5 and 7.
package struct WebSocketConnection: Sendable {
  private enum State {
    case open
    case closing(deadline: Instant)
    case closed
  }

  private let limits: WebSocketLimits
  private var state = State.open
  private var decoder: FrameDecoder
  private var events: [FrameEvent] = []

  package init(role: WebSocketRole, limits: WebSocketLimits = WebSocketLimits()) {
    self.limits = limits
    decoder = FrameDecoder(role: role, limits: limits)
  }

  /// Whether messages may still be sent.
  package var isOpen: Bool { if case .open = state { true } else { false } }

  /// When `deadlineReached` is wanted, or `nil`.
  package var deadline: Instant? {
    if case .closing(let deadline) = state { deadline } else { nil }
  }

  /// Bytes of the peer have come; what follows from them is appended.
  package mutating func bytesReceived(
    _ bytes: UnsafeRawBufferPointer, now: Instant, into actions: inout [WebSocketAction]
  ) {
    if case .closed = state { return }
    var failure: WebSocketError?
    do throws(WebSocketError) {
      try decoder.feed(bytes, now: now, into: &events)
    } catch {
      failure = error
    }
    for event in events { handle(event, into: &actions) }
    events.removeAll(keepingCapacity: true)
    if let failure { fail(failure, into: &actions) }
  }

  /// The same for bytes in an array.
  package mutating func bytesReceived(
    _ bytes: ArraySlice<UInt8>, now: Instant, into actions: inout [WebSocketAction]
  ) {
    bytes.withUnsafeBytes { bytesReceived($0, now: now, into: &actions) }
  }

  /// Starts the closing handshake; does nothing unless open.
  package mutating func close(
    _ code: WebSocketCloseCode, reason: String = "", now: Instant,
    into actions: inout [WebSocketAction]
  ) {
    guard case .open = state else { return }
    actions.append(.send(.close, payload: FrameEncoder.closePayload(code, reason: reason)))
    state = .closing(deadline: now + limits.closeTimeout)
  }

  /// `deadline` is over: the peer has not answered the closing.
  package mutating func deadlineReached(now: Instant, into actions: inout [WebSocketAction]) {
    guard case .closing(let deadline) = state, now >= deadline else { return }
    end(.lost, into: &actions)
  }

  /// The peer's side of the transport is over.
  package mutating func transportEnded(into actions: inout [WebSocketAction]) {
    if case .closed = state { return }
    end(.lost, into: &actions)
  }

  private mutating func handle(_ event: FrameEvent, into actions: inout [WebSocketAction]) {
    switch (event, state) {
    case (.close(let code, let reason), .open):
      // Only the code is echoed; our own reason would say nothing new.
      actions.append(.send(.close, payload: FrameEncoder.closePayload(code)))
      end(.closed(code: code, reason: reason), into: &actions)
    case (.close(let code, let reason), .closing):
      end(.closed(code: code, reason: reason), into: &actions)
    case (.text(let bytes), .open):
      actions.append(.deliverText(bytes))
    case (.binary(let bytes), .open):
      actions.append(.deliverBinary(bytes))
    case (.ping(let bytes), .open):
      actions.append(.send(.pong, payload: bytes))
    case (.pong(let bytes), .open):
      actions.append(.pongReceived(bytes))
    case (.text, .closing), (.binary, .closing), (.ping, .closing), (.pong, .closing), (_, .closed):
      break
    }
  }

  private mutating func fail(_ error: WebSocketError, into actions: inout [WebSocketAction]) {
    switch state {
    case .open:
      let payload = FrameEncoder.closePayload(error.closeCode)
      actions.append(.send(.close, payload: payload))
    case .closing: break
    case .closed: return
    }
    end(.failed(error), into: &actions)
  }

  private mutating func end(_ end: WebSocketEnd, into actions: inout [WebSocketAction]) {
    state = .closed
    actions.append(.ended(end))
    actions.append(.closeTransport)
  }
}

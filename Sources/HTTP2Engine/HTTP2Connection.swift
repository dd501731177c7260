import CNGHTTP2
package import Primitives

/// One HTTP/2 connection, either side of it, without I/O: bytes from the peer go in by `receive`,
/// bytes for the peer come out of `writeOutput`, and what happened is read with `takeEvents`.
///
/// ```
///        socket (or TLS)                                   application
///   bytes ──── receive(_:now:) ────▶ ┌─────────┐ ──── takeEvents(into:) ────▶
///                                    │ nghttp2 │
///   bytes ◀─── writeOutput(_:) ───── └─────────┘ ◀─── submit…, send, consume ─
/// ```
///
/// One turn of the shell: `receive` what was read; `takeEvents` and act on them; `writeOutput` and
/// flush once; `takeEvents` again, for writing closes streams and makes room; close the socket
/// when `isFinished`. After `receive` has thrown, write what is left (a GOAWAY) and close. When
/// the socket is gone, `transportClosed` ends every stream.
///
/// Cost: a payload byte is copied into nghttp2's frame, from there into the caller's output
/// buffer, and once on the receiving side, into the array of its event; nothing else is done per
/// byte, and that array is the one allocation per event. Measured in memory: 1.0 µs to send and
/// 0.8 µs to receive 16 KiB, about 1 µs per turn and side for a small batch, 5 µs for a unary
/// call on both sides, 26 KiB for an idle connection.
///
/// **Isolation**: confined to one event loop; not `Sendable`. Closures given to it must not call
/// it.
///
/// **Source**: RFC 9113 (HTTP/2), RFC 8441 (extended CONNECT).
package final class HTTP2Connection {
  /// The side that this object plays.
  package enum Role: Sendable {
    case client
    case server
  }

  /// How far the end of the connection has come.
  ///
  /// ```
  ///   open ── shutdown ──▶ notified ── PING came back, or shutdown ──▶ draining ──▶ (finished)
  /// ```
  /// A client has nothing to notify of and goes straight to `draining`.
  enum Phase {
    case open
    case notified
    case draining
  }

  package let role: Role
  package let configuration: HTTP2Configuration

  /// Why the connection cannot go on, once it cannot.
  package internal(set) var failure: HTTP2Error?

  let session: OpaquePointer
  var streams: [Int32: StreamState] = [:]
  var events: [HTTP2Event] = []
  var phase = Phase.open
  /// Neither reads nor writes are possible any more.
  var isDead = false
  var peerIsLeaving = false
  var now: Instant

  var incomingHeaders = IncomingHeaders()
  var dataRun = DataRun()
  var meters: FrameMeters
  var ownResetCount = 0
  var headerBytes = 0
  /// A header block has begun and its END_HEADERS has not come: the shell's timeout for slow
  /// headers applies.
  package internal(set) var isReceivingHeaders = false

  /// DATA that waits on all streams.
  ///
  /// **Units**: bytes.
  package internal(set) var queuedBytes = 0
  /// Streams that are owed a `writable` event.
  var streamsAwaitingRoom: [StreamState] = []

  /// Opens the connection: the client's preface and the SETTINGS of either side are queued as
  /// output.
  package init(role: Role, configuration: HTTP2Configuration, now: Instant = .zero) {
    self.role = role
    self.configuration = configuration
    self.now = now
    meters = FrameMeters(configuration.limits, now: now)
    session = NativeSession.make(role: role, configuration: configuration)
    nghttp2_session_set_user_data(session, Unmanaged.passUnretained(self).toOpaque())
    NativeSession.submitSettings(session, role: role, configuration: configuration)
  }

  deinit {
    nghttp2_session_del(session)
  }

  // MARK: State

  /// Bytes from the peer are still of use.
  package var wantsRead: Bool {
    !isDead && failure == nil && nghttp2_session_want_read(session) != 0
  }

  /// `writeOutput` would give bytes now.
  package var wantsWrite: Bool { !isDead && nghttp2_session_want_write(session) != 0 }

  /// Nothing is left to read or write: the socket can be closed.
  package var isFinished: Bool { !wantsRead && !wantsWrite }

  /// A new request would be taken (client).
  package var acceptsRequests: Bool {
    role == .client && phase == .open && failure == nil && !peerIsLeaving
      && nghttp2_session_check_request_allowed(session) != 0
  }

  /// Streams that have not ended in both directions.
  package var openStreamCount: Int { streams.count }

  /// DATA that waits on one stream; zero for one that has ended.
  ///
  /// **Units**: bytes.
  package func queuedBytes(_ stream: StreamID) -> Int {
    streams[stream.rawValue]?.queue.byteCount ?? 0
  }

  /// Gives the events since the last call, in order. `buffer` is emptied first, and its storage
  /// used again, so a caller that keeps one buffer allocates nothing.
  package func takeEvents(into buffer: inout [HTTP2Event]) {
    buffer.removeAll(keepingCapacity: true)
    swap(&events, &buffer)
  }

  /// The same in an array of its own.
  package func takeEvents() -> [HTTP2Event] {
    var taken: [HTTP2Event] = []
    takeEvents(into: &taken)
    return taken
  }

  // MARK: Ending

  /// Ends the connection gracefully. A server first tells the client to open no more streams, lets
  /// those pass that were on their way (one PING round trip, or until the second call), then names
  /// the last stream it takes; streams in flight finish. `isFinished` turns true after the last.
  ///
  /// **Source**: RFC 9113, section 6.8.
  package func shutdown() {
    guard failure == nil else { return }
    switch (role, phase) {
    case (.server, .open):
      phase = .notified
      nghttp2_submit_shutdown_notice(session)
      submitPing(Self.drainPing)
    case (.server, .notified), (.client, .open):
      announceLastStream()
    case (_, .draining), (.client, .notified):
      break
    }
  }

  func announceLastStream() {
    phase = .draining
    let lastStream = nghttp2_session_get_last_proc_stream_id(session)
    nghttp2_submit_goaway(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), lastStream, HTTP2ErrorCode.none.rawValue, nil, 0)
  }

  /// Ends the connection at once: one GOAWAY is queued, nothing else is read or sent.
  package func terminate(_ code: HTTP2ErrorCode) {
    fail(.terminated(code), code: code)
  }

  /// The transport below has closed or failed. Every stream that the application knows gets its
  /// `streamClosed` with CANCEL.
  package func transportClosed() {
    failure = failure ?? .transportClosed
    isDead = true
    for (id, state) in streams.sorted(by: { $0.key < $1.key }) where state.isAnnounced {
      events.append(.streamClosed(StreamID(id), .cancel))
    }
    streams.removeAll()
    streamsAwaitingRoom.removeAll()
    queuedBytes = 0
    headerBytes = 0
  }

  func fail(_ error: HTTP2Error, code: HTTP2ErrorCode) {
    guard failure == nil else { return }
    failure = error
    guard !isDead else { return }
    nghttp2_session_terminate_session(session, code.rawValue)
  }

  // MARK: Pings

  /// "drain", so that it is told from the application's in a trace.
  static let drainPing: UInt64 = 0x0000_0064_7261_696e

  /// Sends a PING; `pingAcknowledged` with the same value follows.
  package func ping(_ opaque: UInt64) {
    guard failure == nil else { return }
    submitPing(opaque)
  }

  private func submitPing(_ opaque: UInt64) {
    withUnsafeBytes(of: opaque.bigEndian) { bytes in
      let pointer = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
      _ = nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), pointer)
    }
  }
}

/// The budgets for frames that cost their sender nothing.
struct FrameMeters {
  var peerResets: RateMeter
  var settings: RateMeter
  var ping: RateMeter
  var priority: RateMeter
  var emptyData: RateMeter
  var windowUpdate: RateMeter
  /// WINDOW_UPDATE frames that the DATA we sent has earned beyond the budget, in bytes of DATA.
  var earnedDataBytes = 0

  init(_ limits: HTTP2Limits, now: Instant) {
    peerResets = RateMeter(limits.peerResets, now: now)
    settings = RateMeter(limits.controlFrames, now: now)
    ping = RateMeter(limits.controlFrames, now: now)
    priority = RateMeter(limits.controlFrames, now: now)
    emptyData = RateMeter(limits.controlFrames, now: now)
    windowUpdate = RateMeter(limits.windowUpdateFrames, now: now)
  }

  mutating func spendWindowUpdate(now: Instant, dataBytesPerFrame: Int) -> Bool {
    if earnedDataBytes >= dataBytesPerFrame {
      earnedDataBytes -= dataBytesPerFrame
      return true
    }
    return windowUpdate.spend(now: now)
  }
}

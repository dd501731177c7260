import CNGHTTP2
package import Primitives

extension HTTP2Connection {
  /// Takes bytes from the peer, any number and cut anywhere, and appends what they mean to the
  /// events. After a failure bytes are ignored.
  ///
  /// **Throws**: when the connection cannot go on. What the peer should still hear (a GOAWAY) is
  /// in the output. Errors that concern one stream reset that stream and do not throw; nor does
  /// an error whose GOAWAY nghttp2 itself queued: then `failure` is set by `writeOutput`.
  package func receive(_ bytes: UnsafeRawBufferPointer, now: Instant) throws(HTTP2Error) {
    guard !isDead, failure == nil, let base = bytes.baseAddress, !bytes.isEmpty else { return }
    self.now = now
    dataRun.input = bytes
    let taken = nghttp2_session_mem_recv(
      session, base.assumingMemoryBound(to: UInt8.self), bytes.count)
    flushData()
    dataRun.input = UnsafeRawBufferPointer(start: nil, count: 0)
    if taken < 0 { try throwAfterReceiving(code: Int32(truncatingIfNeeded: taken)) }
    if role == .server,
      nghttp2_session_get_outbound_queue_size(session) > configuration.limits.outboundFramesMax
    {
      fail(.limitExceeded(.outboundFrames), code: .enhanceYourCalm)
      throw .limitExceeded(.outboundFrames)
    }
  }

  /// The same for bytes in an array.
  package func receive(_ bytes: [UInt8], now: Instant) throws(HTTP2Error) {
    // `withUnsafeBytes` loses the type of the error.
    let result = bytes.withUnsafeBytes { buffer -> Result<Void, HTTP2Error> in
      do throws(HTTP2Error) { return .success(try receive(buffer, now: now)) } catch {
        return .failure(error)
      }
    }
    try result.get()
  }

  private func throwAfterReceiving(code: Int32) throws(HTTP2Error) -> Never {
    let error: HTTP2Error
    if let failure {
      // A callback has named the limit and stopped nghttp2, which is fit for output only.
      error = failure
    } else if code == NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue {
      error = .badPreface
    } else if code == NGHTTP2_ERR_FLOODED.rawValue {
      error = .limitExceeded(.outboundFrames)
      fail(error, code: .enhanceYourCalm)
    } else {
      error = .library(code: code)
    }
    if case .badPreface = error { isDead = true }
    if case .library = error { isDead = true }
    failure = error
    throw error
  }

  // MARK: Windows

  /// Tells that `byteCount` bytes of a stream's `data` events are used up, so that the peer may
  /// send as many more. Bytes not consumed when a stream ends are consumed by the engine, and a
  /// configuration with automatic consumption needs no call.
  package func consume(_ stream: StreamID, byteCount: Int) {
    guard !isDead, configuration.consumption == .byApplication,
      let state = streams[stream.rawValue]
    else { return }
    let count = min(max(0, byteCount), state.unconsumedBytes)
    guard count > 0 else { return }
    state.unconsumedBytes -= count
    nghttp2_session_consume(session, stream.rawValue, count)
  }

  // MARK: From callbacks

  /// **Returns**: false to stop nghttp2, with `failure` set.
  func frameBegan(_ header: nghttp2_frame_hd) -> Bool {
    let limits = configuration.limits
    let type = UInt32(header.type)
    isReceivingHeaders = false
    switch type {
    case NGHTTP2_DATA.rawValue:
      guard header.length == 0, !header.hasFlag(NGHTTP2_FLAG_END_STREAM) else { return true }
      return meters.emptyData.spend(now: now) || exceed(.emptyDataFrames)
    case NGHTTP2_HEADERS.rawValue, NGHTTP2_CONTINUATION.rawValue:
      isReceivingHeaders = !header.hasFlag(NGHTTP2_FLAG_END_HEADERS)
      return true
    case NGHTTP2_PRIORITY.rawValue:
      return meters.priority.spend(now: now) || exceed(.priorityFrames)
    case NGHTTP2_RST_STREAM.rawValue:
      return meters.peerResets.spend(now: now) || exceed(.peerResets)
    case NGHTTP2_SETTINGS.rawValue:
      return meters.settings.spend(now: now) || exceed(.settingsFrames)
    case NGHTTP2_PING.rawValue:
      return meters.ping.spend(now: now) || exceed(.pingFrames)
    case NGHTTP2_WINDOW_UPDATE.rawValue:
      return meters.spendWindowUpdate(
        now: now, dataBytesPerFrame: limits.dataBytesPerWindowUpdate)
        || exceed(.windowUpdateFrames)
    default:
      return true
    }
  }

  private func exceed(_ limit: HTTP2Limit) -> Bool {
    fail(.limitExceeded(limit), code: .enhanceYourCalm)
    return false
  }

  func headersBegan(_ frame: UnsafePointer<nghttp2_frame>) {
    incomingHeaders.begin()
    guard role == .server, frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST else { return }
    let id = frame.pointee.hd.stream_id
    streams[id] = StreamState(id: StreamID(id), isAnnounced: false)
    guard configuration.ignoresPriorities else { return }
    var priority = nghttp2_extpri(
      urgency: UInt32(NGHTTP2_EXTPRI_DEFAULT_URGENCY), inc: 1)
    nghttp2_session_change_extpri_stream_priority(session, id, &priority, 1)
  }

  /// **Returns**: false to stop nghttp2.
  func frameEnded(_ frame: UnsafePointer<nghttp2_frame>) -> Bool {
    let header = frame.pointee.hd
    let isEnd = header.hasFlag(NGHTTP2_FLAG_END_STREAM)
    switch UInt32(header.type) {
    case NGHTTP2_DATA.rawValue:
      if isEnd {
        endData(header.stream_id)
      } else if header.length > 0, header.length == frame.pointee.data.padlen {
        // Padding alone is as empty as no byte at all.
        return meters.emptyData.spend(now: now) || exceed(.emptyDataFrames)
      }
    case NGHTTP2_HEADERS.rawValue:
      headersEnded(header.stream_id, isEnd: isEnd)
    case NGHTTP2_SETTINGS.rawValue:
      append(header.hasFlag(NGHTTP2_FLAG_ACK) ? .settingsAcknowledged : .peerSettings(peerSettings))
    case NGHTTP2_PING.rawValue where header.hasFlag(NGHTTP2_FLAG_ACK):
      let opaque = withUnsafeBytes(of: frame.pointee.ping.opaque_data) {
        UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self))
      }
      pingReturned(opaque)
    case NGHTTP2_GOAWAY.rawValue:
      let goAway = frame.pointee.goaway
      peerIsLeaving = true
      let debug = UnsafeBufferPointer(
        start: goAway.opaque_data, count: min(256, goAway.opaque_data_len))
      append(
        .goAway(
          lastStream: StreamID(goAway.last_stream_id), HTTP2ErrorCode(goAway.error_code),
          debug: Array(debug)))
    default:
      break
    }
    return true
  }

  private func headersEnded(_ id: Int32, isEnd: Bool) {
    guard let state = streams[id], !state.isReset else { return }
    let limits = configuration.limits
    if incomingHeaders.isTooLarge
      || headerBytes + incomingHeaders.listBytes > limits.headerBytesMax
    {
      return refuse(state, .enhanceYourCalm)
    }
    if role == .server, incomingHeaders.hasConflictingHosts {
      return refuse(state, .protocolError)
    }
    state.headerBytes += incomingHeaders.listBytes
    headerBytes += incomingHeaders.listBytes
    let fields = incomingHeaders.fields
    if state.hasFinalHeaders {
      append(.trailers(state.id, fields))
    } else if role == .client, incomingHeaders.isInformational {
      append(.informational(state.id, fields))
    } else {
      state.hasFinalHeaders = true
      state.isAnnounced = true
      append(.headers(state.id, fields, endStream: isEnd))
    }
    incomingHeaders.begin()
  }

  /// Resets a stream for what the peer did on it.
  private func refuse(_ state: StreamState, _ code: HTTP2ErrorCode) {
    drop(state)
    nghttp2_submit_rst_stream(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), state.id.rawValue, code.rawValue)
  }

  func dataArrived(_ id: Int32, _ bytes: UnsafeRawBufferPointer) {
    if dataRun.stream?.id.rawValue != id {
      flushData()
      guard let state = streams[id], !state.isReset else {
        // Nobody will consume what nobody is told of.
        if configuration.consumption == .byApplication {
          nghttp2_session_consume_connection(session, bytes.count)
        }
        return
      }
      dataRun.stream = state
    }
    if !dataRun.append(bytes) {
      // Not in the caller's buffer, so it may be gone when this callback returns.
      flushData(with: bytes)
    }
  }

  private func endData(_ id: Int32) {
    if dataRun.stream?.id.rawValue != id {
      flushData()
      guard let state = streams[id], !state.isReset else { return }
      dataRun.stream = state
    }
    flushData(isEnd: true)
  }

  /// Makes one event of the DATA since the last other event.
  func flushData(with last: UnsafeRawBufferPointer? = nil, isEnd: Bool = false) {
    guard let state = dataRun.stream else { return }
    dataRun.stream = nil
    let bytes = dataRun.take(with: last)
    if configuration.consumption == .byApplication { state.unconsumedBytes += bytes.count }
    events.append(.data(state.id, bytes, endStream: isEnd))
  }

  func append(_ event: HTTP2Event) {
    flushData()
    events.append(event)
  }

  private func pingReturned(_ opaque: UInt64) {
    guard opaque == Self.drainPing else { return append(.pingAcknowledged(opaque)) }
    if phase == .notified { announceLastStream() }
  }

  private var peerSettings: HTTP2PeerSettings {
    func value(_ id: nghttp2_settings_id) -> UInt32 {
      nghttp2_session_get_remote_settings(session, id)
    }
    return HTTP2PeerSettings(
      concurrentStreamsMax: value(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
      streamWindowBytes: value(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE),
      frameBytesMax: value(NGHTTP2_SETTINGS_MAX_FRAME_SIZE),
      headerListBytesMax: value(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE),
      offersExtendedConnect: value(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1)
  }

  func streamEnded(_ id: Int32, code: HTTP2ErrorCode) {
    flushData()
    guard let state = streams.removeValue(forKey: id) else { return }
    queuedBytes -= state.queue.byteCount
    headerBytes -= state.headerBytes
    state.isReset = true
    if state.unconsumedBytes > 0 {
      nghttp2_session_consume_connection(session, state.unconsumedBytes)
    }
    if state.isAnnounced { events.append(.streamClosed(state.id, code)) }
  }
}

/// DATA of one stream that arrived without another event in between: pieces of the buffer that
/// `receive` was given, copied once, together, when the run ends.
struct DataRun {
  /// The stream, while a run is open.
  var stream: StreamState?
  /// What `receive` was given; empty outside of it.
  var input = UnsafeRawBufferPointer(start: nil, count: 0)
  private var pieces: [UnsafeRawBufferPointer] = []
  private var byteCount = 0

  /// **Returns**: false, and takes nothing, when the bytes are not within `input`.
  mutating func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let start = bytes.baseAddress, let inputStart = input.baseAddress,
      start >= inputStart, start + bytes.count <= inputStart + input.count
    else { return false }
    pieces.append(bytes)
    byteCount += bytes.count
    return true
  }

  mutating func take(with last: UnsafeRawBufferPointer?) -> [UInt8] {
    let count = byteCount + (last?.count ?? 0)
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
      let target = UnsafeMutableRawBufferPointer(target)
      for piece in pieces {
        target[initialized...].copyBytes(from: piece)
        initialized += piece.count
      }
      if let last {
        target[initialized...].copyBytes(from: last)
        initialized += last.count
      }
    }
    pieces.removeAll(keepingCapacity: true)
    byteCount = 0
    return bytes
  }
}

extension nghttp2_frame_hd {
  func hasFlag(_ flag: nghttp2_flag) -> Bool { UInt32(flags) & flag.rawValue != 0 }
}

import CNGHTTP2

extension HTTP2Connection {
  // MARK: Output

  /// Gives the bytes for the peer to `body`, frame after frame, until at least `bytesMax` bytes
  /// were given (the last frame may pass it) or nothing is left that the peer's windows allow.
  /// The caller appends them to one buffer and flushes once.
  ///
  /// **Returns**: how many bytes were given.
  @discardableResult
  package func writeOutput(
    bytesMax: Int = .max, _ body: (UnsafeRawBufferPointer) -> Void
  ) -> Int {
    var total = 0
    while !isDead, total < bytesMax {
      var pointer: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(session, &pointer)
      if count < 0 {
        isDead = true
        failure = failure ?? .library(code: Int32(truncatingIfNeeded: count))
      }
      guard count > 0, let pointer else { break }
      total += count
      body(UnsafeRawBufferPointer(start: pointer, count: count))
    }
    if !streamsAwaitingRoom.isEmpty { announceRoom() }
    return total
  }

  /// **Returns**: the bytes for the peer in one array.
  package func takeOutput(bytesMax: Int = .max) -> [UInt8] {
    var output: [UInt8] = []
    writeOutput(bytesMax: bytesMax) { output.append(contentsOf: $0) }
    return output
  }

  // MARK: Streams

  /// Opens a stream (client). Beyond the peer's concurrency the request waits inside.
  ///
  /// **Throws**: `notAccepting` when the request must go to another connection;
  /// `invalidHeaderField`; `extendedConnectNotOffered` for `:protocol` before the peer's SETTINGS
  /// have offered it.
  package func submitRequest(
    _ headers: [HTTP2HeaderField], endStream: Bool
  ) throws(HTTP2Error) -> StreamID {
    guard acceptsRequests else { throw .notAccepting }
    if headers.value(of: ":protocol") != nil,
      nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) != 1
    {
      throw .extendedConnectNotOffered
    }
    let fields = try EncodedHeaderFields(headers)
    let state = StreamState(id: StreamID(0), isAnnounced: true)
    state.endIsQueued = endStream
    let id = withSource(of: state) { source in
      fields.withNameValues { pointer, count in
        nghttp2_submit_request(session, nil, pointer, count, endStream ? nil : source, nil)
      }
    }
    guard id > 0 else {
      throw id == NGHTTP2_ERR_NOMEM.rawValue ? .library(code: id) : .notAccepting
    }
    state.id = StreamID(id)
    streams[id] = state
    return state.id
  }

  /// Answers a request (server): `:status` first, once for each stream.
  ///
  /// **Throws**: `streamClosed`, `invalidHeaderField`.
  package func submitResponse(
    _ stream: StreamID, _ headers: [HTTP2HeaderField], endStream: Bool
  ) throws(HTTP2Error) {
    let state = try openStream(stream)
    precondition(!state.hasResponse, "second response on \(stream)")
    let fields = try EncodedHeaderFields(headers)
    state.hasResponse = true
    if endStream { state.endIsQueued = true }
    let code = withSource(of: state) { source in
      fields.withNameValues { pointer, count in
        nghttp2_submit_response(
          session, stream.rawValue, pointer, count, endStream ? nil : source)
      }
    }
    guard code == 0 else { throw .library(code: code) }
  }

  /// Sends a header list with a status of 1xx before the response (server).
  package func submitInformational(
    _ stream: StreamID, _ headers: [HTTP2HeaderField]
  ) throws(HTTP2Error) {
    let state = try openStream(stream)
    precondition(!state.hasResponse, "informational headers after the response on \(stream)")
    let code = try EncodedHeaderFields(headers).withNameValues { pointer, count in
      nghttp2_submit_headers(
        session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.rawValue, nil, pointer, count, nil)
    }
    guard code == 0 else { throw .library(code: code) }
  }

  /// Queues bytes as DATA; the array is kept, not copied, until nghttp2 takes its frames from it.
  /// Many small pieces become full frames.
  ///
  /// **Returns**: `full` when the limits on queued bytes would be passed. A piece that alone
  /// passes them is taken when nothing else waits, so that every piece can be sent.
  @discardableResult
  package func send(
    _ stream: StreamID, _ bytes: [UInt8], endStream: Bool = false
  ) -> HTTP2SendOutcome {
    guard failure == nil, let state = streams[stream.rawValue], !state.isReset else {
      return .closed
    }
    precondition(!state.endIsQueued, "DATA after the end of \(stream)")
    let limits = configuration.limits
    let queued = state.queue.byteCount
    if !bytes.isEmpty,
      queued > 0 && queued + bytes.count > limits.queuedBytesPerStreamMax
        || queuedBytes > 0 && queuedBytes + bytes.count > limits.queuedBytesMax
    {
      if !state.owesWritable {
        state.owesWritable = true
        streamsAwaitingRoom.append(state)
      }
      return .full
    }
    state.queue.append(bytes)
    queuedBytes += bytes.count
    state.endIsQueued = endStream
    resume(state)
    return .queued
  }

  /// Ends a stream with a header list after everything queued on it.
  package func submitTrailers(
    _ stream: StreamID, _ headers: [HTTP2HeaderField]
  ) throws(HTTP2Error) {
    let state = try openStream(stream)
    precondition(!state.endIsQueued, "trailers after the end of \(stream)")
    state.trailers = try EncodedHeaderFields(headers)
    state.endIsQueued = true
    resume(state)
  }

  /// Ends a stream at once and drops what is queued on it. `streamClosed` follows when the frame
  /// is written. A stream that has ended is left alone.
  ///
  /// `blamesPeer` counts the reset against the peer (`HTTP2Limits.ownResetsMax`): for resets that
  /// its misuse asked for.
  package func resetStream(
    _ stream: StreamID, _ code: HTTP2ErrorCode, blamesPeer: Bool = false
  ) {
    guard !isDead, let state = streams[stream.rawValue], !state.isReset else { return }
    drop(state)
    state.isResetWithoutBlame = !blamesPeer
    nghttp2_submit_rst_stream(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.rawValue, code.rawValue)
  }

  private func openStream(_ stream: StreamID) throws(HTTP2Error) -> StreamState {
    guard failure == nil, let state = streams[stream.rawValue], !state.isReset else {
      throw .streamClosed(stream)
    }
    return state
  }

  /// What waits on a stream that is being reset is of no use to anybody.
  func drop(_ state: StreamState) {
    state.isReset = true
    queuedBytes -= state.queue.byteCount
    state.queue.removeAll()
    state.trailers = nil
  }

  private func resume(_ state: StreamState) {
    guard state.isDeferred else { return }
    state.isDeferred = false
    nghttp2_session_resume_data(session, state.id.rawValue)
  }

  /// Half of a limit must be free again, so that a slow peer does not cause an event per frame.
  private func announceRoom() {
    let limits = configuration.limits
    let connectionHasRoom = queuedBytes <= limits.queuedBytesMax / 2
    streamsAwaitingRoom.removeAll { state in
      if state.isReset { return true }
      guard connectionHasRoom, state.queue.byteCount <= limits.queuedBytesPerStreamMax / 2 else {
        return false
      }
      state.owesWritable = false
      events.append(.writable(state.id))
      return true
    }
  }

  private func withSource<Result>(
    of state: StreamState, _ body: (UnsafePointer<nghttp2_data_provider>) -> Result
  ) -> Result {
    let pointer = Unmanaged.passUnretained(state).toOpaque()
    let provider = nghttp2_data_provider(
      source: nghttp2_data_source(ptr: pointer), read_callback: NativeSession.readData)
    return withUnsafePointer(to: provider, body)
  }

  // MARK: From callbacks

  /// nghttp2 builds a DATA frame and wants its payload.
  ///
  /// **Returns**: the number of bytes written to `target`, or NGHTTP2_ERR_DEFERRED.
  func fill(
    _ state: StreamState, _ target: UnsafeMutableRawPointer, capacity: Int,
    flags: UnsafeMutablePointer<UInt32>
  ) -> Int {
    let count = state.queue.move(to: target, capacity: capacity)
    queuedBytes -= count
    meters.earnedDataBytes += count
    guard state.queue.isEmpty else { return count }
    if state.endIsQueued {
      flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
      if let trailers = state.trailers {
        state.trailers = nil
        flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
        _ = trailers.withNameValues { pointer, count in
          nghttp2_submit_trailer(session, state.id.rawValue, pointer, count)
        }
      }
      return count
    }
    if count == 0 {
      state.isDeferred = true
      return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    }
    return count
  }

  func frameSent(_ frame: UnsafePointer<nghttp2_frame>) {
    let header = frame.pointee.hd
    switch UInt32(header.type) {
    case NGHTTP2_RST_STREAM.rawValue:
      if streams[header.stream_id]?.isResetWithoutBlame == true { return }
      ownResetCount += 1
      if ownResetCount > configuration.limits.ownResetsMax {
        fail(.limitExceeded(.ownResets), code: .enhanceYourCalm)
      }
    case NGHTTP2_GOAWAY.rawValue:
      let code = HTTP2ErrorCode(frame.pointee.goaway.error_code)
      if code != .none, failure == nil { failure = .protocolViolation(code) }
    default:
      break
    }
  }

  /// A header list of ours could not be sent. Unless its stream is ending anyway, the peer must
  /// not wait for it.
  func frameNotSent(_ frame: UnsafePointer<nghttp2_frame>, code: Int32) {
    let header = frame.pointee.hd
    guard UInt32(header.type) == NGHTTP2_HEADERS.rawValue,
      frame.pointee.headers.cat != NGHTTP2_HCAT_REQUEST,
      let state = streams[header.stream_id], !state.isReset
    else { return }
    resetStream(state.id, .internalError)
  }
}

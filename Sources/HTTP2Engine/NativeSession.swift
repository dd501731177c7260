import CNGHTTP2

/// Makes nghttp2's session. Its callbacks find the connection by the session's user data, note
/// what happened and return; none of them calls out of the engine.
enum NativeSession {
  static func make(
    role: HTTP2Connection.Role, configuration: HTTP2Configuration
  ) -> OpaquePointer {
    var callbacks: OpaquePointer?
    nghttp2_session_callbacks_new(&callbacks)
    defer { nghttp2_session_callbacks_del(callbacks) }
    setReceiving(callbacks)
    setSending(callbacks)

    var option: OpaquePointer?
    nghttp2_option_new(&option)
    defer { nghttp2_option_del(option) }
    setOptions(option, configuration)

    var session: OpaquePointer?
    switch role {
    case .client: nghttp2_session_client_new2(&session, callbacks, nil, option)
    case .server: nghttp2_session_server_new2(&session, callbacks, nil, option)
    }
    guard let session else { preconditionFailure("nghttp2 is out of memory") }
    return session
  }

  private static func setOptions(_ option: OpaquePointer?, _ configuration: HTTP2Configuration) {
    let limits = configuration.limits
    if configuration.consumption == .byApplication {
      nghttp2_option_set_no_auto_window_update(option, 1)
    }
    // Closed streams would be kept for the priority tree.
    nghttp2_option_set_no_closed_streams(option, 1)
    nghttp2_option_set_max_continuations(option, limits.continuationFramesMax)
    // The library's budget runs on a clock of its own; ours takes its place.
    nghttp2_option_set_stream_reset_rate_limit(option, 1 << 40, 1 << 20)
    nghttp2_option_set_max_outbound_ack(option, limits.outboundFramesMax)
  }

  static func submitSettings(
    _ session: OpaquePointer, role: HTTP2Connection.Role, configuration: HTTP2Configuration
  ) {
    let limits = configuration.limits
    var entries = [
      entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, configuration.streamWindowBytes),
      entry(NGHTTP2_SETTINGS_MAX_FRAME_SIZE, configuration.frameBytesMax),
      entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerListBytesMax),
    ]
    switch role {
    case .client:
      entries.append(entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
    case .server:
      entries.append(entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.concurrentStreamsMax))
      if configuration.offersExtendedConnect {
        entries.append(entry(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1))
      }
      if configuration.ignoresPriorities {
        entries.append(entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1))
      }
    }
    let none = UInt8(NGHTTP2_FLAG_NONE.rawValue)
    let code = nghttp2_submit_settings(session, none, entries, entries.count)
    precondition(code == 0, "settings refused by nghttp2: \(code), \(configuration)")
    let windowCode = nghttp2_session_set_local_window_size(
      session, none, 0, Int32(clamping: configuration.connectionWindowBytes))
    precondition(windowCode == 0, "connection window refused by nghttp2: \(windowCode)")
  }

  private static func entry(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
    nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(clamping: value))
  }

  // MARK: Callbacks

  private static func setReceiving(_ callbacks: OpaquePointer?) {
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, header, userData in
      guard let header else { return 0 }
      return owner(userData).frameBegan(header.pointee) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, userData in
      guard let frame else { return 0 }
      owner(userData).headersBegan(frame)
      return 0
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) {
      _, _, name, nameBytes, value, valueBytes, flags, userData in
      let connection = owner(userData)
      connection.incomingHeaders.append(
        name: UnsafeRawBufferPointer(start: name, count: nameBytes),
        value: UnsafeRawBufferPointer(start: value, count: valueBytes),
        isSensitive: UInt32(flags) & NGHTTP2_NV_FLAG_NO_INDEX.rawValue != 0,
        limits: connection.configuration.limits)
      return 0
    }
    // Without this callback nghttp2 leaves an invalid field out and lets the request pass.
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) {
      _, _, _, _, _, _, _, _ in NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
      _, _, stream, bytes, count, userData in
      owner(userData).dataArrived(stream, UnsafeRawBufferPointer(start: bytes, count: count))
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, userData in
      guard let frame else { return 0 }
      return owner(userData).frameEnded(frame) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) {
      _, stream, code, userData in
      owner(userData).streamEnded(stream, code: HTTP2ErrorCode(code))
      return 0
    }
  }

  private static func setSending(_ callbacks: OpaquePointer?) {
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, userData in
      guard let frame else { return 0 }
      owner(userData).frameSent(frame)
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks) {
      _, frame, code, userData in
      guard let frame else { return 0 }
      owner(userData).frameNotSent(frame, code: code)
      return 0
    }
    // Without this callback frames stay at 16 KiB whatever the peer allows. nghttp2 holds the
    // answer against both windows itself.
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks) {
      _, _, _, _, _, peerFrameBytesMax, userData in
      let own = owner(userData).configuration.frameBytesMax
      return min(own, Int(peerFrameBytesMax))
    }
  }

  static let readData: nghttp2_data_source_read_callback = {
    _, _, target, capacity, flags, source, userData in
    guard let target, let flags, let pointer = source?.pointee.ptr else {
      return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
    }
    let state = Unmanaged<StreamState>.fromOpaque(pointer).takeUnretainedValue()
    return owner(userData).fill(
      state, UnsafeMutableRawPointer(target), capacity: capacity, flags: flags)
  }
}

/// The connection outlives its session, which it frees in `deinit`. A function of the file, for a
/// C callback may not capture even the type it stands in.
private func owner(_ userData: UnsafeMutableRawPointer?) -> HTTP2Connection {
  guard let userData else { preconditionFailure("callback before the session has an owner") }
  return Unmanaged<HTTP2Connection>.fromOpaque(userData).takeUnretainedValue()
}

import COpenSSL

/// One end of one TLS connection, without I/O: ciphertext in, plaintext out, and the other way
/// round.
///
/// The shell's turn, for each read from the socket:
/// 1. `receive(bytes) { $0.read(into: buffer) … }` until a read does not fill its buffer;
/// 2. `takeOutput(into:)` while `pendingOutputBytes` is not zero, also after a failure: the alert;
/// 3. look at `state`.
///
/// A client begins with `advance()`. Plaintext goes out by `write(_:into:)`; several small writes
/// should be gathered first, since each call makes at least one record.
///
/// **Invariant**: no bytes of the other end trap. After `.closed` or `.failed` nothing is read or
/// written.
///
/// **Isolation**: one event loop.
package struct TLSConnection: ~Copyable {
  private let context: TLSContext
  private let peerName: TLSPeerName
  private let memory: ConnectionMemory

  private var connection: OpaquePointer { memory.connection }
  private var pipe: UnsafeMutablePointer<CiphertextPipe> { memory.pipe }

  /// How far it has come.
  package private(set) var state = TLSState.handshaking

  /// Ciphertext that waits for `takeOutput`.
  package var pendingOutputBytes: Int { pipe.pointee.pendingOutputBytes }
  /// Ciphertext that was received and waits for `read`.
  package var pendingInputBytes: Int { pipe.pointee.pendingInputBytes }

  /// **Throws**: `.configuration` for lack of memory.
  package init(server context: TLSContext) throws(TLSError) {
    precondition(context.role == .server, "a client's context")
    memory = try ConnectionMemory(context)
    self.context = context
    peerName = .anyTrusted
    SSL_set_accept_state(memory.connection)
  }

  /// **Throws**: `.configuration` when `name` cannot be a name, or for lack of memory.
  package init(
    client context: TLSContext, expecting name: TLSPeerName, resuming session: TLSSession? = nil
  ) throws(TLSError) {
    precondition(context.role == .client, "a server's context")
    let memory = try ConnectionMemory(context)
    SSL_set_connect_state(memory.connection)
    try memory.expect(name)
    if let session, session.context === context, session.peerName == name {
      memory.resume(session)
    }
    self.memory = memory
    self.context = context
    peerName = name
  }
}

/// Owns what OpenSSL allocates for a connection and the pipe that it works on.
private struct ConnectionMemory: ~Copyable {
  let connection: OpaquePointer
  let pipe: UnsafeMutablePointer<CiphertextPipe>

  init(_ context: TLSContext) throws(TLSError) {
    ERR_clear_error()
    guard let connection = SSL_new(context.handle) else {
      throw .configurationFailure("connection")
    }
    let pipe = UnsafeMutablePointer<CiphertextPipe>.allocate(capacity: 1)
    pipe.initialize(to: CiphertextPipe())
    self.connection = connection
    self.pipe = pipe
    guard let bio = CiphertextPipe.makeBIO(over: pipe) else {
      preconditionFailure("no memory for a BIO")
    }
    SSL_set_bio(connection, bio, bio)
  }

  deinit {
    SSL_free(connection)
    pipe.deinitialize(count: 1)
    pipe.deallocate()
  }

  /// With a copy: a connection that ends without `close_notify` marks its session as spent, which
  /// it is not (RFC 8446 dropped that rule), and other threads may be reading the original.
  func resume(_ session: TLSSession) {
    guard let copy = SSL_SESSION_dup(session.handle) else { return }
    SSL_set_session(connection, copy)
    SSL_SESSION_free(copy)
  }

  func expect(_ name: TLSPeerName) throws(TLSError) {
    switch name {
    case .name(let host):
      guard !host.isEmpty, !host.utf8.contains(0) else { throw .configuration("empty peer name") }
      let flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
      SSL_set_hostflags(connection, UInt32(flags))
      // Not `SSL_set1_host`, which would take a text like "127.0.0.1" for an address.
      guard X509_VERIFY_PARAM_set1_host(SSL_get0_param(connection), host, host.utf8.count) == 1,
        shim_SSL_set_tlsext_host_name(connection, host) == 1
      else { throw .configurationFailure("peer name \(host)") }
    case .address(let text):
      guard X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(connection), text) == 1 else {
        throw .configuration("peer address \(text)")
      }
    case .anyTrusted:
      break
    }
  }
}

// MARK: - From the other end

extension TLSConnection {
  /// Goes on with the handshake as far as the received bytes allow. `read` does so too.
  package mutating func advance() {
    guard state == .handshaking else { return }
    ERR_clear_error()
    let result = SSL_do_handshake(connection)
    if result == 1 {
      state = .established(TLSPeer(of: connection))
      return
    }
    switch SSL_get_error(connection, result) {
    case SSL_ERROR_WANT_READ: break
    case SSL_ERROR_ZERO_RETURN: end(.failed(.closedInHandshake))
    default: end(.failed(isAtEnd ? .closedInHandshake : .connectionFailure(connection)))
    }
  }

  /// Offers ciphertext without copying it: `body` reads from it. What `body` leaves is copied and
  /// kept.
  package mutating func receive<Result>(
    _ ciphertext: UnsafeRawBufferPointer, _ body: (inout TLSConnection) -> Result
  ) -> Result {
    precondition(pipe.pointee.offered.isEmpty, "receive within receive")
    if isOpen { pipe.pointee.offered = ciphertext }
    let result = body(&self)
    if isOpen { pipe.pointee.carryOffered() } else { pipe.pointee.dropInput() }
    if pipe.pointee.pendingInputBytes > TLSLimits.pendingInputBytesMax {
      end(.failed(.inputOverflow))
    }
    return result
  }

  /// Copies ciphertext, to be read later.
  package mutating func receive(_ ciphertext: UnsafeRawBufferPointer) {
    receive(ciphertext) { _ in }
  }

  /// The other end's stream is over. Without its `close_notify` before, the state becomes
  /// `.closed(clean: false)` as soon as everything received is read.
  package mutating func receiveEnd() {
    guard isOpen else { return }
    pipe.pointee.isEnded = true
    if state == .handshaking { return advance() }
    if SSL_pending(connection) == 0, pendingInputBytes == 0 { end(.closed(clean: false)) }
  }

  /// Decrypts into `plaintext`, after going on with the handshake when that is not done.
  ///
  /// **Returns**: how many bytes. Fewer than `plaintext.count` means that everything received is
  /// used up or that `state` has changed; they are genuine in either case.
  package mutating func read(into plaintext: UnsafeMutableRawBufferPointer) -> Int {
    advance()
    guard case .established = state, let base = plaintext.baseAddress else { return 0 }
    var filled = 0
    while filled < plaintext.count {
      var count = 0
      ERR_clear_error()
      let result = SSL_read_ex(connection, base + filled, plaintext.count - filled, &count)
      if result == 1 {
        filled += count
        continue
      }
      switch SSL_get_error(connection, result) {
      case SSL_ERROR_WANT_READ: break
      case SSL_ERROR_ZERO_RETURN: close()
      default:
        end(isAtEnd ? .closed(clean: false) : .failed(.connectionFailure(connection)))
      }
      break
    }
    return filled
  }

  private var isOpen: Bool {
    switch state {
    case .handshaking, .established: true
    case .closed, .failed: false
    }
  }

  /// Whether the last call failed because the stream ended, perhaps inside a record.
  private var isAtEnd: Bool {
    guard pipe.pointee.isEnded, pendingInputBytes == 0 else { return false }
    let code = ERR_peek_error()
    return code == 0 || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING
  }

  private mutating func end(_ final: TLSState) {
    state = final
    pipe.pointee.dropInput()
  }
}

// MARK: - To the other end

extension TLSConnection {
  /// The ciphertext that `plaintextBytes` take at most: what `write(_:into:)` should be lent.
  package static func ciphertextBytesMax(plaintextBytes: Int) -> Int {
    let fullBytes = TLSLimits.recordPlaintextBytesMax
    let recordCount = (plaintextBytes + fullBytes - 1) / fullBytes
    return plaintextBytes + recordCount * TLSLimits.recordOverheadBytesMax
  }

  /// Encrypts straight into `ciphertext`, after what waited. It stops after the first record that
  /// does not fit; the rest of that record waits for `takeOutput` or for the next call.
  ///
  /// **Returns**: the plaintext accepted (none before the handshake is done and after the end) and
  /// the ciphertext written.
  package mutating func write(
    _ plaintext: UnsafeRawBufferPointer, into ciphertext: UnsafeMutableRawBufferPointer
  ) -> (plaintextBytes: Int, ciphertextBytes: Int) {
    pipe.pointee.lend(ciphertext)
    let accepted = write(plaintext, whilePendingBelow: 1)
    return (accepted, pipe.pointee.endLending())
  }

  /// Encrypts into the connection's own memory, from where `takeOutput` gets it.
  ///
  /// **Returns**: the plaintext accepted: less than all when `TLSLimits.pendingOutputBytesMax`
  /// wait.
  package mutating func write(_ plaintext: UnsafeRawBufferPointer) -> Int {
    write(plaintext, whilePendingBelow: TLSLimits.pendingOutputBytesMax)
  }

  private mutating func write(
    _ plaintext: UnsafeRawBufferPointer, whilePendingBelow limitBytes: Int
  ) -> Int {
    guard case .established = state, let base = plaintext.baseAddress else { return 0 }
    var accepted = 0
    while accepted < plaintext.count, pendingOutputBytes < limitBytes {
      let recordBytes = min(plaintext.count - accepted, TLSLimits.recordPlaintextBytesMax)
      var count = 0
      ERR_clear_error()
      guard SSL_write_ex(connection, base + accepted, recordBytes, &count) == 1 else {
        end(.failed(.connectionFailure(connection)))
        break
      }
      accepted += count
    }
    return accepted
  }

  /// Moves waiting ciphertext out. **Returns**: how many bytes.
  package mutating func takeOutput(into ciphertext: UnsafeMutableRawBufferPointer) -> Int {
    pipe.pointee.take(into: ciphertext)
  }

  /// Says that nothing more follows (`close_notify`, in the output) and reads nothing more.
  package mutating func close() {
    switch state {
    case .established:
      ERR_clear_error()
      _ = SSL_shutdown(connection)
      end(.closed(clean: true))
    case .handshaking:
      end(.closed(clean: false))
    case .closed, .failed:
      break
    }
  }

  /// A client's session for its next connection; the server's ticket usually arrives with the
  /// first data.
  ///
  /// **Returns**: `nil` when the server gave none that could be used.
  package mutating func session() -> TLSSession? {
    guard context.role == .client, case .established = state,
      let own = SSL_get_session(connection), SSL_SESSION_is_resumable(own) == 1,
      let copy = SSL_SESSION_dup(own)
    else { return nil }
    return TLSSession(owning: copy, context: context, peerName: peerName)
  }
}

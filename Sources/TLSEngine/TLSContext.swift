import COpenSSL

/// What many connections share: certificate, key, trust, policy. Certificates are reloaded by
/// making a new context and using it for new connections; the old one lives as long as its
/// connections.
///
/// **Isolation**: any thread; connections of several event loops share one.
package final class TLSContext: @unchecked Sendable {
  // Safety: `handle` is configured in `init` and only read afterwards; OpenSSL counts its
  // references and locks its own caches. `alpn` is written in `init` only.

  package let role: TLSRole
  let handle: OpaquePointer
  /// The protocols in wire form, where the selection callback finds them.
  private let alpn: UnsafeMutablePointer<[UInt8]>

  private static let cipherList12 = """
    ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
    """
  private static let cipherSuites13 =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
  private static let groups = "X25519:P-256"
  private static let sessionContext: [UInt8] = Array("martlet".utf8)

  /// **Throws**: `.configuration` with the file or setting and the reason.
  package init(configuration: TLSConfiguration) throws(TLSError) {
    let wire = try Self.wireForm(configuration.alpnProtocols)
    ERR_clear_error()
    let method = configuration.role == .server ? TLS_server_method() : TLS_client_method()
    guard let made = SSL_CTX_new(method) else { throw .configurationFailure("context") }
    handle = made
    role = configuration.role
    alpn = .allocate(capacity: 1)
    alpn.initialize(to: wire)
    // From here on every property is set, so a throw runs `deinit`.
    try setPolicy(configuration)
    try setIdentity(configuration)
    try setTrust(configuration)
    setProtocols()
    try setResumption(configuration)
  }

  deinit {
    SSL_CTX_free(handle)
    alpn.deinitialize(count: 1)
    alpn.deallocate()
  }

  /// The DNS names of this side's own certificate; none without a certificate.
  package var dnsNames: [String] {
    SSL_CTX_get0_certificate(handle).map(TLSPeer.dnsNames) ?? []
  }

  private func check(_ result: Int32, _ what: String) throws(TLSError) {
    guard result == 1 else { throw .configurationFailure(what) }
  }

  private func setPolicy(_ configuration: TLSConfiguration) throws(TLSError) {
    let (minimum, maximum) = (configuration.minimumVersion, configuration.maximumVersion)
    guard minimum <= maximum else { throw .configuration("no version between the two bounds") }
    try check(shim_SSL_CTX_set_min_proto_version(handle, minimum.number), "minimum version")
    try check(shim_SSL_CTX_set_max_proto_version(handle, maximum.number), "maximum version")
    try check(SSL_CTX_set_cipher_list(handle, Self.cipherList12), "TLS 1.2 ciphers")
    try check(SSL_CTX_set_ciphersuites(handle, Self.cipherSuites13), "TLS 1.3 ciphers")
    try check(shim_SSL_CTX_set1_groups_list(handle, Self.groups), "groups")
    try check(SSL_CTX_set_max_early_data(handle, 0), "early data")
    shim_SSL_CTX_harden(handle)
    let mode = SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
    _ = shim_SSL_CTX_set_mode(handle, Int(mode))
    _ = shim_SSL_CTX_set_max_cert_list(handle, TLSLimits.peerChainBytesMax)
  }

  private func setIdentity(_ configuration: TLSConfiguration) throws(TLSError) {
    // An encrypted key would otherwise make OpenSSL ask for its password on the terminal.
    SSL_CTX_set_default_passwd_cb(handle) { _, _, _, _ in -1 }
    switch (configuration.certificateChainFile, configuration.privateKeyFile) {
    case (let chain?, let key?):
      try check(SSL_CTX_use_certificate_chain_file(handle, chain), "certificate \(chain)")
      try check(SSL_CTX_use_PrivateKey_file(handle, key, SSL_FILETYPE_PEM), "private key \(key)")
      try check(SSL_CTX_check_private_key(handle), "private key \(key)")
    case (nil, nil):
      guard role == .client else { throw .configuration("a server needs a certificate") }
    default:
      throw .configuration("a certificate and its private key go together")
    }
  }

  private func setTrust(_ configuration: TLSConfiguration) throws(TLSError) {
    let looksAtPeer = role == .client || configuration.clientCertificate != .none
    if let roots = configuration.trustRootsFile {
      try check(SSL_CTX_load_verify_file(handle, roots), "trust roots \(roots)")
      if role == .server, looksAtPeer {
        guard let names = SSL_load_client_CA_file(roots) else {
          throw .configurationFailure("trust roots \(roots)")
        }
        SSL_CTX_set_client_CA_list(handle, names)
      }
    } else if role == .client {
      try check(SSL_CTX_set_default_verify_paths(handle), "system trust roots")
    } else if looksAtPeer {
      throw .configuration("a server that looks at client certificates needs trust roots")
    }
    if let file = configuration.revocationListFile { try setRevocationList(file) }

    var verify = looksAtPeer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE
    if role == .server, configuration.clientCertificate == .required {
      verify |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT
    }
    SSL_CTX_set_verify(handle, verify, nil)
    SSL_CTX_set_verify_depth(handle, Int32(TLSLimits.peerChainDepthMax))
  }

  private func setRevocationList(_ file: String) throws(TLSError) {
    guard let store = SSL_CTX_get_cert_store(handle),
      let lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file()),
      X509_load_crl_file(lookup, file, X509_FILETYPE_PEM) > 0
    else { throw .configurationFailure("revocation list \(file)") }
    try check(X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK)), "revocation list")
  }

  private func setResumption(_ configuration: TLSConfiguration) throws(TLSError) {
    _ = shim_SSL_CTX_set_session_cache_mode(handle, Int(SSL_SESS_CACHE_OFF))
    SSL_CTX_set_timeout(handle, TLSLimits.sessionLifetimeSeconds)
    guard role == .server else { return }
    let name = Self.sessionContext
    try check(SSL_CTX_set_session_id_context(handle, name, UInt32(name.count)), "session context")
    guard configuration.clientCertificate == .none else {
      shim_SSL_CTX_forbid_tickets(handle)
      return
    }
    try check(SSL_CTX_set_num_tickets(handle, 1), "tickets")
    if let keys = configuration.sessionTicketKeys {
      guard keys.count == 80 else { throw .configuration("session ticket keys are 80 bytes") }
      try check(shim_SSL_CTX_set_tlsext_ticket_keys(handle, keys, keys.count), "ticket keys")
    }
  }
}

extension TLSVersion {
  fileprivate var number: Int32 { self == .tls13 ? TLS1_3_VERSION : TLS1_2_VERSION }
}

// MARK: - ALPN

extension TLSContext {
  /// **Shape**: for each protocol one byte of length and its name (RFC 7301, section 3.1).
  private static func wireForm(_ protocols: [String]) throws(TLSError) -> [UInt8] {
    var wire: [UInt8] = []
    for name in protocols {
      guard let count = UInt8(exactly: name.utf8.count), count > 0 else {
        throw .configuration("an ALPN protocol's name has 1 to 255 bytes")
      }
      wire.append(count)
      wire.append(contentsOf: name.utf8)
    }
    return wire
  }

  private func setProtocols() {
    let wire = alpn.pointee
    guard !wire.isEmpty else { return }
    if role == .client {
      // The only call of OpenSSL here that answers 0 for success; it fails for lack of memory
      // alone.
      precondition(SSL_CTX_set_alpn_protos(handle, wire, UInt32(wire.count)) == 0, "ALPN list")
      return
    }
    SSL_CTX_set_alpn_select_cb(
      handle,
      { _, chosen, chosenCount, offered, offeredCount, argument in
        guard let argument, let offered, let chosen, let chosenCount else {
          return SSL_TLSEXT_ERR_ALERT_FATAL
        }
        let own = argument.assumingMemoryBound(to: [UInt8].self).pointee
        let theirs = UnsafeBufferPointer(start: offered, count: Int(offeredCount))
        guard let match = TLSContext.select(own: own, offered: theirs) else {
          return SSL_TLSEXT_ERR_ALERT_FATAL
        }
        chosen.pointee = offered + match.lowerBound
        chosenCount.pointee = UInt8(match.count)
        return SSL_TLSEXT_ERR_OK
      }, UnsafeMutableRawPointer(alpn))
  }

  /// **Returns**: where in `offered` the first of `own` that is offered lies; `nil` when none is,
  /// or when `offered` is not well formed.
  static func select(own: [UInt8], offered: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
    var ownIndex = 0
    while ownIndex < own.count {
      let name = own[(ownIndex + 1)...].prefix(Int(own[ownIndex]))
      var index = 0
      while index < offered.count {
        let range = (index + 1)..<(index + 1 + Int(offered[index]))
        guard range.upperBound <= offered.count else { return nil }
        if offered[range].elementsEqual(name) { return range }
        index = range.upperBound
      }
      ownIndex += 1 + name.count
    }
    return nil
  }
}

import COpenSSL

/// Where a connection stands.
///
/// ```
/// handshaking ──► established ──► closed(clean)
///      └───────────────┴────────► failed
/// ```
package enum TLSState: Hashable, Sendable {
  case handshaking
  case established(TLSPeer)
  /// `clean`: one of the ends said that nothing more follows. Otherwise the stream ended without a
  /// `close_notify`, and what was read may be cut short by somebody in between.
  case closed(clean: Bool)
  case failed(TLSError)
}

/// What the handshake agreed on and whom it found.
package struct TLSPeer: Hashable, Sendable {
  package let version: TLSVersion
  /// `nil` when one of the ends named no protocols.
  package let alpn: String?
  /// Whether a session ticket took the place of the certificates.
  package let isResumed: Bool
  /// From a verified certificate; `nil` when the other end showed none.
  package let commonName: String?
  /// The DNS names (node ids are such) of a verified certificate.
  package let dnsNames: [String]
}

extension TLSPeer {
  init(of connection: OpaquePointer) {
    version = SSL_version(connection) == TLS1_3_VERSION ? .tls13 : .tls12
    isResumed = SSL_session_reused(connection) == 1
    var name: UnsafePointer<UInt8>?
    var count: UInt32 = 0
    SSL_get0_alpn_selected(connection, &name, &count)
    let selected = UnsafeBufferPointer(start: name, count: Int(count))
    alpn = selected.isEmpty ? nil : String(validating: selected, as: UTF8.self)
    guard let certificate = SSL_get0_peer_certificate(connection) else {
      commonName = nil
      dnsNames = []
      return
    }
    commonName = Self.commonName(of: certificate)
    dnsNames = Self.dnsNames(of: certificate)
  }

  private static func commonName(of certificate: OpaquePointer) -> String? {
    guard let subject = X509_get_subject_name(certificate) else { return nil }
    let index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
    guard index >= 0, let entry = X509_NAME_get_entry(subject, index),
      let data = X509_NAME_ENTRY_get_data(entry)
    else { return nil }
    var bytes: UnsafeMutablePointer<UInt8>?
    let count = ASN1_STRING_to_UTF8(&bytes, data)
    guard count >= 0, let bytes else { return nil }
    defer { shim_OPENSSL_free(bytes) }
    return text(UnsafeBufferPointer(start: bytes, count: Int(count)))
  }

  static func dnsNames(of certificate: OpaquePointer) -> [String] {
    guard let raw = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else { return [] }
    let names = OpaquePointer(raw)
    defer { GENERAL_NAMES_free(names) }
    return (0..<max(0, shim_sk_GENERAL_NAME_num(names))).compactMap { index in
      var kind: Int32 = 0
      guard let name = shim_sk_GENERAL_NAME_value(names, index),
        let value = GENERAL_NAME_get0_value(name, &kind), kind == GEN_DNS
      else { return nil }
      let string = value.assumingMemoryBound(to: ASN1_STRING.self)
      let count = Int(ASN1_STRING_length(string))
      return text(UnsafeBufferPointer(start: ASN1_STRING_get0_data(string), count: count))
    }
  }

  /// A name with a NUL in it is how one pretends to be somebody else to code that stops there.
  private static func text(_ bytes: UnsafeBufferPointer<UInt8>) -> String? {
    guard !bytes.contains(0) else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }
}

/// What a client needs to skip the certificates on its next connection to the same peer.
package final class TLSSession: @unchecked Sendable {
  // Safety: `handle` is a copy of its own that is only ever copied from.

  let handle: OpaquePointer
  /// A session is good only for what was verified when it began: this trust and this name.
  let context: TLSContext
  let peerName: TLSPeerName

  init(owning handle: OpaquePointer, context: TLSContext, peerName: TLSPeerName) {
    self.handle = handle
    self.context = context
    self.peerName = peerName
  }

  deinit { SSL_SESSION_free(handle) }
}

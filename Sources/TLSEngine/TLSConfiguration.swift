/// Which end of a connection a context makes.
package enum TLSRole: Hashable, Sendable { case client, server }

/// A protocol version that this project speaks. Older ones are never offered or accepted.
package enum TLSVersion: Hashable, Comparable, CaseIterable, Sendable { case tls12, tls13 }

/// What a server asks of its clients.
package enum TLSClientCertificate: Hashable, Sendable {
  /// Not asked for.
  case none
  /// Asked for; one that is shown must be valid.
  case optional
  /// A handshake without a valid one fails.
  case required
}

/// Whom a client accepts at the other end. The chain is verified in every case.
package enum TLSPeerName: Hashable, Sendable {
  /// A DNS name or a node id among the certificate's DNS names. It is also sent as SNI.
  case name(String)
  /// An IPv4 or IPv6 address in text form among the certificate's addresses.
  case address(String)
  /// Any certificate of a trusted root: for a client that learns from the answer whom it reached
  /// and compares `TLSPeer.dnsNames` itself.
  case anyTrusted
}

/// What a `TLSContext` is made of. Files are PEM and are read once, when the context is made.
package struct TLSConfiguration: Hashable, Sendable {
  package var role: TLSRole
  /// The own certificate, followed by its intermediates. A server must have one.
  package var certificateChainFile: String?
  /// The key of the first certificate in `certificateChainFile`, not encrypted.
  package var privateKeyFile: String?
  /// The certificates that the other end's chain must lead to. `nil` means the system's for a
  /// client; a server that looks at client certificates must name its own.
  package var trustRootsFile: String?
  package var clientCertificate: TLSClientCertificate
  /// In order of preference. When both ends name some and none is common, the handshake fails.
  package var alpnProtocols: [String]
  package var minimumVersion: TLSVersion
  package var maximumVersion: TLSVersion
  /// Encrypts session tickets, so that one gateway's tickets are good at the others. `nil` means
  /// random ones of this context. Not used by servers that look at client certificates: they give
  /// no tickets, so that a revoked certificate cannot come back through one.
  ///
  /// **Shape**: 80 random bytes (key name 16, HMAC key 32, AES key 32).
  package var sessionTicketKeys: [UInt8]?
  /// Revocation lists of the issuers. With one, a leaf certificate whose issuer's list is missing
  /// or out of date is refused. Intermediates are not looked up.
  package var revocationListFile: String?

  package init(
    role: TLSRole, certificateChainFile: String? = nil, privateKeyFile: String? = nil,
    trustRootsFile: String? = nil, clientCertificate: TLSClientCertificate = .none,
    alpnProtocols: [String] = [], minimumVersion: TLSVersion = .tls12,
    maximumVersion: TLSVersion = .tls13, sessionTicketKeys: [UInt8]? = nil,
    revocationListFile: String? = nil
  ) {
    self.role = role
    self.certificateChainFile = certificateChainFile
    self.privateKeyFile = privateKeyFile
    self.trustRootsFile = trustRootsFile
    self.clientCertificate = clientCertificate
    self.alpnProtocols = alpnProtocols
    self.minimumVersion = minimumVersion
    self.maximumVersion = maximumVersion
    self.sessionTicketKeys = sessionTicketKeys
    self.revocationListFile = revocationListFile
  }
}

/// The bounds of one connection. A peer's handshake time is bounded by the shell.
package enum TLSLimits {
  /// Plaintext in one record (RFC 8446, section 5.1).
  package static let recordPlaintextBytesMax = 16_384
  /// What a record adds to its plaintext: header 5, TLS 1.2 nonce 8 or TLS 1.3 type 1, tag 16.
  package static let recordOverheadBytesMax = 29
  /// Ciphertext received and not yet decrypted. Beyond, the connection fails: the shell has gone
  /// on reading from the socket without taking the plaintext.
  package static let pendingInputBytesMax = 1_048_576
  /// Ciphertext made and not yet taken, beyond which `write` accepts no more plaintext.
  package static let pendingOutputBytesMax = 262_144
  /// A certificate chain shown by the other end.
  package static let peerChainBytesMax = 65_536
  /// Certificates between a leaf and its root.
  package static let peerChainDepthMax = 6
  /// How long a session ticket may be used.
  package static let sessionLifetimeSeconds = 3_600
}

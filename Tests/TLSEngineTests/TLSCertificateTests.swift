import TLSEngine
import Testing

@Suite struct TLSCertificateTests {
  private typealias Kind = TestCertificates.Kind

  @Test("Mutual TLS tells each end who the other is", arguments: TLSVersion.allCases)
  func mutual(version: TLSVersion) throws {
    var server = TLSConfiguration.server(clients: .required)
    server.maximumVersion = version
    var link = try TLSLink(.client(.client), server)
    link.settle()
    #expect(link.client.peer?.version == version)
    #expect(link.client.peer?.commonName == "good")
    #expect(link.server.peer?.commonName == "client")
    #expect(link.server.peer?.dnsNames.contains("0h5s7zq2m9c4v") == true)
  }

  @Test(
    "A server's certificate is accepted for its name, node id and address",
    arguments: [
      TLSPeerName.name("node1.test"), .name("NODE1.test"), .name("0h5s7zq2m9c4v"),
      .address("127.0.0.1"), .anyTrusted,
    ])
  func names(name: TLSPeerName) throws {
    var link = try TLSLink(.client(), .server(), expecting: name)
    link.settle()
    #expect(link.client.peer != nil)
  }

  @Test(
    "A server with a bad certificate is refused by the client, which says why",
    arguments: [
      (TestCertificates.Kind.expired, "certificate has expired"),
      (.wrongCA, "unable to get local issuer certificate"),
      (.wrongName, "hostname mismatch"),
      (.revoked, "certificate revoked"),
      (.selfSigned, "self-signed certificate"),
    ])
  func badServer(kind: TestCertificates.Kind, reason: String) throws {
    var link = try TLSLink(.client(), .server(kind))
    link.settle()
    #expect(link.client.failure == .certificateRefused(reason))
    guard case .refusedByPeer = link.server.failure else {
      Issue.record("server: \(link.server.state)")
      return
    }
  }

  @Test(
    "The common name is no name, and another address or an address as a name is refused",
    arguments: [
      (TLSPeerName.name("good"), "hostname mismatch"), (.name("127.0.0.1"), "hostname mismatch"),
      (.name("sub.node1.test"), "hostname mismatch"),
      (.address("127.0.0.2"), "IP address mismatch"), (.address("::1"), "IP address mismatch"),
    ])
  func wrongNames(name: TLSPeerName, reason: String) throws {
    var link = try TLSLink(.client(), .server(), expecting: name)
    link.settle()
    #expect(link.client.failure == .certificateRefused(reason))
  }

  @Test(
    "A client with a bad certificate is refused by a server that asks for one",
    arguments: TLSVersion.allCases,
    [
      (TestCertificates.Kind.expired, "certificate has expired"),
      (.wrongCA, "unable to get local issuer certificate"),
      (.revoked, "certificate revoked"),
      (.selfSigned, "self-signed certificate"),
    ])
  func badClient(version: TLSVersion, bad: (kind: TestCertificates.Kind, reason: String)) throws {
    for clients in [TLSClientCertificate.optional, .required] {
      var server = TLSConfiguration.server(clients: clients)
      server.maximumVersion = version
      var link = try TLSLink(.client(bad.kind), server)
      link.settle()
      #expect(link.server.failure == .certificateRefused(bad.reason))
      guard case .refusedByPeer = link.client.failure else {
        Issue.record("client: \(link.client.state)")
        return
      }
    }
  }

  @Test("A client without a certificate is refused where one is required, and only there")
  func noClientCertificate() throws {
    var link = try TLSLink(.client(), .server(clients: .required))
    link.settle()
    #expect(link.server.failure == .certificateRefused("peer did not return a certificate"))
    guard case .refusedByPeer = link.client.failure else {
      Issue.record("client: \(link.client.state)")
      return
    }
    var optional = try TLSLink(.client(), .server(clients: .optional))
    optional.settle()
    #expect(optional.server.peer != nil)
    #expect(optional.server.peer?.commonName == nil)
  }

  /// A TLS 1.2 ClientHello by hand, with one suite and the groups and signatures that it needs.
  private func hello(version: UInt8, suite: [UInt8]) -> [UInt8] {
    let extensions: [UInt8] = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3]
    var body: [UInt8] = [3, version] + [UInt8](repeating: 5, count: 32) + [0, 0, 2] + suite
    body += [1, 0, 0, UInt8(extensions.count)] + extensions
    let message: [UInt8] = [1, 0, 0, UInt8(body.count)] + body
    return [22, 3, 1, 0, UInt8(message.count)] + message
  }

  private func answer(
    _ hello: [UInt8], minimum: TLSVersion = .tls12
  ) throws -> (failure: TLSError?, bytes: [UInt8]) {
    var configuration = TLSConfiguration.server()
    configuration.minimumVersion = minimum
    var server = try TLSConnection(server: try TLSContext(configuration: configuration))
    var received: [UInt8] = []
    server.feed(hello, .max, into: &received)
    return (server.failure, server.takeAll())
  }

  @Test("TLS 1.2 goes on with an AEAD suite over ECDHE and with no other")
  func suites() throws {
    let ecdheGCM: [UInt8] = [0xc0, 0x2b]
    let accepted = try answer(hello(version: 3, suite: ecdheGCM))
    #expect(accepted.failure == nil && accepted.bytes.count > 300)
    // ECDHE with CBC, RSA key exchange with GCM, CCM_8.
    for suite: [UInt8] in [[0xc0, 0x09], [0xc0, 0x23], [0x00, 0x9c], [0xc0, 0xae]] {
      let refused = try answer(hello(version: 3, suite: suite))
      #expect(refused.failure == .protocolViolation("no shared cipher"))
    }
  }

  @Test("Older versions are refused with an alert")
  func oldVersions() throws {
    for (version, minimum) in [(UInt8(1), TLSVersion.tls12), (2, .tls12), (3, .tls13)] {
      let refused = try answer(hello(version: version, suite: [0xc0, 0x2b]), minimum: minimum)
      #expect(refused.failure == .protocolViolation("unsupported protocol"))
      #expect(refused.bytes.count == 7 && refused.bytes.first == 21)
    }
  }
}

@Suite struct TLSSessionTests {
  private static let keys = (0..<80).map { UInt8($0) }

  private func server(keys: [UInt8]?, clients: TLSClientCertificate = .none) throws -> TLSContext {
    var configuration = TLSConfiguration.server(clients: clients)
    configuration.sessionTicketKeys = keys
    return try TLSContext(configuration: configuration)
  }

  private func connect(
    _ client: TLSContext, _ server: TLSContext, resuming session: TLSSession?,
    expecting name: String = TestCertificates.serverName
  ) throws -> (isResumed: Bool?, session: TLSSession?) {
    var link = TLSLink(
      client: try TLSConnection(client: client, expecting: .name(name), resuming: session),
      server: try TLSConnection(server: server))
    link.settle()
    #expect(link.client.peer?.isResumed == link.server.peer?.isResumed)
    return (link.server.peer?.isResumed, link.client.session())
  }

  @Test(
    "A ticket of one gateway is good at another with the same keys, and at no other",
    arguments: TLSVersion.allCases)
  func sharedTickets(version: TLSVersion) throws {
    var configuration = TLSConfiguration.client()
    configuration.maximumVersion = version
    let client = try TLSContext(configuration: configuration)
    let first = try connect(client, try server(keys: Self.keys), resuming: nil)
    #expect(first.isResumed == false)
    let session = try #require(first.session)
    #expect(try connect(client, try server(keys: Self.keys), resuming: session).isResumed == true)
    #expect(try connect(client, try server(keys: nil), resuming: session).isResumed == false)
    let others = Array(Self.keys.reversed())
    #expect(try connect(client, try server(keys: others), resuming: session).isResumed == false)
  }

  @Test("A session is not used for another name or by another context")
  func boundSessions() throws {
    let client = try TLSContext(configuration: .client())
    let server = try server(keys: Self.keys)
    let session = try #require(try connect(client, server, resuming: nil).session)
    let otherName = try connect(client, server, resuming: session, expecting: "0h5s7zq2m9c4v")
    #expect(otherName.isResumed == false)
    let otherClient = try TLSContext(configuration: .client())
    #expect(try connect(otherClient, server, resuming: session).isResumed == false)
  }

  @Test("A server that looks at client certificates gives no tickets")
  func noTicketsWithCertificates() throws {
    let client = try TLSContext(configuration: .client(.client))
    let server = try server(keys: Self.keys, clients: .required)
    let first = try connect(client, server, resuming: nil)
    #expect(first.isResumed == false)
    #expect(first.session == nil)
  }
}

import MartletClient

/// Makes accounts and connects people to a cluster.
struct People: Sendable {
  static let password = "correct horse"
  /// A client chooses its first gateway by lot.
  private static let drawsMax = 50

  /// Where a cluster is reached, and whose certificates it shows.
  struct Addresses: Sendable {
    /// URLs of the gateways in plain text.
    let plain: [String]
    /// The same with TLS, in the same order.
    let secure: [String]
    let authority: String
  }

  private let gateways: [String]
  let configuration: ClientConfiguration

  init(_ layout: ClusterLayout) { self.init(layout.addresses) }

  init(_ addresses: Addresses) {
    gateways = addresses.plain
    var configuration = ClientConfiguration()
    configuration.trustRootsFile = addresses.authority
    // A fault takes seconds; what is sent during it must outlive it, and not wait long after it.
    configuration.callTimeoutMilliseconds = 60_000
    configuration.backoffMaxMilliseconds = 500
    self.configuration = configuration
  }

  /// Makes an account and logs in.
  func join(_ handle: String) async throws -> Credentials {
    _ = try await MartletClient.register(
      gateways: gateways, handle: handle, password: Self.password, configuration: configuration)
    return try await MartletClient.login(
      gateways: gateways, handle: handle, password: Self.password, device: "test",
      configuration: configuration)
  }

  /// Connects.
  ///
  /// - Parameter first: where the connection shall be at first.
  /// - Parameter wantsEvents: false for somebody who does not read them.
  func connect(
    _ credentials: Credentials, to gateways: [String], first: String? = nil,
    wantsEvents: Bool = true
  ) async throws -> MartletClient {
    var configuration = configuration
    configuration.wantsEvents = wantsEvents
    for _ in 0..<Self.drawsMax {
      let client = try MartletClient(
        gateways: gateways, credentials: credentials, configuration: configuration)
      try await client.connect()
      guard let first else { return client }
      var states = client.states.makeAsyncIterator()
      if await states.next() == .connected(gateway: first) { return client }
      client.close()
    }
    throw ClusterFailure("no connection to \(first ?? "a gateway") in \(Self.drawsMax) draws")
  }
}

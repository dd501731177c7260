import LoadDrivers
import LoadModel
import NIOCore
import NIOPosix
import NIOSSL

/// Opens the connections of a worker's sessions.
struct SessionConnector: Sendable {
  /// Connections that are being made at a time.
  static let handshakesMax = 128
  private static let connectTimeout = TimeAmount.seconds(10)

  private let plan: WorkerPlan
  private let loop: any EventLoop
  private let tls: NIOSSLContext?

  /// **Throws**: `LoadError` when TLS cannot be set up.
  init(_ plan: WorkerPlan, _ loop: any EventLoop) throws {
    self.plan = plan
    self.loop = loop
    guard plan.seats.contains(where: { $0.endpoints.contains { $0.isTLS } }) else {
      tls = nil
      return
    }
    // What is measured is the server; whose it is, the engineer knows who named it.
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.certificateVerification = .none
    configuration.minimumTLSVersion = .tlsv13
    do { tls = try NIOSSLContext(configuration: configuration) } catch {
      throw LoadError("TLS cannot be set up: \(error)")
    }
  }

  /// **Throws**: `LoadError` that names the endpoint.
  func connect(_ session: LoadSession) async throws {
    do { try await loop.flatSubmit { channel(session) }.get() } catch {
      let endpoint = session.seat.endpoints.first?.description ?? "nowhere"
      throw LoadError("\(endpoint) cannot be reached: \(error)")
    }
  }

  /// For a session that had a connection: what fails is told to it, and it tries again.
  func begin(_ session: LoadSession) {
    channel(session).whenFailure { session.connectionEnded(nil, why: "\($0)") }
  }

  private func channel(_ session: LoadSession) -> EventLoopFuture<Void> {
    let endpoint = session.endpoint
    return ClientBootstrap(group: loop)
      .connectTimeout(Self.connectTimeout)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if endpoint.isTLS, let tls {
            try channel.pipeline.syncOperations.addHandler(
              NIOSSLClientHandler(context: tls, serverHostname: nil))
          }
          let handler = SessionHandler(
            session, makeMachine(session.seat, plan.names, host: endpoint.description))
          session.connecting(handler)
          try channel.pipeline.syncOperations.addHandler(handler)
        }
      }
      .connect(host: endpoint.host, port: endpoint.port)
      .map { _ in }
  }
}

package import ClusterModel
package import NIOCore
import NIOPosix
package import NodeProtocol
import Primitives
import SocketErrors
package import TLSEngine

/// Why a link could not be made.
package enum LinkDialFailure: Error, Hashable, Sendable {
  /// The host answered that nobody listens there: the peer's process is gone.
  case refused
  /// Nothing is known about the peer's process: unreachable, too slow, reset, TLS failed.
  case failed(String)
  /// Somebody answered who is not a peer, or who does not take this side for one.
  case rejected(LinkRefusal)
}

/// Makes links to other nodes. When to try again is the caller's decision.
package enum LinkDialer {
  /// Connects and exchanges hellos.
  ///
  /// - Parameter tls: a client's context with the node's certificate and ALPN `h2`, or `nil` for
  ///   plain text.
  /// - Parameter completion: called once, on `eventLoop`. The link is open then; its closures are
  ///   to be set before it returns. Whether the peer is the one that was meant, is to be seen from
  ///   its `peer`.
  package static func connect(
    to address: NodeAddress, tls: TLSContext?, hello: LinkHello,
    configuration: LinkConfiguration = .init(), on eventLoop: any EventLoop,
    _ completion: @escaping @Sendable (Result<LinkConnection, LinkDialFailure>) -> Void
  ) {
    eventLoop.execute {
      channel(to: address, configuration, on: eventLoop).whenComplete { result in
        switch result {
        case .success(let channel):
          let link = LinkConnection(
            isDialer: true, isSecure: tls != nil, remoteAddress: address.description,
            hello: hello, configuration: configuration, on: eventLoop)
          do {
            try link.setUp(channel, tls: tls)
          } catch {
            channel.close(promise: nil)
            return completion(.failure(.failed("\(error)")))
          }
          link.whenDecided { link, reason in
            completion(reason.map { .failure(LinkDialFailure($0)) } ?? .success(link))
          }
        case .failure(let error):
          let isRefused = SocketErrors.isRefused(error)
          completion(.failure(isRefused ? .refused : .failed(SocketErrors.text(of: error))))
        }
      }
    }
  }

  private static func channel(
    to address: NodeAddress, _ configuration: LinkConfiguration, on eventLoop: any EventLoop
  ) -> EventLoopFuture<any Channel> {
    let bootstrap = ClientBootstrap(group: eventLoop)
      .connectTimeout(TimeAmount(configuration.connectTimeout))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(.tcpOption(.unsentBytes), value: configuration.unsentBytesMax)
      .channelOption(.writeBufferWaterMark, value: configuration.waterMark)
      .channelOption(.recvAllocator, value: LinkConfiguration.receiveAllocator)
    let port = Int(address.port)
    if let literal = try? SocketAddress(ipAddress: address.host, port: port) {
      return bootstrap.connect(to: literal)
    }
    return bootstrap.connect(host: address.host, port: port)
  }
}

extension LinkDialFailure: CustomStringConvertible {
  package var description: String {
    switch self {
    case .refused: "connection refused"
    case .failed(let why): why
    case .rejected(let refusal): "\(refusal)"
    }
  }
}

extension LinkDialFailure {
  init(_ reason: LinkCloseReason) {
    switch reason {
    case .refused(let refusal): self = .rejected(refusal)
    case .lost(let text): self = .failed(text)
    case .malformed(let text): self = .rejected(.notALink(text))
    case .closedHere, .drained, .overflow: self = .failed("\(reason)")
    }
  }
}

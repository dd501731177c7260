package import ClusterModel
package import NIOCore
import NIOPosix
package import NodeProtocol
package import TLSEngine

/// Accepts links of other nodes on one port, all on one event loop.
///
/// **Isolation**: that event loop, but for `bind`.
package final class LinkListener: @unchecked Sendable {
  // Safety: everything mutable is touched on `eventLoop` only, which every method checks.

  package let eventLoop: any EventLoop
  /// With the port that was bound.
  package let address: NodeAddress
  /// The links that are open, in no order.
  package var connections: [LinkConnection] {
    eventLoop.preconditionInEventLoop()
    return acceptor.links.values.filter(\.isOpen)
  }

  private let channel: any Channel
  private let acceptor: LinkAcceptor

  private init(_ channel: any Channel, _ address: NodeAddress, _ acceptor: LinkAcceptor) {
    self.channel = channel
    self.address = address
    self.acceptor = acceptor
    eventLoop = channel.eventLoop
  }

  /// - Parameter address: an IP literal or a name; port 0 takes any that is free.
  /// - Parameter tls: a server's context that requires client certificates of the cluster's
  ///   authority, TLS 1.3 and ALPN `h2`; `nil` for plain text.
  /// - Parameter onOpen: called on `eventLoop` when a peer's hello is valid; the link's closures
  ///   are to be set in it.
  /// - Parameter onRefused: called on `eventLoop` for a connection that never became a link.
  package static func bind(
    _ address: NodeAddress, tls: TLSContext?, hello: LinkHello,
    configuration: LinkConfiguration = .init(), on eventLoop: any EventLoop,
    onOpen: @escaping @Sendable (LinkConnection) -> Void,
    onRefused: @escaping @Sendable (_ remoteAddress: String, LinkCloseReason) -> Void = { _, _ in }
  ) -> EventLoopFuture<LinkListener> {
    let acceptor = LinkAcceptor(
      tls: tls, hello: hello, configuration: configuration, onOpen: onOpen, onRefused: onRefused)
    return ServerBootstrap(group: eventLoop)
      .serverChannelOption(.backlog, value: LinkConfiguration.backlogMax)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.tcpOption(.unsentBytes), value: configuration.unsentBytesMax)
      .childChannelOption(.writeBufferWaterMark, value: configuration.waterMark)
      .childChannelOption(.recvAllocator, value: LinkConfiguration.receiveAllocator)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try acceptor.accept(channel) }
      }
      .bind(host: address.host, port: Int(address.port))
      .map { channel in
        let port = channel.localAddress?.port.flatMap(UInt16.init(exactly:)) ?? address.port
        return LinkListener(channel, NodeAddress(host: address.host, port: port), acceptor)
      }
  }

  /// Uses other certificates for connections from now on.
  package func use(_ tls: TLSContext) {
    eventLoop.preconditionInEventLoop()
    precondition(acceptor.tls != nil, "a listener without TLS")
    acceptor.tls = tls
  }

  /// Accepts no more. Links go on.
  package func close() -> EventLoopFuture<Void> {
    channel.close().flatMapErrorThrowing { error in
      guard case ChannelError.alreadyClosed = error else { throw error }
    }
  }
}

/// What the listener's channels share.
///
/// **Isolation**: the listener's event loop.
private final class LinkAcceptor: @unchecked Sendable {
  // Safety: used by the listener and its child channels, which are all on one event loop.

  var tls: TLSContext?
  private(set) var links: [ObjectIdentifier: LinkConnection] = [:]
  private let hello: LinkHello
  private let configuration: LinkConfiguration
  private let onOpen: @Sendable (LinkConnection) -> Void
  private let onRefused: @Sendable (String, LinkCloseReason) -> Void

  init(
    tls: TLSContext?, hello: LinkHello, configuration: LinkConfiguration,
    onOpen: @escaping @Sendable (LinkConnection) -> Void,
    onRefused: @escaping @Sendable (String, LinkCloseReason) -> Void
  ) {
    self.tls = tls
    self.hello = hello
    self.configuration = configuration
    self.onOpen = onOpen
    self.onRefused = onRefused
  }

  func accept(_ channel: any Channel) throws {
    let link = LinkConnection(
      isDialer: false, isSecure: tls != nil,
      remoteAddress: channel.remoteAddress?.description ?? "unknown", hello: hello,
      configuration: configuration, on: channel.eventLoop)
    try link.setUp(channel, tls: tls)
    let id = ObjectIdentifier(link)
    links[id] = link
    channel.closeFuture.whenComplete { _ in self.links[id] = nil }
    link.whenDecided { link, reason in
      if let reason {
        self.onRefused(link.remoteAddress, reason)
      } else {
        self.onOpen(link)
      }
    }
  }
}

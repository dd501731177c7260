package import ClusterModel
package import NIOCore
import NIOPosix
package import Primitives
import Synchronization
package import TLSEngine
package import WebSocketEngine

/// The port that clients connect to: HTTP/1.1, HTTP/2 and WebSocket over both, with TLS or without,
/// on all loops of a group.
///
/// **Isolation**: any thread.
package final class PublicListener: Sendable {
  /// With the port that was bound.
  package let address: NodeAddress

  private let channel: any Channel
  private let acceptor: PublicAcceptor

  private init(_ channel: any Channel, _ address: NodeAddress, _ acceptor: PublicAcceptor) {
    self.channel = channel
    self.address = address
    self.acceptor = acceptor
  }

  /// - Parameter address: an IP literal or a name; port 0 takes any that is free.
  /// - Parameter tls: a server's context with ALPN `h2` and `http/1.1`; `nil` for plain text.
  package static func bind(
    _ address: NodeAddress, tls: TLSContext?, group: any EventLoopGroup,
    endpoint: WebSocketEndpoint, limits: PublicLimits = .init(), handlers: PublicHandlers
  ) -> EventLoopFuture<PublicListener> {
    let acceptor = PublicAcceptor(
      group: group, tls: tls, endpoint: endpoint, limits: limits, handlers: handlers)
    let allocator = AdaptiveRecvByteBufferAllocator(
      minimum: PublicLimits.receiveBytesInitial, initial: PublicLimits.receiveBytesInitial,
      maximum: PublicLimits.receiveBytesMax)
    return ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: PublicLimits.backlogMax)
      .serverChannelOption(.maxMessagesPerRead, value: PublicLimits.acceptsPerTurnMax)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.tcpOption(.unsentBytes), value: limits.unsentBytesMax)
      .childChannelOption(.recvAllocator, value: allocator)
      .childChannelOption(
        .writeBufferWaterMark, value: .init(low: limits.writeLowBytes, high: limits.writeHighBytes)
      )
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try acceptor.accept(channel) }
      }
      .bind(host: address.host, port: Int(address.port))
      .map { channel in
        let port = channel.localAddress?.port.flatMap(UInt16.init(exactly:)) ?? address.port
        return PublicListener(channel, NodeAddress(host: address.host, port: port), acceptor)
      }
  }

  /// Uses other certificates for connections from now on.
  package func use(_ tls: TLSContext) { acceptor.use(tls) }

  /// Accepts no more and ends what is open in order: requests are answered, HTTP/2 gets GOAWAY, and
  /// WebSockets are closed with `code`, spread over `grace`, so that their clients do not all come
  /// back at once. What then is left is cut off.
  ///
  /// **Returns**: when no connection is left.
  package func drain(
    grace: Milliseconds, code: WebSocketCloseCode = .serviceRestart
  ) -> EventLoopFuture<Void> {
    let loops = acceptor.loops.values
    return stopListening().flatMap {
      EventLoopFuture.andAllComplete(
        loops.map { loop in
          loop.eventLoop.flatSubmit { loop.drain(grace: grace, code: code) }
        }, on: self.channel.eventLoop)
    }.map { for loop in loops { loop.eventLoop.execute { loop.stop() } } }
  }

  /// Accepts no more and cuts off what is open.
  package func close() -> EventLoopFuture<Void> {
    let loops = acceptor.loops.values
    return stopListening().flatMap {
      EventLoopFuture.andAllComplete(
        loops.map { loop in loop.eventLoop.submit { loop.abortAll() } },
        on: self.channel.eventLoop)
    }
  }

  private func stopListening() -> EventLoopFuture<Void> {
    channel.close().flatMapErrorThrowing { error in
      guard case ChannelError.alreadyClosed = error else { throw error }
    }
  }

  /// The sums over all loops.
  package func counters() -> EventLoopFuture<PublicCounters> {
    let parts = acceptor.loops.values.map { loop in loop.eventLoop.submit { loop.counters } }
    return EventLoopFuture.whenAllSucceed(parts, on: channel.eventLoop).map { parts in
      var sum = PublicCounters()
      for part in parts { sum += part }
      return sum
    }
  }
}

/// What the listener's channels share.
private final class PublicAcceptor: Sendable {
  private struct Shared {
    var tls: TLSContext?
    var connectionCount = 0
    var countByAddress: [UInt128: Int] = [:]
  }

  let loops: [ObjectIdentifier: PublicLoop]
  private let isSecure: Bool
  /// Touched when a connection comes and goes, never in between.
  private let shared: Mutex<Shared>

  init(
    group: any EventLoopGroup, tls: TLSContext?, endpoint: WebSocketEndpoint,
    limits: PublicLimits, handlers: PublicHandlers
  ) {
    var loops: [ObjectIdentifier: PublicLoop] = [:]
    for eventLoop in group.makeIterator() {
      let loop = PublicLoop(eventLoop, limits: limits, handlers: handlers, endpoint: endpoint)
      loops[ObjectIdentifier(eventLoop)] = loop
      eventLoop.execute { loop.start() }
    }
    self.loops = loops
    isSecure = tls != nil
    shared = Mutex(Shared(tls: tls))
  }

  func use(_ tls: TLSContext) {
    precondition(isSecure, "a listener without TLS")
    shared.withLock { $0.tls = tls }
  }

  /// **Throws**: to close the channel.
  func accept(_ channel: any Channel) throws {
    guard let loop = loops[ObjectIdentifier(channel.eventLoop)] else {
      preconditionFailure("a channel of another group")
    }
    let address = channel.remoteAddress
    let key = Self.key(address)
    if let limit = admit(key, loop.limits) {
      loop.count(limit)
      throw PublicRefusal(limit: limit)
    }
    channel.closeFuture.whenComplete { _ in self.release(key) }
    loop.counters.connectionsAccepted += 1
    let detector = ProtocolDetector(
      loop, remoteAddress: address?.ipAddress ?? "", isSecure: isSecure)
    let pipeline = channel.pipeline.syncOperations
    if let tls = shared.withLock({ $0.tls }) {
      // The time for it is part of the detector's.
      let handler = TLSHandler(try TLSConnection(server: tls), handshakeTimeout: nil)
      try pipeline.addHandlers([handler, detector])
    } else {
      try pipeline.addHandler(detector)
    }
  }

  /// **Returns**: the limit that speaks against one more connection.
  private func admit(_ key: UInt128, _ limits: PublicLimits) -> PublicLimit? {
    shared.withLock { shared in
      guard shared.connectionCount < limits.connectionsMax else { return .connections }
      guard shared.countByAddress[key, default: 0] < limits.connectionsPerAddressMax else {
        return .connectionsPerAddress
      }
      shared.connectionCount += 1
      shared.countByAddress[key, default: 0] += 1
      return nil
    }
  }

  private func release(_ key: UInt128) {
    shared.withLock { shared in
      shared.connectionCount -= 1
      let rest = shared.countByAddress[key, default: 1] - 1
      shared.countByAddress[key] = rest > 0 ? rest : nil
    }
  }

  /// An IPv4 address, or the first half of an IPv6 address: one client has all of the second.
  private static func key(_ address: SocketAddress?) -> UInt128 {
    switch address {
    case .v4(let address):
      // sockaddr_in: family 2, port 2, address 4.
      let bytes = withUnsafeBytes(of: address.address) { Array($0[4..<8]) }
      return bytes.reduce(0xffff) { $0 << 8 | UInt128($1) } << 64
    case .v6(let address):
      // sockaddr_in6: family 2, port 2, flow 4, address 16.
      let bytes = withUnsafeBytes(of: address.address) { Array($0[8..<24]) }
      let isMapped = bytes.prefix(10).allSatisfy { $0 == 0 }
      return (isMapped ? bytes[10...] : bytes[..<8]).reduce(0) { $0 << 8 | UInt128($1) } << 64
    case .unixDomainSocket, nil:
      return 0
    }
  }
}

struct PublicRefusal: Error {
  let limit: PublicLimit
}

/// How one side of a connection behaves. Start from a preset.
package struct HTTP2Configuration: Sendable {
  /// Who opens the receive windows again.
  package enum Consumption: Sendable {
    /// The engine, when bytes arrive: this side never stops reading.
    case automatic
    /// The application, with `consume`.
    case byApplication
  }

  /// How much a peer may send on one stream before bytes are consumed.
  package var streamWindowBytes: Int
  /// The same for all streams together.
  package var connectionWindowBytes: Int
  /// The largest frame to accept, and to send where the peer accepts as much.
  ///
  /// **Units**: bytes of payload, 16,384 ... 16,777,215.
  package var frameBytesMax: Int
  package var consumption: Consumption
  /// Offers extended CONNECT for WebSocket (RFC 8441). Servers only.
  package var offersExtendedConnect: Bool
  /// Streams share the connection in turns, whatever priorities the client asks for. Servers only.
  package var ignoresPriorities: Bool
  package var limits: HTTP2Limits

  /// Links between nodes: few long streams that carry batches; trusted peers; the receiver bounds
  /// its sender by admission credits and never stops reading.
  package static let nodeLink = HTTP2Configuration(
    streamWindowBytes: 8 << 20, connectionWindowBytes: 16 << 20, frameBytesMax: 64 << 10,
    consumption: .automatic, offersExtendedConnect: false, ignoresPriorities: false,
    limits: .trusted)

  /// The gateway's public port.
  package static let publicServer = HTTP2Configuration(
    streamWindowBytes: 256 << 10, connectionWindowBytes: 1 << 20, frameBytesMax: 16 << 10,
    consumption: .byApplication, offersExtendedConnect: true, ignoresPriorities: true,
    limits: .publicPort)

  /// The client of etcd, a gRPC server in Go that sends many PINGs and WINDOW_UPDATEs.
  package static let etcdClient = HTTP2Configuration(
    streamWindowBytes: 4 << 20, connectionWindowBytes: 16 << 20, frameBytesMax: 16 << 10,
    consumption: .automatic, offersExtendedConnect: false, ignoresPriorities: false,
    limits: .trusted)
}

/// How often something may happen: `burst` at once, then `perSecond`.
package struct RateBudget: Hashable, Sendable {
  package var burst: Int
  package var perSecond: Int

  package init(burst: Int, perSecond: Int) {
    self.burst = burst
    self.perSecond = perSecond
  }
}

/// What a peer may make this side do or keep. A stream that passes a limit on its headers is reset
/// with ENHANCE_YOUR_CALM and never announced; every other limit ends the connection with a
/// GOAWAY of that code.
package struct HTTP2Limits: Sendable {
  /// Streams that the peer may have open.
  package var concurrentStreamsMax: Int
  /// Fields of one header list, every cookie crumb counted.
  package var headerFieldCountMax: Int
  /// One header list, uncompressed. **Units**: bytes as RFC 9113, section 10.5.1, counts them.
  package var headerListBytesMax: Int
  /// The header lists of all open streams together. Same unit.
  package var headerBytesMax: Int
  /// CONTINUATION frames after one HEADERS.
  package var continuationFramesMax: Int
  /// RST_STREAM frames from the peer.
  package var peerResets: RateBudget
  /// RST_STREAM frames that the peer's errors make us send, over the connection's life.
  package var ownResetsMax: Int
  /// SETTINGS, PING, PRIORITY and empty DATA frames: a budget for each of the four. (Frames of
  /// unknown types, and DATA for streams that have ended, cost nothing but their bytes: nghttp2
  /// skips them before it tells anybody.)
  package var controlFrames: RateBudget
  package var windowUpdateFrames: RateBudget
  /// A peer that downloads fast opens its window often: every so many bytes of DATA sent to it
  /// allow one more WINDOW_UPDATE.
  package var dataBytesPerWindowUpdate: Int
  /// Frames other than DATA that wait for the peer to read. Servers only.
  package var outboundFramesMax: Int
  /// DATA that waits on one stream. One piece larger than this is taken when nothing waits.
  package var queuedBytesPerStreamMax: Int
  /// DATA that waits on all streams together.
  package var queuedBytesMax: Int

  /// For clients that nobody knows.
  package static let publicPort = HTTP2Limits(
    concurrentStreamsMax: 100, headerFieldCountMax: 100, headerListBytesMax: 16 << 10,
    headerBytesMax: 1 << 20, continuationFramesMax: 8,
    peerResets: RateBudget(burst: 100, perSecond: 10), ownResetsMax: 100,
    controlFrames: RateBudget(burst: 50, perSecond: 5),
    windowUpdateFrames: RateBudget(burst: 200, perSecond: 200), dataBytesPerWindowUpdate: 2 << 10,
    outboundFramesMax: 1_000, queuedBytesPerStreamMax: 256 << 10, queuedBytesMax: 1 << 20)

  /// For nodes of the cluster and the coordinator.
  package static let trusted = HTTP2Limits(
    concurrentStreamsMax: 4_096, headerFieldCountMax: 256, headerListBytesMax: 64 << 10,
    headerBytesMax: 64 << 20, continuationFramesMax: 8,
    peerResets: RateBudget(burst: 10_000, perSecond: 10_000), ownResetsMax: 10_000,
    controlFrames: RateBudget(burst: 10_000, perSecond: 10_000),
    windowUpdateFrames: RateBudget(burst: 100_000, perSecond: 100_000),
    dataBytesPerWindowUpdate: 2 << 10, outboundFramesMax: 100_000,
    queuedBytesPerStreamMax: 16 << 20, queuedBytesMax: 64 << 20)
}

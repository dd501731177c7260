package import HTTP2Engine
import NIOCore
package import Primitives
import Wire

/// The bounds of links between nodes.
package struct LinkConfiguration: Sendable {
  /// From the TCP connection to the peer's hello, TLS included.
  package var helloTimeout: Milliseconds = 5_000
  /// For the TCP connection alone.
  package var connectTimeout: Milliseconds = 1_000
  /// From `drain` to the end of the connection, finished or not.
  package var drainTimeout: Milliseconds = 5_000
  /// Frames are gathered into batches of at most so many bytes; one larger frame goes alone.
  package var batchBytesMax = 64 << 10
  /// What HTTP/2 holds of this link and has not written; the rest waits in the order of priority.
  ///
  /// **Units**: bytes.
  package var handedBytesMax = 256 << 10
  /// What NIO holds beyond that. **Units**: bytes.
  package var writeHighBytes = 256 << 10
  /// At which NIO takes more. **Units**: bytes.
  package var writeLowBytes = 64 << 10
  /// What the kernel holds and has not put on the wire: a control frame waits behind at most that
  /// and the two bounds above.
  ///
  /// **Units**: bytes.
  package var unsentBytesMax = 256 << 10
  /// Deliveries that wait, beyond which `onCongestionChanged(true)` is called. **Units**: bytes.
  package var deliveryHighBytes = 4 << 20
  /// Deliveries that wait, at which `onCongestionChanged(false)` is called. **Units**: bytes.
  package var deliveryLowBytes = 1 << 20
  /// Everything that waits. Beyond, the peer is given up: it does not read.
  package var queuedBytesMax = 64 << 20
  package var http2 = HTTP2Configuration.nodeLink

  package init() {}

  /// One received batch. **Units**: bytes.
  package static let messageBytesMax = LinkCodec.batchBytesMax
  /// The one method of the service `Node` in node.proto.
  package static let path = "/martlet.v1.Node/Link"
  /// Connections that may wait to be accepted.
  static let backlogMax: Int32 = 256
}

/// Why one side does not talk to the other.
package enum LinkRefusal: Error, Hashable, Sendable, CustomStringConvertible {
  /// The peer belongs to another cluster.
  case clusterDiffers
  /// The peer knows none of the versions of the protocol that this side knows.
  case protocolDiffers(ClosedRange<UInt32>)
  /// The peer calls itself something that its certificate does not say.
  case nameNotInCertificate(String)
  case certificateMissing
  /// No hello within `LinkConfiguration.helloTimeout`.
  case helloMissing
  /// The peer speaks something else.
  case notALink(String)
  /// The peer refused this side and said why.
  case byPeer(String)

  package var description: String {
    switch self {
    case .clusterDiffers: "the peer belongs to another cluster"
    case .protocolDiffers(let versions):
      "the peer speaks versions \(versions.lowerBound) to \(versions.upperBound) of the protocol"
    case .nameNotInCertificate(let name): "the peer's certificate does not name \(name)"
    case .certificateMissing: "the peer showed no certificate"
    case .helloMissing: "the peer did not say who it is in time"
    case .notALink(let what): "the peer does not speak the link's protocol: \(what)"
    case .byPeer(let reason): "refused by the peer: \(reason)"
    }
  }
}

/// How a link ended.
package enum LinkCloseReason: Error, Hashable, Sendable {
  /// By `close()` of this side.
  case closedHere
  /// One of the sides drained, and everything queued on both was sent.
  case drained
  /// The connection broke: the peer's process or its host is gone, or the network.
  case lost(String)
  case refused(LinkRefusal)
  /// The peer's bytes are not the protocol.
  case malformed(String)
  /// `LinkConfiguration.queuedBytesMax` waited.
  case overflow
}

extension LinkCloseReason: CustomStringConvertible {
  package var description: String {
    switch self {
    case .closedHere: "closed here"
    case .drained: "drained"
    case .lost(let why): "lost: \(why)"
    case .refused(let refusal): "refused: \(refusal)"
    case .malformed(let what): "malformed: \(what)"
    case .overflow: "the peer does not read"
    }
  }
}

/// What passed over one link so far.
package struct LinkCounters: Hashable, Sendable {
  package var framesSent: UInt64 = 0
  package var framesReceived: UInt64 = 0
  package var batchesSent: UInt64 = 0
  package var batchesReceived: UInt64 = 0
  /// HTTP/2's bytes, without TLS.
  package var bytesSent: UInt64 = 0
  /// HTTP/2's bytes, without TLS.
  package var bytesReceived: UInt64 = 0
  /// How often the kernel was asked to write.
  package var flushes: UInt64 = 0
}

// MARK: - Channels

extension LinkConfiguration {
  var waterMark: ChannelOptions.Types.WriteBufferWaterMark {
    .init(low: writeLowBytes, high: writeHighBytes)
  }

  /// Buffers for reading: they grow with what comes. **Units**: bytes.
  static let receiveAllocator = AdaptiveRecvByteBufferAllocator(
    minimum: 2 << 10, initial: 16 << 10, maximum: 256 << 10)
}

extension NIOBSDSocket.Option {
  /// `TCP_NOTSENT_LOWAT` of Linux: the kernel takes no more while so many bytes are unsent.
  static let unsentBytes = NIOBSDSocket.Option(rawValue: 25)
}

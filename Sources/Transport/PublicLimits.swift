package import HTTP2Engine
import NIOCore
package import Primitives
package import WebSocketEngine

/// What clients of the public port may use up.
package struct PublicLimits: Sendable {
  // MARK: Connections

  /// Open at the same time; more are closed at once.
  package var connectionsMax = 100_000
  /// The same from one address; of IPv6 from one /64.
  package var connectionsPerAddressMax = 10_000

  // MARK: Time

  /// From the TCP connection to the end of TLS and the first bytes that tell the protocol.
  package var prefaceTimeout: Milliseconds = 5_000
  /// From a request's first byte to the end of its headers.
  package var headerTimeout: Milliseconds = 10_000
  /// A body may take so long, and one second for each `bodyBytesPerSecondMin`.
  package var bodyGrace: Milliseconds = 5_000
  /// The least rate of a body after its grace.
  package var bodyBytesPerSecondMin = 1_024
  /// Without a request, unless a WebSocket is open.
  package var idleTimeout: Milliseconds = 120_000
  /// A response of which the client reads nothing.
  package var progressTimeout: Milliseconds = 30_000
  /// After the last byte, until the client closes too.
  package var lingerTimeout: Milliseconds = 2_000
  /// Silence of a WebSocket after which it is pinged.
  package var pingAfter: Milliseconds = 60_000
  /// Silence of a WebSocket after which it is given up.
  package var silenceMax: Milliseconds = 120_000
  /// How often these times are looked at; they are kept to that precision.
  package var sweepInterval: Milliseconds = 500

  // MARK: Requests

  /// Header names and values and the target of one request. **Units**: bytes.
  package var headerListBytesMax = 16 << 10
  package var headerFieldsMax = 100
  /// The target, and any one field. **Units**: bytes.
  package var headerFieldBytesMax = 8 << 10
  /// Of one request. **Units**: bytes.
  package var bodyBytesMax = 1 << 20
  /// Bodies that one connection of HTTP/2 sends at the same time, together. **Units**: bytes.
  package var connectionBodyBytesMax = 4 << 20
  /// Parts of pipelined requests (head, pieces of body, end) that wait for earlier answers.
  package var pipelinedPartsMax = 1_024

  // MARK: Answers

  /// A streamed response that the client does not read. **Units**: bytes.
  package var streamQueueBytesMax = 256 << 10
  /// Messages of a WebSocket that wait, beyond which it is congested: catch-up takes over.
  package var sessionQueueMessagesMax = 256
  /// The same in bytes.
  package var sessionQueueBytesMax = 1 << 20
  /// A congested session to which the server goes on sending is ended at so many times the above
  /// bytes, the frames' own storage counted.
  package var sessionOverflowFactor = 4
  /// What NIO may hold for one connection. **Units**: bytes.
  package var writeHighBytes = 64 << 10
  /// At which NIO takes more. **Units**: bytes.
  package var writeLowBytes = 32 << 10

  /// What the kernel may hold for one connection and not have sent. **Units**: bytes.
  package var unsentBytesMax = 128 << 10

  package var webSocket = WebSocketLimits()
  package var http2 = HTTP2Configuration.publicServer

  package init() {}

  /// A read of an idle or slow connection takes so much memory, and a busy one's grows to the
  /// second.
  ///
  /// **Units**: bytes.
  static let receiveBytesInitial = 1 << 10
  static let receiveBytesMax = 16 << 10
  /// Connections that may wait to be accepted; the kernel takes `net.core.somaxconn` if that is
  /// less.
  static let backlogMax: Int32 = 16_384
  /// Connections accepted in a row, before what is open has its turn. When thousands come at once,
  /// one that finds the queue full waits for the next try of its kernel, seconds later.
  static let acceptsPerTurnMax: UInt = 64
}

/// Why a client was refused or cut off; the label of the metric that counts it.
package enum PublicLimit: String, Hashable, Sendable, CaseIterable {
  case connections, connectionsPerAddress
  case prefaceTime, headerTime, bodyRate, idleTime, progressTime, silence
  case headerBytes, bodyBytes, pipelining, malformed, http2, webSocket, outputQueue
}

/// What happened on the public port of one process so far.
package struct PublicCounters: Hashable, Sendable {
  package var connectionsOpen = 0
  package var webSocketsOpen = 0
  package var connectionsAccepted: UInt64 = 0
  package var requests: UInt64 = 0
  /// How often each limit was met.
  package var limits: [PublicLimit: UInt64] = [:]

  static func += (left: inout Self, right: Self) {
    left.connectionsOpen += right.connectionsOpen
    left.webSocketsOpen += right.webSocketsOpen
    left.connectionsAccepted += right.connectionsAccepted
    left.requests += right.requests
    left.limits.merge(right.limits, uniquingKeysWith: +)
  }
}

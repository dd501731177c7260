package import ClusterModel
package import Primitives
package import TLSEngine

/// One member of the etcd cluster.
package struct EtcdEndpoint: Hashable, Sendable, CustomStringConvertible {
  package let address: NodeAddress
  package let usesTLS: Bool

  package init(address: NodeAddress, usesTLS: Bool) {
    self.address = address
    self.usesTLS = usesTLS
  }

  /// Reads `http://host:port`, `https://host:port` or `host:port`; the last is without TLS.
  package init?(_ text: String) {
    var rest = text[...]
    var usesTLS = false
    if rest.hasPrefix("https://") {
      usesTLS = true
      rest = rest.dropFirst(8)
    } else if rest.hasPrefix("http://") {
      rest = rest.dropFirst(7)
    }
    if rest.last == "/" { rest = rest.dropLast() }
    guard !rest.contains("/"), let address = NodeAddress(String(rest)) else { return nil }
    self.init(address: address, usesTLS: usesTLS)
  }

  package var description: String { (usesTLS ? "https://" : "http://") + address.description }
}

/// How etcd is reached, and how long is waited for it.
package struct EtcdConfiguration: Sendable {
  /// Tried in turn; at least one.
  package var endpoints: [EtcdEndpoint]
  /// A client's context with ALPN `h2`, for endpoints with TLS.
  package var tls: TLSContext?
  /// What an earlier process of this store has seen (see `Coordinator.position`).
  package var known: CoordinationPosition?
  /// From a call to its error, waiting for a connection included.
  package var requestTimeout: Milliseconds = 3_000
  /// For TCP, TLS and HTTP/2 of one attempt.
  package var connectTimeout: Milliseconds = 500
  /// For the linearizable read with which a connection proves that it is of use.
  package var probeTimeout: Milliseconds = 1_000
  /// A connection that was silent for so long is asked to prove itself again. etcd forbids frequent
  /// PINGs, and a PING would not tell a member that is cut off from its leader.
  package var livenessInterval: Milliseconds = 2_000
  /// Of the jitter between attempts to connect; different in every process.
  package var jitterSeed: UInt64

  package init(
    endpoints: [EtcdEndpoint], tls: TLSContext? = nil, known: CoordinationPosition? = nil,
    jitterSeed: UInt64
  ) {
    self.endpoints = endpoints
    self.tls = tls
    self.known = known
    self.jitterSeed = jitterSeed
  }
}

/// Bounds of the client of etcd.
enum EtcdLimits {
  /// Calls that wait for a connection; more are refused as `unavailable`.
  static let callsWaitingMax = 4_096
  /// Calls in flight on a connection. More are tried again after `retryMilliseconds`.
  static let callsInFlightMax = 4_096
  /// Keys in one answer to a listing; longer listings take several, at one revision.
  static let listPageKeysMax = 1_000
  /// One answer. etcd bounds values by `--max-request-bytes` (1.5 MiB); a page of Martlet's records
  /// takes some 300 KiB.
  static let messageBytesMax = 32 << 20
  /// Before a call that failed without effect is repeated.
  static let retryMilliseconds: Milliseconds = 50
  /// A connection that lived so long was a good one: the next attempt begins at once.
  static let goodConnectionMilliseconds: Milliseconds = 1_000
  /// Between two lines of the log about one outage.
  static let outageTellingMilliseconds: Milliseconds = 30_000
}

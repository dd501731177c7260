/// One stream of one connection. Odd numbers are opened by the client, zero is the connection
/// itself.
///
/// **Invariant**: never negative; never used twice on one connection.
package struct StreamID: Hashable, Comparable, Sendable, CustomStringConvertible {
  package let rawValue: Int32

  package init(_ rawValue: Int32) { self.rawValue = rawValue }

  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  package var description: String { "s\(rawValue)" }
}

/// One field of a header list or of trailers; pseudo-headers (`:path` …) are fields like the
/// others.
///
/// **Shape**: `name` in lower case. Bytes of a received value that are not UTF-8 read as U+FFFD.
package struct HTTP2HeaderField: Hashable, Sendable {
  package let name: String
  package let value: String
  /// Keeps the field out of the compression tables of both sides (tokens, cookies).
  package let isSensitive: Bool

  package init(_ name: String, _ value: String, isSensitive: Bool = false) {
    self.name = name
    self.value = value
    self.isSensitive = isSensitive
  }
}

extension [HTTP2HeaderField] {
  /// **Returns**: the value of the first field of this name (lower case), or `nil`.
  package func value(of name: String) -> String? {
    first(where: { $0.name == name })?.value
  }
}

/// Why a stream or a connection ended.
///
/// **Source**: RFC 9113, section 7. Unknown codes are kept as they came.
package struct HTTP2ErrorCode: Hashable, Sendable, CustomStringConvertible {
  package let rawValue: UInt32

  package init(_ rawValue: UInt32) { self.rawValue = rawValue }

  package static let none = HTTP2ErrorCode(0)
  package static let protocolError = HTTP2ErrorCode(1)
  package static let internalError = HTTP2ErrorCode(2)
  package static let flowControlError = HTTP2ErrorCode(3)
  package static let settingsTimeout = HTTP2ErrorCode(4)
  package static let streamClosed = HTTP2ErrorCode(5)
  package static let frameSizeError = HTTP2ErrorCode(6)
  package static let refusedStream = HTTP2ErrorCode(7)
  package static let cancel = HTTP2ErrorCode(8)
  package static let compressionError = HTTP2ErrorCode(9)
  package static let connectError = HTTP2ErrorCode(10)
  package static let enhanceYourCalm = HTTP2ErrorCode(11)
  package static let inadequateSecurity = HTTP2ErrorCode(12)
  package static let http11Required = HTTP2ErrorCode(13)

  private static let names = [
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
    "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
    "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
  ]

  package var description: String {
    rawValue < Self.names.count ? Self.names[Int(rawValue)] : "ERROR_\(rawValue)"
  }
}

/// The limit that a peer passed; also the label of the metric that counts it.
package enum HTTP2Limit: String, Hashable, Sendable, CaseIterable {
  /// The peer reset its streams too often (CVE-2023-44487).
  case peerResets
  /// The peer made us reset its streams too often (CVE-2025-8671).
  case ownResets
  case settingsFrames
  case pingFrames
  case priorityFrames
  case emptyDataFrames
  case windowUpdateFrames
  /// The peer makes us owe it more frames than it reads.
  case outboundFrames
}

/// What ended a connection, or why a call was refused.
package enum HTTP2Error: Error, Hashable, Sendable {
  /// The first bytes from the client are not HTTP/2's.
  case badPreface
  /// The peer broke the protocol; the code is the one in our GOAWAY.
  case protocolViolation(HTTP2ErrorCode)
  case limitExceeded(HTTP2Limit)
  /// This side ended the connection with `terminate`.
  case terminated(HTTP2ErrorCode)
  /// The transport below is gone.
  case transportClosed
  /// No new request here: a side is draining, stream ids are used up, or the connection has ended.
  case notAccepting
  /// The stream has ended, perhaps before its `streamClosed` was read.
  case streamClosed(StreamID)
  /// A field of ours has a name or value that must not be on the wire.
  case invalidHeaderField(name: String)
  /// The peer did not offer extended CONNECT (RFC 8441).
  case extendedConnectNotOffered
  /// A fatal code of the library (it is out of memory).
  case library(code: Int32)
}

/// What the peer told about itself.
///
/// **Source**: RFC 9113, section 6.5.2; RFC 8441, section 3.
package struct HTTP2PeerSettings: Hashable, Sendable {
  package let concurrentStreamsMax: UInt32
  package let streamWindowBytes: UInt32
  package let frameBytesMax: UInt32
  package let headerListBytesMax: UInt32
  package let offersExtendedConnect: Bool
}

/// What happened on a connection, in order. Produced by `receive` and by `writeOutput`, read with
/// `takeEvents`.
///
/// **Invariant**: of a stream opened by the peer, `headers` comes first and `streamClosed` last;
/// of one's own, `streamClosed` comes last, exactly once.
package enum HTTP2Event: Hashable, Sendable {
  /// A request's, or a response's final, header list.
  case headers(StreamID, [HTTP2HeaderField], endStream: Bool)
  /// A response's header list with a status of 1xx.
  case informational(StreamID, [HTTP2HeaderField])
  /// Consecutive DATA of one stream within one `receive` is one event. Empty only at an end.
  case data(StreamID, [UInt8], endStream: Bool)
  /// The header list that ends a stream after its data.
  case trailers(StreamID, [HTTP2HeaderField])
  case streamClosed(StreamID, HTTP2ErrorCode)
  /// A stream whose `send` was answered with `full` has room again.
  case writable(StreamID)
  case peerSettings(HTTP2PeerSettings)
  case settingsAcknowledged
  case pingAcknowledged(UInt64)
  /// The peer takes no stream after `lastStream`. At most 256 bytes of its debug data are kept.
  case goAway(lastStream: StreamID, HTTP2ErrorCode, debug: [UInt8])
}

/// The answer to `send`.
package enum HTTP2SendOutcome: Hashable, Sendable {
  case queued
  /// Nothing was taken: the stream or the connection has as much queued as it may. A `writable`
  /// event follows.
  case full
  /// Nothing was taken: the stream has ended.
  case closed
}

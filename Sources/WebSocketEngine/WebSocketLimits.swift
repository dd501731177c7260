package import Primitives

/// Which end of the connection this is. A client masks what it sends, a server does not.
package enum WebSocketRole: Sendable {
  case client
  case server
}

/// What a peer may make us keep or do. Beyond a limit the connection is failed with a close code.
package struct WebSocketLimits: Hashable, Sendable {
  /// Longest payload of one data frame. **Units**: bytes.
  package var frameBytesMax: Int
  /// Longest message, all its fragments together. **Units**: bytes.
  package var messageBytesMax: Int
  /// Most frames of one message, the first included.
  package var fragmentsMax: Int
  /// One ping is allowed in this time on average; zero means no limit.
  package var pingInterval: Milliseconds
  /// Pings that may come at once after a silence.
  package var pingBurstMax: Int
  /// How long to wait for the peer's close frame after ours.
  package var closeTimeout: Milliseconds

  package init(
    frameBytesMax: Int = 1_048_576, messageBytesMax: Int = 1_048_576, fragmentsMax: Int = 64,
    pingInterval: Milliseconds = 1_000, pingBurstMax: Int = 16, closeTimeout: Milliseconds = 5_000
  ) {
    self.frameBytesMax = frameBytesMax
    self.messageBytesMax = messageBytesMax
    self.fragmentsMax = fragmentsMax
    self.pingInterval = pingInterval
    self.pingBurstMax = pingBurstMax
    self.closeTimeout = closeTimeout
  }

  /// A control frame's longest payload. **Source**: RFC 6455, section 5.5.
  package static let controlBytesMax = 125
  /// A close reason's longest text: a control frame less its code.
  package static let closeReasonBytesMax = controlBytesMax - 2
}

/// Counts pings against the allowed rate: a token bucket kept as the time at which it is full
/// again.
struct PingAllowance: Sendable {
  private var fullAgainNanoseconds: UInt64 = 0

  /// **Returns**: whether one more ping is within the limits now; if so, it is counted.
  mutating func admit(now: Instant, limits: WebSocketLimits) -> Bool {
    let product = limits.pingInterval.rawValue.multipliedReportingOverflow(by: 1_000_000)
    let interval = product.overflow ? .max : product.partialValue
    guard interval > 0 else { return true }
    let start = max(fullAgainNanoseconds, now.nanoseconds)
    let tolerance = interval.multipliedReportingOverflow(
      by: UInt64(max(limits.pingBurstMax, 1) - 1))
    guard tolerance.overflow || start - now.nanoseconds <= tolerance.partialValue else {
      return false
    }
    let next = start.addingReportingOverflow(interval)
    fullAgainNanoseconds = next.overflow ? .max : next.partialValue
    return true
  }
}

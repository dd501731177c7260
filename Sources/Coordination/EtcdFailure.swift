import HTTP2Engine
import Primitives
import Transport

/// What a failed call of etcd means.
enum EtcdFailure {
  /// Texts of etcd that come before anything is proposed to its cluster.
  private static let textsBeforeProposal = [
    "etcdserver: no leader", "etcdserver: too many requests", "etcdserver: not capable",
  ]
  static let leaseNotFound = "etcdserver: requested lease not found"
  private static let compacted = "etcdserver: mvcc: required revision has been compacted"

  /// `isRepeatable`: doing it twice, or late, does no harm, so an unknown outcome is no outcome.
  static func error(_ failure: GRPCCallFailure, isRepeatable: Bool) -> CoordinationError {
    let status = failure.status
    let text = "\(status)"
    guard failure.mayHaveRun else { return .unavailable(text) }
    if status.message == leaseNotFound { return .leaseNotFound }
    if textsBeforeProposal.contains(status.message) { return .unavailable(text) }
    switch status.code {
    case .ok, .unavailable, .deadlineExceeded, .cancelled, .unknown, .internal, .aborted, .dataLoss:
      return isRepeatable ? .unavailable(text) : .outcomeUnknown(text)
    case .resourceExhausted where !status.message.hasPrefix("etcdserver:"):
      return isRepeatable ? .unavailable(text) : .outcomeUnknown(text)
    case .invalidArgument, .notFound, .alreadyExists, .permissionDenied, .resourceExhausted,
      .failedPrecondition, .outOfRange, .unimplemented, .unauthenticated:
      return .refused(text)
    }
  }

  /// Whether what was asked for was true once, but its revision is no longer kept.
  static func isCompacted(_ error: CoordinationError) -> Bool {
    if case .refused(let text) = error { text.hasSuffix(compacted) } else { false }
  }

  /// An answer that is not etcd's.
  static func unreadable(_ error: ProtobufError, isRepeatable: Bool) -> CoordinationError {
    let text = "unreadable answer: \(error)"
    return isRepeatable ? .unavailable(text) : .outcomeUnknown(text)
  }

  /// Whether a stream that ended like this would end like this again.
  static func isFinal(_ status: GRPCStatus) -> Bool {
    switch status.code {
    case .permissionDenied, .unauthenticated, .unimplemented, .invalidArgument: true
    default: false
    }
  }
}

/// How long to wait before the next attempt to connect.
///
/// **Invariant**: never more than `millisecondsMax`, which is below half of the shortest lease (one
/// second), so that leases outlive a restart of the service.
struct ReconnectBackOff: Sendable {
  static let firstMilliseconds: UInt64 = 20
  static let millisecondsMax: UInt64 = 400

  private var attemptCount: UInt64 = 0
  private var random: SeededRandom

  init(seed: UInt64) { random = SeededRandom(seed: seed) }

  mutating func reset() { attemptCount = 0 }

  /// **Returns**: half to all of a time that doubles with each attempt.
  mutating func next() -> Milliseconds {
    let full = min(Self.millisecondsMax, Self.firstMilliseconds << min(attemptCount, 10))
    attemptCount += 1
    return Milliseconds(UInt64.random(in: full / 2...full, using: &random))
  }
}

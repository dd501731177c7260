/// Why a call on the coordinator failed.
package enum CoordinationError: Error, Hashable, Sendable {
  /// The service was not reached or does not work now. Nothing was done; trying again is safe.
  case unavailable(String)
  /// The answer was lost: the transaction was done, or was not, or may still be done. Trying again
  /// with the same conditions is safe; it is finished when the revision of the condition's key has
  /// moved.
  case outcomeUnknown(String)
  case leaseNotFound
  /// The service is not the one seen before, or has forgotten: another identity, or a revision
  /// below one that it had answered (restored from an old backup). Whatever was asked may have been
  /// done there, and must not be believed.
  case wentBackInTime(known: CoordinationPosition, found: CoordinationPosition)
  /// Refused here, before anything was sent.
  case invalidRequest(InvalidRequest)
  /// Refused by the service for good, in its words.
  case refused(String)
  /// The embedded service could not read or write its storage, and has stopped.
  case storageFailed(String)
  /// This object was shut down.
  case shutDown

  /// What is wrong with a request, whoever would serve it.
  package enum InvalidRequest: Hashable, Sendable {
    /// More than `CoordinationLimits.operationsPerTransactionMax` conditions or operations.
    case tooManyOperations(Int)
    /// More than `CoordinationLimits.requestBytesMax`.
    case tooLarge(bytes: Int)
    /// Empty, longer than `CoordinationLimits.keyBytesMax`, or not printable ASCII.
    case key(String)
    /// One branch changes a key twice.
    case duplicateKey(String)
    /// Outside of `CoordinationLimits.leaseSecondsRange`.
    case leaseSeconds(Int64)
  }

  /// Whether the same call may succeed later without anybody's help.
  package var isRetryable: Bool {
    switch self {
    case .unavailable, .outcomeUnknown: true
    case .leaseNotFound, .wentBackInTime, .invalidRequest, .refused, .storageFailed, .shutDown:
      false
    }
  }
}

extension CoordinationError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .unavailable(let why): why
    case .outcomeUnknown(let why): "the answer was lost: \(why)"
    case .leaseNotFound: "the lease has ended"
    case .wentBackInTime(let known, let found):
      "not the service seen before, or it has forgotten: known \(known.revision), "
        + "found \(found.revision)"
    case .invalidRequest(let what): "invalid request: \(what)"
    case .refused(let why): "refused: \(why)"
    case .storageFailed(let why): "storage failed: \(why)"
    case .shutDown: "shut down"
    }
  }
}

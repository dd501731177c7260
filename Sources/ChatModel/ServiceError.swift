/// What a client is told when its operation is refused. The names are gRPC's canonical codes.
package enum ServiceErrorCode: UInt32, Sendable, CaseIterable {
  case invalidArgument = 3
  case deadlineExceeded = 4
  case notFound = 5
  case alreadyExists = 6
  case permissionDenied = 7
  case resourceExhausted = 8
  case failedPrecondition = 9
  case aborted = 10
  case outOfRange = 11
  case unimplemented = 12
  case internalError = 13
  case unavailable = 14
  case dataLoss = 15
  case unauthenticated = 16

  /// The text form in JSON, as gRPC spells it.
  package var name: String {
    switch self {
    case .invalidArgument: "INVALID_ARGUMENT"
    case .deadlineExceeded: "DEADLINE_EXCEEDED"
    case .notFound: "NOT_FOUND"
    case .alreadyExists: "ALREADY_EXISTS"
    case .permissionDenied: "PERMISSION_DENIED"
    case .resourceExhausted: "RESOURCE_EXHAUSTED"
    case .failedPrecondition: "FAILED_PRECONDITION"
    case .aborted: "ABORTED"
    case .outOfRange: "OUT_OF_RANGE"
    case .unimplemented: "UNIMPLEMENTED"
    case .internalError: "INTERNAL"
    case .unavailable: "UNAVAILABLE"
    case .dataLoss: "DATA_LOSS"
    case .unauthenticated: "UNAUTHENTICATED"
    }
  }

  /// The HTTP status that carries this code.
  ///
  /// **Source**: google.rpc.Code, section "HTTP Mapping".
  package var httpStatus: UInt16 {
    switch self {
    case .invalidArgument, .failedPrecondition, .outOfRange: 400
    case .unauthenticated: 401
    case .permissionDenied: 403
    case .notFound: 404
    case .alreadyExists, .aborted: 409
    case .resourceExhausted: 429
    case .unimplemented: 501
    case .unavailable: 503
    case .deadlineExceeded: 504
    case .internalError, .dataLoss: 500
    }
  }
}

/// A refusal: its code, a sentence for people, and whether the same operation may be tried again.
package struct ServiceError: Error, Equatable, Sendable {
  package var code: ServiceErrorCode
  /// A sentence for people.
  package var message: String
  /// Whether the same operation may be sent again.
  package var retryable: Bool
  /// When; zero when it does not matter.
  package var retryAfterMilliseconds: UInt32

  package init(
    _ code: ServiceErrorCode, _ message: String, retryable: Bool = false,
    retryAfterMilliseconds: UInt32 = 0
  ) {
    self.code = code
    self.message = message
    self.retryable = retryable
    self.retryAfterMilliseconds = retryAfterMilliseconds
  }

  /// Nothing was done and the same operation may be tried again after a while.
  package static func unavailable(_ message: String, retryAfterMilliseconds: UInt32 = 100) -> Self {
    ServiceError(
      .unavailable, message, retryable: true, retryAfterMilliseconds: retryAfterMilliseconds)
  }

  /// What is wrong with the length of a message's text, if anything.
  package static func refusal(ofText text: String) -> Self? {
    let bytesMax = ChatLimits.messageTextBytesMax
    guard !(1...bytesMax).contains(text.utf8.count) else { return nil }
    return ServiceError(.invalidArgument, "a message has 1 to 65,536 bytes of text")
  }

  /// A queue is full; nothing was done.
  package static func overloaded(_ message: String) -> Self {
    ServiceError(.resourceExhausted, message, retryable: true, retryAfterMilliseconds: 200)
  }
}

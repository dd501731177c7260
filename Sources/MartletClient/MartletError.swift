import ChatModel

/// Why something was not done, or is not known to be done.
public enum MartletError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A service's final word. `code` is gRPC's canonical one, such as `PERMISSION_DENIED`.
  case refused(code: String, message: String)
  /// The deadline passed before anything was sent: nothing was done.
  case deadlineExceeded(String)
  /// The deadline passed, or the client was closed, while an answer was awaited: it may have been
  /// done. A send may be repeated with the same id.
  case outcomeUnknown(String)
  /// The session is over: log in again.
  case signedOut(String)
  /// The client was closed.
  case closed
  /// Too many operations wait in this client; nothing was done.
  case tooManyOperations
  /// An argument that no gateway would accept.
  case invalidArgument(String)
  /// No gateway could be reached, or none gave an answer that could be read.
  case unreachable(String)

  init(_ error: ServiceError) {
    self = .refused(code: error.code.name, message: error.message)
  }

  public var description: String {
    switch self {
    case .refused(let code, let message): "\(code): \(message)"
    case .deadlineExceeded(let what): "not done in time: \(what)"
    case .outcomeUnknown(let what): "not known whether it was done: \(what)"
    case .signedOut(let why): "signed out: \(why)"
    case .closed: "the client is closed"
    case .tooManyOperations: "too many operations wait"
    case .invalidArgument(let what): "invalid: \(what)"
    case .unreachable(let what): "no gateway could be reached: \(what)"
    }
  }
}

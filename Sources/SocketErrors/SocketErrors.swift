import Glibc
import NIOCore
import NIOPosix

/// What went wrong on a socket, in a person's words.
package enum SocketErrors {
  /// **Returns**: a few words without a full stop, such as "connection refused".
  package static func text(of error: any Error) -> String {
    switch error {
    case let error as IOError: text(errorNumber: error.errnoCode)
    case let error as NIOConnectionError: text(of: error)
    case ChannelError.connectTimeout(let limit):
      "no connection within \(limit.nanoseconds / 1_000_000) ms"
    case ChannelError.ioOnClosedChannel, ChannelError.inputClosed, ChannelError.outputClosed,
      ChannelError.eof, ChannelError.alreadyClosed:
      "the connection was closed"
    case is SocketAddressError: "the host is not known"
    default: "\(error)"
    }
  }

  private static func text(of error: NIOConnectionError) -> String {
    var texts: [String] = []
    for failure in error.connectionErrors {
      let text = text(of: failure.error)
      if !texts.contains(text) { texts.append(text) }
    }
    return texts.isEmpty ? "the host \(error.host) is not known" : texts.joined(separator: ", ")
  }

  private static func text(errorNumber: CInt) -> String {
    let text = String(cString: strerror(errorNumber))
    return text.prefix(1).lowercased() + text.dropFirst()
  }

  /// Whether every address answered that nobody listens.
  package static func isRefused(_ error: any Error) -> Bool {
    switch error {
    case let error as IOError:
      error.errnoCode == ECONNREFUSED
    case let error as NIOConnectionError:
      !error.connectionErrors.isEmpty
        && error.connectionErrors.allSatisfy { isRefused($0.error) }
    default:
      false
    }
  }
}

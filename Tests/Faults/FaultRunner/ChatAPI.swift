import Foundation
import HistoryChecker

/// Why an operation was not done, or is not known to be.
enum ChatFailure: Error, CustomStringConvertible {
  /// No answer: it may have been done.
  case connection(HTTPFailure)
  /// An answer that the same operation may be tried again.
  case retryable(status: Int, String)
  /// The token is not accepted any more.
  case unauthenticated
  /// An answer that it will never be done.
  case refused(status: Int, String)

  var description: String {
    switch self {
    case .connection(let failure): "\(failure)"
    case .retryable(let status, let text), .refused(let status, let text): "\(status) \(text)"
    case .unauthenticated: "401"
    }
  }
}

/// The HTTP API as far as the runner uses it, written from its public description.
enum ChatAPI {
  struct Sent: Decodable {
    let seq: String
  }

  struct History: Decodable {
    let events: [Event]
    let head: String
  }

  struct Event: Decodable {
    struct Message: Decodable {
      let text: String?
    }

    let conversation: String
    let seq: String
    let message: Message?

    var entry: Entry {
      get throws(ChatFailure) { Entry(try ChatAPI.number(seq), message.map { $0.text ?? "" }) }
    }
  }

  struct Conversation: Decodable {
    let id: String
  }

  private struct Session: Decodable {
    let accessToken: String
  }

  private struct ErrorEnvelope: Decodable {
    struct ServiceError: Decodable {
      let code: String
      let message: String?
      let retryable: Bool?
    }

    let error: ServiceError
  }

  static func number(_ text: String) throws(ChatFailure) -> UInt64 {
    guard let number = UInt64(text) else {
      throw .refused(status: 200, "'\(text)' is no sequence number")
    }
    return number
  }

  // MARK: Operations

  static func createAccount(
    _ handle: String, password: String, _ connection: HTTPConnection, _ deadline: Moment
  ) throws(ChatFailure) {
    let body = "{\"handle\":\"\(handle)\",\"password\":\"\(password)\"}"
    _ = try call("POST", "/v1/accounts", body: body, connection, deadline)
  }

  /// **Returns**: an access token.
  static func logIn(
    _ handle: String, password: String, _ connection: HTTPConnection, _ deadline: Moment
  ) throws(ChatFailure) -> String {
    // A device that names itself keeps what it is when it logs in again.
    let body =
      "{\"handle\":\"\(handle)\",\"password\":\"\(password)\",\"device\":\"\(handle)-device\"}"
    let session: Session = try decode(
      try call("POST", "/v1/sessions", body: body, connection, deadline))
    return session.accessToken
  }

  static func createConversation(
    kind: String, members: [String], token: String, _ connection: HTTPConnection,
    _ deadline: Moment
  ) throws(ChatFailure) -> String {
    let list = members.map { "\"\($0)\"" }.joined(separator: ",")
    let body = "{\"kind\":\"\(kind)\",\"members\":[\(list)]}"
    let made: Conversation = try decode(
      try call("POST", "/v1/conversations", token: token, body: body, connection, deadline))
    return made.id
  }

  /// **Returns**: the sequence number.
  static func send(
    _ text: String, id: String, to conversation: String, token: String,
    _ connection: HTTPConnection, _ deadline: Moment
  ) throws(ChatFailure) -> UInt64 {
    let body = "{\"id\":\"\(id)\",\"text\":\"\(text)\"}"
    let sent: Sent = try decode(
      try call(
        "POST", "/v1/conversations/\(conversation)/messages", token: token, body: body, connection,
        deadline))
    return try number(sent.seq)
  }

  static func history(
    of conversation: String, after: UInt64?, limit: Int, token: String,
    _ connection: HTTPConnection, _ deadline: Moment
  ) throws(ChatFailure) -> (entries: [Entry], head: UInt64) {
    let range = after.map { "&after=\($0)" } ?? ""
    let page: History = try decode(
      try call(
        "GET", "/v1/conversations/\(conversation)/messages?limit=\(limit)\(range)", token: token,
        connection, deadline))
    var entries: [Entry] = []
    for event in page.events { entries.append(try event.entry) }
    return (entries, try number(page.head))
  }

  // MARK: One request

  static func authorization(_ token: String) -> String { "authorization: Bearer \(token)" }

  private static func call(
    _ method: String, _ target: String, token: String? = nil, body: String = "",
    _ connection: HTTPConnection, _ deadline: Moment
  ) throws(ChatFailure) -> [UInt8] {
    let response: HTTPResponse
    do throws(HTTPFailure) {
      response = try connection.request(
        method, target, headers: token.map { [authorization($0)] } ?? [], body: body,
        deadline: deadline)
    } catch {
      throw .connection(error)
    }
    switch response.status {
    case 200..<300: return response.body
    case 401: throw .unauthenticated
    default:
      let text = String(decoding: response.body, as: UTF8.self)
      let envelope = try? JSONDecoder().decode(ErrorEnvelope.self, from: Data(response.body))
      if envelope?.error.retryable ?? false {
        throw .retryable(status: response.status, text)
      }
      throw .refused(status: response.status, text)
    }
  }

  private static func decode<Value: Decodable>(_ bytes: [UInt8]) throws(ChatFailure) -> Value {
    do {
      return try JSONDecoder().decode(Value.self, from: Data(bytes))
    } catch {
      let text = String(decoding: bytes, as: UTF8.self)
      throw .refused(status: 200, "not the described answer: \(text)")
    }
  }
}

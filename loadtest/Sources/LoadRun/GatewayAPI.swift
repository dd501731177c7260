import Foundation
import LoadModel

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// A gateway's HTTP API, as far as a run needs it to set itself up and to look afterwards.
struct GatewayAPI: Sendable {
  struct Event: Decodable, Sendable {
    struct Message: Decodable, Sendable {
      let text: String
    }

    let seq: String
    let message: Message?
  }

  private struct Session: Decodable { let accessToken: String; let user: User }
  private struct User: Decodable { let id: String }
  private struct Conversation: Decodable { let id: String }
  private struct History: Decodable { let events: [Event] }
  private struct Failure: Decodable {
    struct Detail: Decodable {
      let code: String
      let message: String
    }
    let error: Detail
  }

  private static let attemptsMax = 20
  private static let attemptPause = Duration.milliseconds(250)
  private static let pageLimit = 200

  /// `http://HOST:PORT`
  let base: String

  /// Registers an account (one that exists is fine) and logs in.
  func logIn(
    handle: String, password: String
  ) async throws -> (token: String, user: String) {
    let account = ["handle": handle, "password": password]
    let (status, body) = try await ask("POST", "/v1/accounts", account)
    guard status == 201 || status == 409 else { throw failure("registering", status, body) }
    let (loginStatus, answer) = try await ask("POST", "/v1/sessions", account)
    guard loginStatus == 201 else { throw failure("logging in", loginStatus, answer) }
    let session = try JSONDecoder().decode(Session.self, from: answer)
    return (session.accessToken, session.user.id)
  }

  /// **Returns**: the id of a new group of the maker and the others, by id.
  func makeGroup(title: String, others: [String], token: String) async throws -> String {
    // The maker is one of those whom the request names.
    let first = Array(others.prefix(Self.membersPerRequest - 1))
    let (status, body) = try await ask(
      "POST", "/v1/conversations",
      ["kind": "group", "title": title, "members": first] as [String: any Sendable], token: token)
    guard status == 201 else { throw failure("making a conversation", status, body) }
    let id = try JSONDecoder().decode(Conversation.self, from: body).id
    var rest = others.dropFirst(first.count)
    while !rest.isEmpty {
      let part = Array(rest.prefix(Self.membersPerRequest))
      rest = rest.dropFirst(part.count)
      let (status, body) = try await ask(
        "POST", "/v1/conversations/\(id)/members", ["add": part] as [String: any Sendable],
        token: token)
      guard (200..<300).contains(status) else { throw failure("adding members", status, body) }
    }
    return id
  }

  private static let membersPerRequest = 256

  /// **Returns**: the events below a place, or the last ones; at most 200, ascending.
  func history(
    _ conversation: String, before: UInt64?, token: String
  ) async throws -> [Event] {
    let from = before.map { "&before=\($0)" } ?? ""
    let (status, body) = try await ask(
      "GET", "/v1/conversations/\(conversation)/messages?limit=\(Self.pageLimit)\(from)", nil,
      token: token)
    guard status == 200 else { throw failure("reading back", status, body) }
    return try JSONDecoder().decode(History.self, from: body).events
  }

  private func failure(_ doing: String, _ status: Int, _ body: Data) -> LoadError {
    let detail = try? JSONDecoder().decode(Failure.self, from: body).error
    return LoadError("\(doing): status \(status) \(detail?.code ?? "") \(detail?.message ?? "")")
  }

  /// Tries again while the cluster says that it may pass.
  private func ask(
    _ method: String, _ path: String, _ body: [String: any Sendable]?, token: String? = nil
  ) async throws -> (Int, Data) {
    guard let url = URL(string: base + path) else { throw LoadError("not a URL: \(base)\(path)") }
    var request = URLRequest(url: url)
    request.httpMethod = method
    if let body { request.httpBody = try JSONSerialization.data(withJSONObject: body) }
    if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "authorization") }
    var attempt = 0
    while true {
      attempt += 1
      let answer: (Data, URLResponse)
      do { answer = try await URLSession.shared.data(for: request) } catch {
        throw LoadError("\(base) cannot be reached")
      }
      let status = (answer.1 as? HTTPURLResponse)?.statusCode ?? 0
      guard status == 503 || status == 429, attempt < Self.attemptsMax else {
        return (status, answer.0)
      }
      try await Task.sleep(for: Self.attemptPause)
    }
  }
}

import Foundation

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// A gateway's URL taken apart. Only plain HTTP: the generator measures the servers, not its own
/// TLS.
struct GatewayAddress: Sendable {
  let url: String
  let host: String
  let port: Int

  /// **Throws**: `LoadTestError` that says what is allowed.
  init(_ text: String) throws {
    guard let parts = URLComponents(string: text), parts.scheme == "http", let host = parts.host,
      parts.path.isEmpty || parts.path == "/"
    else { throw LoadTestError("--gateway \(text): allowed is http://HOST:PORT") }
    self.host = host
    port = parts.port ?? 80
    url = "http://\(host):\(port)"
  }
}

/// The HTTP API, as far as a run needs it to set itself up.
struct GatewayAPI: Sendable {
  private struct Token: Decodable { let accessToken: String }
  private struct Conversation: Decodable { let id: String }
  private struct Failure: Decodable {
    struct Detail: Decodable {
      let code: String
      let message: String
    }
    let error: Detail
  }

  private static let attemptsMax = 20

  let gateway: GatewayAddress

  /// Registers an account (one that exists is fine) and logs in.
  /// **Returns**: an access token.
  func logIn(handle: String, password: String) async throws -> String {
    let account = ["handle": handle, "password": password]
    let (status, body) = try await post("/v1/accounts", account)
    guard status == 201 || status == 409 else { throw failure("registering", status, body) }
    let (loginStatus, answer) = try await post("/v1/sessions", account)
    guard loginStatus == 201 else { throw failure("logging in", loginStatus, answer) }
    return try JSONDecoder().decode(Token.self, from: answer).accessToken
  }

  /// **Returns**: the id of a new group that has only its maker.
  func makeGroup(title: String, token: String) async throws -> String {
    let (status, body) = try await post(
      "/v1/conversations", ["kind": "group", "title": title, "members": [String]()], token: token)
    guard status == 201 else { throw failure("making a conversation", status, body) }
    return try JSONDecoder().decode(Conversation.self, from: body).id
  }

  private func failure(_ doing: String, _ status: Int, _ body: Data) -> LoadTestError {
    let detail = try? JSONDecoder().decode(Failure.self, from: body).error
    return LoadTestError(
      "\(doing): status \(status) \(detail?.code ?? "") \(detail?.message ?? "")")
  }

  /// Tries again while the cluster says that it may pass.
  private func post(
    _ path: String, _ body: [String: any Sendable], token: String? = nil
  ) async throws -> (Int, Data) {
    guard let url = URL(string: gateway.url + path) else {
      throw LoadTestError("not a URL: \(gateway.url)\(path)")
    }
    var request = URLRequest(url: url)
    request.httpMethod = "POST"
    request.httpBody = try JSONSerialization.data(withJSONObject: body)
    if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "authorization") }
    var attempt = 0
    while true {
      attempt += 1
      let answer: (Data, URLResponse)
      do { answer = try await URLSession.shared.data(for: request) } catch {
        throw LoadTestError("\(gateway.url) cannot be reached")
      }
      let status = (answer.1 as? HTTPURLResponse)?.statusCode ?? 0
      guard status == 503 || status == 429, attempt < Self.attemptsMax else {
        return (status, answer.0)
      }
      try await Task.sleep(nanoseconds: 250_000_000)
    }
  }
}

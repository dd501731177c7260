import Foundation
import Testing

extension GatewayTests {
  /// What browsers ask for: the page, its cookie, and calls from pages of other origins. Gateway 1
  /// allows `Serving.allowedOrigin`.
  @Suite struct WebTests {
    private static let own = "Origin: http://chat.test"
    private static let allowed = "Origin: \(Serving.allowedOrigin)"
    private static let foreign = "Origin: https://evil.test"

    // MARK: Pages

    @Test func `The page and all that it loads come from the gateway`() async throws {
      let api = try Serving.api()
      let page = try await api.get("/")
      #expect(page.status == 200)
      #expect(page.headers["content-type"] == "text/html; charset=utf-8")
      let html = String(decoding: page.body, as: UTF8.self)
      let files = html.matches(of: /(?:src|href)="(\/web\/[^"]+)"/).map { String($0.1) }
      #expect(files.contains { $0.hasSuffix(".js") } && files.contains { $0.hasSuffix(".css") })
      for file in files {
        let answer = try await api.get(file)
        #expect(answer.status == 200, "\(file)")
        #expect(answer.headers["x-content-type-options"] == "nosniff")
      }
      #expect(try await api.call("HEAD", "/").body.isEmpty)
      #expect(try await api.call("POST", "/").status == 405)
    }

    @Test func `The page may load nothing from elsewhere and runs no script of its own text`()
      async throws
    {
      let page = try await Serving.api(1).get("/")
      let policy = try #require(page.headers["content-security-policy"])
      let directives = policy.split(separator: ";").map { $0.drop { $0 == " " } }
      #expect(directives.contains("default-src 'none'"))
      #expect(directives.contains("script-src 'self'") && directives.contains("style-src 'self'"))
      #expect(directives.contains("frame-ancestors 'none'"))
      #expect(
        directives.contains("connect-src 'self' https://other.test wss://other.test"))
      #expect(!policy.contains("unsafe"))
      let html = String(decoding: page.body, as: UTF8.self)
      #expect(html.firstMatch(of: /<script(?![^>]*src=)/) == nil)
      #expect(html.firstMatch(of: /\sstyle=|\son[a-z]+=/) == nil)
    }

    @Test func `A browser that has a file is told so`() async throws {
      let api = try Serving.api()
      let first = try await api.get("/")
      let tag = try #require(first.headers["etag"])
      let second = try await api.get("/", ["If-None-Match: \(tag)"])
      #expect((second.status, second.body.count) == (304, 0))
      #expect(try await api.get("/", ["If-None-Match: \"other\""]).status == 200)
    }

    @Test(arguments: [
      ("gzip, deflate, br", true), ("br;q=1.0, GZIP;q=0.5", true), ("gzip;q=0", false),
      ("deflate", false), ("gzipped", false), ("", false),
    ])
    func `Browsers that read gzip get less`(encodings: String, takes: Bool) async throws {
      let api = try Serving.api()
      let plain = try await api.get("/web/chat.css")
      let answer = try await api.get("/web/chat.css", ["Accept-Encoding: \(encodings)"])
      #expect(answer.headers["vary"] == "accept-encoding")
      #expect(answer.headers["content-encoding"] == (takes ? "gzip" : nil))
      #expect((answer.headers["etag"] != plain.headers["etag"]) == takes)
      guard takes else { return #expect(answer.body == plain.body) }
      #expect(answer.body.count < plain.body.count / 2)
      #expect(try Self.unzipped(answer.body) == plain.body)
    }

    private static func unzipped(_ bytes: [UInt8]) throws -> [UInt8] {
      let (input, output) = (Pipe(), Pipe())
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/bin/gzip")
      process.arguments = ["-dc"]
      process.standardInput = input
      process.standardOutput = output
      try process.run()
      input.fileHandleForWriting.write(Data(bytes))
      try input.fileHandleForWriting.close()
      let text = output.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      return Array(text)
    }

    @Test func `Pages learn which gateways they may go on at`() async throws {
      #expect(
        try await Serving.api(1).get(200, "/web/config.json")["gateways"]
          == [.string(Serving.allowedOrigin)])
      #expect(try await Serving.api().get(200, "/web/config.json")["gateways"] == .null)
    }

    // MARK: Other origins

    @Test func `An allowed origin may call with the cookie, another one may not`() async throws {
      let api = try Serving.api(1)
      let answer = try await api.get("/v1/openapi.json", [Self.allowed])
      #expect(answer.headers["access-control-allow-origin"] == Serving.allowedOrigin)
      #expect(answer.headers["access-control-allow-credentials"] == "true")
      #expect(answer.headers["vary"] == "origin")
      let refused = try await api.get("/v1/openapi.json", [Self.foreign])
      #expect(refused.headers["access-control-allow-origin"] == nil)
      #expect(refused.headers["access-control-allow-credentials"] == nil)
    }

    @Test func `A preflight is answered for allowed origins`() async throws {
      let asks = ["Access-Control-Request-Method: POST"]
      let api = try Serving.api(1)
      let answer = try await api.call("OPTIONS", "/v1/sessions", asks + [Self.allowed])
      #expect(answer.status == 204)
      #expect(answer.headers["access-control-allow-origin"] == Serving.allowedOrigin)
      #expect(answer.headers["access-control-allow-headers"]?.contains("authorization") == true)
      #expect(answer.headers["access-control-allow-methods"]?.contains("DELETE") == true)
      let refused = try await api.call("OPTIONS", "/v1/sessions", asks + [Self.foreign])
      #expect(refused.status == 403)
      #expect(refused.headers["access-control-allow-origin"] == nil)
    }

    @Test func `Errors can be read by pages of allowed origins, too`() async throws {
      let answer = try await Serving.api(1).get("/v1/conversations", [Self.allowed])
      #expect(answer.status == 401)
      #expect(answer.headers["access-control-allow-origin"] == Serving.allowedOrigin)
    }

    // MARK: The cookie

    private func logIn(
      _ person: Person, _ lines: [String], gateway: Int = 0
    ) async throws -> Answer {
      let body: JSON = [
        "handle": .string(person.handle), "password": .string(Person.password),
        "device": "browser", "cookie": true,
      ]
      return try await Serving.api(gateway).call("POST", "/v1/sessions", body: body.text, lines)
    }

    private func cookie(_ answer: Answer) throws -> String {
      let line = try #require(answer.headers["set-cookie"])
      return String(line.prefix { $0 != ";" })
    }

    @Test func `A page's refresh token is in a cookie that scripts cannot read`() async throws {
      let person = try await Person.join("ada")
      let answer = try await logIn(person, [Self.own])
      #expect(answer.status == 201)
      let json = try answer.json()
      #expect(json["refreshToken"] == .null && json["accessToken"].string != nil)
      let line = try #require(answer.headers["set-cookie"])
      let attributes = Set(line.split(separator: ";").dropFirst().map { $0.drop { $0 == " " } })
      #expect(
        attributes == [
          "Path=/v1/sessions", "Max-Age=\(60 * 86_400)", "HttpOnly", "SameSite=Strict",
        ])
      // The page came over TLS, which something in front of the gateway may have ended.
      let secure = try await logIn(person, ["Origin: https://chat.test"])
      #expect(secure.headers["set-cookie"]?.hasSuffix("; Secure") == true)
    }

    @Test func `The cookie is good for a refresh, which gives the next one`() async throws {
      let person = try await Person.join("ada")
      let first = try cookie(try await logIn(person, [Self.own]))
      let lines = [Self.own, "Cookie: theme=dark; \(first)"]
      let answer = try await Serving.api(1).call(
        "POST", "/v1/sessions/refresh", body: #"{"cookie":true}"#, lines)
      #expect(answer.status == 200)
      #expect(try cookie(answer) != first)
      let session = try answer.json()
      #expect(session["user"]["id"].string == person.id && session["refreshToken"] == .null)
      // Asked once more, because the answer was lost, it gives the same one.
      let again = try await Serving.api().call(
        "POST", "/v1/sessions/refresh", body: #"{"cookie":true}"#, lines)
      #expect(try cookie(again) == cookie(answer))
    }

    @Test func `Another gateway takes the cookie from a page that it allows`() async throws {
      let person = try await Person.join("ada")
      let cookie = try cookie(try await logIn(person, [Self.own]))
      let answer = try await Serving.api(1).call(
        "POST", "/v1/sessions/refresh", body: #"{"cookie":true}"#,
        [Self.allowed, "Cookie: \(cookie)"])
      #expect(answer.status == 200)
      #expect(answer.headers["access-control-allow-credentials"] == "true")
    }

    @Test func `Other pages, and what is no page, cannot use the cookie`() async throws {
      let person = try await Person.join("ada")
      let cookie = try cookie(try await logIn(person, [Self.own]))
      for lines in [[Self.foreign], ["Origin: null"], []] {
        try expectError(try await logIn(person, lines), 403, "PERMISSION_DENIED", saying: "cookie")
        let answer = try await Serving.api().call(
          "POST", "/v1/sessions/refresh", body: #"{"cookie":true}"#,
          lines + ["Cookie: \(cookie)"])
        try expectError(answer, 403, "PERMISSION_DENIED", saying: "cookie")
      }
    }

    @Test(arguments: ["", "martlet-refresh=", "martlet-refresh=nonsense", "other=1"])
    func `Without a cookie that is good the page is signed out`(cookie: String) async throws {
      let answer = try await Serving.api().call(
        "POST", "/v1/sessions/refresh", body: #"{"cookie":true}"#,
        [Self.own, "Cookie: \(cookie)"])
      try expectError(answer, 401, "UNAUTHENTICATED")
    }

    @Test func `A logout takes the cookie away`() async throws {
      let person = try await Person.join("ada")
      let login = try await logIn(person, [Self.own])
      var api = try Serving.api()
      api.token = try login.json()["accessToken"].string
      let answer = try await api.call(
        "DELETE", "/v1/sessions/current", [Self.own, "Cookie: \(try cookie(login))"])
      #expect(answer.status == 204)
      #expect(answer.headers["set-cookie"]?.hasPrefix("martlet-refresh=;") == true)
      #expect(answer.headers["set-cookie"]?.contains("Max-Age=0") == true)
      let refresh = try await Serving.api().call(
        "POST", "/v1/sessions/refresh", body: #"{"cookie":true}"#,
        [Self.own, "Cookie: \(try cookie(login))"])
      try expectError(refresh, 401, "UNAUTHENTICATED")
    }
  }
}

import Primitives
import Testing

@testable import Credentials

@Suite struct AccessTokenTests {
  private static let start = WallTime(milliseconds: 1_700_000_000_000)
  private let ring = KeyRing(seed: [UInt8](repeating: 3, count: 32), now: start)
  private var key: SigningKey { ring.signingKey(now: Self.start) }
  private var verifier: TokenVerifier { ring.verifier(issuer: "martlet") }

  private func claims(
    user: String = "u1", session: String = "s1", issuer: String = "martlet",
    from issuedAt: UInt64 = 1_700_000_000, to expiresAt: UInt64 = 1_700_000_900
  ) -> AccessTokenClaims {
    AccessTokenClaims(
      userID: user, sessionID: session, issuer: issuer, issuedAtSeconds: issuedAt,
      expiresAtSeconds: expiresAt)
  }

  private func error(_ token: String, at seconds: UInt64 = 1_700_000_000) -> TokenError? {
    do {
      _ = try verifier.verify(token, now: WallTime(milliseconds: seconds * 1_000))
      return nil
    } catch { return error }
  }

  /// A token with any header and payload, correctly signed.
  private func signed(_ payload: String, header: String? = nil) -> String {
    let usual = "{\"alg\":\"EdDSA\",\"kid\":\"\(key.keyID)\",\"typ\":\"JWT\"}"
    return CompactSignature.sign(
      header: Array((header ?? usual).utf8), payload: Array(payload.utf8), with: key)
  }

  @Test("The signed example of RFC 8037, appendix A.4, comes out and verifies")
  func published() throws {
    let seed = try #require(Base64.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A".utf8))
    let key = try #require(SigningKey(seed: seed))
    let token = CompactSignature.sign(
      header: Array("{\"alg\":\"EdDSA\"}".utf8), payload: Array("Example of Ed25519 signing".utf8),
      with: key)
    #expect(
      token == "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        + "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
    let parts = try #require(CompactSignature(token))
    #expect(key.verificationKey.isValid(signature: parts.signature, over: parts.signedBytes))
    // Without a key id nobody can say whose signature it is.
    #expect(error(token) == .malformed)
  }

  @Test("A token gives back what was signed")
  func roundTrip() throws {
    let odd = claims(user: "a\"b\\c\u{1}\n\u{7f}ü🔑", session: "s/1")
    for claims in [claims(), odd] {
      let token = AccessToken.sign(claims, with: key)
      #expect(try verifier.verify(token, now: Self.start) == claims)
    }
  }

  @Test("The parts are the documented JSON")
  func shape() throws {
    let parts = try #require(CompactSignature(AccessToken.sign(claims(), with: key)))
    let header = String(decoding: parts.header, as: UTF8.self)
    #expect(header == "{\"alg\":\"EdDSA\",\"kid\":\"\(key.keyID)\",\"typ\":\"JWT\"}")
    #expect(
      String(decoding: parts.payload, as: UTF8.self)
        == "{\"iss\":\"martlet\",\"sub\":\"u1\",\"sid\":\"s1\","
        + "\"iat\":1700000000,\"exp\":1700000900}")
  }

  @Test("Time bounds hold to the second, with an allowance for a signer's clock that is ahead")
  func time() {
    let token = AccessToken.sign(claims(), with: key)
    #expect(error(token, at: 1_700_000_899) == nil)
    #expect(error(token, at: 1_700_000_900) == .expired)
    let ahead = AccessToken.sign(claims(from: 1_700_000_130), with: key)
    #expect(error(ahead, at: 1_700_000_100) == nil)
    #expect(error(ahead, at: 1_700_000_099) == .notYetValid)
  }

  @Test("Another issuer's token is refused")
  func issuer() {
    #expect(error(AccessToken.sign(claims(issuer: "other"), with: key)) == .wrongIssuer)
  }

  @Test("Another ring's token is refused, also under this ring's key id")
  func foreignKey() throws {
    let foreign = try #require(SigningKey(seed: [UInt8](repeating: 4, count: 32)))
    #expect(error(AccessToken.sign(claims(), with: foreign)) == .unknownKey)
    let header = "{\"alg\":\"EdDSA\",\"kid\":\"\(key.keyID)\"}"
    let forged = CompactSignature.sign(
      header: Array(header.utf8), payload: [UInt8](repeating: 32, count: 3), with: foreign)
    #expect(error(forged) == .badSignature)
  }

  @Test("Order, space, escapes and unknown claims do not matter")
  func tolerant() throws {
    let payload = """
       { "exp":1700000900 , "x":-1.5e+3, "sub":"\\u0075\\u0031", "y":"\\ud83d\\udd11", "z":null,
      "iat":1700000000,\t"b":true,"sid":"s1","iss":"martlet" }\u{20}
      """
    #expect(try verifier.verify(signed(payload), now: Self.start) == claims())
  }

  @Test(
    "Claims that are missing, twice, of another type or nested are refused",
    arguments: [
      "", "{}", "[]", "null", "\"x\"", "{\"sub\":\"u\"}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1700000000}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1700000000,\"exp\":\"1700000900\"}",
      "{\"iss\":\"martlet\",\"sub\":7,\"sid\":\"s\",\"iat\":1700000000,\"exp\":1700000900}",
      "{\"iss\":\"martlet\",\"sub\":\"\",\"sid\":\"s\",\"iat\":1700000000,\"exp\":1700000900}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1.0,\"exp\":1700000900}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":-1,\"exp\":1700000900}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":01,\"exp\":1700000900}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1,\"exp\":99999999999999999999}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sub\":\"v\",\"sid\":\"s\",\"iat\":1,\"exp\":1700009}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900,\"x\":[1]}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900,\"x\":{}}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900,}",
      "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900}x",
      "{\"iss\":\"martlet\",\"sub\":\"\\ud83d\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900}",
      "{\"iss\":\"martlet\",\"sub\":\"\\udd11\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900}",
      "{\"iss\":\"martlet\",\"sub\":\"a\nb\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900}",
      "{\"iss\":\"martlet\",\"sub\":\"\\x\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900}",
    ])
  func badClaims(payload: String) {
    #expect(error(signed(payload)) == .malformed)
  }

  @Test("Headers with another algorithm, type, extensions or no key are refused")
  func badHeaders() {
    let payload = "{\"iss\":\"martlet\",\"sub\":\"u\",\"sid\":\"s\",\"iat\":1,\"exp\":1700000900}"
    let kid = "\"kid\":\"\(key.keyID)\""
    #expect(error(signed(payload, header: "{\"alg\":\"EdDSA\",\(kid)}")) == nil)
    for header in [
      "{\"alg\":\"none\",\(kid)}", "{\"alg\":\"HS256\",\(kid)}", "{\"alg\":\"eddsa\",\(kid)}",
      "{\(kid)}", "{\"alg\":\"EdDSA\"}", "{\"alg\":\"EdDSA\",\"alg\":\"none\",\(kid)}",
      "{\"alg\":\"EdDSA\",\(kid),\"typ\":\"JOSE\"}", "{\"alg\":\"EdDSA\",\(kid),\"crit\":\"b64\"}",
      "{\"alg\":\"EdDSA\",\(kid),\"crit\":[\"b64\"]}", "{\"alg\":\"EdDSA\",\"kid\":7}", "{", "",
    ] {
      #expect(error(signed(payload, header: header)) == .malformed, "\(header)")
    }
  }

  @Test("Texts that are not three parts, or longer than a token may be, are malformed")
  func notTokens() {
    let token = AccessToken.sign(claims(), with: key)
    for text in ["", ".", "..", "...", "a.b", "\(token).", ".\(token)", "\(token)=", " \(token)"] {
      #expect(error(text) == .malformed, "\(text)")
    }
    let long = claims(user: String(repeating: "u", count: AccessToken.bytesMax))
    #expect(error(AccessToken.sign(long, with: key)) == .malformed)
  }

  @Test("Every truncation of a token is refused")
  func truncation() {
    let token = AccessToken.sign(claims(), with: key)
    for count in 0..<token.count { #expect(error(String(token.prefix(count))) != nil, "\(count)") }
  }

  @Test("Every mutation of a token is refused and none traps")
  func mutations() {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SeededRandom(seed: seed)
    let token = Array(AccessToken.sign(claims(), with: key).utf8)
    for round in 0..<4_000 {
      var mutated = token
      for _ in 0...Int.random(in: 0..<3, using: &random) {
        let index = Int.random(in: 0..<mutated.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: mutated[index] = UInt8.random(in: 0...127, using: &random)
        case 1: mutated.remove(at: index)
        case 2: mutated.insert(UInt8.random(in: 33...126, using: &random), at: index)
        default: mutated.swapAt(index, Int.random(in: 0..<mutated.count, using: &random))
        }
      }
      guard mutated != token else { continue }
      let text = String(decoding: mutated, as: UTF8.self)
      #expect(error(text) != nil, "seed \(seed) round \(round): \(text)")
    }
  }

  @Test("The claims' parser survives any mutation, signed or not")
  func parserMutations() {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SeededRandom(seed: seed)
    let payload = Array(
      "{\"iss\":\"martlet\",\"sub\":\"\\ud83d\\udd11\",\"x\":-1.5e+3,\"t\":true,\"exp\":17}".utf8)
    let alphabet = Array("{}[]\",:\\u0123456789eE+-.truefalsn \u{e9}\u{0}".utf8)
    var accepted = 0
    for _ in 0..<20_000 {
      var mutated = payload
      for _ in 0...Int.random(in: 0..<3, using: &random) where !mutated.isEmpty {
        let index = Int.random(in: 0..<mutated.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: mutated[index] = alphabet.randomElement(using: &random) ?? 0
        case 1: mutated.removeSubrange(index...)
        default: mutated.insert(alphabet.randomElement(using: &random) ?? 0, at: index)
        }
      }
      if let members = FlatJSON.parse(mutated) {
        accepted += 1
        #expect(members.count <= FlatJSON.membersMax, "seed \(seed)")
      }
    }
    // Some mutations stay within a string or a number: the parser must not refuse everything.
    #expect(accepted > 100, "seed \(seed)")
  }
}

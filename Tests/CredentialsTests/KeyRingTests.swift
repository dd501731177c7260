import Credentials
import Primitives
import Testing

@Suite struct KeyRingTests {
  private static let policy = KeyRotationPolicy(
    overlap: 60_000, tokenLifetimeMax: 900_000, clockSkewMax: 30_000)
  private static let origin: UInt64 = 1_700_000_000_000

  /// Seconds after the first key was made.
  private func time(_ seconds: UInt64) -> WallTime {
    WallTime(milliseconds: Self.origin + seconds * 1_000)
  }

  private func seed(_ number: UInt8) -> [UInt8] { [UInt8](repeating: number, count: 32) }

  private func keyID(_ number: UInt8) throws -> String {
    try #require(SigningKey(seed: seed(number))).keyID
  }

  private func token(_ ring: KeyRing, at seconds: UInt64, life: UInt64 = 900) -> String {
    let now = time(seconds)
    let issued = now.milliseconds / 1_000
    let claims = AccessTokenClaims(
      userID: "u", sessionID: "s", issuer: "martlet", issuedAtSeconds: issued,
      expiresAtSeconds: issued + life)
    return AccessToken.sign(claims, with: ring.signingKey(now: now))
  }

  private func isGood(_ token: String, _ ring: KeyRing, at seconds: UInt64) -> Bool {
    (try? ring.verifier(issuer: "martlet").verify(token, now: time(seconds))) != nil
  }

  @Test("A new key verifies first, signs after the overlap, and the old one outlives its tokens")
  func timeline() throws {
    let first = KeyRing(seed: seed(1), now: time(0))
    let ring = first.rotated(now: time(1_000), seed: seed(2), policy: Self.policy)
    #expect(ring.keys.map(\.verification.keyID) == [try keyID(1), try keyID(2)])
    #expect(ring.signingKey(now: time(1_059)).keyID == (try keyID(1)))
    #expect(ring.signingKey(now: time(1_060)).keyID == (try keyID(2)))

    // Somebody with a late clock signs with the old key up to the last moment.
    let last = token(first, at: 1_089)
    #expect(isGood(last, ring, at: 1_988))
    let pruned = ring.pruned(now: time(1_989), policy: Self.policy)
    #expect(pruned.keys.count == 2)
    #expect(ring.pruned(now: time(1_990), policy: Self.policy).keys.count == 1)
    #expect(!isGood(token(first, at: 1_089, life: 5_000), ring, at: 1_990))
  }

  @Test("Within the overlap whoever still has the old ring accepts every new token")
  func overlap() {
    let old = KeyRing(seed: seed(1), now: time(0))
    let new = old.rotated(now: time(100), seed: seed(2), policy: Self.policy)
    for seconds in UInt64(100)..<160 { #expect(isGood(token(new, at: seconds), old, at: seconds)) }
    #expect(!isGood(token(new, at: 160), old, at: 160))
    #expect(isGood(token(new, at: 160), new, at: 160))
  }

  @Test("A rotated key loses its secret when no clock would sign with it any more")
  func secrets() throws {
    let ring = KeyRing(seed: seed(1), now: time(0))
      .rotated(now: time(100), seed: seed(2), policy: Self.policy)
    let early = ring.pruned(now: time(189), policy: Self.policy)
    #expect(early.keys.allSatisfy { $0.signing != nil })
    let late = ring.pruned(now: time(190), policy: Self.policy)
    #expect(late.keys.map { $0.signing == nil } == [true, false])
    #expect(isGood(token(ring, at: 120), late, at: 190))
    // With the secret gone even a clock that is far behind signs with the new key.
    #expect(late.signingKey(now: time(0)).keyID == (try keyID(2)))
  }

  @Test("While a new key waits, another rotation adds none")
  func repeated() {
    let ring = KeyRing(seed: seed(1), now: time(0))
      .rotated(now: time(100), seed: seed(2), policy: Self.policy)
    #expect(ring.rotated(now: time(159), seed: seed(3), policy: Self.policy) == ring)
    let third = ring.rotated(now: time(160), seed: seed(3), policy: Self.policy)
    #expect(third.keys.count == 3)
  }

  @Test("Over many rotations every token stays good for its life and the ring stays small")
  func manyRotations() {
    var ring = KeyRing(seed: seed(1), now: time(0))
    var tokens: [(text: String, madeAt: UInt64)] = []
    for step in UInt64(1)...400 {
      let seconds = step * 30
      if step % 10 == 0 {
        let number = UInt8(truncatingIfNeeded: step)
        ring = ring.rotated(now: time(seconds), seed: seed(number), policy: Self.policy)
      }
      tokens.append((token(ring, at: seconds), seconds))
      for token in tokens.suffix(30) where token.madeAt + 900 > seconds {
        #expect(isGood(token.text, ring, at: seconds), "\(token.madeAt) at \(seconds)")
      }
      #expect(ring.keys.count <= 6)
    }
  }

  @Test("Too frequent rotation drops the oldest key and never exceeds the bound")
  func bound() {
    let hasty = KeyRotationPolicy(overlap: 1, tokenLifetimeMax: 1_000_000_000_000)
    var ring = KeyRing(seed: seed(1), now: time(0))
    for step in UInt64(1)...40 {
      ring = ring.rotated(now: time(step), seed: seed(UInt8(step + 1)), policy: hasty)
    }
    #expect(ring.keys.count == KeyRing.keysMax)
    #expect((try? KeyRing(decoding: ring.encoded())) == ring)
  }

  @Test("The stored form gives back the ring, secrets included")
  func storedForm() throws {
    var ring = KeyRing(seed: seed(1), now: time(0))
    for step in UInt64(1)...3 {
      let decoded = try KeyRing(decoding: ring.encoded())
      #expect(decoded == ring)
      #expect(decoded.keys.map { $0.signing?.seed } == ring.keys.map { $0.signing?.seed })
      ring = ring.rotated(now: time(step * 200), seed: seed(UInt8(step + 1)), policy: Self.policy)
    }
  }

  @Test("Every truncation of the stored form is refused")
  func truncation() {
    let ring = KeyRing(seed: seed(1), now: time(0))
      .rotated(now: time(100), seed: seed(2), policy: Self.policy)
    let bytes = ring.encoded()
    for count in 0..<bytes.count {
      #expect(throws: KeyRingError.self) { try KeyRing(decoding: Array(bytes.prefix(count))) }
    }
  }

  @Test("Damaged rings are refused and never trap")
  func damage() {
    let seedNumber = UInt64.random(in: 0...UInt64.max)
    var random = SeededRandom(seed: seedNumber)
    let ring = KeyRing(seed: seed(1), now: time(0))
      .rotated(now: time(100), seed: seed(2), policy: Self.policy)
    let bytes = ring.encoded()
    for _ in 0..<2_000 {
      var damaged = bytes
      damaged[Int.random(in: 0..<bytes.count, using: &random)] ^=
        1 << UInt8.random(in: 0..<8, using: &random)
      guard let decoded = try? KeyRing(decoding: damaged) else { continue }
      // Times may differ; keys may not, since a seed must make its public key.
      #expect(!decoded.keys.isEmpty, "seed \(seedNumber)")
      _ = decoded.signingKey(now: time(0))
      _ = decoded.rotated(now: time(10), seed: seed(9), policy: Self.policy)
    }
  }

  @Test("Rings without a key, with a wrong seed or with too many keys are refused")
  func refused() {
    #expect(throws: KeyRingError.invalidRing) { try KeyRing(decoding: []) }
    let stored = KeyRing(seed: seed(1), now: time(0)).encoded()
    #expect(throws: KeyRingError.invalidRing) { try KeyRing(decoding: stored + stored) }
    let many = Array(repeatElement(stored, count: KeyRing.keysMax + 1).joined())
    #expect(throws: KeyRingError.invalidRing) { try KeyRing(decoding: many) }
    var writer = ProtobufWriter()
    writer.message(1) { writer in
      writer.data(1, seed(5))
      writer.data(2, seed(6))
    }
    #expect(throws: KeyRingError.invalidKey) { try KeyRing(decoding: writer.bytes) }
  }
}

@Suite struct RefreshTokenTests {
  private let secret = (0..<32).map { UInt8($0) }
  /// The text of `secret`.
  private static let good = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

  @Test("The text form gives back the token, and the stored hash matches it alone")
  func roundTrip() throws {
    let token = RefreshToken(sessionID: "7zq2m9c4v-A_1", secret: secret)
    #expect(token.text == "7zq2m9c4v-A_1.\(Self.good)")
    let read = try #require(RefreshToken(text: token.text))
    #expect(read.sessionID == token.sessionID)
    #expect(read.matches(hash: token.hash))
    #expect(token.hash == Digest.sha256(secret))
    let other = RefreshToken(sessionID: "7zq2m9c4v-A_1", secret: secret.reversed())
    #expect(!other.matches(hash: token.hash))
    #expect(!token.matches(hash: []) && !token.matches(hash: Array(token.hash.prefix(31))))
  }

  @Test("The next token is the same for all who know the key, and for nobody else")
  func successor() throws {
    let token = RefreshToken(sessionID: "s1", secret: secret)
    let next = token.successor(key: [1, 2, 3])
    #expect(next.sessionID == "s1" && next.text != token.text)
    let read = try #require(RefreshToken(text: token.text))
    #expect(read.successor(key: [1, 2, 3]).text == next.text)
    #expect(token.successor(key: [1, 2, 4]).text != next.text)
    #expect(next.successor(key: [1, 2, 3]).text != next.text)
  }

  @Test("The authentication code is that of RFC 4231, case 2")
  func authenticationCode() {
    let code = Digest.authenticationCode(
      of: Array("what do ya want for nothing?".utf8), key: Array("Jefe".utf8))
    let hex = code.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    #expect(hex == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
  }

  @Test(
    "Other texts are refused",
    arguments: [
      "", ".", "s", "s.", "\(good)=", ".\(good)", "s.\(good.dropLast())", "s.\(good)=",
      "s.s.\(good)", "s s.\(good)", "é.\(good)", "s.\(good.dropLast())9", "s.\(good)AA",
    ])
  func refused(text: String) {
    #expect(RefreshToken(text: text) == nil)
  }

  @Test("Every truncation is refused, and a long session id too")
  func truncation() {
    let text = RefreshToken(sessionID: "s1", secret: secret).text
    for count in 0..<text.count { #expect(RefreshToken(text: String(text.prefix(count))) == nil) }
    let session = String(repeating: "s", count: RefreshToken.sessionIDBytesMax)
    #expect(RefreshToken(text: session + text.dropFirst(2)) != nil)
    #expect(RefreshToken(text: session + "s" + text.dropFirst(2)) == nil)
  }

  @Test("A refresh token does not print its secret")
  func printing() {
    let token = RefreshToken(sessionID: "s1", secret: secret)
    var dumped = ""
    dump(token, to: &dumped)
    #expect(!dumped.contains("31") && "\(token)" == "RefreshToken(s1)")
  }
}

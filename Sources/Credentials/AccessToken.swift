package import Primitives

/// What an access token says.
package struct AccessTokenClaims: Hashable, Sendable {
  /// `sub`
  package let userID: String
  /// `sid`: the device's session, by which it is revoked.
  package let sessionID: String
  /// `iss`
  package let issuer: String
  /// `iat`. **Units**: seconds since 1970.
  package let issuedAtSeconds: UInt64
  /// `exp`: from this second on the token is no good. **Units**: seconds since 1970.
  package let expiresAtSeconds: UInt64

  package init(
    userID: String, sessionID: String, issuer: String, issuedAtSeconds: UInt64,
    expiresAtSeconds: UInt64
  ) {
    self.userID = userID
    self.sessionID = sessionID
    self.issuer = issuer
    self.issuedAtSeconds = issuedAtSeconds
    self.expiresAtSeconds = expiresAtSeconds
  }
}

/// Why a token was refused.
package enum TokenError: Error, Hashable, Sendable {
  case malformed
  /// Its key is not in the ring, or not any more.
  case unknownKey
  case badSignature
  case wrongIssuer
  case expired
  case notYetValid
}

/// A JSON web token with exactly the claims above, signed with Ed25519.
///
/// **Shape**: `base64url(header).base64url(claims).base64url(signature)`
/// ```
/// {"alg":"EdDSA","kid":"…","typ":"JWT"}
/// {"iss":"…","sub":"…","sid":"…","iat":1700000000,"exp":1700000900}
/// ```
///
/// **Source**: RFC 7515, 7519, 8037.
package enum AccessToken {
  /// A longer token is refused unread.
  package static let bytesMax = 2_048

  /// **Returns**: the token's text.
  package static func sign(_ claims: AccessTokenClaims, with key: SigningKey) -> String {
    let header = "{\"alg\":\"EdDSA\",\"kid\":\(FlatJSON.quote(key.keyID)),\"typ\":\"JWT\"}"
    let payload = """
      {"iss":\(FlatJSON.quote(claims.issuer)),"sub":\(FlatJSON.quote(claims.userID)),\
      "sid":\(FlatJSON.quote(claims.sessionID)),"iat":\(claims.issuedAtSeconds),\
      "exp":\(claims.expiresAtSeconds)}
      """
    return CompactSignature.sign(
      header: Array(header.utf8), payload: Array(payload.utf8), with: key)
  }

  /// **Returns**: the `kid` of a header that names this algorithm.
  fileprivate static func keyID(header: [UInt8]) -> String? {
    guard let members = FlatJSON.parse(header) else { return nil }
    var algorithm: String?
    var keyID: String?
    for (name, value) in members {
      switch (name, value) {
      case ("alg", .string(let text)) where algorithm == nil: algorithm = text
      case ("kid", .string(let text)) where keyID == nil: keyID = text
      case ("typ", .string("JWT")): break
      // `crit` names extensions that must be understood; none is (RFC 7515, section 4.1.11).
      case ("alg", _), ("kid", _), ("typ", _), ("crit", _): return nil
      default: break
      }
    }
    return algorithm == "EdDSA" ? keyID : nil
  }

  fileprivate static func claims(_ payload: [UInt8]) -> AccessTokenClaims? {
    guard let members = FlatJSON.parse(payload) else { return nil }
    var user: String?
    var session: String?
    var issuer: String?
    var issuedAt: UInt64?
    var expiresAt: UInt64?
    for (name, value) in members {
      switch (name, value) {
      case ("sub", .string(let text)) where user == nil && !text.isEmpty: user = text
      case ("sid", .string(let text)) where session == nil && !text.isEmpty: session = text
      case ("iss", .string(let text)) where issuer == nil: issuer = text
      case ("iat", .integer(let seconds)) where issuedAt == nil: issuedAt = seconds
      case ("exp", .integer(let seconds)) where expiresAt == nil: expiresAt = seconds
      // One of another type, or twice: two readers might understand it differently.
      case ("sub", _), ("sid", _), ("iss", _), ("iat", _), ("exp", _): return nil
      default: break
      }
    }
    guard let user, let session, let issuer, let issuedAt, let expiresAt else { return nil }
    return AccessTokenClaims(
      userID: user, sessionID: session, issuer: issuer, issuedAtSeconds: issuedAt,
      expiresAtSeconds: expiresAt)
  }
}

/// Checks tokens against the keys of a ring.
package struct TokenVerifier: Sendable {
  /// How far the clock that signed may be ahead.
  package static let clockSkewSecondsMax: UInt64 = 30

  /// A key and when it is good.
  struct Key: Sendable {
    let verification: VerificationKey
    let notBefore: WallTime
    let notAfter: WallTime?
  }

  private let issuer: String
  private let keys: [String: Key]

  init(issuer: String, keys: [Key]) {
    self.issuer = issuer
    var byID: [String: Key] = [:]
    for key in keys { byID[key.verification.keyID] = key }
    self.keys = byID
  }

  /// **Invariant**: any text gives claims or an error; claims only when the signature is right.
  package func verify(_ token: String, now: WallTime) throws(TokenError) -> AccessTokenClaims {
    guard token.utf8.count <= AccessToken.bytesMax, let parts = CompactSignature(token),
      let keyID = AccessToken.keyID(header: parts.header)
    else { throw .malformed }
    let nowSeconds = now.milliseconds / 1_000
    guard let key = keys[keyID], isGood(key, now: now) else { throw .unknownKey }
    guard key.verification.isValid(signature: parts.signature, over: parts.signedBytes) else {
      throw .badSignature
    }
    guard let claims = AccessToken.claims(parts.payload) else { throw .malformed }
    guard claims.issuer == issuer else { throw .wrongIssuer }
    guard nowSeconds < claims.expiresAtSeconds else { throw .expired }
    let latest = nowSeconds + Self.clockSkewSecondsMax
    guard claims.issuedAtSeconds <= latest else { throw .notYetValid }
    return claims
  }

  private func isGood(_ key: Key, now: WallTime) -> Bool {
    let latest = now.milliseconds.addingReportingOverflow(Self.clockSkewSecondsMax * 1_000)
    let hasBegun = latest.overflow || key.notBefore.milliseconds <= latest.partialValue
    return hasBegun && key.notAfter.map { now < $0 } ?? true
  }
}

/// The three parts of a signed token (JWS compact serialization).
///
/// **Source**: RFC 7515, section 3.1.
struct CompactSignature {
  let header: [UInt8]
  let payload: [UInt8]
  let signature: [UInt8]
  /// The text that the signature covers: everything before the last point.
  let signedBytes: [UInt8]

  init?(_ token: String) {
    let bytes = Array(token.utf8)
    let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 3, let header = Base64.decode(parts[0]),
      let payload = Base64.decode(parts[1]), let signature = Base64.decode(parts[2])
    else { return nil }
    self.header = header
    self.payload = payload
    self.signature = signature
    signedBytes = Array(bytes[..<parts[1].endIndex])
  }

  static func sign(header: [UInt8], payload: [UInt8], with key: SigningKey) -> String {
    let signed = "\(Base64.encode(header)).\(Base64.encode(payload))"
    return "\(signed).\(Base64.encode(key.sign(Array(signed.utf8))))"
  }
}

/// What a device shows to get its next access token. The server keeps only the hash.
///
/// **Shape**: `<session id>.<base64url of 32 bytes>`
package struct RefreshToken: Sendable, CustomStringConvertible, CustomReflectable {
  /// **Units**: bytes.
  package static let secretBytes = 32
  /// **Units**: bytes of ASCII.
  package static let sessionIDBytesMax = 64

  /// Whose session it is; not secret.
  package let sessionID: String
  private let secret: [UInt8]

  /// **Shape**: `sessionID` is 1 to `sessionIDBytesMax` of letters, digits, `-` and `_`; `secret`
  /// is `secretBytes` that nobody can guess.
  package init(sessionID: String, secret: [UInt8]) {
    precondition(secret.count == Self.secretBytes && Self.isPlain(sessionID), "bad refresh token")
    self.sessionID = sessionID
    self.secret = secret
  }

  /// **Returns**: `nil` for any text that `text` would not have made.
  package init?(text: String) {
    let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0].count <= Self.sessionIDBytesMax,
      let secret = Base64.decode(parts[1]), secret.count == Self.secretBytes
    else { return nil }
    let sessionID = String(Substring(parts[0]))
    guard Self.isPlain(sessionID) else { return nil }
    self.sessionID = sessionID
    self.secret = secret
  }

  /// The token that takes this one's place. It is the same whenever and wherever it is asked for,
  /// so that a device whose answer was lost can ask again; `key` is a secret of the servers, so
  /// that nobody else can tell it beforehand.
  package func successor(key: [UInt8]) -> RefreshToken {
    let purpose = Array("martlet refresh token".utf8)
    return RefreshToken(
      sessionID: sessionID, secret: Digest.authenticationCode(of: purpose + secret, key: key))
  }

  private static func isPlain(_ text: String) -> Bool {
    (1...sessionIDBytesMax).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
          true
        default: false
        }
      }
  }

  /// What the device keeps and shows.
  package var text: String { "\(sessionID).\(Base64.encode(secret))" }

  /// What is stored. The secret has 256 bits that look random, so a plain hash is enough.
  package var hash: [UInt8] { Digest.sha256(secret) }

  /// Compares in constant time.
  package func matches(hash stored: [UInt8]) -> Bool { Digest.equal(hash, stored) }

  package var description: String { "RefreshToken(\(sessionID))" }

  package var customMirror: Mirror { Mirror(self, children: ["sessionID": sessionID]) }
}

import COpenSSL

/// Owns one of OpenSSL's keys.
private final class KeyHandle: @unchecked Sendable {
  // Safety: the key is complete when it gets here and is only read; OpenSSL locks its caches.

  let pointer: OpaquePointer

  init(owning pointer: OpaquePointer) { self.pointer = pointer }

  deinit { EVP_PKEY_free(pointer) }
}

/// A public Ed25519 key.
///
/// **Source**: RFC 8032.
package struct VerificationKey: Hashable, Sendable {
  /// **Units**: bytes of the public key.
  package static let bytesCount = 32
  /// **Units**: bytes.
  package static let signatureBytes = 64

  package let bytes: [UInt8]
  /// Names the key in tokens: the key's JWK thumbprint (RFC 7638; RFC 8037, appendix A.3).
  package let keyID: String
  private let handle: KeyHandle

  /// **Returns**: `nil` unless there are 32 bytes.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.bytesCount else { return nil }
    ERR_clear_error()
    guard let key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, bytes, bytes.count) else {
      return nil
    }
    handle = KeyHandle(owning: key)
    self.bytes = bytes
    let jwk = "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"\(Base64.encode(bytes))\"}"
    keyID = Base64.encode(Digest.sha256(jwk.utf8))
  }

  /// **Returns**: whether `signature` over `message` was made with the private half of this key.
  package func isValid(signature: [UInt8], over message: [UInt8]) -> Bool {
    guard signature.count == Self.signatureBytes else { return false }
    guard let context = EVP_MD_CTX_new() else { preconditionFailure("no memory to verify") }
    defer {
      EVP_MD_CTX_free(context)
      ERR_clear_error()
    }
    guard EVP_DigestVerifyInit(context, nil, nil, nil, handle.pointer) == 1 else { return false }
    return EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
  }

  package static func == (left: Self, right: Self) -> Bool { left.bytes == right.bytes }

  package func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}

/// A private Ed25519 key. It prints as its public half's id.
package struct SigningKey: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
  /// **Units**: bytes.
  package static let seedBytes = 32

  /// The secret. Only what stores the key ring looks at it.
  package let seed: [UInt8]
  package let verificationKey: VerificationKey
  private let handle: KeyHandle

  /// **Returns**: `nil` unless there are 32 bytes.
  package init?(seed: [UInt8]) {
    guard seed.count == Self.seedBytes else { return nil }
    guard let key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, seed, seed.count) else {
      preconditionFailure("no memory for a key")
    }
    handle = KeyHandle(owning: key)
    var count = VerificationKey.bytesCount
    var publicBytes = [UInt8](repeating: 0, count: count)
    guard EVP_PKEY_get_raw_public_key(key, &publicBytes, &count) == 1,
      let verificationKey = VerificationKey(publicBytes)
    else { return nil }
    self.verificationKey = verificationKey
    self.seed = seed
  }

  /// What a token's header names it by.
  package var keyID: String { verificationKey.keyID }

  /// **Shape**: 64 bytes.
  package func sign(_ message: [UInt8]) -> [UInt8] {
    guard let context = EVP_MD_CTX_new() else { preconditionFailure("no memory to sign") }
    defer { EVP_MD_CTX_free(context) }
    var count = VerificationKey.signatureBytes
    var signature = [UInt8](repeating: 0, count: count)
    let isSigned =
      EVP_DigestSignInit(context, nil, nil, nil, handle.pointer) == 1
      && EVP_DigestSign(context, &signature, &count, message, message.count) == 1
    precondition(isSigned && count == VerificationKey.signatureBytes, "signing failed")
    return signature
  }

  package static func == (left: Self, right: Self) -> Bool {
    left.verificationKey == right.verificationKey
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(verificationKey) }

  package var description: String { "SigningKey(\(keyID))" }

  package var customMirror: Mirror { Mirror(self, children: ["keyID": keyID]) }
}

import COpenSSL

/// Hashing and comparing of secrets.
package enum Digest {
  package static let sha256Bytes = 32

  /// **Source**: FIPS 180-4.
  package static func sha256(_ bytes: some Sequence<UInt8>) -> [UInt8] {
    let input = Array(bytes)
    return [UInt8](unsafeUninitializedCapacity: sha256Bytes) { buffer, filled in
      let made = EVP_Digest(input, input.count, buffer.baseAddress, nil, EVP_sha256(), nil)
      precondition(made == 1, "SHA-256 failed")
      filled = sha256Bytes
    }
  }

  /// HMAC-SHA-256 (RFC 2104).
  package static func authenticationCode(of bytes: [UInt8], key: [UInt8]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: sha256Bytes) { buffer, filled in
      let made = HMAC(
        EVP_sha256(), key, Int32(key.count), bytes, bytes.count, buffer.baseAddress, nil)
      precondition(made != nil, "HMAC-SHA-256 failed")
      filled = sha256Bytes
    }
  }

  /// Compares in a time that depends on the lengths only.
  package static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    return left.isEmpty || CRYPTO_memcmp(left, right, left.count) == 0
  }
}

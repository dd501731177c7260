import CArgon2

/// Why a password could not be hashed or compared.
package enum PasswordError: Error, Hashable, Sendable {
  case empty
  /// Longer than `PasswordHash.passwordBytesMax`.
  case tooLong
  /// What is stored is not an Argon2id hash, or asks for more than the bounds allow.
  case malformed
  /// There is no memory for the computation now. Retryable.
  case outOfMemory
}

/// Argon2id hashes of passwords in their usual text form.
///
/// One computation takes `memoryKiB` and tens of milliseconds: the caller bounds how many run at a
/// time and keeps them off the event loops.
///
/// **Shape**: `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`, both base 64 without padding.
///
/// **Isolation**: any thread.
///
/// **Source**: RFC 9106; OWASP "Password Storage Cheat Sheet"; the PHC string format.
package enum PasswordHash {
  /// A password's UTF-8 form. It is compared as it was sent, without normalisation.
  package static let passwordBytesMax = 1_024
  /// **Units**: bytes.
  package static let saltBytes = 16
  static let hashBytes = 32

  /// The cost of one hash.
  package struct Parameters: Hashable, Sendable {
    package let memoryKiB: UInt32
    /// Argon2's `t`.
    package let passes: UInt32
    /// Argon2's `p`.
    package let lanes: UInt32

    package init(memoryKiB: UInt32, passes: UInt32, lanes: UInt32) {
      self.memoryKiB = memoryKiB
      self.passes = passes
      self.lanes = lanes
    }

    /// Of new hashes. **Source**: OWASP "Password Storage Cheat Sheet".
    package static let recommended = Parameters(memoryKiB: 19_456, passes: 2, lanes: 1)

    /// What a stored hash may ask for, lest a damaged one takes the machine's memory.
    var isAcceptable: Bool {
      (1...16).contains(lanes) && (1...16).contains(passes)
        && (8 * lanes...262_144).contains(memoryKiB)
    }
  }

  /// **Shape**: `salt` is `saltBytes` of the caller's randomness.
  package static func hash(
    _ password: String, salt: [UInt8], parameters: Parameters = .recommended
  ) throws(PasswordError) -> String {
    precondition(salt.count == saltBytes && parameters.isAcceptable, "bad salt or cost")
    let bytes = Array(password.utf8)
    guard !bytes.isEmpty else { throw .empty }
    guard bytes.count <= passwordBytesMax else { throw .tooLong }
    let hash = try compute(bytes, salt: salt, parameters: parameters, count: hashBytes)
    return Stored(parameters: parameters, salt: salt, hash: hash).text
  }

  /// **Returns**: whether `password` is the one that `encoded` was made of. The bytes are compared
  /// in constant time.
  ///
  /// **Throws**: `.malformed` and `.outOfMemory`; neither says anything about the password.
  package static func verify(
    _ password: String, _ encoded: String
  ) throws(PasswordError) -> Bool {
    guard let stored = Stored(encoded) else { throw .malformed }
    let bytes = Array(password.utf8)
    guard !bytes.isEmpty, bytes.count <= passwordBytesMax else { return false }
    let hash = try compute(
      bytes, salt: stored.salt, parameters: stored.parameters, count: stored.hash.count)
    return Digest.equal(hash, stored.hash)
  }

  /// Takes as long as `verify`, so that an account that does not exist answers like one that does.
  package static func verifyDummy(
    _ password: String, parameters: Parameters = .recommended
  ) throws(PasswordError) {
    let bytes = Array(password.utf8)
    guard !bytes.isEmpty, bytes.count <= passwordBytesMax else { return }
    let salt = [UInt8](repeating: 0, count: saltBytes)
    _ = try compute(bytes, salt: salt, parameters: parameters, count: hashBytes)
  }

  /// Whether a hash should be made anew at the next successful login: its cost is another one.
  package static func isOutdated(
    _ encoded: String, parameters: Parameters = .recommended
  ) -> Bool {
    Stored(encoded)?.parameters != parameters
  }

  private static func compute(
    _ password: [UInt8], salt: [UInt8], parameters: Parameters, count: Int
  ) throws(PasswordError) -> [UInt8] {
    var status = ARGON2_OK.rawValue
    let hash = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      status = argon2id_hash_raw(
        parameters.passes, parameters.memoryKiB, parameters.lanes, password, password.count,
        salt, salt.count, buffer.baseAddress, count)
      filled = status == ARGON2_OK.rawValue ? count : 0
    }
    guard status != ARGON2_MEMORY_ALLOCATION_ERROR.rawValue else { throw .outOfMemory }
    guard status == ARGON2_OK.rawValue else { throw .malformed }
    return hash
  }
}

/// The parts of a hash's text form.
private struct Stored {
  let parameters: PasswordHash.Parameters
  let salt: [UInt8]
  let hash: [UInt8]

  static let textBytesMax = 256

  init(parameters: PasswordHash.Parameters, salt: [UInt8], hash: [UInt8]) {
    self.parameters = parameters
    self.salt = salt
    self.hash = hash
  }

  var text: String {
    let cost = "m=\(parameters.memoryKiB),t=\(parameters.passes),p=\(parameters.lanes)"
    let (salt, hash) = (Base64.encode(salt, .standard), Base64.encode(hash, .standard))
    return "$argon2id$v=19$\(cost)$\(salt)$\(hash)"
  }

  init?(_ text: String) {
    guard text.utf8.count <= Self.textBytesMax else { return nil }
    let parts = text.split(separator: "$", omittingEmptySubsequences: false)
    guard parts.count == 6, parts[0].isEmpty, parts[1] == "argon2id", parts[2] == "v=19" else {
      return nil
    }
    let cost = parts[3].split(separator: ",", omittingEmptySubsequences: false)
    guard cost.count == 3, let memoryKiB = Self.number(cost[0], "m="),
      let passes = Self.number(cost[1], "t="), let lanes = Self.number(cost[2], "p="),
      let salt = Base64.decode(parts[4].utf8, .standard), (8...64).contains(salt.count),
      let hash = Base64.decode(parts[5].utf8, .standard), (16...64).contains(hash.count)
    else { return nil }
    parameters = PasswordHash.Parameters(memoryKiB: memoryKiB, passes: passes, lanes: lanes)
    guard lanes <= 16, parameters.isAcceptable else { return nil }
    self.salt = salt
    self.hash = hash
  }

  private static func number(_ text: Substring, _ prefix: String) -> UInt32? {
    guard text.hasPrefix(prefix) else { return nil }
    let digits = text.dropFirst(prefix.count)
    guard let value = UInt32(digits), String(value) == digits else { return nil }
    return value
  }
}

package import Primitives

/// How keys follow each other.
package struct KeyRotationPolicy: Hashable, Sendable {
  /// From when a new key is known until it signs: longer than a ring takes to reach every gateway.
  package let overlap: Milliseconds
  /// The longest life of a token.
  package let tokenLifetimeMax: Milliseconds
  /// How far the signers' clocks may be apart.
  package let clockSkewMax: Milliseconds

  package init(
    overlap: Milliseconds, tokenLifetimeMax: Milliseconds, clockSkewMax: Milliseconds = 30_000
  ) {
    self.overlap = overlap
    self.tokenLifetimeMax = tokenLifetimeMax
    self.clockSkewMax = clockSkewMax
  }
}

/// Why stored bytes are not a key ring.
package enum KeyRingError: Error, Equatable, Sendable {
  case protobuf(ProtobufError)
  /// A key of another length, or a seed that does not make its public key.
  case invalidKey
  /// No key that signs, more than `KeyRing.keysMax`, or keys out of order.
  case invalidRing
}

/// The keys that sign and verify access tokens.
///
/// ```
/// key A  ──signs──────────────────────┬─verifies only──────────┤
/// key B                ┬─verifies only┴─signs─────────────────────────
///                      rotation       + overlap                + token lifetime + skew
/// ```
///
/// **Invariant**: at least one key; the newest can sign; `signsFrom` ascends. A pure value:
/// whoever rotates it writes it back by compare-and-set.
package struct KeyRing: Hashable, Sendable {
  /// More are neither made nor read.
  package static let keysMax = 16

  /// One key and its times.
  package struct Key: Hashable, Sendable {
    package let verification: VerificationKey
    /// `nil` once its successor signs: what cannot sign cannot be stolen.
    package fileprivate(set) var signing: SigningKey?
    /// When it was added.
    package let notBefore: WallTime
    /// From then on it signs, until its successor does.
    package let signsFrom: WallTime
    /// When the last token signed with it has expired. `nil` until it has a successor.
    package fileprivate(set) var notAfter: WallTime?
  }

  /// In the order of `signsFrom`.
  package private(set) var keys: [Key]

  /// A ring whose only key signs at once.
  package init(seed: [UInt8], now: WallTime) {
    keys = [Self.key(seed: seed, notBefore: now, signsFrom: now)]
  }

  private static func key(seed: [UInt8], notBefore: WallTime, signsFrom: WallTime) -> Key {
    guard let signing = SigningKey(seed: seed) else {
      preconditionFailure("a seed has \(SigningKey.seedBytes) bytes, not \(seed.count)")
    }
    return Key(
      verification: signing.verificationKey, signing: signing, notBefore: notBefore,
      signsFrom: signsFrom, notAfter: nil)
  }

  /// The key to sign with: the newest whose time has come. With a clock that is behind the whole
  /// ring, the oldest that can sign.
  package func signingKey(now: WallTime) -> SigningKey {
    let able = keys.filter { $0.signing != nil }
    guard let key = (able.last { $0.signsFrom <= now } ?? able.first)?.signing else {
      preconditionFailure("no key of \(keys.count) signs")
    }
    return key
  }

  /// **Returns**: a verifier of tokens from `issuer`, with every key of the ring and its times.
  package func verifier(issuer: String) -> TokenVerifier {
    TokenVerifier(
      issuer: issuer,
      keys: keys.map {
        TokenVerifier.Key(
          verification: $0.verification, notBefore: $0.notBefore, notAfter: $0.notAfter)
      })
  }

  /// Adds a key that verifies now and signs after the overlap, and forgets what is no longer
  /// needed. While an earlier new key still waits to sign, no other is added. Beyond `keysMax` the
  /// oldest goes, and the tokens it signed with it.
  ///
  /// **Shape**: `seed` is 32 bytes of the caller's randomness.
  package func rotated(now: WallTime, seed: [UInt8], policy: KeyRotationPolicy) -> KeyRing {
    var ring = pruned(now: now, policy: policy)
    guard let newest = ring.keys.last, newest.signsFrom <= now else { return ring }
    let signsFrom = now.saturatingAdd(policy.overlap)
    ring.keys[ring.keys.count - 1].notAfter =
      signsFrom.saturatingAdd(policy.tokenLifetimeMax).saturatingAdd(policy.clockSkewMax)
    if ring.keys.count == Self.keysMax { ring.keys.removeFirst() }
    ring.keys.append(Self.key(seed: seed, notBefore: now, signsFrom: signsFrom))
    return ring
  }

  /// Without the keys whose tokens have all expired, and without the secrets of those that no
  /// clock within the skew would sign with.
  package func pruned(now: WallTime, policy: KeyRotationPolicy) -> KeyRing {
    var ring = self
    for index in ring.keys.indices.dropLast() {
      let successor = ring.keys[index + 1].signsFrom
      if successor.saturatingAdd(policy.clockSkewMax) <= now { ring.keys[index].signing = nil }
    }
    ring.keys.removeAll { $0.notAfter.map { $0 <= now } ?? false }
    return ring
  }
}

extension WallTime {
  fileprivate func saturatingAdd(_ duration: Milliseconds) -> WallTime {
    let (sum, overflow) = milliseconds.addingReportingOverflow(duration.rawValue)
    return WallTime(milliseconds: overflow ? .max : sum)
  }
}

// MARK: - Stored form

extension KeyRing {
  /// **Shape**:
  /// ```
  /// message KeyRing { repeated Key keys = 1; }
  /// message Key { bytes public_key = 1; bytes seed = 2; fixed64 not_before = 3;
  ///               fixed64 signs_from = 4; fixed64 not_after = 5; }   // milliseconds since 1970
  /// ```
  package func encoded() -> [UInt8] {
    var writer = ProtobufWriter()
    for key in keys {
      writer.message(1) { writer in
        writer.data(1, key.verification.bytes)
        writer.data(2, key.signing?.seed ?? [])
        writer.fixed64(3, key.notBefore.milliseconds)
        writer.fixed64(4, key.signsFrom.milliseconds)
        writer.fixed64(5, key.notAfter?.milliseconds ?? 0)  // 0: none
      }
    }
    return writer.bytes
  }

  package init(decoding bytes: [UInt8]) throws(KeyRingError) {
    let stored: [StoredKey]
    do { stored = try Self.parse(bytes) } catch { throw .protobuf(error) }
    guard stored.count <= Self.keysMax else { throw .invalidRing }
    var keys: [Key] = []
    for stored in stored { keys.append(try stored.key()) }
    let isOrdered = zip(keys, keys.dropFirst()).allSatisfy {
      $0.signsFrom <= $1.signsFrom && $0.notAfter != nil
    }
    guard isOrdered, let newest = keys.last, newest.signing != nil, newest.notAfter == nil else {
      throw .invalidRing
    }
    self.keys = keys
  }

  private static func parse(_ bytes: [UInt8]) throws(ProtobufError) -> [StoredKey] {
    var stored: [StoredKey] = []
    var reader = ProtobufReader(bytes)
    while let field = try reader.next() {
      // One more than is allowed is enough to refuse the ring.
      guard field.number == 1, stored.count <= keysMax else { continue }
      stored.append(try StoredKey(try field.reader()))
    }
    return stored
  }
}

/// A key's fields as they were stored.
private struct StoredKey {
  var publicKey: [UInt8] = []
  var seed: [UInt8] = []
  var notBefore: UInt64 = 0
  var signsFrom: UInt64 = 0
  var notAfter: UInt64 = 0

  init(_ message: ProtobufReader) throws(ProtobufError) {
    var reader = message
    while let field = try reader.next() {
      switch field.number {
      case 1: publicKey = Array(try field.bytes())
      case 2: seed = Array(try field.bytes())
      case 3: notBefore = try field.fixed64()
      case 4: signsFrom = try field.fixed64()
      case 5: notAfter = try field.fixed64()
      default: break
      }
    }
  }

  func key() throws(KeyRingError) -> KeyRing.Key {
    guard let verification = VerificationKey(publicKey) else { throw .invalidKey }
    let signing = seed.isEmpty ? nil : SigningKey(seed: seed)
    guard seed.isEmpty || signing?.verificationKey == verification else { throw .invalidKey }
    return KeyRing.Key(
      verification: verification, signing: signing,
      notBefore: WallTime(milliseconds: notBefore), signsFrom: WallTime(milliseconds: signsFrom),
      notAfter: notAfter == 0 ? nil : WallTime(milliseconds: notAfter))
  }
}

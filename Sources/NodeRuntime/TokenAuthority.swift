import ChatModel
import ClusterModel
import Coordination
import Credentials
import Logging
package import Primitives
import Synchronization

/// Who a token says its bearer is.
struct Identity: Hashable, Sendable {
  let user: UserID
  let device: DeviceID
}

/// How long tokens and their keys are good.
package struct TokenTimes: Sendable {
  /// **Units**: seconds.
  package var accessTokenLifetime: UInt32 = 900
  /// **Units**: seconds.
  package var refreshTokenLifetime: UInt32 = 60 * 86_400
  /// A key signs for this long before the next one is made.
  package var rotationInterval: Milliseconds = 86_400_000
  /// How often a gateway looks whether that is over.
  package var checkInterval: Milliseconds = 60_000
  /// From when a new key is known until it signs.
  package var overlap: Milliseconds = 300_000

  package init() {}

  var policy: KeyRotationPolicy {
    KeyRotationPolicy(
      overlap: overlap, tokenLifetimeMax: Milliseconds(UInt64(accessTokenLifetime) * 1_000))
  }
}

/// Signs and verifies access tokens with the keys that all gateways share through the
/// coordinator, and rotates them. Tells what follows a refresh token by a secret that they share
/// too, and that stays: with one that is rotated, a device that asks again across a rotation would
/// get another answer than the first time, which is what a thief looks like. The secret alone is
/// of no use; it takes a refresh token too.
///
/// **Isolation**: any thread.
final class TokenAuthority: Sendable {
  static let issuer = "martlet"
  private static let refreshSecretBytes = 32

  private struct Keys {
    var ring: KeyRing
    var verifier: TokenVerifier
    var revision: Revision
  }

  let times: TokenTimes
  private let keys: Mutex<Keys>
  private let refreshSecret: [UInt8]
  private let coordinator: any Coordinator
  private let clock: @Sendable () -> WallTime
  private let logger: Logger

  private init(
    _ keys: Keys, refreshSecret: [UInt8], times: TokenTimes, coordinator: any Coordinator,
    clock: @escaping @Sendable () -> WallTime, logger: Logger
  ) {
    self.keys = Mutex(keys)
    self.refreshSecret = refreshSecret
    self.times = times
    self.coordinator = coordinator
    self.clock = clock
    self.logger = logger
  }

  /// Reads the keys and the secret, or makes the first ones.
  ///
  /// - Parameter clock: tells when a key is due to be rotated.
  ///
  /// **Throws**: `CoordinationError`, `KeyRingError`.
  static func load(
    _ coordinator: any Coordinator, times: TokenTimes = TokenTimes(),
    clock: @escaping @Sendable () -> WallTime = { Clock.wall() }, logger: Logger
  ) async throws -> TokenAuthority {
    let ring = try await readOrMake(CoordinationKey.signingKeys, in: coordinator) {
      KeyRing(seed: SecureRandom.bytes(32), now: clock()).encoded()
    }
    let secret = try await readOrMake(CoordinationKey.refreshSecret, in: coordinator) {
      SecureRandom.bytes(refreshSecretBytes)
    }
    guard secret.value.count == refreshSecretBytes else { throw KeyRingError.invalidKey }
    return TokenAuthority(
      try keys(of: ring), refreshSecret: secret.value, times: times, coordinator: coordinator,
      clock: clock, logger: logger)
  }

  /// Of several gateways that find nothing, the first one's value stands.
  private static func readOrMake(
    _ key: String, in coordinator: any Coordinator, make: () -> [UInt8]
  ) async throws(CoordinationError) -> KeyValue {
    while true {
      if let item = try await coordinator.get(key).item { return item }
      _ = try await coordinator.transact(.compareAndSet(key, at: .zero, to: make()))
    }
  }

  private static func keys(of item: KeyValue) throws -> Keys {
    let ring = try KeyRing(decoding: item.value)
    return Keys(ring: ring, verifier: ring.verifier(issuer: issuer), revision: item.modRevision)
  }

  /// Follows changes of the keys and rotates them when it is time. Runs until cancelled.
  func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await self.follow() }
      group.addTask {
        while !Task.isCancelled {
          await self.rotateIfDue()
          try await Task.sleep(nanoseconds: self.times.checkInterval.rawValue * 1_000_000)
        }
      }
      try await group.waitForFailure()
    }
  }

  private func follow() async throws {
    var mirror = Mirror(of: CoordinationKey.signingKeys, in: coordinator)
    while let update = try await mirror.next() {
      for case .put(let item) in update.changes where item.key == CoordinationKey.signingKeys {
        let fresh = try Self.keys(of: item)
        keys.withLock { if fresh.revision > $0.revision { $0 = fresh } }
      }
    }
  }

  /// Makes the next key when the newest has signed for long enough.
  func rotateIfDue() async {
    let (ring, revision) = keys.withLock { ($0.ring, $0.revision) }
    let now = clock()
    guard let newest = ring.keys.last,
      now.milliseconds > newest.signsFrom.milliseconds + times.rotationInterval.rawValue
    else { return }
    let next = ring.rotated(now: now, seed: SecureRandom.bytes(32), policy: times.policy)
    // Whoever loses the race follows the winner's ring.
    let result = try? await coordinator.transact(
      .compareAndSet(CoordinationKey.signingKeys, at: revision, to: next.encoded()))
    if result?.succeeded == true { logger.info("the signing key was rotated") }
  }

  func sign(_ identity: Identity, now: WallTime) -> String {
    let seconds = now.milliseconds / 1_000
    let claims = AccessTokenClaims(
      userID: identity.user.description, sessionID: identity.device.description,
      issuer: Self.issuer, issuedAtSeconds: seconds,
      expiresAtSeconds: seconds + UInt64(times.accessTokenLifetime))
    return AccessToken.sign(claims, with: keys.withLock { $0.ring.signingKey(now: now) })
  }

  /// What a device gets in exchange for its refresh token: the same from every gateway, whenever it
  /// asks.
  func successor(of token: RefreshToken) -> RefreshToken { token.successor(key: refreshSecret) }

  /// **Throws**: `ServiceError` with `unauthenticated`.
  func verify(_ token: String, now: WallTime) throws(ServiceError) -> (Identity, expires: WallTime)
  {
    let verifier = keys.withLock { $0.verifier }
    do throws(TokenError) {
      let claims = try verifier.verify(token, now: now)
      if let user = UserID(claims.userID), let device = DeviceID(claims.sessionID) {
        let expires = WallTime(milliseconds: claims.expiresAtSeconds * 1_000)
        return (Identity(user: user, device: device), expires)
      }
    } catch .expired {
      throw ServiceError(.unauthenticated, "the access token has expired")
    } catch {
      throw ServiceError(.unauthenticated, "the access token is not valid")
    }
    throw ServiceError(.unauthenticated, "the access token is not valid")
  }
}

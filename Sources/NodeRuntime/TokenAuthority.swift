import ChatModel
import ClusterModel
import Coordination
import Credentials
import Logging
import Primitives
import Synchronization

/// Who a token says its bearer is.
struct Identity: Hashable, Sendable {
  let user: UserID
  let device: DeviceID
}

/// Signs and verifies access tokens with the keys that all gateways share through the
/// coordinator, and rotates them.
///
/// **Isolation**: any thread.
final class TokenAuthority: Sendable {
  static let issuer = "martlet"
  /// **Units**: seconds.
  static let accessTokenLifetime: UInt64 = 900
  static let refreshTokenLifetime: UInt64 = 60 * 86_400
  /// A key signs for this long before the next one is made.
  private static let rotationInterval: Milliseconds = 86_400_000
  private static let checkInterval: Milliseconds = 60_000
  private static let policy = KeyRotationPolicy(
    overlap: 300_000, tokenLifetimeMax: Milliseconds(accessTokenLifetime * 1_000))

  private struct Keys {
    var ring: KeyRing
    var verifier: TokenVerifier
    var revision: Revision
  }

  private let keys: Mutex<Keys>
  private let coordinator: any Coordinator
  private let logger: Logger

  private init(_ keys: Keys, coordinator: any Coordinator, logger: Logger) {
    self.keys = Mutex(keys)
    self.coordinator = coordinator
    self.logger = logger
  }

  /// Reads the keys, or makes the first ones.
  ///
  /// **Throws**: `CoordinationError`, `KeyRingError`.
  static func load(_ coordinator: any Coordinator, logger: Logger) async throws -> TokenAuthority {
    while true {
      if let item = try await coordinator.get(CoordinationKey.signingKeys).item {
        return TokenAuthority(try keys(of: item), coordinator: coordinator, logger: logger)
      }
      let first = KeyRing(seed: SecureRandom.bytes(32), now: Clock.wall())
      _ = try await coordinator.transact(
        .compareAndSet(CoordinationKey.signingKeys, at: .zero, to: first.encoded()))
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
          try await Task.sleep(nanoseconds: Self.checkInterval.rawValue * 1_000_000)
        }
      }
      try await group.waitForAll()
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

  private func rotateIfDue() async {
    let (ring, revision) = keys.withLock { ($0.ring, $0.revision) }
    let now = Clock.wall()
    guard let newest = ring.keys.last,
      now.milliseconds > newest.signsFrom.milliseconds + Self.rotationInterval.rawValue
    else { return }
    let next = ring.pruned(now: now, policy: Self.policy)
      .rotated(now: now, seed: SecureRandom.bytes(32), policy: Self.policy)
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
      expiresAtSeconds: seconds + Self.accessTokenLifetime)
    return AccessToken.sign(claims, with: keys.withLock { $0.ring.signingKey(now: now) })
  }

  /// What a device gets in exchange for its refresh token, the same from every gateway until the
  /// signing key is rotated.
  func successor(of token: RefreshToken, now: WallTime) -> RefreshToken {
    token.successor(key: keys.withLock { $0.ring.signingKey(now: now) }.seed)
  }

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

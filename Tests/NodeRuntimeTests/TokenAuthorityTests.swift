import ChatModel
import ClusterModel
import Coordination
import Credentials
import Logging
import NIOPosix
import Primitives
import Synchronization
import Testing

@testable import NodeRuntime

/// A clock that stands until it is moved.
private final class TestClock: Sendable {
  private let time = Mutex(WallTime(milliseconds: 1_800_000_000_000))

  var now: WallTime { time.withLock { $0 } }

  func advance(seconds: UInt64) {
    time.withLock { $0 = WallTime(milliseconds: $0.milliseconds + seconds * 1_000) }
  }
}

@Suite(.timeLimit(.minutes(1))) struct TokenAuthorityTests {
  private let clock = TestClock()
  private let coordinator: EmbeddedCoordinator
  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  private let identity = Identity(user: UserID(1), device: DeviceID(2))
  private let day: UInt64 = 86_400

  init() throws {
    coordinator = try EmbeddedCoordinator.inMemory()
  }

  /// As every gateway has one, with this test's clock.
  private func authority() async throws -> TokenAuthority {
    var times = TokenTimes()
    times.checkInterval = 5
    let clock = clock
    return try await TokenAuthority.load(
      coordinator, times: times, clock: { clock.now }, logger: logger)
  }

  private func storedKeyCount() async throws -> Int {
    let item = try #require(try await coordinator.get(CoordinationKey.signingKeys).item)
    return try KeyRing(decoding: item.value).keys.count
  }

  /// Follows and rotates while `body` runs.
  private func running(
    _ authorities: [TokenAuthority], _ body: () async throws -> Void
  ) async throws {
    let tasks = authorities.map { authority in Task { try await authority.run() } }
    defer { for task in tasks { task.cancel() } }
    try await body()
  }

  private func verifies(_ token: String, _ authority: TokenAuthority) -> Bool {
    (try? authority.verify(token, now: clock.now)) != nil
  }

  private func keyID(_ token: String) throws -> String {
    String(try #require(token.split(separator: ".").first))
  }

  private func eventually(_ what: Comment, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(20)
    while !(try await condition()) {
      try #require(ContinuousClock.now < deadline, what)
      try await Task.sleep(for: .milliseconds(2))
    }
  }

  @Test func `Two gateways that find no keys agree on the same ones`() async throws {
    async let first = authority()
    async let second = authority()
    let (one, other) = try await (first, second)
    #expect(verifies(one.sign(identity, now: clock.now), other))
    #expect(verifies(other.sign(identity, now: clock.now), one))
    #expect(try await storedKeyCount() == 1)
    let token = RefreshToken(sessionID: "s", secret: Array(repeating: 1, count: 32))
    #expect(one.successor(of: token).text == other.successor(of: token).text)
  }

  @Test func `Two gateways that rotate at once make one key, and both follow it`() async throws {
    let (one, other) = (try await authority(), try await authority())
    await one.rotateIfDue()
    #expect(try await storedKeyCount() == 1)
    clock.advance(seconds: day + 1)
    // Neither has heard of the other's change: both ask for the same revision.
    await one.rotateIfDue()
    let winner = try await coordinator.get(CoordinationKey.signingKeys)
    await other.rotateIfDue()
    #expect(try await coordinator.get(CoordinationKey.signingKeys).item == winner.item)
    #expect(try await storedKeyCount() == 2)
    let old = one.sign(identity, now: clock.now)
    clock.advance(seconds: 301)
    try await running([one, other]) {
      try await eventually("both sign with the new key") {
        let tokens = [one, other].map { $0.sign(identity, now: clock.now) }
        return try keyID(tokens[0]) == keyID(tokens[1]) && keyID(tokens[0]) != keyID(old)
          && verifies(tokens[0], other) && verifies(tokens[1], one)
      }
    }
    #expect(try await storedKeyCount() == 2)
  }

  @Test func `The one that is late follows keys before they sign`() async throws {
    let (one, other) = (try await authority(), try await authority())
    try await running([other]) {
      clock.advance(seconds: day + 1)
      await one.rotateIfDue()
      try await eventually("a second key") { try await storedKeyCount() == 2 }
      // `one` signs with the new key only after the overlap, when all others have long known it.
      let before = one.sign(identity, now: clock.now)
      #expect(verifies(before, other))
    }
    try await running([one, other]) {
      clock.advance(seconds: 301)
      try await eventually("the new key") { verifies(one.sign(identity, now: clock.now), other) }
    }
  }

  @Test func `A token of the old key is good until it expires`() async throws {
    let (one, other) = (try await authority(), try await authority())
    try await running([one, other]) {
      clock.advance(seconds: day + 1)
      try await eventually("the next key") { try await storedKeyCount() == 2 }
      clock.advance(seconds: 299)
      // The last second of the old key.
      let old = one.sign(identity, now: clock.now)
      clock.advance(seconds: 2)
      try await eventually("the new key signs") {
        try keyID(one.sign(identity, now: clock.now)) != keyID(old)
      }
      for authority in [one, other] {
        let (found, expires) = try authority.verify(old, now: clock.now)
        #expect(found == identity)
        #expect(expires.milliseconds / 1_000 == clock.now.milliseconds / 1_000 - 2 + 900)
      }
      clock.advance(seconds: 897)
      #expect(verifies(old, one) && verifies(old, other))
      clock.advance(seconds: 1)
      for authority in [one, other] {
        let error = #expect(throws: ServiceError.self) {
          try authority.verify(old, now: clock.now)
        }
        #expect(error?.code == .unauthenticated)
        #expect(error?.message == "the access token has expired")
      }
      // Day by day, old keys go.
      for _ in 1...3 {
        let newest = try keyID(one.sign(identity, now: clock.now))
        clock.advance(seconds: day + 301)
        try await eventually("another key") {
          clock.advance(seconds: 301)
          return try keyID(one.sign(identity, now: clock.now)) != newest
        }
        #expect(try await storedKeyCount() <= 2)
      }
    }
  }

  /// A device whose answer was lost asks again, and the keys were rotated in between. With another
  /// answer than the first its session would end for theft.
  @Test func `What follows a refresh token stays the same across rotations`() async throws {
    let one = try await authority()
    let token = RefreshToken(sessionID: "s", secret: Array(repeating: 7, count: 32))
    let expected = one.successor(of: token).text
    #expect(expected != token.text)
    try await running([one]) {
      let first = try keyID(one.sign(identity, now: clock.now))
      for _ in 1...3 {
        clock.advance(seconds: day + 1)
        try await eventually("the next key signs") {
          clock.advance(seconds: 301)
          return try keyID(one.sign(identity, now: clock.now)) != first
        }
        #expect(one.successor(of: token).text == expected)
        // So it is on a gateway that starts only now.
        #expect(try await authority().successor(of: token).text == expected)
      }
    }
  }
}

import Foundation
import Synchronization
import Testing

@testable import MartletClient

/// The whole client against fake gateways, over real sockets.
@Suite(.serialized, .timeLimit(.minutes(2))) struct MartletClientTests {
  private static let conversation = MartletClient.conversation(1)

  // MARK: Accounts

  @Test func accountsAreMadeAndDevicesLogIn() async throws {
    try await TestCluster.with { cluster in
      let user = try await MartletClient.register(
        gateways: cluster.urls, handle: "Ada", password: "good password",
        displayName: "Ada \"the first\" \u{1F600}\n")
      #expect(user.handle == "ada")
      #expect(user.displayName == "Ada \"the first\" \u{1F600}\n")
      let credentials = try await MartletClient.login(
        gateways: cluster.urls, handle: "ada", password: "good password", device: "laptop")
      #expect(credentials.user.handle == "tester")
      let client = try MartletClient(
        gateways: cluster.urls, credentials: credentials,
        configuration: TestCluster.configuration)
      try await client.connect()
      try await client.logout()
      await #expect(throws: MartletError.closed) { try await client.connect() }
    }
  }

  @Test func theReadmesExampleIsOneThatRuns() async throws {
    let here = URL(fileURLWithPath: #filePath)
    func lines(_ path: String) throws -> [String] {
      try String(contentsOf: URL(fileURLWithPath: path, relativeTo: here), encoding: .utf8)
        .split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    }
    let readme = try lines("../../README.md")
    let start = try #require(readme.firstIndex(of: "```swift"))
    let shown = readme[(start + 1)...].prefix { $0 != "```" }
    try #require(shown.count > 5)
    var rest = try lines("ReadmeExample.swift")[...]
    for line in shown {
      let place = try #require(rest.firstIndex(of: line), "the example has no \(line)")
      rest = rest[(place + 1)...]
    }
    try await TestCluster.with { cluster in
      let said = Mutex<[String]>([])
      try await readmeExample(gateways: cluster.urls, secret: "good password") { number, text in
        said.withLock { $0.append("\(number) \(text)") }
      }
      #expect(said.withLock { $0 } == ["1 Good morning"])
    }
  }

  @Test func refusalsOfAccountsAreFinal() async throws {
    try await TestCluster.with { cluster in
      await #expect(throws: MartletError.signedOut("wrong handle or password")) {
        try await MartletClient.login(
          gateways: cluster.urls, handle: "ada", password: "bad", device: "")
      }
      let taken = MartletError.refused(
        code: "ALREADY_EXISTS", message: "the handle is taken")
      await #expect(throws: taken) {
        try await MartletClient.register(
          gateways: cluster.urls, handle: "taken", password: "good password")
      }
    }
  }

  @Test func accountCallsGoOnPastDeadAndBusyGateways() async throws {
    try await TestCluster.with(gateways: 3) { cluster in
      try await cluster.gateways[0].stop()
      _ = await cluster.fake.read { $0.faults.refuse = 600 }
      for _ in 0..<10 {
        _ = try await MartletClient.register(
          gateways: cluster.urls, handle: "ada", password: "good password",
          configuration: TestCluster.configuration)
      }
      #expect(await cluster.fake.read { $0.happened["refuse"] ?? 0 } > 0)
    }
  }

  @Test func noGatewayAtAllIsUnreachable() async throws {
    var configuration = TestCluster.configuration
    configuration.callTimeoutMilliseconds = 100
    let error = await #expect(throws: MartletError.self) {
      try await MartletClient.login(
        gateways: ["http://127.0.0.1:1"], handle: "ada", password: "x",
        configuration: configuration)
    }
    #expect(error == .unreachable("http://127.0.0.1:1: connection refused"))
  }

  @Test func whoWaitsForNoGatewayIsToldSoonWhereThatIsWanted() async throws {
    var configuration = TestCluster.configuration
    configuration.unreachableTimeoutMilliseconds = 300
    let impatient = configuration
    let began = ContinuousClock.now
    await #expect(throws: MartletError.unreachable("http://127.0.0.1:1: connection refused")) {
      try await MartletClient.login(
        gateways: ["http://127.0.0.1:1"], handle: "ada", password: "x",
        configuration: impatient)
    }
    try await TestCluster.with { cluster in
      let credentials = try await MartletClient.login(
        gateways: cluster.urls, handle: "ada", password: "good password", device: "laptop")
      let client = try MartletClient(
        gateways: ["http://127.0.0.1:1"], credentials: credentials, configuration: impatient)
      await #expect(throws: MartletError.unreachable("http://127.0.0.1:1: connection refused")) {
        try await client.conversations()
      }
      client.close()
    }
    #expect(ContinuousClock.now - began < .seconds(20))
  }

  // MARK: Sending and receiving

  @Test(arguments: [ClientConfiguration.Encoding.protobuf, .json])
  func aMessageIsStoredAndSeen(_ encoding: ClientConfiguration.Encoding) async throws {
    try await TestCluster.with { cluster in
      let client = try await cluster.client { $0.encoding = encoding }
      let collector = Collector(client)
      try await client.connect()
      // More than fits in one WebSocket frame.
      let long = String(repeating: "ab\"c", count: 16_384)
      let first = try await client.send("Hello", to: Self.conversation)
      let id = MessageID.random()
      let second = try await client.send(long, to: Self.conversation, id: id)
      let again = try await client.send(long, to: Self.conversation, id: id)
      #expect((first.sequence, first.repeated) == (1, false))
      #expect((second.sequence, second.repeated) == (2, false))
      #expect((again.sequence, again.repeated) == (2, true))
      try await collector.wait(for: 2)
      #expect(collector.events.map(\.content) == [.message(text: "Hello"), .message(text: long)])
      let page = try await client.history(of: Self.conversation, .after(1))
      #expect(page.events.map(\.sequence) == [2])
      #expect(page.head == 2)
      client.close()
      #expect(try await collector.finish().count == 2)
    }
  }

  @Test func callsGiveTheirAnswersAndRefusals() async throws {
    try await TestCluster.with { cluster in
      let client = try await cluster.client { $0.wantsEvents = false }
      for number in 1...5 { try await client.send("x", to: MartletClient.conversation(number)) }
      #expect(try await client.conversations().map(\.head) == [1, 1, 1, 1, 1])
      let group = try await client.createGroup(title: "Swifts", members: ["ada", "grace"])
      #expect(group.title == "Swifts")
      #expect(try await client.createDirect(with: "ada").kind == .direct)
      let error = await #expect(throws: MartletError.self) {
        try await client.changeMembers(of: group.id, adding: ["ada"])
      }
      guard case .refused("PERMISSION_DENIED", _)? = error else {
        Issue.record("\(String(describing: error))")
        return
      }
      await #expect(throws: MartletError.invalidArgument("a b is no handle and no user's id")) {
        try await client.createDirect(with: "a b")
      }
      let tooLong = String(repeating: "x", count: 65_537)
      await #expect(throws: MartletError.invalidArgument("a message has at most 65536 bytes")) {
        try await client.send(tooLong, to: group.id)
      }
    }
  }

  @Test func aConsumerMayWaitForItsOwnSends() async throws {
    try await TestCluster.with { cluster in
      let echo = try await cluster.client("echo") { $0.bufferedEventsMax = 4 }
      try await echo.connect()
      let client = try await cluster.client("flood") { $0.wantsEvents = false }
      for number in 0..<200 {
        client.send("\(number)", to: Self.conversation) { _ in }
      }
      let other = MartletClient.conversation(2)
      var answered: [String] = []
      for try await event in echo.events where event.conversation == Self.conversation {
        guard case .message(let text) = event.content else { continue }
        try await echo.send("echo \(text)", to: other)
        answered.append(text)
        if answered.count == 200 { break }
      }
      #expect(answered == (0..<200).map(String.init))
    }
  }

  @Test func readingEventsKeepsTheClientAlive() async throws {
    try await TestCluster.with { cluster in
      func eventsOfAForgottenClient() async throws -> MartletClient.Events {
        let client = try await cluster.client()
        try await client.connect()
        return client.events
      }
      let events = try await eventsOfAForgottenClient()
      try await cluster.client("sender").send("x", to: Self.conversation)
      for try await event in events {
        #expect(event.sequence == 1)
        break
      }
    }
  }

  @Test func aForgottenClientHangsUp() async throws {
    try await TestCluster.with { cluster in
      func use() async throws { try await cluster.client().connect() }
      try await use()
      try await eventually("no sessions") { await cluster.fake.read { $0.sessionCount } == 0 }
      #expect(await cluster.fake.read { $0.helloCount } == 1)
    }
  }

  @Test func aSavedPointIsWhereTheNextClientGoesOn() async throws {
    try await TestCluster.with { cluster in
      let sender = try await cluster.client("sender") { $0.wantsEvents = false }
      let first = try await cluster.client("first")
      try await first.connect()
      for number in 0..<20 { try await sender.send("\(number)", to: Self.conversation) }
      var seen: [UInt64] = []
      for try await event in first.events {
        seen.append(event.sequence)
        if seen.count == 13 { break }
      }
      let point = first.resumePoint
      first.close()
      #expect(point.sequences[Self.conversation] == 13)
      #expect(!point.cursor.isEmpty)
      for number in 20..<30 { try await sender.send("\(number)", to: Self.conversation) }
      let second = try await cluster.client("second", resumeFrom: point)
      let collector = Collector(second)
      try await second.connect()
      try await collector.wait(for: 17)
      second.close()
      #expect(try await collector.finish().map(\.sequence) == Array(14...30))
    }
  }

  @Test func thePointOfWhoHasReadNothingIsWhereItConnected() async throws {
    try await TestCluster.with { cluster in
      let sender = try await cluster.client("sender") { $0.wantsEvents = false }
      try await sender.send("before", to: Self.conversation)
      let first = try await cluster.client("first")
      try await first.connect()
      let point = first.resumePoint
      first.close()
      try await sender.send("after", to: Self.conversation)
      let second = try await cluster.client("second", resumeFrom: point)
      let collector = Collector(second)
      try await second.connect()
      try await collector.wait(for: 1)
      second.close()
      #expect(try await collector.finish().map(\.sequence) == [2])
    }
  }

  // MARK: Trouble

  @Test func anExpiredTokenIsExchangedAndTold() async throws {
    try await TestCluster.with { cluster in
      let box = CredentialsBox()
      let client = try MartletClient(
        gateways: cluster.urls, credentials: await cluster.fake.credentials(device: "one"),
        configuration: TestCluster.configuration, onCredentialsChanged: { box.set($0) })
      try await client.connect()
      _ = await cluster.fake.read {
        $0.expireTokens()
        $0.dropAll()
      }
      try await client.send("after", to: Self.conversation)
      #expect(box.value?.refreshToken == "refresh-one+")
      #expect(await cluster.fake.read { $0.refreshCount } == 1)
    }
  }

  @Test func aRefreshTokenThatIsRefusedEndsTheClient() async throws {
    try await TestCluster.with { cluster in
      var credentials = await cluster.fake.credentials(device: "one", expiresInMilliseconds: 0)
      credentials.refreshToken = "stolen"
      let client = try MartletClient(
        gateways: cluster.urls, credentials: credentials,
        configuration: TestCluster.configuration)
      let ended = MartletError.signedOut("the session has ended")
      await #expect(throws: ended) { try await client.connect() }
      await #expect(throws: ended) { for try await _ in client.events {} }
      await #expect(throws: MartletError.closed) {
        try await client.send("x", to: Self.conversation)
      }
    }
  }

  @Test func aDrainingGatewayIsLeftWithoutLosingAnything() async throws {
    try await TestCluster.with { cluster in
      let client = try await cluster.client()
      let collector = Collector(client)
      try await client.connect()
      for round in 0..<3 {
        try await client.send("before \(round)", to: Self.conversation)
        let before = await cluster.fake.read { $0.helloCount }
        _ = await cluster.fake.read { $0.drainAll() }
        try await eventually("a move") { await cluster.fake.read { $0.helloCount } > before }
        try await client.send("after \(round)", to: Self.conversation)
      }
      try await collector.wait(for: 6)
      #expect(collector.events.map(\.sequence) == Array(1...6))
    }
  }

  @Test func statesTellWhatTheConnectionDoes() async throws {
    try await TestCluster.with { cluster in
      let client = try await cluster.client()
      let states = client.states
      try await client.connect()
      _ = await cluster.fake.read { $0.dropAll() }
      try await client.send("x", to: Self.conversation)
      client.close()
      var kinds: [String] = []
      var gateways: Set<String> = []
      for await state in states {
        switch state {
        case .idle: kinds.append("idle")
        case .connecting: kinds.append("connecting")
        case .connected(let gateway):
          kinds.append("connected")
          gateways.insert(gateway)
        case .waiting: kinds.append("waiting")
        case .closed: kinds.append("closed")
        }
      }
      #expect(
        kinds == [
          "idle", "connecting", "connected", "waiting", "connecting", "connected", "closed",
        ])
      #expect(gateways == Set(cluster.urls))
    }
  }

  @Test func aCancelledSendReturnsAtOnce() async throws {
    var configuration = TestCluster.configuration
    configuration.callTimeoutMilliseconds = 600_000
    let client = try MartletClient(
      gateways: ["http://127.0.0.1:1"],
      credentials: Credentials(
        accessToken: "t", refreshToken: "r", expiresMilliseconds: UInt64.max,
        user: User(FakeCluster.user),
        device: "d"),
      configuration: configuration)
    let task = Task { try await client.send("x", to: Self.conversation) }
    task.cancel()
    await #expect(throws: MartletError.outcomeUnknown("the task was cancelled")) {
      try await task.value
    }
    let waiting = Task { () -> Bool in
      for try await _ in client.events { return false }
      return true
    }
    waiting.cancel()
    #expect(try await waiting.value)
    client.close()
  }
}

private final class CredentialsBox: Sendable {
  private let kept = Mutex<Credentials?>(nil)
  var value: Credentials? { kept.withLock { $0 } }
  func set(_ credentials: Credentials) { kept.withLock { $0 = credentials } }
}

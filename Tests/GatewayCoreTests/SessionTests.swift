import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import Testing
import WalkSupport

/// The life of one session, and what sessions share.
@Suite struct SessionTests {
  private let partition = PartitionID(1)

  private func conversation(_ number: Int) -> ConversationID {
    GatewayCoreTests.conversation(number, in: partition, of: 4)
  }

  /// A rig with conversations of the first two users in one partition.
  private func rig(
    conversations: Int = 1, configure: (inout GatewayConfiguration) -> Void = { _ in }
  ) throws -> GatewayRig {
    var rig = GatewayRig(configure: configure)
    try rig.run(milliseconds: 20)
    for number in 0..<conversations {
      rig.create(conversation(number + 1), members: [user(1), user(2)], creator: user(2))
    }
    try rig.run(milliseconds: 50)
    return rig
  }

  private func texts(_ client: FakeClient, _ id: ConversationID) -> [String] {
    (client.log[id] ?? []).map { event in
      if case .message(let text) = event.content { text } else { "–" }
    }
  }

  // MARK: Starting

  @Test func `hello is answered by a welcome under its name`() throws {
    var rig = try rig()
    let client = rig.addClient(user(1), device: 7)
    try rig.run(milliseconds: 100)
    #expect(
      rig.clients[client].answers["hello 1"] == .welcome(user: profile(1), device: device(7)))
  }

  @Test func `the session of an account that does not exist is ended`() throws {
    var rig = try rig()
    let client = rig.addClient(user(77))
    try rig.run(milliseconds: 100)
    #expect(rig.clients[client].endings.map(\.code) == [.unauthenticated])
  }

  @Test func `a connection without events is welcomed and subscribes to nothing`() {
    var script = GatewayScript()
    script.lead(by: store(1))
    script.open(store(1))
    script.openSession(SessionID(1), events: false)
    let outputs = script.take()
    #expect(outputs.subscribes.isEmpty)
    #expect(outputs.requests.map(\.request.query) == [.user(GatewayScript.user())])
    script.closeSession(SessionID(1))
    #expect(script.core.sessionCount == 0)
    #expect(script.core.subscriptionCount == 0)
  }

  @Test func `the list is read page by page, then everything is live`() throws {
    var rig = try rig(conversations: 5) { $0.listPageMax = 2 }
    let client = rig.addClient(user(1))
    try rig.run(milliseconds: 200)
    let pages = rig.queries.compactMap { query -> ConversationID?? in
      if case .conversationList(_, let after, _) = query { .some(after) } else { nil }
    }
    let order = (1...5).map { conversation($0) }.sorted()
    #expect(pages == [nil, order[1], order[3]])
    for number in 1...5 { rig.say("m\(number)", in: conversation(number), by: user(2)) }
    try rig.run(milliseconds: 100)
    for number in 1...5 {
      #expect(texts(rig.clients[client], conversation(number)) == ["m\(number)"])
    }
    let pulls = rig.queries.count { if case .changes = $0 { true } else { false } }
    try rig.run(milliseconds: 2_000)
    for number in 1...5 { rig.say("n\(number)", in: conversation(number), by: user(2)) }
    try rig.run(milliseconds: 100)
    #expect(rig.queries.count { if case .changes = $0 { true } else { false } } == pulls)
    try rig.clients[client].checkComplete(in: rig.world)
  }

  @Test func `many partitions are pulled a few at a time`() throws {
    var rig = GatewayRig(partitionCount: 8, storeCount: 2) { $0.pullsPerSessionMax = 2 }
    try rig.run(milliseconds: 20)
    for number in 0..<8 {
      let id = GatewayCoreTests.conversation(
        number + 1, in: PartitionID(UInt32(number)), of: 8)
      rig.create(id, members: [user(1)], creator: user(2))
    }
    try rig.run(milliseconds: 50)
    rig.shards.heldQueries = { if case .changes = $0 { true } else { false } }
    let client = rig.addClient(user(1))
    try rig.run(milliseconds: 300)
    #expect(rig.queries.count { if case .changes = $0 { true } else { false } } == 2)
    rig.shards.releaseQueries()
    try rig.run(milliseconds: 500)
    #expect(rig.queries.count { if case .changes = $0 { true } else { false } } == 8)
    #expect(rig.clients[client].cursor?.positions.count == 8)
  }

  @Test func `a cursor brings what was missed, then what happens`() throws {
    var rig = try rig(conversations: 2)
    let client = rig.addClient(user(1))
    try rig.run(milliseconds: 1_500)
    rig.disconnect(client)
    for number in 1...7 {
      rig.say("a\(number)", in: conversation(1 + number % 2), by: user(2))
      try rig.run(milliseconds: 5)
    }
    rig.create(conversation(3), members: [user(1)], creator: user(2))
    try rig.run(milliseconds: 50)
    rig.connect(client)
    try rig.run(milliseconds: 100)
    rig.say("later", in: conversation(3), by: user(2))
    try rig.run(milliseconds: 100)
    #expect(texts(rig.clients[client], conversation(1)) == ["a2", "a4", "a6"])
    #expect(texts(rig.clients[client], conversation(2)) == ["a1", "a3", "a5", "a7"])
    #expect(texts(rig.clients[client], conversation(3)) == ["–", "later"])
    try rig.clients[client].checkComplete(in: rig.world)
  }

  @Test func `a session that was welcomed late or refused still gets its events`() throws {
    var rig = try rig { $0.requestTimeout = 300 }
    rig.shards.heldQueries = { if case .conversationList = $0 { true } else { false } }
    let client = rig.addClient(user(1))
    try rig.run(milliseconds: 1_000)
    rig.shards.heldQueries = nil
    try rig.run(milliseconds: 1_000)
    rig.say("m", in: conversation(1), by: user(2))
    try rig.run(milliseconds: 100)
    #expect(texts(rig.clients[client], conversation(1)) == ["m"])
  }

  // MARK: Sharing

  @Test func `sessions share one subscription, which ends with the last of them`() throws {
    var rig = try rig()
    let clients = [
      rig.addClient(user(1), device: 1), rig.addClient(user(1), device: 2),
      rig.addClient(user(2), device: 3),
    ]
    try rig.run(milliseconds: 100)
    let entity = EntityID.conversation(conversation(1))
    #expect(rig.subscribes[entity] == 1)
    #expect(rig.subscribes[.user(user(1))] == 1)
    #expect(rig.core.subscriptionCount == 3)
    rig.say("m", in: conversation(1), by: user(2))
    try rig.run(milliseconds: 50)
    let fanned = rig.pushes.filter { if case .event = $0.body { true } else { false } }
    #expect(fanned.map(\.sessions.count) == [3], "one event, encoded once")
    rig.disconnect(clients[0])
    rig.disconnect(clients[2])
    try rig.run(milliseconds: 50)
    #expect(rig.unsubscribes[entity] == nil)
    #expect(rig.unsubscribes[.user(user(1))] == nil)
    rig.disconnect(clients[1])
    try rig.run(milliseconds: 50)
    #expect(rig.unsubscribes[entity] == 1)
    #expect(rig.unsubscribes[.user(user(1))] == 1)
    try rig.checkNothingLeaks()
  }

  @Test func `a second device of a user that comes later gets its events, too`() throws {
    var rig = try rig()
    rig.addClient(user(1), device: 1)
    try rig.run(milliseconds: 1_500)
    rig.addClient(user(1), device: 2)
    try rig.run(milliseconds: 1_500)
    rig.say("m", in: conversation(1), by: user(2))
    try rig.run(milliseconds: 100)
    for client in rig.clients { #expect(texts(client, conversation(1)) == ["m"]) }
  }

  @Test func `a session that comes later does not disturb one that is live`() throws {
    var rig = try rig()
    rig.addClient(user(1))
    try rig.run(milliseconds: 100)
    rig.say("a", in: conversation(1), by: user(2))
    try rig.run(milliseconds: 50)
    rig.addClient(user(2), device: 2)
    rig.say("b", in: conversation(1), by: user(2))
    try rig.run(milliseconds: 100)
    rig.say("c", in: conversation(1), by: user(2))
    try rig.run(milliseconds: 100)
    #expect(texts(rig.clients[0], conversation(1)) == ["a", "b", "c"])
    #expect(texts(rig.clients[1], conversation(1)).last == "c")
    #expect(rig.clients[0].behindCount == 0)
  }

  @Test func `nothing is left when all sessions are closed, in whatever state they are`() throws {
    for pause in [0, 1, 2, 3, 5, 8, 50] {
      var rig = try rig(conversations: 4) { $0.requestTimeout = 500 }
      for number in 1...4 { rig.addClient(user(1 + number % 2), device: number) }
      try rig.run(milliseconds: pause)
      rig.operate(0, "s", .listConversations(after: nil, limit: 10))
      rig.loseLink(store(1), forMilliseconds: 20)
      try rig.checkNothingLeaks()
    }
  }

  // MARK: Ending

  @Test func `a logout ends the sessions of that device only`() throws {
    var rig = try rig()
    for number in 1...3 { rig.addClient(user(1), device: min(number, 2)) }
    rig.addClient(user(2), device: 1)
    try rig.run(milliseconds: 100)
    rig.call(1, .closeSession(CloseSession(user: user(1), device: device(2))))
    try rig.run(milliseconds: 100)
    #expect(rig.results[CallID(1)] == .done)
    #expect(rig.clients.map(\.endings.count) == [0, 1, 1, 0])
    #expect(rig.clients[1].endings.first?.code == .unauthenticated)
  }

  @Test func `draining tells every session once`() throws {
    var rig = try rig()
    for number in 1...3 { rig.addClient(user(number), device: number) }
    try rig.run(milliseconds: 50)
    rig.drain()
    try rig.run(milliseconds: 50)
    let told = rig.pushes.filter { $0.body == .draining }
    #expect(told.map { $0.sessions.map(\.rawValue) } == [[1, 2, 3]])
    #expect(!rig.core.isReady)
  }

  @Test func `answers to a closed session are dropped, and its requests end`() throws {
    var rig = try rig()
    let client = rig.addClient(user(1))
    try rig.run(milliseconds: 100)
    rig.operate(
      client, "late", .send(conversation: conversation(1), id: clientID("x"), text: "x"))
    rig.disconnect(client)
    try rig.run(milliseconds: 100)
    #expect(rig.clients[client].answers["late"] == nil)
    #expect(rig.world.conversations[conversation(1)]?.events.count == 2, "it was done all the same")
    try rig.checkNothingLeaks()
  }
}

import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import Testing
import WalkSupport

/// Conversations that enter and leave a session's list while other things happen.
@Suite struct MembershipTests {
  private static let partitionCount: UInt32 = 4
  /// Of the conversations; users lie elsewhere.
  private let home = PartitionID(1)
  private let reader = user(1, in: PartitionID(2), of: partitionCount)
  private let host = user(9)

  private func room(_ number: Int) -> ConversationID {
    conversation(number, in: home, of: Self.partitionCount)
  }

  /// The reader's session is live in these conversations.
  private func rig(
    rooms: Int, configure: (inout GatewayConfiguration) -> Void = { _ in }
  ) throws -> GatewayRig {
    var rig = GatewayRig(partitionCount: Self.partitionCount, configure: configure)
    rig.shards.world.register(
      UserProfile(user: reader, handle: handle("reader"), displayName: ""))
    try rig.run(milliseconds: 20)
    for number in 0..<rooms {
      rig.create(room(number + 1), members: [reader], creator: host)
    }
    try rig.run(milliseconds: 50)
    return rig
  }

  private func heard(_ rig: GatewayRig, _ number: Int) -> [String] {
    (rig.clients[0].log[room(number)] ?? []).compactMap { event in
      if case .message(let text) = event.content { text } else { nil }
    }
  }

  @Test func `a new conversation appears with everything since the joining`() throws {
    var rig = try rig(rooms: 1)
    rig.create(room(2), members: [], creator: host)
    for number in 1...3 { rig.say("before \(number)", in: room(2), by: host) }
    rig.addClient(reader)
    try rig.run(milliseconds: 200)
    rig.change(room(2), by: host, add: [reader])
    for number in 1...3 { rig.say("after \(number)", in: room(2), by: host) }
    try rig.run(milliseconds: 200)
    #expect(heard(rig, 2).suffix(3) == ["after 1", "after 2", "after 3"])
    try rig.clients[0].checkComplete(in: rig.world)
  }

  @Test func `two conversations listed by one entry both appear`() throws {
    var rig = try rig(rooms: 1)
    rig.addClient(reader)
    try rig.run(milliseconds: 1_500)
    // One turn of the conversations' partition, and one of the reader's.
    for number in 2...4 { rig.create(room(number), members: [reader], creator: host) }
    try rig.run(milliseconds: 200)
    for number in 2...4 { rig.say("m\(number)", in: room(number), by: host) }
    try rig.run(milliseconds: 200)
    for number in 2...4 { #expect(heard(rig, number) == ["m\(number)"]) }
    try rig.run(milliseconds: 1_500)
    try rig.clients[0].checkComplete(in: rig.world)
  }

  @Test func `a conversation that was left delivers nothing more`() throws {
    var rig = try rig(rooms: 2)
    rig.addClient(reader)
    try rig.run(milliseconds: 200)
    rig.change(room(2), by: host, remove: [reader])
    try rig.run(milliseconds: 100)
    rig.say("secret", in: room(2), by: host)
    rig.say("open", in: room(1), by: host)
    try rig.run(milliseconds: 200)
    #expect(heard(rig, 2).isEmpty)
    #expect(heard(rig, 1) == ["open"])
    #expect(rig.unsubscribes[.conversation(room(2))] == 1)
  }

  @Test func `a removal that nobody told takes effect when the list is read again`() throws {
    var rig = try rig(rooms: 2)
    rig.addClient(reader)
    try rig.run(milliseconds: 200)
    // The subscription to the user is away while the removal happens.
    rig.shards.endSubscription(
      .user(reader), of: PartitionID(2), on: rig.shards.leader(PartitionID(2)), .behind)
    rig.change(room(2), by: host, remove: [reader])
    try rig.run(milliseconds: 300)
    rig.say("secret", in: room(2), by: host)
    try rig.run(milliseconds: 300)
    #expect(heard(rig, 2).isEmpty, "who is no member must not read on")
  }

  @Test func `a removal that was seen, and told by the list alone, does not hold the cursor back`()
    throws
  {
    var rig = try rig(rooms: 2)
    rig.addClient(reader)
    try rig.run(milliseconds: 1_500)
    rig.shards.endSubscription(
      .user(reader), of: PartitionID(2), on: rig.shards.leader(PartitionID(2)), .behind)
    rig.change(room(2), by: host, remove: [reader])
    try rig.run(milliseconds: 300)
    for number in 1...3 { rig.say("m\(number)", in: room(1), by: host) }
    try rig.run(milliseconds: 1_500)
    let position = rig.clients[0].cursor?.positions.first { $0.partition == home }
    #expect(position?.index == rig.world.applied(home))
  }

  @Test func `what is left while its partition waits for it does not stop the others`() {
    var script = GatewayScript()
    let (one, two) = (GatewayScript.conversation(1), GatewayScript.conversation(2))
    script.lead(by: store(1))
    script.open(store(1))
    script.openSession(SessionID(1))
    var waiting: [Subscribe] = []
    /// Serves everything but the second conversation's subscription.
    func serve() {
      for _ in 0..<6 {
        let outputs = script.take()
        for item in outputs.subscribes {
          guard item.subscribe.entity != .conversation(two) else {
            waiting.append(item.subscribe)
            continue
          }
          script.receive(
            .subscribed(
              Subscribed(
                partition: item.subscribe.partition, entity: item.subscribe.entity,
                from: LogIndex(10), generation: 0)), from: item.store)
        }
        for item in outputs.requests {
          switch item.request.query {
          case .conversationList:
            let listed = ListedConversation(
              conversation: one, joined: LogIndex(1), listed: LogIndex(2))
            script.respond(
              item.request,
              .answered(
                .conversationList(
                  ConversationListPage(
                    conversations: [listed], applied: LogIndex(10), generation: 0, more: false))),
              from: item.store)
          case .changes:
            script.respond(
              item.request,
              .answered(
                .changes(
                  ChangesPage(events: [], through: LogIndex(12), more: false, generation: 0))),
              from: item.store)
          default:
            script.respond(item.request, .answered(.user(profile(1))), from: item.store)
          }
        }
      }
    }
    serve()
    for (index, removed) in [(UInt64(11), false), (12, true)] {
      let item = ListedConversation(
        conversation: two, joined: LogIndex(11), listed: LogIndex(index))
      script.receive(
        .delivery(
          Delivery(
            partition: GatewayScript.first, index: LogIndex(index),
            content: .listed(
              user: GatewayScript.user(), conversation: item, removed: removed))),
        from: store(1))
      if !removed {
        serve()
        #expect(waiting.count == 1)
      }
    }
    script.advance(100)
    serve()
    let event = Event(
      conversation: one, sequence: Sequence(5), time: WallTime(milliseconds: 1),
      author: user(2), index: LogIndex(13), content: .message(text: "m"))
    script.receive(
      .delivery(
        Delivery(partition: GatewayScript.first, index: LogIndex(13), content: .event(event))),
      from: store(1))
    #expect(script.take().pushes.count == 1)
  }

  @Test func `what is listed while the list is read page by page is not lost`() throws {
    var rig = try rig(rooms: 0) { $0.listPageMax = 2 }
    for number in 3...6 { rig.create(room(number), members: [reader], creator: host) }
    try rig.run(milliseconds: 50)
    rig.shards.heldQueries = { query in
      guard case .conversationList(_, let after, _) = query else { return false }
      return after != nil
    }
    rig.addClient(reader)
    try rig.run(milliseconds: 50)
    #expect(rig.queries.count { if case .conversationList = $0 { true } else { false } } == 2)
    // By its id it belongs on the page that was read already.
    rig.create(room(1), members: [reader], creator: host)
    try rig.run(milliseconds: 50)
    rig.shards.releaseQueries()
    try rig.run(milliseconds: 300)
    rig.say("m", in: room(1), by: host)
    try rig.run(milliseconds: 300)
    #expect(heard(rig, 1) == ["m"])
  }

  @Test func `what is listed before its page is read begins with the joining`() throws {
    var rig = try rig(rooms: 4) { $0.listPageMax = 2 }
    rig.shards.heldQueries = { query in
      guard case .conversationList(_, let after, _) = query else { return false }
      return after != nil
    }
    rig.addClient(reader)
    try rig.run(milliseconds: 50)
    // By its id it belongs on a page that was not read yet.
    rig.create(room(9), members: [reader], creator: host)
    try rig.run(milliseconds: 50)
    rig.shards.releaseQueries()
    try rig.run(milliseconds: 1_500)
    rig.say("m", in: room(9), by: host)
    try rig.run(milliseconds: 1_500)
    #expect(rig.clients[0].log[room(9)]?.map(\.sequence) == [Sequence(1), Sequence(2)])
    try rig.clients[0].checkComplete(in: rig.world)
  }

  @Test func `no cursor counts a listing whose conversation is still caught up with`() throws {
    var rig = try rig(rooms: 1)
    rig.addClient(reader)
    try rig.run(milliseconds: 1_500)
    let listed = rig.world.applied(PartitionID(2))
    rig.shards.heldQueries = { if case .changes = $0 { true } else { false } }
    rig.create(room(2), members: [reader], creator: host)
    try rig.run(milliseconds: 2_500)
    #expect(rig.clients[0].cursor.map { $0.user.index <= listed } ?? false)
    rig.shards.releaseQueries()
    try rig.run(milliseconds: 1_500)
    #expect(rig.clients[0].cursor.map { $0.user.index > listed } ?? false)
    try rig.clients[0].checkComplete(in: rig.world)
  }

  @Test func `a conversation on a later page of the list is read from the cursor, too`() throws {
    var rig = try rig(rooms: 4) { $0.listPageMax = 2 }
    rig.addClient(reader)
    try rig.run(milliseconds: 1_500)
    rig.disconnect(0)
    for number in 1...4 { rig.say("m\(number)", in: room(number), by: host) }
    try rig.run(milliseconds: 50)
    // The first page's conversations are pulled before the second page is there.
    rig.shards.heldQueries = { query in
      guard case .conversationList(_, let after, _) = query else { return false }
      return after != nil
    }
    rig.connect(0)
    try rig.run(milliseconds: 100)
    rig.shards.releaseQueries()
    try rig.run(milliseconds: 300)
    for number in 1...4 { #expect(heard(rig, number) == ["m\(number)"]) }
  }

  @Test func `a list that could not be read again is tried until it can`() throws {
    var rig = try rig(rooms: 1) { $0.requestTimeout = 300 }
    rig.addClient(reader)
    try rig.run(milliseconds: 200)
    let partition = PartitionID(2)
    rig.shards.heldQueries = { if case .conversationList = $0 { true } else { false } }
    rig.shards.endSubscription(
      .user(reader), of: partition, on: rig.shards.leader(partition), .behind)
    rig.create(room(2), members: [reader], creator: host)
    try rig.run(milliseconds: 1_000)
    rig.shards.heldQueries = nil
    try rig.run(milliseconds: 1_000)
    rig.say("m", in: room(2), by: host)
    try rig.run(milliseconds: 300)
    #expect(heard(rig, 2) == ["m"])
  }
}

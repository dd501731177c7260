import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import Testing
import WalkSupport

/// Requests of one partition keep their order, whatever happens to its leader.
@Suite struct RequestOrderTests {
  private let a = store(1)
  private let b = store(2)

  private static func unavailable(after milliseconds: UInt32 = 100) -> Response.Outcome {
    .failed(.unavailable("not yet", retryAfterMilliseconds: milliseconds))
  }

  private func notLeader(_ leader: StoreID?, revision: Int64) -> Response.Outcome {
    .notLeader(
      leader: leader.map { ReplicaID(store: $0, number: 1) }, revision: Revision(revision))
  }

  @Test(arguments: [true, false])
  func `requests wait in order while no leader is known`(linkComesFirst: Bool) {
    var script = GatewayScript()
    for number in 1...3 { script.send(UInt64(number)) }
    script.advance(200)
    #expect(script.take().requests.isEmpty)
    if linkComesFirst { script.open(a) }
    script.lead(by: a)
    if !linkComesFirst { script.open(a) }
    script.advance(100)
    let sent = script.take()
    #expect(sent.texts == ["1→1", "2→1", "3→1"])
    for (position, item) in sent.requests.enumerated() {
      script.respond(item.request, sentAnswer(UInt64(position) + 1), from: a)
    }
    let ended = script.take()
    #expect(ended.resultOrder == [1, 2, 3])
    #expect(ended.results[CallID(3)]?.sequence == 3)
    #expect(script.core.pendingRequestCount == 0)
  }

  @Test func `a newer request does not overtake one that waits to be tried again`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    script.send(1)
    let first = script.take().requests[0].request
    script.respond(first, Self.unavailable(), from: a)
    script.send(2)
    #expect(script.take().requests.isEmpty)
    script.advance(60)
    #expect(script.take().requests.isEmpty, "the pause that the shard asked for is kept")
    script.send(3)
    script.advance(60)
    #expect(script.take().texts == ["1→1", "2→1", "3→1"])
  }

  @Test func `refused requests are tried again in their order, whatever order the refusals have`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    for number in 1...4 { script.send(UInt64(number)) }
    let sent = script.take().requests
    for position in [2, 0, 3, 1] {
      script.respond(sent[position].request, Self.unavailable(), from: a)
    }
    script.send(5)
    script.advance(200)
    #expect(script.take().texts == ["1→1", "2→1", "3→1", "4→1", "5→1"])
  }

  /// A shard takes the first command that is not newer than those that it sent back for the oldest
  /// of them.
  @Test func `nothing is tried again before all that is under way is answered`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    for number in 1...3 { script.send(UInt64(number)) }
    let sent = script.take().requests
    script.respond(sent[0].request, Self.unavailable(), from: a)
    script.respond(sent[1].request, Self.unavailable(), from: a)
    script.advance(500)
    #expect(script.take().requests.isEmpty)
    script.respond(sent[2].request, Self.unavailable(), from: a)
    script.advance(200)
    #expect(script.take().texts == ["1→1", "2→1", "3→1"])
  }

  @Test func `a query that is under way holds up no command`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    script.send(1)
    let sent = script.take().requests
    script.call(
      9, .history(conversation: GatewayScript.conversation(), range: .latest, limit: 10))
    script.respond(sent[0].request, Self.unavailable(), from: a)
    script.advance(200)
    #expect(script.take().texts.contains("1→1"))
  }

  @Test func `what is under way moves to a new leader in order and before what is newer`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    script.open(b)
    for number in 1...3 { script.send(UInt64(number)) }
    let sent = script.take().requests
    script.respond(sent[1].request, sentAnswer(7), from: a)
    script.lead(by: b)
    script.send(4)
    #expect(script.take().texts == ["1→2", "3→2", "4→2"])
  }

  @Test func `a redirect moves everything of its partition and nothing of another`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.lead(GatewayScript.second, by: a)
    script.open(a)
    script.open(b)
    script.send(1)
    script.send(2, to: GatewayScript.conversation(in: GatewayScript.second))
    script.send(3)
    let sent = script.take()
    #expect(sent.texts == ["1→1", "2→1", "3→1"])
    script.respond(sent.requests[2].request, notLeader(b, revision: 50), from: a)
    #expect(script.take().texts == ["1→2", "3→2"])
    script.send(4)
    script.send(5, to: GatewayScript.conversation(in: GatewayScript.second))
    #expect(script.take().texts == ["4→2", "5→1"])
  }

  @Test func `who does not lead and does not know who does is asked again after a pause`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    script.send(1)
    let sent = script.take().requests[0].request
    script.respond(sent, notLeader(nil, revision: 1), from: a)
    #expect(script.take().requests.isEmpty)
    script.advance(100)
    #expect(script.take().texts == ["1→1"])
  }

  @Test func `an older redirect does not replace a newer one`() {
    var script = GatewayScript()
    script.lead(by: a)
    for store in [a, b, store(3)] { script.open(store) }
    script.send(1)
    script.send(2)
    let sent = script.take().requests
    script.respond(sent[0].request, notLeader(b, revision: 70), from: a)
    let moved = script.take()
    #expect(moved.texts == ["1→2", "2→2"])
    // The old leader's record is older than what is known by now.
    script.respond(moved.requests[0].request, notLeader(store(3), revision: 60), from: b)
    script.advance(100)
    #expect(script.take().texts.allSatisfy { $0.hasSuffix("→2") })
  }

  @Test func `what was under way on a lost link goes out in order on the next one`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    for number in 1...3 { script.send(UInt64(number)) }
    _ = script.take()
    script.close(a)
    script.send(4)
    script.advance(300)
    #expect(script.take().requests.isEmpty)
    script.open(a)
    script.advance(100)
    #expect(script.take().texts == ["1→1", "2→1", "3→1", "4→1"])
  }

  @Test func `a second link to a store takes the place of the first`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    script.send(1)
    script.send(2)
    script.openSession(SessionID(1))
    #expect(script.take().subscribes.count == 1)
    // The store came back at another address before the old connection was found to be dead.
    script.open(a)
    script.advance(200)
    let again = script.take()
    #expect(again.texts.filter { !$0.hasPrefix("→") } == ["1→1", "2→1"])
    #expect(again.subscribes.count == 1, "the new link knows of no subscription")
  }

  @Test func `answers of a former leader change nothing`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    script.open(b)
    script.send(1)
    let first = script.take().requests[0].request
    script.lead(by: b)
    let second = script.take().requests[0].request
    script.respond(first, .failed(ServiceError(.notFound, "no")), from: a)
    #expect(script.take().results.isEmpty)
    script.respond(second, sentAnswer(4), from: b)
    script.respond(second, sentAnswer(5), from: b)
    #expect(script.take().results[CallID(1)]?.sequence == 4)
  }

  @Test func `a store that drains gets nothing new`() {
    var script = GatewayScript()
    script.lead(by: a)
    script.open(a)
    script.open(b)
    script.send(1)
    let sent = script.take().requests[0].request
    script.receive(.draining, from: a)
    script.send(2)
    script.advance(200)
    #expect(script.take().requests.isEmpty)
    script.respond(sent, sentAnswer(1), from: a)
    #expect(script.take().results[CallID(1)]?.sequence == 1, "what it has it finishes")
    script.lead(by: b)
    #expect(script.take().texts == ["2→2"])
  }

  @Test func `a silent link is named so that the shell can open it anew`() {
    var script = GatewayScript()
    script.open(a)
    script.open(b)
    script.advance(1_500)
    script.receive(.heartbeat(Heartbeat(boot: BootID(1), wallTime: .zero)), from: a)
    script.advance(1_000)
    #expect(script.core.silentLinks(longerThan: 2_000, now: script.now) == [b])
  }

  @Test func `a gateway is ready when a shard answers and every partition has a leader`() {
    var script = GatewayScript()
    #expect(!script.core.isReady)
    script.open(a)
    for partition in 0..<GatewayScript.partitionCount - 1 {
      script.lead(PartitionID(partition), by: a)
    }
    #expect(!script.core.isReady)
    script.lead(PartitionID(GatewayScript.partitionCount - 1), by: a)
    #expect(script.core.isReady)
    script.drain()
    #expect(!script.core.isReady)
  }
}

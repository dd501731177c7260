import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import Testing
import WalkSupport

/// Credits, timeouts and the bounds beyond which an operation is refused.
@Suite struct RequestLimitTests {
  private let a = store(1)
  private let b = store(2)

  private func script(
    credits: UInt32, configure: (inout GatewayConfiguration) -> Void = { _ in }
  ) -> GatewayScript {
    var script = GatewayScript(configure: configure)
    for partition in [GatewayScript.first, GatewayScript.second] { script.lead(partition, by: a) }
    script.open(a, credits: credits)
    return script
  }

  // MARK: Credits

  @Test func `a store gets as many requests as it granted, and the next one with each answer`() {
    var script = script(credits: 2)
    for number in 1...5 { script.send(UInt64(number)) }
    var sent = script.take().requests
    #expect(sent.map(\.request.text) == ["1", "2"])
    for number in 3...5 {
      script.respond(sent.removeFirst().request, sentAnswer(UInt64(number)), from: a)
      script.advance(60)
      let next = script.take().requests
      #expect(next.map(\.request.text) == ["\(number)"])
      sent += next
    }
  }

  @Test func `credits are of a link and shared by its partitions`() {
    var script = script(credits: 1)
    script.send(1)
    script.send(2, to: GatewayScript.conversation(in: GatewayScript.second))
    let sent = script.take()
    #expect(sent.texts == ["1→1"])
    script.respond(sent.requests[0].request, sentAnswer(1), from: a)
    script.advance(60)
    #expect(script.take().texts == ["2→1"])
  }

  enum Ending: String, CaseIterable, Sendable {
    case answer, refusal, finalRefusal, redirect, timeout, lateAnswer, leaderChange, thereAndBack
    case lostLink, secondLink
  }

  @Test(arguments: Ending.allCases)
  func `every ending gives its credit back, once`(ending: Ending) {
    let credits = 3
    var script = script(credits: UInt32(credits))
    script.open(b, credits: UInt32(credits))
    script.send(1)
    script.send(2)
    let sent = script.take().requests.map(\.request)
    #expect(sent.count == 2)
    switch ending {
    case .answer:
      for request in sent + sent { script.respond(request, sentAnswer(1), from: a) }
    case .refusal:
      for request in sent { script.respond(request, .failed(.unavailable("")), from: a) }
    case .finalRefusal:
      for request in sent {
        script.respond(request, .failed(ServiceError(.notFound, "")), from: a)
      }
    case .redirect:
      let outcome = Response.Outcome.notLeader(
        leader: ReplicaID(store: b, number: 1), revision: Revision(90))
      for request in sent { script.respond(request, outcome, from: a) }
      for item in script.take().requests { script.respond(item.request, sentAnswer(1), from: b) }
    case .timeout:
      script.advance(11_000)
    case .lateAnswer:
      script.advance(11_000)
      for request in sent { script.respond(request, sentAnswer(1), from: a) }
    case .leaderChange:
      script.lead(by: b)
      for request in sent { script.respond(request, sentAnswer(1), from: a) }
      for item in script.take().requests { script.respond(item.request, sentAnswer(1), from: b) }
    case .thereAndBack:
      script.lead(by: b)
      script.lead(by: a)
      for item in script.take().requests {
        script.respond(item.request, sentAnswer(1), from: item.store)
      }
      for request in sent { script.respond(request, sentAnswer(1), from: a) }
    case .lostLink:
      script.close(a)
      script.lead(by: b)
      script.open(a, credits: UInt32(credits))
      for item in script.take().requests { script.respond(item.request, sentAnswer(1), from: b) }
    case .secondLink:
      script.open(a, credits: UInt32(credits))
      script.lead(by: b)
      for item in script.take().requests { script.respond(item.request, sentAnswer(1), from: b) }
    }
    // The second partition is still the first store's, and nothing of it waits.
    let granted = script.requestsAtOnce(to: a, in: GatewayScript.second)
    #expect(granted == credits)
    script.lead(GatewayScript.second, by: b)
    #expect(script.take().requests.count { $0.store == b } == credits)
  }

  @Test func `while everything is under way nothing more goes out`() {
    var script = script(credits: 3)
    #expect(script.requestsAtOnce(to: a) == 3)
    script.advance(500)
    #expect(script.take().requests.isEmpty)
    #expect(script.requestsAtOnce(to: a, in: GatewayScript.second) == 0)
  }

  // MARK: Timeouts

  @Test func `a request that was never sent ends as unavailable: it may be tried again`() {
    var script = GatewayScript()
    script.send(1)
    script.advance(9_900)
    #expect(script.take().results.isEmpty)
    script.advance(500)
    let error = script.take().results[CallID(1)]?.error
    #expect(error?.code == .unavailable)
    #expect(error?.retryable == true)
    #expect(script.core.pendingRequestCount == 0)
  }

  @Test func `a request without an answer ends as deadline exceeded: it may have been done`() {
    var script = script(credits: 10)
    script.send(1)
    script.advance(10_400)
    let error = script.take().results[CallID(1)]?.error
    #expect(error?.code == .deadlineExceeded)
    #expect(error?.retryable == true, "a send with the same id is harmless")
  }

  @Test func `a request that was on a lost link and waits ends as deadline exceeded too`() {
    var script = script(credits: 10)
    script.send(1)
    script.close(a)
    script.advance(10_400)
    #expect(script.take().results[CallID(1)]?.error?.code == .deadlineExceeded)
  }

  @Test func `a request that ends link after link is given up, and the next one is served`() {
    var script = script(credits: 10)
    script.send(1)
    for _ in 1..<script.core.configuration.linkLossesMax {
      script.close(a)
      #expect(script.take().results.isEmpty)
      script.open(a)
    }
    script.close(a)
    script.send(2)
    #expect(script.take().results[CallID(1)]?.error?.code == .deadlineExceeded)
    script.open(a)
    #expect(script.take().texts == ["2→1"])
  }

  @Test func `a request whose time is over does not block those behind it`() {
    var script = GatewayScript { $0.requestTimeout = 1_000 }
    script.send(1)
    script.advance(600)
    script.send(2)
    script.advance(700)
    #expect(script.take().resultOrder == [1])
    script.lead(by: a)
    script.open(a)
    script.advance(60)
    #expect(script.take().texts == ["2→1"])
  }

  @Test func `a refusal that never passes is told when the time is over`() {
    var script = script(credits: 10) { $0.requestTimeout = 1_000 }
    script.send(1)
    var tries = 0
    var error: ServiceError?
    for _ in 0..<200 where error == nil {
      script.advance(10)
      let outputs = script.take()
      for item in outputs.requests {
        tries += 1
        script.respond(
          item.request, .failed(.unavailable("no", retryAfterMilliseconds: 0)), from: a)
      }
      error = outputs.results[CallID(1)]?.error
    }
    #expect((10...30).contains(tries), "\(tries) tries in a second")
    #expect(error != nil)
    #expect(script.core.pendingRequestCount == 0)
  }

  @Test func `a full queue of a shard and a final refusal are told at once`() {
    for outcome in [
      ServiceError.overloaded("full"), ServiceError(.permissionDenied, "no"),
      ServiceError(.unavailable, "never", retryable: false),
    ] {
      var script = script(credits: 10)
      script.send(1)
      let sent = script.take().requests[0].request
      script.respond(sent, .failed(outcome), from: a)
      #expect(script.take().results[CallID(1)]?.error == outcome)
    }
  }

  // MARK: Overload

  @Test func `beyond the bound of waiting requests an operation is refused and nothing is sent`() {
    var script = script(credits: 100) { $0.pendingRequestsMax = 3 }
    for number in 1...5 { script.send(UInt64(number)) }
    let outputs = script.take()
    #expect(outputs.texts == ["1→1", "2→1", "3→1"])
    #expect(outputs.resultOrder == [4, 5])
    for call in [4, 5] {
      let error = outputs.results[CallID(UInt64(call))]?.error
      #expect(error?.code == .resourceExhausted)
      #expect(error?.retryable == true)
    }
    #expect(script.core.pendingRequestCount == 3)
    for item in outputs.requests { script.respond(item.request, sentAnswer(1), from: a) }
    #expect(script.take().resultOrder == [1, 2, 3])
    script.send(6)
    #expect(script.take().texts == ["6→1"])
  }

  @Test func `beyond the bound of one session only that session is refused`() {
    var script = script(credits: 100) { $0.pendingPerSessionMax = 2 }
    let (one, other) = (SessionID(1), SessionID(2))
    for id in [one, other] { script.openSession(id, events: false) }
    for item in script.take().requests {
      let answer = Response.Outcome.answered(.user(profile(1)))
      script.respond(item.request, answer, from: a)
    }
    _ = script.take()
    let operation = ClientOperation.send(
      conversation: GatewayScript.conversation(), id: clientID("x"), text: "x")
    for ref in ["a", "b", "c", "d"] { script.frame(ref, operation, from: one) }
    script.frame("a", operation, from: other)
    let outputs = script.take()
    #expect(outputs.requests.count == 3)
    #expect(outputs.answers.map(\.frame.ref) == ["c", "d"])
    #expect(outputs.errors(of: one).map(\.code) == [.resourceExhausted, .resourceExhausted])
    #expect(outputs.errors(of: one).allSatisfy { $0.retryable })
    script.respond(outputs.requests[0].request, sentAnswer(1), from: a)
    script.frame("e", operation, from: one)
    let later = script.take()
    #expect(later.requests.count == 1)
    #expect(later.errors(of: one).isEmpty)
  }

  @Test func `what is answered at once does not count`() {
    var script = script(credits: 100) { $0.pendingPerSessionMax = 2 }
    script.openSession(SessionID(1), events: false)
    for number in 0..<10 { script.frame("\(number)", .ping, from: SessionID(1)) }
    let answers = script.take().answers
    #expect(answers.count == 10)
    #expect(answers.allSatisfy { $0.frame.body == .pong })
  }
}

import NIOCore
import Primitives
import Synchronization
import Testing

@testable import MartletClient

/// Whatever gateways do: an acknowledged send is stored once and in order, and every event is
/// delivered once and in order.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClientPropertyTests {
  private static let conversations = [1, 2].map { MartletClient.conversation($0) }
  private static let clientCount = 2
  private static let roundCount = 120

  @Test(arguments: [false, true]) func nothingIsLostRepeatedOrReordered(
    _ oneAtATime: Bool
  ) async throws {
    var generator = SystemRandomNumberGenerator()
    var happened: Set<String> = []
    for _ in 0..<2 {
      let seed = generator.next() as UInt64
      print("ClientPropertyTests seed \(seed), one at a time: \(oneAtATime)")
      happened.formUnion(
        try await TestCluster.with(seed: seed) { cluster in
          try await run(cluster, seed: seed, oneAtATime: oneAtATime)
        })
    }
    #expect(happened.count >= 5, "one seed alone has too few faults in one of two hundred runs")
  }

  private static func faults(_ random: inout SeededRandom, oneAtATime: Bool) -> Faults {
    var faults = Faults()
    // With hundreds under way, a connection that ends after a few of them gets nothing done.
    let drops = oneAtATime ? 6...15 : 2...4
    faults.dropBeforeApplying = Int.random(in: drops, using: &random)
    faults.dropAfterApplying = Int.random(in: drops, using: &random)
    faults.dropWhileAnswering = Int.random(in: drops, using: &random)
    faults.dropWhilePushing = Int.random(in: 2...6, using: &random)
    faults.repeatEvent = 60
    faults.passOverEvent = 20
    faults.drain = 5
    faults.delayMax = Int64.random(in: 0...4, using: &random)
    // Without a bound of one, only a gateway that refuses what follows can keep the order.
    if oneAtATime { faults.refuse = 60 } else { faults.refuseInOrder = 20 }
    return faults
  }

  /// **Returns**: the faults that happened.
  private func run(
    _ cluster: TestCluster, seed: UInt64, oneAtATime: Bool
  ) async throws -> Set<String> {
    var random = SeededRandom(seed: seed)
    let faults = Self.faults(&random, oneAtATime: oneAtATime)
    _ = await cluster.fake.read { $0.faults = faults }
    let start = ResumePoint(
      sequences: Dictionary(uniqueKeysWithValues: Self.conversations.map { ($0, 0) }))
    var clients: [MartletClient] = []
    for number in 0..<Self.clientCount {
      clients.append(
        try await cluster.client("client \(number)", resumeFrom: start) {
          $0.encoding = number == 0 ? .protobuf : .json
          $0.bufferedEventsMax = 32
          if oneAtATime { $0.sendsInFlightMax = 1 }
        })
    }
    let collectors = clients.map { Collector($0) }
    let answers = Answers()
    for round in 0..<Self.roundCount {
      for (number, client) in clients.enumerated() {
        for conversation in Self.conversations {
          let text = "\(number) \(round)"
          client.send(text, to: conversation) { answers.add(text, conversation, $0) }
        }
      }
      if Int.random(in: 0..<4, using: &random) == 0 {
        try await Task.sleep(nanoseconds: UInt64.random(in: 0...4_000_000, using: &random))
      }
    }
    let sendCount = Self.roundCount * Self.clientCount * Self.conversations.count
    try await explained(clients) {
      try await eventually("\(sendCount) answers, not \(answers.count)") {
        answers.count == sendCount
      }
    }
    // An event that was passed over shows only when another follows it.
    _ = await cluster.fake.read { $0.faults = .none }
    for conversation in Self.conversations { try await clients[0].send("last", to: conversation) }
    try await explained(clients) {
      for collector in collectors { try await collector.wait(for: sendCount + 2) }
    }
    for client in clients { client.close() }

    let log = await cluster.fake.read { $0.publicLog }
    checkLog(log, answers)
    for collector in collectors { check(try await collector.finish(), log) }
    let happened = await cluster.fake.read { $0.happened }
    print("  faults: \(happened.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" })")
    return Set(happened.keys)
  }

  /// Says how the clients stand when something takes too long.
  private func explained(
    _ clients: [MartletClient], _ body: () async throws -> Void
  ) async throws {
    do { try await body() } catch {
      for client in clients { print("  \(try await client.shell.summary().get())") }
      throw error
    }
  }

  private func checkLog(_ log: [ConversationID: [Event]], _ answers: Answers) {
    for conversation in Self.conversations {
      let stored = log[conversation] ?? []
      for number in 0..<Self.clientCount {
        let own = stored.compactMap { event -> Int? in
          guard case .message(let text) = event.content, text != "last" else { return nil }
          let words = text.split(separator: " ").compactMap { Int($0) }
          return words[0] == number ? words[1] : nil
        }
        #expect(own == Array(0..<Self.roundCount), "stored once each, in order")
      }
      for event in stored {
        guard case .message(let text) = event.content, text != "last" else { continue }
        #expect(answers.sequence(of: text, conversation) == event.sequence)
      }
    }
  }

  private func check(_ seen: [Event], _ log: [ConversationID: [Event]]) {
    for conversation in Self.conversations {
      #expect(seen.filter { $0.conversation == conversation } == log[conversation])
    }
  }
}

/// What became of the sends.
private final class Answers: Sendable {
  private let answers = Mutex<[String: Result<Sent, MartletError>]>([:])

  var count: Int { answers.withLock { $0.count } }

  func add(
    _ text: String, _ conversation: ConversationID, _ result: Result<Sent, MartletError>
  ) {
    answers.withLock { $0["\(conversation) \(text)"] = result }
  }

  func sequence(of text: String, _ conversation: ConversationID) -> UInt64? {
    try? answers.withLock { $0["\(conversation) \(text)"] }?.get().sequence
  }
}

import Foundation
package import LoadModel
import NIOCore
import NIOPosix

/// NATS, with JetStream or without.
package struct NATSTarget: Target {
  package enum Mode: String, Sendable, CaseIterable {
    /// Streams that sync every message to disk, on each of their replicas.
    case always
    /// Streams as NATS sets them up: synced every two minutes.
    case usual
    /// No streams: nothing is kept.
    case core
  }

  package let servers: Servers
  private let mode: Mode
  private let endpoints: [Endpoint]
  private let replicas: Int
  /// Conversations share them; each has a leader of its own.
  private let streams: Int

  package init(
    endpoints: [Endpoint], mode: Mode, replicas: Int, streams: Int, servers: Servers = Servers()
  ) {
    self.endpoints = endpoints
    self.mode = mode
    self.replicas = replicas
    self.streams = streams
    self.servers = servers
  }

  package var name: String { mode == .core ? "nats-core" : "nats-\(mode.rawValue)" }

  package var durability: DurabilityClass {
    switch mode {
    case .always: .d2
    case .usual: .d1
    case .core: .d0
    }
  }

  /// Waits until the servers have found each other and elected who leads streams: until then,
  /// making one fails.
  ///
  /// **Throws**: `LoadError` when that is not so in time.
  package func waitUntilReady(within timeout: Duration) async throws {
    guard mode != .core, let first = endpoints.first else { return }
    let client = try await NATSAdministration.connect(to: first)
    let end = ContinuousClock.now + timeout
    while true {
      do {
        // Nobody answers while nobody leads.
        try await client.makeStream(
          "READY", subject: "ready", replicas: replicas, within: .milliseconds(500))
        break
      } catch let error as LoadError {
        guard ContinuousClock.now < end else { throw error }
        try await Task.sleep(for: Self.retryPause)
      }
    }
    try await client.deleteStream("READY")
    try await client.close()
  }

  private static let retryPause = Duration.milliseconds(100)

  package func prepare(
    _ traffic: Traffic, runID: UInt32, tell: @Sendable (String) -> Void
  ) async throws -> Prepared {
    guard !traffic.isTLS, !traffic.isLogOnly, traffic.reads == 0 else {
      throw LoadError("\(name): tls, log-only and reads are for Martlet")
    }
    let prefix = "r\(runID)"
    let names = (0..<traffic.conversations).map { place in
      mode == .core
        ? "- \(prefix).c\(place)" : "S\(prefix)x\(place % streams) \(subject(prefix, place))"
    }
    if mode != .core {
      guard let first = endpoints.first else { throw LoadError("\(name): no server is named") }
      let client = try await NATSAdministration.connect(to: first)
      for number in 0..<min(streams, traffic.conversations) {
        try await client.makeStream(
          "S\(prefix)x\(number)", subject: "\(prefix).x\(number).*", replicas: replicas)
      }
      let places = traffic.places
      for session in 0..<traffic.sessions where traffic.listens(session) {
        for place in places[session] {
          try await client.makeConsumer(
            of: "S\(prefix)x\(place % streams)", name: "s\(session)c\(place)",
            filter: subject(prefix, place), deliverTo: "deliver.s\(session)")
        }
      }
      try await client.close()
    }
    return Prepared(
      seats: seats(
        traffic, endpoints: endpoints, speaks: .nats,
        credentials: [String](repeating: "", count: traffic.userCount)),
      names: PlaceNames(names))
  }

  private func subject(_ prefix: String, _ place: Int) -> String {
    "\(prefix).x\(place % streams).c\(place)"
  }

  package func readBack(
    _ prepared: Prepared, runID: UInt32, expected: [Int: Tally]
  ) async throws -> [Int: Tally]? { nil }
}

/// Requests to JetStream's API, one at a time.
private struct NATSAdministration {
  static let timeout = Duration.seconds(20)
  private static let pollInterval = Duration.milliseconds(2)

  private let channel: any Channel
  private let answers: Answers

  static func connect(to endpoint: Endpoint) async throws -> NATSAdministration {
    let answers = Answers()
    do {
      let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(Reader(answers))
          }
        }
        .connect(host: endpoint.host, port: endpoint.port).get()
      let client = NATSAdministration(channel: channel, answers: answers)
      try await client.write(
        #"CONNECT {"verbose":false,"pedantic":false,"name":"loadtest"}"#
          + "\r\nSUB _INBOX.admin 1\r\n")
      return client
    } catch let error as LoadError { throw error } catch {
      throw LoadError("\(endpoint) cannot be reached: \(error)")
    }
  }

  func makeStream(
    _ name: String, subject: String, replicas: Int, within timeout: Duration = Self.timeout
  ) async throws {
    try await ask(
      "$JS.API.STREAM.CREATE.\(name)",
      #"{"name":"\#(name)","subjects":["\#(subject)"],"retention":"limits","storage":"file","#
        + #""num_replicas":\#(replicas),"max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"#
        + #""max_age":0,"discard":"old"}"#, within: timeout)
  }

  func makeConsumer(
    of stream: String, name: String, filter: String, deliverTo subject: String
  ) async throws {
    try await ask(
      "$JS.API.CONSUMER.CREATE.\(stream).\(name).\(filter)",
      #"{"stream_name":"\#(stream)","config":{"name":"\#(name)","deliver_subject":"\#(subject)","#
        + #""deliver_policy":"all","ack_policy":"none","filter_subject":"\#(filter)","#
        + #""replay_policy":"instant"}}"#)
  }

  func deleteStream(_ name: String) async throws {
    try await ask("$JS.API.STREAM.DELETE.\(name)", "")
  }

  func close() async throws { try await channel.close() }

  private func ask(
    _ subject: String, _ body: String, within timeout: Duration = Self.timeout
  ) async throws {
    answers.clear()
    try await write("PUB \(subject) _INBOX.admin \(body.utf8.count)\r\n\(body)\r\n")
    let end = ContinuousClock.now + timeout
    while ContinuousClock.now < end {
      if let answer = answers.last {
        guard !answer.contains(#""error""#) else { throw LoadError("\(subject): \(answer)") }
        return
      }
      try await Task.sleep(for: Self.pollInterval)
    }
    throw LoadError("\(subject): no answer")
  }

  private func write(_ text: String) async throws {
    try await channel.writeAndFlush(ByteBuffer(string: text))
  }

  private final class Answers: @unchecked Sendable {
    // Safety: behind the lock.
    private let lock = NSLock()
    private var text: String?

    var last: String? { lock.withLock { text } }
    func clear() { lock.withLock { text = nil } }
    func take(_ answer: String) { lock.withLock { text = answer } }
  }

  private final class Reader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let answers: Answers
    private var text = ""

    init(_ answers: Answers) { self.answers = answers }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      text += String(buffer: unwrapInboundIn(data))
      while let end = text.range(of: "\r\n") {
        let line = text[..<end.lowerBound]
        let words = line.split(separator: " ")
        if words.first == "MSG", let count = Int(words.last ?? "") {
          let body = text[end.upperBound...]
          guard body.utf8.count >= count + 2 else { return }
          answers.take(String(decoding: body.utf8.prefix(count), as: UTF8.self))
          text = String(decoding: body.utf8.dropFirst(count + 2), as: UTF8.self)
          continue
        }
        if words.first == "PING" {
          context.writeAndFlush(NIOAny(ByteBuffer(string: "PONG\r\n")), promise: nil)
        }
        text = String(text[end.upperBound...])
      }
    }
  }
}

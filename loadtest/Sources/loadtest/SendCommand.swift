import ArgumentParser
import Foundation
import Histogram
import NIOCore
import NIOPosix

/// W1: durable sends in a closed loop.
struct SendCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send",
    abstract: "Sends in a closed loop and prints acknowledged/s, latency and fsyncs.",
    discussion: """
      Every connection is a user of its own with a conversation of its own and keeps WINDOW messages
      unanswered. A closed loop shows a ceiling, not what users would feel at a lower rate.
      """)

  @Option(name: .long, help: "A gateway's URL. Repeatable; connections are spread over them.")
  var gateway: [String] = ["http://127.0.0.1:8080", "http://127.0.0.1:8081"]
  @Option(name: .long, help: "Connections, 1 to 10,000.") var connections = 64
  @Option(name: .long, help: "Unanswered messages per connection, 1 to 256.") var window = 1
  @Option(name: .long, help: "Measured seconds, 1 to 3,600.") var seconds = 10
  @Option(name: .long, help: "Seconds before the measurement begins, 0 to 60.") var warmup = 2
  @Option(name: .long, help: "Bytes of text, 1 to 65,536.") var bytes = 100
  @Option(name: .long, help: "A shard's metrics URL, for fsyncs. Repeatable.") var metrics:
    [String] = []
  @Option(name: .long, help: "A process id of a server, for its CPU time. Repeatable.") var pid:
    [Int32] = []
  @Option(name: .long, help: "Distinct users that the connections share.") var users = 16
  @Flag(
    name: .long,
    help: """
      Send into conversations that do not exist: what comes back is a refusal, made when the \
      message was logged, replicated and applied like any other. All but the state machine's work.
      """)
  var logOnly = false
  @Flag(name: .long, help: "Print JSON.") var json = false

  func validate() throws {
    try check(1...10_000, connections, "connections")
    try check(1...256, window, "window")
    try check(1...3_600, seconds, "seconds")
    try check(0...60, warmup, "warmup")
    try check(1...65_536, bytes, "bytes")
    try check(1...1_000, users, "users")
  }

  private func check(_ range: ClosedRange<Int>, _ value: Int, _ name: String) throws {
    guard range.contains(value) else {
      throw ValidationError(
        "--\(name) \(value): allowed is \(range.lowerBound) to \(range.upperBound)")
    }
  }

  func run() async throws {
    do { try await measure() } catch let error as LoadTestError {
      FileHandle.standardError.write(Data("loadtest: \(error)\n".utf8))
      throw ExitCode(1)
    }
  }

  private func measure() async throws {
    let gateways = try gateway.map { try GatewayAddress($0) }
    let runID = String(UInt64.random(in: 0...UInt64.max), radix: 36)
    let seats = try await prepare(gateways, runID: runID)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let run = SendRun()
    let text = String(repeating: "m", count: bytes)
    var channels: [any Channel] = []
    for (number, seat) in seats.enumerated() {
      let gateway = gateways[number % gateways.count]
      let plan = SendPlan(
        host: gateway.host, window: window, text: text, runID: runID, isLogOnly: logOnly)
      do {
        channels.append(
          try await ClientBootstrap(group: loop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
              channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                  SendConnection(
                    plan: plan, number: number, conversation: seat.conversation, token: seat.token,
                    run: run))
              }
            }
            .connect(host: gateway.host, port: gateway.port).get())
      } catch { throw LoadTestError("\(gateway.url) cannot be reached: \(error)") }
    }
    try await waitUntilReady(run, on: loop)
    try await start(run, channels, on: loop)
    try await Task.sleep(nanoseconds: UInt64(warmup) * 1_000_000_000)
    let before = try await Counters.read(metrics: metrics, pids: pid)
    let began = NIODeadline.now()
    try await loop.submit { run.isMeasuring = true }.get()
    try await Task.sleep(nanoseconds: UInt64(seconds) * 1_000_000_000)
    let figures = try await loop.submit {
      run.isMeasuring = false
      return SendFigures(
        acknowledgedCount: run.acknowledgedCount, latencies: run.latencies,
        elapsedSeconds: Double((NIODeadline.now() - began).nanoseconds) / 1e9)
    }.get()
    let after = try await Counters.read(metrics: metrics, pids: pid)
    let lost = try await drain(run, on: loop)
    for channel in channels { try? await channel.close() }
    let (failures, refusals) = try await loop.submit { (run.failures, run.refusals) }.get()
    try await group.shutdownGracefully()
    print(figures.report(after.since(before), plan: self, refusals: refusals))
    guard failures.isEmpty, lost == 0 else {
      throw LoadTestError(
        (failures + (lost > 0 ? ["\(lost) messages were never answered"] : [])).joined(
          separator: "; "))
    }
  }

  // MARK: Steps

  /// A connection's user and conversation.
  private struct Seat: Sendable {
    let token: String
    let conversation: String
  }

  /// An id that nobody has: 40 of its bits are drawn anew.
  private static func unused(like id: String) -> String {
    let digits = Array("0123456789abcdefghjkmnpqrstvwxyz")
    let drawn = (0..<8).map { _ in digits.randomElement() ?? "0" }
    return String(id.prefix(6)) + String(drawn) + String(id.dropFirst(14))
  }

  private func prepare(_ gateways: [GatewayAddress], runID: String) async throws -> [Seat] {
    let password = "load \(runID)"
    var tokens: [String] = []
    for number in 0..<min(users, connections) {
      let api = GatewayAPI(gateway: gateways[number % gateways.count])
      tokens.append(try await api.logIn(handle: "load-\(runID)-\(number)", password: password))
    }
    var seats: [Seat] = []
    for number in 0..<connections {
      let token = tokens[number % tokens.count]
      let api = GatewayAPI(gateway: gateways[number % gateways.count])
      let conversation = try await api.makeGroup(title: "load \(number)", token: token)
      seats.append(
        Seat(token: token, conversation: logOnly ? Self.unused(like: conversation) : conversation))
    }
    return seats
  }

  private func waitUntilReady(_ run: SendRun, on loop: any EventLoop) async throws {
    for _ in 0..<1_000 {
      let (ready, failures) = try await loop.submit { (run.readyCount, run.failures) }.get()
      if let failure = failures.first { throw LoadTestError(failure) }
      if ready == connections { return }
      try await Task.sleep(nanoseconds: 10_000_000)
    }
    throw LoadTestError("not all connections were ready in 10 s")
  }

  private func start(_ run: SendRun, _ channels: [any Channel], on loop: any EventLoop) async throws
  {
    try await loop.submit {
      run.open()
      for channel in channels {
        guard
          let context = try? channel.pipeline.syncOperations.context(
            handlerType: SendConnection.self)
        else { continue }
        (context.handler as? SendConnection)?.begin(context)
      }
    }.get()
  }

  /// Waits for the answers to what is under way.
  /// **Returns**: how many never came.
  private func drain(_ run: SendRun, on loop: any EventLoop) async throws -> Int {
    try await loop.submit { run.close() }.get()
    for _ in 0..<1_500 {
      if try await loop.submit({ run.unanswered }).get() == 0 { return 0 }
      try await Task.sleep(nanoseconds: 10_000_000)
    }
    return try await loop.submit { run.unanswered }.get()
  }
}

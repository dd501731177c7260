import ArgumentParser
import Foundation
import LoadModel
import LoadRun

func serveAsWorker() async throws {
  try FileDescriptors.raise()
  try await WorkerLoop.run()
}

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Measures what a scenario says.",
    discussion: "Scenarios W1 to W10 lie in Scenarios/; README.md says how one is written.")

  @Argument(help: "A scenario (YAML).") var scenario: String
  @Option(help: "Only the runs whose name contains this.") var only: String?
  @OptionGroup(title: "Target") var target: TargetOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  func run() async throws {
    try await guarded {
      guard let text = try? String(contentsOfFile: scenario, encoding: .utf8) else {
        throw LoadError("\(scenario): cannot be read")
      }
      var found = try ScenarioFile.read(text, named: scenario)
      if let only {
        found.runs.removeAll { !$0.name.contains(only) }
        guard !found.runs.isEmpty else { throw LoadError("--only \(only): no run is called so") }
      }
      try await Measuring(target: target, output: output).measure(found)
    }
  }
}

struct SendCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send", abstract: "W1: durable sends, closed or open loop.",
    discussion: """
      Every connection has a conversation of its own. A closed loop (--window) shows a ceiling; \
      what users feel at a rate shows an open one (--rate), where a message's latency counts from \
      when it was due.
      """)

  @Option(help: "Connections, 1 to 200,000.") var connections = 64
  @Option(help: "Unanswered messages per connection, 1 to 256.") var window = 1
  @Option(help: "Open loop: messages per second of all connections.") var rate: Double?
  @Option(help: "Measured seconds.") var seconds = 10.0
  @Option(help: "Seconds before the measurement begins.") var warmup = 2.0
  @Option(help: "Bytes of text, \(MessageStamp.byteCount) to 65,536.") var bytes = 100
  @Option(help: "Accounts that the connections share.") var users = 16
  @Flag(
    help: """
      Send into conversations that do not exist: what comes back is a refusal, made when the \
      message was logged, replicated and applied like any other. All but the state machine's work.
      """)
  var logOnly = false
  @OptionGroup(title: "Target") var target: TargetOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  func validate() throws {
    try check("connections", connections, 1...Limits.sessions.upperBound)
    try check("window", window, Limits.window)
    try check("bytes", bytes, Limits.payloadBytes)
    try check("users", users, 1...10_000)
    try check("seconds", seconds, Limits.seconds)
    try check("warmup", warmup, Limits.warmup)
    if let rate { try check("rate", rate, Limits.rate) }
  }

  func run() async throws {
    try await guarded {
      var traffic = Traffic()
      traffic.sessions = connections
      traffic.conversations = connections
      traffic.senders = connections
      traffic.users = users
      traffic.isLogOnly = logOnly
      traffic.pace =
        rate.map { .open(rate: $0, arrivals: .poisson) } ?? .closed(window: window)
      let name =
        rate.map { "\(connections) connections, \($0)/s" } ?? "\(connections) × \(window)"
      var run = Run(name: name + (logOnly ? ", log only" : ""), workload: .traffic(traffic))
      run.payloadBytes = bytes
      run.seconds = seconds
      run.warmupSeconds = warmup
      try await Measuring(target: target, output: output).measure(
        Scenario(name: "durable send", about: "", runs: [run]))
    }
  }
}

struct IdleCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "idle", abstract: "W4: what sessions cost that do nothing.",
    discussion: "Memory needs --cluster or --pid.")

  @Option(help: "Sessions. Repeatable.") var sessions: [Int] = [5_000, 10_000]
  @Flag(help: "With TLS.") var tls = false
  @Option(help: "Seconds that they stay.") var seconds = 5.0
  @Option(help: "Accounts that the sessions share.") var users = 16
  @OptionGroup(title: "Target") var target: TargetOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  func validate() throws {
    for count in sessions { try check("sessions", count, Limits.sessions) }
    try check("seconds", seconds, Limits.seconds)
    try check("users", users, 1...10_000)
  }

  func run() async throws {
    try await guarded {
      let runs = sessions.map { count in
        var traffic = Traffic()
        traffic.sessions = count
        traffic.conversations = min(users, count)
        traffic.senders = 0
        traffic.listening = .everybody
        traffic.users = users
        traffic.isTLS = tls
        var run = Run(
          name: "\(count) idle sessions\(tls ? ", TLS" : "")", workload: .traffic(traffic))
        run.seconds = seconds
        return run
      }
      try await Measuring(target: target, output: output).measure(
        Scenario(name: "idle sessions", about: "", runs: runs))
    }
  }
}

struct FanOutCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fanout", abstract: "W3: one conversation that many are in.")

  @Option(help: "Members who are online. Repeatable.") var members: [Int] = [10, 100, 1_000]
  @Option(help: "Open loop: messages per second. Without it: as fast as they are answered.")
  var rate: Double?
  @Option(help: "Unanswered messages of the sender, 1 to 256.") var window = 16
  @Option(help: "Measured seconds.") var seconds = 5.0
  @Option(help: "Bytes of text.") var bytes = 100
  @OptionGroup(title: "Target") var target: TargetOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  func validate() throws {
    for count in members { try check("members", count, 2...Limits.members.upperBound) }
    if let rate { try check("rate", rate, Limits.rate) }
    try check("window", window, Limits.window)
    try check("bytes", bytes, Limits.payloadBytes)
    try check("seconds", seconds, Limits.seconds)
  }

  func run() async throws {
    try await guarded {
      let runs = members.map { count in
        var traffic = Traffic()
        traffic.sessions = count
        traffic.conversations = 1
        traffic.members = count
        traffic.senders = 1
        traffic.listening = .everybody
        traffic.pace =
          rate.map { .open(rate: $0, arrivals: .even) } ?? .closed(window: window)
        var run = Run(name: "\(count) members", workload: .traffic(traffic))
        run.seconds = seconds
        run.payloadBytes = bytes
        return run
      }
      try await Measuring(target: target, output: output).measure(
        Scenario(name: "fan-out", about: "", runs: runs))
    }
  }
}

struct FailoverCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "failover", abstract: "W6: how long messages wait when a shard dies or stalls.",
    discussion: "Needs --cluster: a process of it is killed or stopped, and started again.")

  @Option(help: "Which process.") var name = "shard1"
  @Flag(help: "Stop it (SIGSTOP) instead of killing it.") var silent = false
  @Option(help: "Connections.") var connections = 64
  @OptionGroup(title: "Target") var target: TargetOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  func validate() throws {
    try check("connections", connections, 1...Limits.sessions.upperBound)
    guard target.cluster != nil else { throw ValidationError("--cluster is missing") }
  }

  func run() async throws {
    try await guarded {
      var traffic = Traffic()
      traffic.sessions = connections
      traffic.conversations = connections
      traffic.senders = connections
      traffic.users = 16
      var run = Run(name: "\(name) \(silent ? "stalls" : "dies")", workload: .traffic(traffic))
      run.seconds = 15
      run.actions = [
        TimedAction(at: 3, silent ? .stop(name) : .kill(name)),
        TimedAction(at: 9, silent ? .go(name) : .start(name)),
      ]
      try await Measuring(target: target, output: output).measure(
        Scenario(name: "failover", about: "", runs: [run]))
    }
  }
}

func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
  guard range.contains(value) else {
    throw ValidationError(
      "--\(name) \(value): allowed is \(range.lowerBound) to \(range.upperBound)")
  }
}

func check(_ name: String, _ value: Double, _ range: ClosedRange<Double>) throws {
  guard range.contains(value) else {
    throw ValidationError(
      "--\(name) \(value): allowed is \(range.lowerBound) to \(range.upperBound)")
  }
}

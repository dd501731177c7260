import ArgumentParser
import Foundation
import LoadModel
import LoadReport
import LoadRun

/// What is under test, and with how many processes.
struct TargetOptions: ParsableArguments {
  enum Driver: String, ExpressibleByArgument, CaseIterable {
    case martlet
    case martletJSON = "martlet-json"
    case martletHTTP2 = "martlet-http2"
    case nats
    case natsUsual = "nats-usual"
    case natsCore = "nats-core"
    case mqtt
    case null

    var speaks: WireProtocol {
      switch self {
      case .martlet, .null: .martlet
      case .martletJSON: .martletJSON
      case .martletHTTP2: .martletHTTP2
      case .nats, .natsUsual, .natsCore: .nats
      case .mqtt: .mqtt
      }
    }
  }

  @Option(help: "What is spoken: \(Driver.allCases.map(\.rawValue).joined(separator: ", ")).")
  var driver = Driver.martlet
  @Option(
    help: """
      A gateway (http://HOST:PORT, or https:// for TLS) or another server (tcp://HOST:PORT). \
      Repeatable. Without one: those of --cluster, or http://127.0.0.1:8080 and :8081.
      """)
  var gateway: [String] = []
  @Option(
    help: """
      What cluster/up made on this machine (.martlet): tells its gateways, processes and counters, \
      and lets a run kill and change them.
      """)
  var cluster: String?
  @Option(help: "A shard's metrics page, for fsyncs. Repeatable.") var metrics: [String] = []
  @Option(help: "A server's process id, for CPU and memory. Repeatable.") var pid: [Int32] = []
  @Option(help: "Processes that share the sessions, 1 to 64.") var workers = 1
  @Option(
    help: """
      A command that starts a worker, such as 'ssh HOST loadtest worker'. Repeatable; instead of \
      --workers.
      """)
  var worker: [String] = []
  @Option(help: "NATS: replicas of a stream, 1 to 5.") var natsReplicas = 3
  @Option(help: "NATS: streams that conversations share, 1 to 1,000.") var natsStreams = 16

  func validate() throws {
    guard (1...64).contains(workers) else {
      throw ValidationError("--workers \(workers): allowed is 1 to 64")
    }
    guard (1...5).contains(natsReplicas) else {
      throw ValidationError("--nats-replicas \(natsReplicas): allowed is 1 to 5")
    }
    guard (1...1_000).contains(natsStreams) else {
      throw ValidationError("--nats-streams \(natsStreams): allowed is 1 to 1000")
    }
    guard worker.isEmpty || workers == 1 else {
      throw ValidationError("say one of --workers and --worker")
    }
  }

  func localCluster() throws -> LocalCluster? { try cluster.map { try LocalCluster(state: $0) } }

  private func endpoints(_ texts: [String]) throws -> [Endpoint] {
    try texts.map { text in
      guard let parts = URLComponents(string: text), let host = parts.host,
        ["http", "https", "tcp"].contains(parts.scheme), parts.path.isEmpty || parts.path == "/"
      else { throw LoadError("--gateway \(text): allowed is http://HOST:PORT, https:// or tcp://") }
      let usual = parts.scheme == "https" ? 443 : 80
      return Endpoint(host: host, port: parts.port ?? usual, isTLS: parts.scheme == "https")
    }
  }

  /// The system under test.
  func target(_ cluster: LocalCluster?) async throws -> any Target {
    var servers = cluster?.servers ?? Servers()
    servers.metrics += metrics
    servers.processes += pid.map { Servers.Process(name: "pid \($0)", .pid($0)) }
    var named = try endpoints(gateway)
    switch driver {
    case .null: return try await NullTarget()
    case .nats, .natsUsual, .natsCore:
      guard !named.isEmpty else { throw LoadError("--gateway is missing: tcp://HOST:PORT") }
      let mode: NATSTarget.Mode =
        driver == .natsCore ? .core : driver == .nats ? .always : .usual
      return NATSTarget(
        endpoints: named, mode: mode, replicas: natsReplicas, streams: natsStreams,
        servers: servers)
    case .mqtt:
      guard !named.isEmpty else { throw LoadError("--gateway is missing: tcp://HOST:PORT") }
      return MQTTTarget(endpoints: named, servers: servers)
    case .martlet, .martletJSON, .martletHTTP2:
      if named.isEmpty {
        named =
          cluster.map { $0.gateways + $0.tlsGateways }
          ?? [Endpoint(host: "127.0.0.1", port: 8_080), Endpoint(host: "127.0.0.1", port: 8_081)]
      }
      let plain = named.filter { !$0.isTLS }
      guard !plain.isEmpty else {
        throw LoadError("--gateway: at least one with http:// is needed, for the accounts")
      }
      return MartletTarget(
        name: driver.rawValue, gateways: plain, tlsGateways: named.filter(\.isTLS),
        speaks: driver.speaks, servers: servers)
    }
  }

  /// The workers, and whether all of them are on this machine.
  func makeWorkers() throws -> (workers: [any LoadWorker], sharesClock: Bool) {
    try FileDescriptors.raise()
    if !worker.isEmpty { return (try worker.map { try ProcessWorker($0) }, false) }
    if workers == 1 { return ([LocalWorker()], true) }
    let own = CommandLine.arguments.first ?? "loadtest"
    let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? own
    return (try (0..<workers).map { _ in try ProcessWorker("'\(path)' worker") }, true)
  }
}

/// Where the results go.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Print JSON.") var json = false
  @Option(help: "Write the report's figures to a file (JSON), for `diff`.")
  var out: String?
  @Option(help: "Write a page with plots to a file (HTML).") var page: String?

  /// **Throws**: `LoadError` when a file cannot be written, and `ExitCode` when something is wrong.
  func finish(_ report: Report) throws {
    if json { print(try ReportFile.text(report)) }
    if let out { try ReportFile.write(report, to: out) }
    if let page { try ReportPage.write(report, to: page) }
    guard report.results.allSatisfy({ $0.findings.isEmpty }) else {
      if json {
        for finding in report.results.flatMap(\.findings) { tellError(finding) }
      }
      throw ExitCode(1)
    }
  }

  func show(_ result: RunResult) { if !json { print(TextReport.text(result)) } }
}

/// What every command that measures does.
struct Measuring {
  let target: TargetOptions
  let output: OutputOptions

  /// Measures one run after the other and writes the report.
  func measure(_ scenario: Scenario) async throws {
    let cluster = try target.localCluster()
    let system = try await target.target(cluster)
    let (workers, sharesClock) = try target.makeWorkers()
    let measurement = Measurement(
      at: system, workers: workers, cluster: cluster, sharesClock: sharesClock,
      tell: { tellError($0) }, isInterrupted: { Interruption.shared.isInterrupted })
    var results: [RunResult] = []
    for run in scenario.runs where !Interruption.shared.isInterrupted {
      let result = try await measurement.measure(run, of: scenario.name)
      output.show(result)
      results.append(result)
    }
    try output.finish(
      Report(
        title: scenario.name, time: Machine.time, machine: Machine.words, results: results))
  }
}

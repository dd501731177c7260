import ArgumentParser
import Foundation
import HistoryChecker

/// `cluster/faults` installs what is missing, builds, and runs this.
@main struct FaultRunnerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fault-runner", abstract: "Break a real cluster while people talk.",
    subcommands: [RunCommand.self, CheckCommand.self], defaultSubcommand: RunCommand.self)
}

/// Checks the history of an earlier run again.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Check the history that a run has written.")

  @Argument(help: "history.jsonl of a run's directory.") var file: String

  func run() throws {
    let history = try HistoryLog.read(file)
    let violations = Checker.violations(of: history)
    for violation in violations { print(violation) }
    print(
      "\(history.sends.count) tries, \(history.reads.count) reads, \(violations.count) violations")
    if !violations.isEmpty { throw ExitCode(1) }
  }
}

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Start a cluster, break it, and check what its clients saw.")

  @Option(help: "Decides which faults come and whom they hit (default: drawn, and printed).")
  var seed: UInt64?
  @Option(help: "Draw faults for so long instead of running the fixed mix.") var minutes: Int?
  @Option(help: "So many faults of the fixed mix.") var faults: Int?
  @Option(parsing: .upToNextOption, help: "Only these kinds of faults.") var only: [FaultKind] = []
  @Option(parsing: .upToNextOption, help: "All but these kinds of faults.")
  var except: [FaultKind] = []
  @Flag(help: "One line of JSON instead of progress and table.") var json = false
  @Flag(help: "Keep the directory although nothing failed.") var keep = false
  @Option(help: "Shards.") var shards = 3
  @Option(help: "Gateways.") var gateways = 2
  @Option(help: "Partitions.") var partitions = 32
  @Option(help: "People who send all the time.") var senders = 8
  @Option(help: "How much the nodes say in their logs.") var logLevel = "info"
  @Option(help: ArgumentHelp("Where runs leave their directories.", visibility: .hidden))
  var directory: String
  @Option(help: ArgumentHelp("The nodes' certificates.", visibility: .hidden))
  var certificates: String
  @Option(help: ArgumentHelp("The program under test.", visibility: .hidden)) var martlet: String
  @Option(help: ArgumentHelp("libfaketime.", visibility: .hidden)) var clockLibrary: String?
  @Option(help: ArgumentHelp("The program fault-disk.", visibility: .hidden)) var faultDisk: String?
  @Option(help: ArgumentHelp("The program slow-link.", visibility: .hidden)) var slowLink: String?

  func validate() throws {
    guard (2...9).contains(shards), (1...9).contains(gateways), (1...64).contains(senders) else {
      throw ValidationError("2 to 9 shards, 1 to 9 gateways, 1 to 64 senders")
    }
    guard minutes ?? 1 > 0, faults ?? 1 > 0 else {
      throw ValidationError("--minutes and --faults begin at 1")
    }
  }

  func run() throws {
    // The second life of this process, in the network namespace that the first one has made.
    let entered = ProcessInfo.processInfo.environment[RunEnvironment.variable]
    guard let entered else { return try RunEnvironment.enter() }
    Interruption.install()
    let environment = RunEnvironment(run: entered, options: self)
    let isPassed: Bool
    do {
      isPassed = try environment.perform()
    } catch is Interruption {
      print("interrupted; everything is taken away")
      throw ExitCode(130)
    }
    if !isPassed { throw ExitCode(1) }
  }

  /// Kinds that were asked for and for which everything is there.
  var kinds: [FaultKind] {
    FaultKind.allCases.filter { kind in
      let isWanted = only.isEmpty ? kind.share > 0 : only.contains(kind)
      let isPossible =
        switch kind.need {
        case .nothing: true
        case .clock: clockLibrary != nil
        case .disk: faultDisk != nil
        case .link: slowLink != nil
        }
      return isWanted && isPossible && !except.contains(kind)
    }
  }
}

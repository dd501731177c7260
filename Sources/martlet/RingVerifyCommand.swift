import ArgumentParser
import ClusterModel
import Coordination
import Logging
import NodeConfiguration
import NodeRuntime
import Primitives

struct RingVerifyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Show that every partition has one leader and that its replicas are equal.",
    discussion: """
      Asks the shards' operator ports, while messages go on. Exit code 0: all partitions are owned \
      once, and their in-sync replicas had the same state after the same entry. 1: not so, or not \
      seen within the time.
      """)

  @Option(help: ArgumentHelp("Give up after so long (default: 60).", valueName: "seconds"))
  var wait: String?
  @Flag(help: "For programs.") var json = false
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  private static let pollInterval: Milliseconds = 200

  func run() async throws {
    let source = SettingSource(etcd, log, settings: ["wait": wait])
    let logger = try Logger(source, usual: .error)
    let seconds = try source.optional("wait")?.number(in: 1...86_400) ?? 60
    let deadline = ContinuousClock.now + .seconds(seconds)
    let isProven = try await EtcdConnection.use(source, logger: logger) { coordinator in
      var verification = RingVerification()
      while true {
        var status = try await RingChanging(in: coordinator).status
        for node in status.nodes where node.role == .shard {
          try await ask(node, &verification)
        }
        status = try await RingChanging(in: coordinator).status
        let findings = status.partitions.map {
          ($0.id, verification.finding($0.id, $0.record))
        }
        let isEqual = findings.allSatisfy { if case .equal = $0.1 { true } else { false } }
        let differs = findings.contains { if case .differs = $0.1 { true } else { false } }
        let isWhole = findings.count == status.partitionCount
        if isEqual && isWhole || differs || ContinuousClock.now >= deadline {
          Output.write(
            json ? RingText.json(findings, status) : RingText.findings(findings, status))
          return isEqual && isWhole
        }
        await Mirror.sleep(Self.pollInterval)
      }
    }
    if !isProven { throw ExitCode(1) }
  }

  private func ask(_ node: NodeRecord, _ verification: inout RingVerification) async throws {
    guard let address = node.operatorAddress, let store = node.store else {
      throw Failure("\(node.name) has no operator address, so it cannot be asked")
    }
    // One that does not answer now may answer next time.
    guard let text = await OperatorClient.replicaReports(from: address) else { return }
    guard verification.take(text, from: store) else {
      throw Failure("\(node.name) answers what this version does not know")
    }
  }
}

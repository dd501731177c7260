import ArgumentParser
import ChatModel
import ClusterModel
import Coordination
import Glibc
import Logging
import NodeConfiguration
import NodeRuntime
import Primitives

struct PartitionCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "partition", abstract: "What is done to single partitions.",
    subcommands: [ForceLeaderCommand.self, InspectCommand.self])
}

struct ForceLeaderCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "force-leader",
    abstract: "Give partitions a leader although every in-sync replica is gone for good.",
    discussion: """
      Acknowledged messages that the new leader does not hold are lost; clients that saw them are \
      told to look again. Replicas of before that come back are set aside and begin anew. Do this \
      only when no disk of an in-sync replica can be brought back, and when none of their shards \
      runs anywhere: one that is only cut off may still answer its clients. Where the shard itself \
      has the only in-sync replica that is left it goes on alone, and nothing is lost, as far as \
      its disk is well.
      """)

  @Argument(help: "The partitions' numbers.") var partitions: [String] = []
  @Flag(help: "All partitions of which no in-sync replica's shard is registered, but for this one.")
  var lost = false
  @Option(help: ArgumentHelp("The shard that is to lead.", valueName: "name")) var shard: String
  @Flag(help: "Begin with nothing: the shard has no replica of the partition either.")
  var empty = false
  @Flag(help: "Do not ask.") var yes = false
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  private static let leaderTimeoutSeconds = 30
  private static let pollInterval: Milliseconds = 200

  func validate() throws {
    guard lost == partitions.isEmpty else {
      throw ValidationError("name partitions, or give --lost for all that are lost; not both")
    }
  }

  func run() async throws {
    let source = SettingSource(etcd, log)
    let logger = try Logger(source, usual: .error)
    let named = try partitions.map { try Self.partition($0) }
    try await EtcdConnection.use(source, logger: logger) { coordinator in
      let forcing = try await LeaderForcing(to: shard, in: coordinator)
      let chosen = lost ? forcing.lostPartitions : named
      guard !chosen.isEmpty else {
        return Output.write("every partition has an in-sync replica on a registered shard\n")
      }
      let plans = try chosen.map { try forcing.plan($0, beginsEmpty: empty) }
      await tell(plans, forcing)
      try confirm(plans.count)
      for plan in plans { try await LeaderForcing.carryOut(plan, in: coordinator) }
      try await awaitLeaders(plans, in: coordinator)
    }
  }

  /// Reads a partition's number, with or without the `p` that it is shown with.
  static func partition(_ text: String) throws -> PartitionID {
    guard let number = UInt32(text.hasPrefix("p") ? String(text.dropFirst()) : text) else {
      throw Failure("'\(text)' is no partition; allowed is its number", code: 64)
    }
    return PartitionID(number)
  }

  /// Says what is given up and what the shard holds.
  private func tell(_ plans: [LeaderForcing.Plan], _ forcing: LeaderForcing) async {
    var held: [String: String] = [:]
    if let address = forcing.operatorAddress,
      let (status, text) = try? await OperatorClient.get("/partitions", from: address),
      status == 200
    {
      for line in text.split(separator: "\n") {
        let parts = line.split(separator: " ", maxSplits: 1)
        if parts.count == 2 { held[String(parts[0])] = String(parts[1]) }
      }
    }
    for plan in plans {
      let record = plan.seen.record
      Output.write(
        "\(plan.partition): epoch \(record.epoch), in sync were "
          + record.inSync.map(\.description).joined(separator: ", ")
          + (plan.isComplete ? "\n" : ", all of them gone\n"))
      if plan.isComplete {
        Output.write(
          "  \(shard) is in sync and goes on alone; nothing is lost, as far as its disk is well\n")
      } else if plan.isEmpty {
        Output.write("  everything in it is given up; \(shard) begins with nothing\n")
      } else {
        let has = held["\(plan.partition)"] ?? "what it holds cannot be asked"
        Output.write("  \(shard): \(has)\n  what was acknowledged and is not there is lost\n")
      }
    }
  }

  private func confirm(_ count: Int) throws {
    guard !yes else { return }
    Output.write("type \(count) (the number of partitions) to go on: ")
    guard readLine() == "\(count)" else { throw Failure("nothing was done") }
  }

  private func awaitLeaders(
    _ plans: [LeaderForcing.Plan], in coordinator: any Coordinator
  ) async throws {
    let deadline = ContinuousClock.now + .seconds(Self.leaderTimeoutSeconds)
    var waiting = Set(plans.map(\.partition))
    while true {
      if let status = try await RingStatus.read(coordinator) {
        for item in status.partitions where item.state != .leaderless { waiting.remove(item.id) }
      }
      if waiting.isEmpty { break }
      guard ContinuousClock.now < deadline else {
        let names = waiting.sorted().map(\.description).joined(separator: ", ")
        throw Failure(
          "written, but \(names) have no leader after \(Self.leaderTimeoutSeconds) s; "
            + "`martlet ring status` shows what they wait for", code: Failure.unavailableCode)
      }
      try await Task.sleep(for: .milliseconds(Self.pollInterval.rawValue))
    }
    Output.write("forced: \(plans.count), each has a leader\n")
  }
}

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show what a shard's directory holds, also what was set aside.",
    discussion: """
      The shard must not run. Without a partition: a line for each replica. With one: the \
      messages in the logs of its replicas, one JSON object per line, as they were logged; whether \
      they were committed and not refused is not said.
      """)

  @Option(help: ArgumentHelp("The shard's directory.", valueName: "path")) var dataDir: String
  @Argument(help: "A partition's number.") var partition: String?

  func run() throws {
    let chosen = try partition.map { try ForceLeaderCommand.partition($0) }
    let inspection = try StoreInspection(directory: dataDir)
    for replica in try inspection.replicas() {
      guard let chosen else {
        let what = replica.isSetAside ? "set aside" : "in use"
        let end = replica.last.map { "its log ends with \($0)" } ?? "its log is empty"
        Output.write("\(replica.partition) \(replica.id) \(what), \(end)\n")
        continue
      }
      guard replica.partition == chosen else { continue }
      try inspection.messages(of: replica) { Output.write(Self.json($0, of: replica)) }
    }
  }

  private struct Object: Encodable {
    var replica: String
    var entry: String
    var time: String
    var conversation: String
    var author: String
    var id: String
    var text: String
  }

  private static func json(
    _ logged: StoreInspection.LoggedMessage, of replica: StoreInspection.Replica
  ) -> String {
    let message = logged.message
    return EventText.jsonLine(
      Object(
        replica: "\(replica.id)", entry: "\(logged.entry)",
        time: EventText.time(logged.time.milliseconds), conversation: "\(message.conversation)",
        author: "\(message.sender)", id: message.clientID.text, text: message.text))
  }
}

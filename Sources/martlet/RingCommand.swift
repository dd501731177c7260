import ArgumentParser
import ClusterModel
import Coordination
import Glibc
import Logging
import NodeConfiguration
import NodeRuntime
import Primitives

struct RingCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ring", abstract: "Make the ring, look at it and change it.",
    subcommands: [
      RingInitCommand.self, RingStatusCommand.self, RingPlanCommand.self, RingAddCommand.self,
      RingDrainCommand.self, RingRemoveCommand.self, RingReplaceCommand.self,
      RingSplitCommand.self, RingLimitCommand.self, RingVerifyCommand.self,
      RingActivateCommand.self,
    ])
}

struct RingInitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Place the partitions on the shards. Once in a cluster's life.",
    discussion: """
      A ring that exists already is left as it is; exit code 1 when it has other numbers of \
      partitions or replicas than were asked for.
      """)

  @Option(help: ArgumentHelp("How many registered shards to wait for.", valueName: "n"))
  var shards: String?
  @Option(
    help: ArgumentHelp("Give up after so long (default: 60).", valueName: "seconds"))
  var wait: String?
  @OptionGroup(title: "Ring") var ring: RingOptions
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(ring, etcd, log, settings: ["shards": shards, "wait": wait])
    let logger = try Logger(source, usual: .error)
    let shardCount = try RingSettings.shards(source)
    let partitionCount = try RingSettings.partitions(source)
    let replicaCount = try RingSettings.replicas(source, shards: shardCount)
    let seconds = try source.optional("wait")?.number(in: 1...86_400) ?? 60
    let (record, isNew, shards, present) = try await EtcdConnection.use(source, logger: logger) {
      coordinator in
      let (record, isNew) = try await Waiting.atMost(
        seconds: seconds,
        orElse: "\(shardCount) shards were not registered within \(seconds) s"
      ) {
        try await RingInitialiser.initialise(
          shardCount: shardCount, partitionCount: partitionCount, replicaCount: replicaCount,
          in: coordinator)
      }
      let status = try await RingStatus.read(coordinator)
      let count = status?.partitionCount ?? Int(record.partitionCount)
      return (record, isNew, status?.owners.count ?? 0, count)
    }
    let what = isNew ? "the ring is made" : "there is a ring already"
    Output.write(
      "\(what): cluster \(Base32.encode(record.clusterID)), \(present) partitions, "
        + "\(record.replicaCount) replicas, on \(shards) shards\n")
    guard !isNew else { return }
    var differences: [String] = []
    // Since it was split there are more than it was made with; either is what is meant.
    let known = [Int(record.partitionCount), present]
    if source.optional("partitions") != nil, !known.contains(Int(partitionCount)) {
      differences.append("\(partitionCount) partitions")
    }
    if source.optional("replicas") != nil, replicaCount != record.replicaCount {
      differences.append("\(replicaCount) replicas")
    }
    // Shards come and go; that nothing was placed on them now should be known all the same.
    let isRefused = !differences.isEmpty
    if shardCount != shards { differences.append("\(shardCount) shards") }
    guard !differences.isEmpty else { return }
    let failure = Failure(
      "the ring is left as it is, not \(differences.joined(separator: " and "))")
    if isRefused { throw failure }
    failure.write()
  }
}

struct RingActivateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "activate",
    abstract: "Use what the version brought that all registered nodes know by now.",
    discussion: """
      The end of an upgrade. Until then every node can go back to the program that it ran before; \
      from then on, one that does not know the version starts no more.
      """)

  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(etcd, log)
    let logger = try Logger(source, usual: .error)
    let (version, isNew, heldBackBy) = try await EtcdConnection.use(source, logger: logger) {
      coordinator in
      try await VersionActivation.raise(in: coordinator)
    }
    Output.write("version \(version) of the protocol is active\(isNew ? "" : " already")\n")
    guard heldBackBy.isEmpty else {
      throw Failure("no later one, because of \(heldBackBy.joined(separator: ", "))")
    }
  }
}

struct RingReplaceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replace",
    abstract: "Put a shard in the place of one whose disk is gone for good.",
    discussion: """
      The shard runs with a new, empty directory, under the old name or another. It learns what \
      the others hold; `martlet ring status --wait` shows when it has everything. Nothing is lost \
      by this. Where every in-sync replica is gone, see `martlet partition force-leader`.
      """)

  @Option(help: ArgumentHelp("The shard that takes the place.", valueName: "name"))
  var shard: String
  @Option(
    help: ArgumentHelp(
      "The store that is gone, as `ring status` shows it; not needed when it is the only one.",
      valueName: "id"))
  var store: String?
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(etcd, log)
    let logger = try Logger(source, usual: .error)
    let gone = try store.map { text in
      guard let value = Base32.decode64(text) else {
        throw Failure(
          "--store '\(text)'; allowed is a store's id as `ring status` shows it", code: 64)
      }
      return StoreID(value)
    }
    try await EtcdConnection.use(source, logger: logger) { coordinator in
      let replacement = try await StoreReplacement(of: gone, by: shard, in: coordinator)
      try await replacement.carryOut(in: coordinator)
      Output.write(
        "\(shard) takes the place of store \(replacement.gone) in "
          + "\(replacement.partitions.count) partitions\n")
    }
  }
}

struct RingStatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show nodes and partitions as the coordinator knows them.",
    discussion: """
      Asks etcd, or with --operator-address one node. Exit code 0: every partition has a leader \
      and all replicas that it should have are in sync. 1: not so.
      """)

  @Flag(help: "For programs.") var json = false
  @Flag(help: "One line for each partition instead of one for all that are alike.") var all = false
  @Option(help: ArgumentHelp("Wait so long for the ring to be whole.", valueName: "seconds"))
  var wait: String?
  @Flag(help: "Show it again every second, until Ctrl-C.") var watch = false
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Operators") var operators: OperatorOptions
  @OptionGroup(title: "Log") var log: LogOptions

  private static let pollInterval: Milliseconds = 200
  private static let watchInterval: Milliseconds = 1_000
  /// Home, and nothing below: a terminal shows one picture after the other.
  private static let clearScreen = "\u{1b}[H\u{1b}[J"

  func validate() throws {
    if watch, json || wait != nil {
      throw ValidationError("--watch shows tables for people: without --json and --wait")
    }
  }

  func run() async throws {
    guard watch else { return try await show() }
    while true {
      if isatty(STDOUT_FILENO) == 1 { Output.write(Self.clearScreen) }
      do { try await show() } catch is ExitCode {}
      await Mirror.sleep(Self.watchInterval)
    }
  }

  private func show() async throws {
    let source = SettingSource(etcd, operators, log, settings: ["wait": wait])
    let logger = try Logger(source, usual: .error)
    let seconds = try source.optional("wait")?.number(in: 1...86_400) ?? 0
    let deadline = ContinuousClock.now + .seconds(seconds)
    // What was asked for on the command line goes before what the environment happens to hold.
    let answer: Answer
    if operators.operatorAddress != nil || source.optional("etcd") == nil,
      let address = try source.optional("operator-address")?.address()
    {
      answer = try await poll(until: deadline) { try await ask(address) }
    } else {
      answer = try await EtcdConnection.use(source, logger: logger) { coordinator in
        try await poll(until: deadline) { try await read(coordinator) }
      }
    }
    Output.write(await answer.text())
    if !answer.isWhole { throw ExitCode(1) }
  }

  private struct Answer {
    let isWhole: Bool
    /// Made once it is known which answer counts: it may take a question to every shard.
    let text: @Sendable () async -> String
  }

  private func read(_ coordinator: any Coordinator) async throws -> Answer {
    guard let status = try await RingStatus.read(coordinator) else {
      throw Failure("there is no ring yet: `martlet ring init` makes it")
    }
    return Answer(isWhole: status.isWhole) { [json, all] in
      let sizes = await PartitionSizes.asked(of: status)
      return json ? status.json(sizes: sizes) + "\n" : status.table(listsAll: all, sizes: sizes)
    }
  }

  private func ask(_ address: NodeAddress) async throws -> Answer {
    let target = json ? "/ring" : all ? "/ring?format=text&all" : "/ring?format=text"
    let (status, text) = try await OperatorClient.get(target, from: address)
    guard status == 200 || status == 503 else {
      throw Failure("\(address) answers \(status)", code: Failure.unavailableCode)
    }
    return Answer(isWhole: status == 200) { text }
  }

  /// Asks until the answer is good or the time is over; then the last answer or error counts.
  private func poll(
    until deadline: ContinuousClock.Instant, _ ask: () async throws -> Answer
  ) async throws -> Answer {
    while true {
      let result: Result<Answer, any Error>
      do { result = .success(try await ask()) } catch { result = .failure(error) }
      if case .success(let answer) = result, answer.isWhole { return answer }
      guard ContinuousClock.now < deadline else { return try result.get() }
      await Mirror.sleep(Self.pollInterval)
    }
  }
}

/// Standard output.
enum Output {
  /// Whole lines at once, whoever reads them.
  static func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      // Nobody reads any more.
      guard count > 0 else { return }
      bytes = bytes.dropFirst(count)
    }
  }
}

enum Waiting {
  /// **Throws**: `Failure` with the given line when the time is over.
  static func atMost<Result: Sendable>(
    seconds: Int, orElse line: String, _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
      group.addTask(operation: body)
      group.addTask {
        try await Task.sleep(for: .seconds(seconds))
        throw Failure(line, code: Failure.unavailableCode)
      }
      defer { group.cancelAll() }
      guard let result = try await group.next() else { throw CancellationError() }
      return result
    }
  }
}

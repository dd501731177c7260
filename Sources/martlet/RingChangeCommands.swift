import ArgumentParser
import ClusterModel
import Coordination
import Logging
import NodeConfiguration
import NodeRuntime
import Primitives
import RingControl

struct RingPlanCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Show what a change of the ring would do. Changes nothing.",
    usage:
      "martlet ring plan (--add <name> [--weight <n>] [--zone <z>] | --drain <name> | --remove <name> | --split)"
  )

  @Option(help: ArgumentHelp("A registered shard, or one that was drained.", valueName: "name"))
  var add: String?
  @Option(help: ArgumentHelp("A shard that should hand everything over.", valueName: "name"))
  var drain: String?
  @Option(
    help: ArgumentHelp("A shard that should be forgotten, running or not.", valueName: "name"))
  var remove: String?
  @Flag(help: "Cut every partition in two.") var split = false
  @OptionGroup(title: "Shard") var shard: RingMemberOptions
  @Flag(help: "For programs.") var json = false
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func validate() throws {
    guard [add != nil, drain != nil, remove != nil, split].count(where: { $0 }) == 1 else {
      throw ValidationError("say one of --add, --drain, --remove and --split")
    }
    guard add != nil || shard.weight == nil && shard.zone == nil else {
      throw ValidationError("--weight and --zone go with --add")
    }
  }

  func run() async throws {
    let source = SettingSource(etcd, log)
    let logger = try Logger(source, usual: .error)
    let edit: RingEdit
    if let add {
      edit = .add(add, weight: try shard.number(), zone: shard.zone)
    } else {
      edit = split ? .split() : drain.map { .drain($0) } ?? .remove(remove ?? "")
    }
    try await EtcdConnection.use(source, logger: logger) { coordinator in
      let changing = try await RingChanging(in: coordinator)
      let plan = try changing.plan(edit)
      let sizes = await PartitionSizes.asked(of: changing.status)
      Output.write(
        json
          ? RingText.json(plan, changing.status, sizes)
          : RingText.plan(plan, changing.status, sizes))
    }
  }
}

/// What of a shard the ring looks at.
struct RingMemberOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Its share of the replicas relative to the others, 1 to 1000 (default: what it says itself).",
      valueName: "n"))
  var weight: String?
  @Option(
    help: ArgumentHelp(
      "What fails together with it, such as a rack (default: what it says itself).",
      valueName: "name"))
  var zone: String?

  func number() throws -> UInt32? {
    try weight.map { text in
      guard let value = UInt32(text) else {
        throw Failure("--weight '\(text)'; allowed is 1 to 1000", code: 64)
      }
      return value
    }
  }
}

struct RingAddCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Give a shard its share of the partitions.",
    discussion: """
      Also: let a drained one take part again, or change the weight or the zone of a member. \
      Partitions move a few at a time while everything goes on; Ctrl-C stops watching, not the \
      change, and the same command watches again.
      """)

  @Argument(help: "The shard's name.") var name: String
  @OptionGroup(title: "Shard") var shard: RingMemberOptions
  @OptionGroup(title: "Change") var change: RingChangeOptions
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    try await change.run(
      .add(name, weight: try shard.number(), zone: shard.zone), SettingSource(etcd, log))
  }
}

struct RingDrainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drain", abstract: "Move everything off a shard, which stays known.",
    discussion: "When it is done the shard holds nothing and can be stopped.")

  @Argument(help: "The shard's name.") var name: String
  @OptionGroup(title: "Change") var change: RingChangeOptions
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws { try await change.run(.drain(name), SettingSource(etcd, log)) }
}

struct RingRemoveCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Move everything off a shard, running or dead, and forget it.",
    discussion: """
      What a dead one held is copied from the others. One that comes back with another disk had \
      better take its own place: `martlet ring replace`.
      """)

  @Argument(help: "The shard's name, or the id of its store.") var name: String
  @OptionGroup(title: "Change") var change: RingChangeOptions
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws { try await change.run(.remove(name), SettingSource(etcd, log)) }
}

struct RingSplitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "split", abstract: "Cut every partition in two, so that there are twice as many.",
    discussion: """
      Nothing is copied: both halves stay where they are and are moved by later changes of the \
      ring. The partitions are cut a few at a time while everything goes on; what belongs to the \
      upper half waits for a moment. It cannot be turned back. Ctrl-C stops watching, not the \
      split, and the same command watches again; once it is done it would begin another, but for \
      --to.
      """)

  @Option(
    help: ArgumentHelp(
      "How many there are to be: twice as many as now, or nothing is done.", valueName: "n"))
  var to: String?
  @OptionGroup(title: "Change") var change: RingChangeOptions
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(etcd, log, settings: ["to": to])
    let count = try source.optional("to")?.number(in: 1...65_536)
    try await change.run(.split(to: count.map { Int($0) }), source)
  }
}

struct RingLimitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "limit", abstract: "Set how fast partitions move. Without options: show it.")

  @Option(help: ArgumentHelp("Partitions that learn a new replica at a time.", valueName: "n"))
  var movesMax: String?
  @Option(
    help: ArgumentHelp("What each shard reads at most for replicas that learn.", valueName: "n"))
  var bytesPerSecond: String?
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(
      etcd, log, settings: ["moves-max": movesMax, "bytes-per-second": bytesPerSecond])
    let logger = try Logger(source, usual: .error)
    let moves = try source.optional("moves-max")?.number(in: 1...1_024)
    let bytes = try source.optional("bytes-per-second")?.number(in: 65_536...(16 << 30))
    try await EtcdConnection.use(source, logger: logger) { coordinator in
      let ring = try await RingChanging(in: coordinator).limit(
        movesMax: moves.map { UInt32($0) }, bytesPerSecond: bytes.map { UInt64($0) })
      Output.write(
        "\(ring.movesMax) partitions at a time, \(ring.bytesPerSecond) bytes per second and shard\n"
      )
    }
  }
}

/// What all changes of the ring have in common.
struct RingChangeOptions: ParsableArguments {
  @Flag(help: "Turn the change back: everything ends where it was before.") var abort = false
  @Flag(help: "Do not wait until it is done.") var detach = false
  @Flag(help: "For programs: one line of JSON each time that something is new.") var json = false

  private static let pollInterval: Milliseconds = 250

  func run(_ edit: RingEdit, _ source: SettingSource) async throws {
    let logger = try Logger(source, usual: .error)
    try await EtcdConnection.use(source, logger: logger) { coordinator in
      let number = try await begin(edit, in: coordinator)
      if !detach { try await watch(number, in: coordinator) }
    }
  }

  /// **Returns**: the number of the change.
  private func begin(_ edit: RingEdit, in coordinator: any Coordinator) async throws -> UInt64 {
    let changing = try await RingChanging(in: coordinator)
    if let change = changing.status.ring.change, change.isAbout(edit) {
      if abort == change.isTurnedBack {
        say(abort ? "it is being turned back already" : "it is under way already")
        return change.number
      }
      let turned = try await changing.turnBack()
      say(abort ? "it is being turned back" : "it goes on after all")
      return turned.number
    }
    guard !abort else {
      throw Failure("\(edit.subject) is not being changed: nothing to turn back")
    }
    let plan = try changing.plan(edit)
    if !json {
      let sizes = await PartitionSizes.asked(of: changing.status)
      Output.write(RingText.plan(plan, changing.status, sizes))
    }
    try await changing.apply(plan)
    return plan.record.changeCount
  }

  private func watch(_ number: UInt64, in coordinator: any Coordinator) async throws {
    var status = try await RingChanging(in: coordinator).status
    let sizes = await PartitionSizes.asked(of: status)
    let begin = ContinuousClock.now
    let first = status.progress
    var last: RingProgress?
    var wasTurnedBack = abort
    while let change = status.ring.change, change.number == number {
      wasTurnedBack = change.isTurnedBack
      if let progress = status.progress, progress != last {
        last = progress
        if json {
          Output.write(RingText.json(progress, isTurnedBack: change.isTurnedBack))
        } else {
          say(
            RingText.line(
              progress, since: first, seconds: (ContinuousClock.now - begin) / .seconds(1),
              bytes: status.bytes(copiedFor: change, sizes)))
        }
      }
      await Mirror.sleep(Self.pollInterval)
      // Who cannot be asked now can be asked again: the change goes on without this.
      if let now = try? await RingChanging(in: coordinator).status { status = now }
    }
    if json {
      Output.write(RingText.json(finishedTurnedBack: wasTurnedBack))
    } else {
      say(RingText.waiting(status))
      say(wasTurnedBack ? "turned back: everything is as it was" : "done")
    }
    if wasTurnedBack != abort { throw ExitCode(1) }
  }

  private func say(_ line: String) { if !json, !line.isEmpty { Output.write(line + "\n") } }
}

extension RingChange {
  /// Whether this is what an operator asks for.
  fileprivate func isAbout(_ edit: RingEdit) -> Bool {
    switch edit {
    case .add(let name, _, _): (kind == .add || kind == .rebalance) && subject == name
    case .drain(let name): kind == .drain && subject == name
    case .remove(let name): kind == .remove && subject == name
    case .split: kind == .split
    }
  }
}

extension PartitionSizes {
  private static let answerSeconds: Int64 = 1

  /// What the shards say that answer at once.
  static func asked(of status: RingStatus) async -> PartitionSizes {
    await withTaskGroup(of: (StoreID, String)?.self) { group in
      for node in status.nodes where node.role == .shard {
        guard let address = node.operatorAddress, let store = node.store else { continue }
        group.addTask {
          await OperatorClient.replicaReports(from: address, within: answerSeconds)
            .map { (store, $0) }
        }
      }
      var sizes = PartitionSizes()
      for await case (let store, let text)? in group { sizes.take(text, from: store) }
      return sizes
    }
  }
}

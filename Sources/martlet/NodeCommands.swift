import ArgumentParser
import Logging
import NodeConfiguration
import NodeRuntime

struct ShardCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "shard", abstract: "Run a shard: it owns conversations and keeps them.",
    discussion: """
      The certificates may be left out when the link address is loopback. SIGTERM and SIGINT \
      finish what was taken and stop; the second one stops at once.
      """)

  @Option(help: ArgumentHelp("The node's name, unique in the cluster.", valueName: "name"))
  var name: String?
  @Option(help: ArgumentHelp("The node's own directory; made when missing.", valueName: "path"))
  var dataDir: String?
  @Option(help: ArgumentHelp("Where the other nodes reach this one.", valueName: "host:port"))
  var linkAddress: String?
  @Option(help: ArgumentHelp("What fails together with others.", valueName: "zone"))
  var zone: String?
  @Option(
    help: ArgumentHelp("The share of partitions, 1 to 1000 (default: 100).", valueName: "n"))
  var weight: String?
  @Option(
    help: ArgumentHelp(
      "Entries that a partition's log keeps for replicas that were away (default: 65536).",
      valueName: "n"))
  var partitionLogEntries: String?
  @Option(
    help: ArgumentHelp("The same in bytes, whichever is less (default: 16777216).", valueName: "n"))
  var partitionLogBytes: String?
  @Option(
    help: ArgumentHelp(
      "Where `martlet backup` has this shard's store copied to.", valueName: "path"))
  var backupDir: String?
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Links") var identity: IdentityOptions
  @OptionGroup(title: "Operators") var operators: OperatorOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(
      etcd, identity, operators, log,
      settings: [
        "name": name, "data-dir": dataDir, "link-address": linkAddress, "zone": zone,
        "weight": weight, "partition-log-entries": partitionLogEntries,
        "partition-log-bytes": partitionLogBytes, "backup-dir": backupDir,
      ])
    let logger = try Logger(source)
    let options = try ShardSettings.options(source)
    try await EtcdConnection.use(source, logger: logger) { coordinator in
      try await Service.run(logger) {
        try await ShardNode.start(options, coordinator: coordinator, logger: logger)
      } watch: {
        try await $0.watch()
      } stop: {
        await $0.stop()
      }
    }
  }
}

struct GatewayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gateway", abstract: "Run a gateway: it serves clients and keeps nothing.",
    discussion: """
      SIGTERM and SIGINT tell the clients to go elsewhere and stop; the second one stops at once.
      """)

  @Option(help: ArgumentHelp("The node's name, unique in the cluster.", valueName: "name"))
  var name: String?
  @OptionGroup(title: "Clients") var clients: PublicOptions
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Links") var identity: IdentityOptions
  @OptionGroup(title: "Operators") var operators: OperatorOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(
      clients, etcd, identity, operators, log, settings: ["name": name])
    let logger = try Logger(source)
    let options = try GatewaySettings.options(source)
    try await EtcdConnection.use(source, logger: logger) { coordinator in
      try await Service.run(logger) {
        try await GatewayNode.start(options, coordinator: coordinator, logger: logger)
      } watch: {
        try await $0.watch()
      } stop: {
        await $0.stop()
      }
    }
  }
}

struct EmbeddedCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embedded", abstract: "Run a whole cluster in one process, without etcd.",
    discussion: """
      The directory keeps its number of shards for ever. The n-th gateway takes the n-th port from \
      the given one on, 127.0.0.1:8080 when no address is given. `--shards 1 --gateways 1` is the \
      lean form for one machine.
      """)

  @Option(help: ArgumentHelp("The cluster's own directory; made when missing.", valueName: "path"))
  var dataDir: String?
  @Option(help: ArgumentHelp("Stores, 1 to 16 (default: 3).", valueName: "n"))
  var shards: String?
  @Option(help: ArgumentHelp("Gateways, 1 to 16 (default: 2).", valueName: "n"))
  var gateways: String?
  @OptionGroup(title: "Ring") var ring: RingOptions
  @OptionGroup(title: "Clients") var clients: PublicOptions
  @OptionGroup(title: "Operators") var operators: OperatorOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(
      ring, clients, operators, log,
      settings: ["data-dir": dataDir, "shards": shards, "gateways": gateways])
    let logger = try Logger(source)
    let options = try EmbeddedSettings.options(source)
    try await Service.run(logger) {
      try await EmbeddedCluster.start(options, logger: logger)
    } watch: {
      try await $0.watch()
    } stop: {
      await $0.stop()
    }
  }
}

/// Of what a ring is made, once.
struct RingOptions: SettingOptions {
  @Option(
    help: ArgumentHelp("Partitions, 1 to 65536 (default: 256). Fixed once made.", valueName: "n"))
  var partitions: String?
  @Option(
    help: ArgumentHelp(
      "Replicas of each partition, 1 to 7 (default: 3, or the number of shards when lower).",
      valueName: "n"))
  var replicas: String?

  var settings: [String: String?] { ["partitions": partitions, "replicas": replicas] }
}

import ArgumentParser
import Foundation
import Glibc
import Logging
import LogStorage
import NodeConfiguration
import NodeRuntime
import Primitives

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Copy everything, while everything goes on.",
    discussion: """
      Each shard copies its store into its --backup-dir, as few of them as hold everything; what \
      an earlier copy there holds already is not copied again, and the last 30 are kept. The \
      file that this command writes says which copies make up the backup and holds what etcd \
      knows, the keys that sign tokens included: keep it as secret as etcd, and with the copies. \
      Everything that was acknowledged before the command began is in the backup.
      """)

  @Option(help: ArgumentHelp("The file to be written.", valueName: "path")) var to: String
  @Option(
    help: ArgumentHelp("Give up when copying takes longer (default: 3600).", valueName: "seconds"))
  var wait: String?
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(etcd, log, settings: ["wait": wait])
    let logger = try Logger(source, usual: .error)
    let seconds = try source.optional("wait")?.number(in: 1...604_800) ?? 3_600
    guard !FileManager.default.fileExists(atPath: to) else {
      throw Failure("--to '\(to)': it exists; allowed is a new file", code: 64)
    }
    // Before everything is copied for nothing.
    guard WholeFile.write([], to: to + ".try") else { throw failure }
    unlink(to + ".try")
    let manifest = try await EtcdConnection.use(source, logger: logger) { coordinator in
      try await BackupTaking(in: coordinator, timeout: Milliseconds(UInt64(seconds) * 1_000)).run {
        guard WholeFile.write($0.encoded(), to: to, replacing: false) else { throw failure }
      }
    }
    for copy in manifest.copies {
      Output.write(
        "\(copy.node): copy \(copy.number) in \(copy.directory), "
          + "\(RingText.amount(copy.bytes)) with what it shares\n")
    }
    Output.write("\(manifest.partitions.count) partitions are in \(to)\n")
  }

  private var failure: Failure {
    Failure("--to '\(to)': \(String(cString: strerror(errno)))", code: 74)
  }
}

struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Bring a cluster back from a backup, on any number of shards.",
    discussion: """
      With an empty etcd: `restore store` makes the data directory of a shard from each copy; \
      start these shards, and as many others with empty directories as there should be; `restore \
      ring` makes the ring. The restored shards lead at first, and the others learn from them.
      """,
    subcommands: [RestoreStoreCommand.self, RestoreRingCommand.self])
}

/// Reads a backup's file.
struct ManifestOption: ParsableArguments {
  @Option(help: ArgumentHelp("The file that `martlet backup` wrote.", valueName: "path"))
  var from: String

  func manifest() throws -> BackupManifest {
    guard let bytes = FileManager.default.contents(atPath: from) else {
      throw Failure("--from '\(from)': it cannot be read", code: 64)
    }
    do throws(StartError) {
      return try BackupManifest(decoding: Array(bytes))
    } catch {
      throw Failure("--from '\(from)': \(error)", code: 65)
    }
  }
}

struct RestoreStoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store", abstract: "Make a shard's data directory from one of the copies.",
    discussion: """
      The directory that the copies lie in is the one that the shard wrote to, unless --copies \
      says where they are now.
      """)

  @OptionGroup var file: ManifestOption
  @Option(
    help: ArgumentHelp(
      "The shard that was copied; not needed when there is one.", valueName: "name"))
  var copy: String?
  @Option(help: ArgumentHelp("Where its copies are, if elsewhere now.", valueName: "path"))
  var copies: String?
  @Option(help: ArgumentHelp("The directory to be made.", valueName: "path")) var dataDir: String
  @Option(help: ArgumentHelp("The name of the shard that will run with it.", valueName: "name"))
  var name: String

  func run() throws {
    let manifest = try file.manifest()
    let names = manifest.copies.map(\.node).joined(separator: ", ")
    guard let chosen = copy ?? (manifest.copies.count == 1 ? manifest.copies.first?.node : nil),
      let found = manifest.copies.first(where: { $0.node == chosen })
    else {
      throw Failure(
        "--copy \(copy.map { "'\($0)'" } ?? "is missing"); allowed is one of \(names)", code: 64)
    }
    let path = copies ?? found.directory
    guard BackupDirectory.isOne(path) else {
      throw Failure(
        "--copies '\(path)': there are no copies; allowed is the directory of store \(found.store)",
        code: 64)
    }
    let directory = try BackupDirectory(path)
    guard directory.backups.contains(where: { $0.number == found.number && $0.time == found.time })
    else {
      throw Failure("copy \(found.number) in \(path) is not the one of this backup", code: 65)
    }
    let identity = try directory.restore(found.number, to: dataDir, nodeName: name)
    guard identity.store == found.store else {
      throw Failure("\(path) holds copies of store \(identity.store), not \(found.store)", code: 65)
    }
    Output.write("\(dataDir) is the data directory of \(name) (store \(identity.store))\n")
  }
}

struct RestoreRingCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ring", abstract: "Make the ring of the restored shards and the others.")

  @OptionGroup var file: ManifestOption
  @Option(help: ArgumentHelp("How many registered shards to wait for.", valueName: "n"))
  var shards: String?
  @Option(help: ArgumentHelp("Give up after so long (default: 60).", valueName: "seconds"))
  var wait: String?
  @OptionGroup(title: "Coordinator") var etcd: EtcdOptions
  @OptionGroup(title: "Log") var log: LogOptions

  func run() async throws {
    let source = SettingSource(etcd, log, settings: ["shards": shards, "wait": wait])
    let logger = try Logger(source, usual: .error)
    let manifest = try file.manifest()
    let shardCount = try RingSettings.shards(source)
    let seconds = try source.optional("wait")?.number(in: 1...86_400) ?? 60
    let (count, names) = try await EtcdConnection.use(source, logger: logger) { coordinator in
      try await Waiting.atMost(
        seconds: seconds,
        orElse: "\(shardCount) shards were not registered within \(seconds) s"
      ) {
        try await Restoring.restore(manifest, shardCount: shardCount, in: coordinator)
      }
    }
    Output.write(
      "\(count) partitions are restored on \(names.joined(separator: ", ")); "
        + "`martlet ring status --wait` shows when all of them have everything\n")
  }
}

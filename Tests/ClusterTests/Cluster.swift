import ChatModel
import Foundation
import Primitives
import Synchronization
import Testing

/// A cluster of real processes, for the length of one test.
///
/// **Isolation**: any thread.
final class Cluster: Sendable {
  private static let logLinesMax = 12
  private static let startTimeout = Duration.seconds(60)

  let layout: ClusterLayout
  /// Those that run, or should: one that ends without having been told to is a failure.
  private let running = Mutex<[String: ChildProcess]>([:])

  private init(_ layout: ClusterLayout) { self.layout = layout }

  /// Starts a cluster, runs `body` and takes everything away again. What goes wrong becomes an
  /// issue with the ends of all logs. MARTLET_TEST_KEEP=1 keeps the directory of one that failed.
  static func with(
    _ shape: ClusterLayout.Shape = .processes(shards: 3, gateways: 2),
    shardSettings: [String] = [], sourceLocation: SourceLocation = #_sourceLocation,
    _ body: (Cluster) async throws -> Void
  ) async throws {
    let directory = try TemporaryDirectory()
    let cluster: Cluster
    do {
      cluster = Cluster(
        try await ClusterLayout(shape, shardSettings: shardSettings, in: directory.path))
    } catch {
      directory.remove()
      throw error
    }
    var isKept = false
    do {
      try await cluster.startAll()
      try await body(cluster)
      try await cluster.waitUntilWhole()
    } catch {
      isKept = ProcessInfo.processInfo.environment["MARTLET_TEST_KEEP"] == "1"
      // What was required and is not so is an issue already.
      let what = error is ExpectationFailedError ? "the logs of this cluster end so:" : "\(error)"
      Issue.record(
        "\(what)\n\(cluster.logTails)\(isKept ? "kept: \(directory.path)" : "")",
        sourceLocation: sourceLocation)
    }
    await cluster.tearDown()
    if !isKept { directory.remove() }
  }

  private func tearDown() async {
    let left = running.withLock { running in
      defer { running = [:] }
      return running.values
    }
    for process in left { process.send(SIGKILL) }
    for process in left { _ = try? await process.waitUntilEnd(within: .seconds(10)) }
  }

  /// The last lines that every process has said.
  private var logTails: String {
    layout.nodes.map { node in
      let lines = ((try? Program.text(layout.log(node))) ?? "").split(separator: "\n")
      return "--- \(node)\n" + lines.suffix(Self.logLinesMax).joined(separator: "\n") + "\n"
    }.joined()
  }

  // MARK: Processes

  /// Starts nodes; does not wait for them.
  func start(_ nodes: String...) throws { try start(nodes) }

  func start(_ nodes: [String]) throws {
    for node in nodes {
      let command = layout.command(node)
      try running.withLock { running in
        precondition(running[node] == nil, "\(node) runs already")
        running[node] = try ChildProcess(
          command.program, command.arguments, environment: Program.environment,
          output: layout.log(node), error: layout.log(node))
      }
    }
  }

  /// Starts everything that does not run, in the order in which it is needed, and waits until the
  /// ring is whole.
  func startAll() async throws {
    let missing = running.withLock { running in layout.nodes.filter { running[$0] == nil } }
    if missing.contains("etcd") {
      try start("etcd")
      try await waitUntilReady("etcd")
    }
    try start(missing.filter { $0 != "etcd" })
    if case .processes(let shards, _) = layout.shape {
      _ = try await Program.succeed(
        Program.martlet,
        ["ring", "init", "--shards", "\(shards)", "--partitions"]
          + ["\(ClusterLayout.partitionCount)", "--wait", "50"] + layout.ringSource)
    }
    try await waitUntilWhole()
  }

  /// SIGKILL, all of them at once.
  func kill(_ nodes: String...) async throws { try await kill(nodes) }

  func kill(_ nodes: [String]) async throws {
    let processes = try nodes.map { try process($0) }
    for process in processes { process.send(SIGKILL) }
    for (node, process) in zip(nodes, processes) {
      let ending = try await process.waitUntilEnd(within: .seconds(10))
      guard ending == .killed(signal: SIGKILL) else {
        throw ClusterFailure("\(node) had ended by itself: \(ending)")
      }
      running.withLock { $0[node] = nil }
    }
  }

  /// SIGTERM.
  ///
  /// **Throws**: `ClusterFailure` when it does not end in time.
  func stop(_ node: String, within limit: Duration) async throws -> Ending {
    let process = try process(node)
    process.send(SIGTERM)
    let ending = try await process.waitUntilEnd(within: limit)
    running.withLock { $0[node] = nil }
    // The library below only complains today; a later one ends the process.
    let said = try Program.text(layout.log(node))
    guard !said.contains("Cannot schedule tasks on an EventLoop") else {
      throw ClusterFailure("\(node) went on after its event loops had ended")
    }
    return ending
  }

  /// Waits for a node that ends by itself.
  func waitUntilEnded(_ node: String) async throws -> Ending {
    let ending = try await process(node).waitUntilEnd(within: Self.startTimeout)
    running.withLock { $0[node] = nil }
    return ending
  }

  /// SIGSTOP: it stands still and its sockets stay open.
  func pause(_ node: String) throws { try process(node).send(SIGSTOP) }

  /// SIGCONT.
  func resume(_ node: String) throws { try process(node).send(SIGCONT) }

  private func process(_ node: String) throws -> ChildProcess {
    guard let process = running.withLock({ $0[node] }) else {
      throw ClusterFailure("\(node) does not run")
    }
    return process
  }

  // MARK: Waiting

  /// Waits until a node says that it does its work.
  func waitUntilReady(_ node: String) async throws {
    let (port, path) = layout.command(node).readiness
    try await eventually("the readiness of \(node)", within: Self.startTimeout) {
      try expectNobodyEnded()
      return await Loopback.get(path, port: port)?.status == 200
    }
  }

  /// Waits until every partition has a leader and all replicas, and every process is ready.
  func waitUntilWhole() async throws {
    var last = "nothing"
    try await eventually("a whole ring, only this:\n\(last)", within: Self.startTimeout) {
      try expectNobodyEnded()
      // Short waits, so that a process that ends meanwhile is noticed.
      let status = try await Program.martlet(
        ["ring", "status", "--all", "--wait", "2"] + layout.ringSource)
      last = status.output + status.error
      return status.ending == .exited(0)
    }
    for node in layout.nodes where running.withLock({ $0[node] != nil }) {
      try await waitUntilReady(node)
    }
  }

  private func expectNobodyEnded() throws {
    for (node, process) in running.withLock({ $0 }) {
      if let ending = process.poll() {
        throw ClusterFailure("\(node) has ended by itself: \(ending)")
      }
    }
  }

  // MARK: The ring

  /// The parts of `martlet ring status --json` that tests ask for.
  struct Ring: Decodable, Sendable {
    struct Node: Decodable, Sendable {
      let name: String
      let boot: String
      let version: UInt32
    }

    struct Partition: Decodable, Sendable {
      let partition: UInt32
      let state: String
      let leader: String?
      let inSync: [String]
      let target: [String]
    }

    struct Member: Decodable, Sendable {
      let name: String
      let drained: Bool
    }

    struct Change: Decodable, Sendable {
      let kind: String
      let subject: String
    }

    let whole: Bool
    let partitionCount: UInt32
    let activeVersion: UInt32
    let change: Change?
    let members: [Member]
    let nodes: [Node]
    let partitions: [Partition]
  }

  func ring() async throws -> Ring {
    let outcome = try await Program.martlet(
      ["ring", "status", "--json", "--all"] + layout.ringSource)
    do {
      return try JSONDecoder().decode(Ring.self, from: Data(outcome.output.utf8))
    } catch {
      throw ClusterFailure("ring status says no ring: \(outcome)")
    }
  }

  /// Waits until every shard is registered by another process than before.
  func waitUntilRegistered(otherThan before: Ring) async throws {
    let old = Set(before.nodes.map(\.boot))
    try await eventually("the registration of all shards", within: Self.startTimeout) {
      try expectNobodyEnded()
      let new = try await ring().nodes.filter { !old.contains($0.boot) }.map(\.name)
      return layout.shards.allSatisfy { new.contains($0) }
    }
  }

  /// Waits until the names of nodes that have ended are free for other data directories.
  func waitUntilUnregistered(_ nodes: [String]) async throws {
    try await eventually("the end of \(nodes)' leases", within: Self.startTimeout) {
      try await ring().nodes.allSatisfy { !nodes.contains($0.name) }
    }
  }

  /// The shard that leads a conversation's partition, as soon as there is one: while the ring is
  /// split, a half is made before it is led.
  func leader(of conversation: some CustomStringConvertible) async throws -> String {
    guard let id = ConversationID(conversation.description) else {
      throw ClusterFailure("\(conversation) is no id")
    }
    let token = EntityID.conversation(id).token
    let scheme = PartitionScheme(rootCount: UInt32(ClusterLayout.partitionCount))
    var leader = ""
    try await eventually("a leader of \(conversation)", within: .seconds(20)) {
      let ring = try await ring()
      let level = scheme.firstLevel(of: PartitionID(ring.partitionCount - 1))
      let partition = scheme.partition(of: token, level: level)
      leader = ring.partitions.first { $0.partition == partition.rawValue }?.leader ?? ""
      return !leader.isEmpty
    }
    return leader
  }
}

import Foundation
import HistoryChecker

/// The processes of a run.
///
/// **Isolation**: the runner's first thread.
final class RealCluster {
  /// The parts of `/ring` that matter here.
  struct Ring: Decodable {
    struct Partition: Decodable {
      let leader: String?
      let state: String
    }

    let whole: Bool
    let partitions: [Partition]

    func led(by shard: String) -> Int { partitions.count { $0.leader == shard } }

    var states: String {
      Dictionary(grouping: partitions, by: \.state).map { "\($0.value.count) \($0.key)" }
        .sorted().joined(separator: ", ")
    }
  }

  private static let startMax: Moment = 60 * Pace.second
  private static let answerMax: Moment = 2 * Pace.second
  private static let restartPause: Moment = Pace.second

  let plan: ClusterPlan
  let namespaces: Namespaces
  private var running: [String: ChildProcess] = [:]
  /// Nodes that have ended by themselves and how, and how often.
  private(set) var unexpectedEnds: [String: Int] = [:]
  /// When nodes that have ended by themselves are started again.
  private var restarts: [String: Moment] = [:]
  /// Nodes that may end by themselves now, because their disk is bad.
  var mayEnd: Set<String> = []
  /// Shards whose files were damaged: each time the shard may end once, whenever it meets the
  /// damage where it writes, to give its store up at the next start.
  private var damages: [String: Int] = [:]
  /// How many were given up, of those whose remains `clearSetAside` has seen.
  private(set) var storesGivenUp = 0
  /// What a shard's exit code is then.
  private static let storeFailedCode: Int32 = 74

  init(_ plan: ClusterPlan, _ namespaces: Namespaces) {
    self.plan = plan
    self.namespaces = namespaces
  }

  // MARK: Starting

  func startAll() throws {
    try start(ClusterPlan.etcd)
    try waitUntilReady(ClusterPlan.etcd)
    for shard in plan.shards { try start(shard) }
    let entrance = namespaces.entrance(of: ClusterPlan.etcd)
    let (isSuccess, output) = try ChildProcess.outcome(of: entrance + plan.ringInit)
    guard isSuccess else { throw Failure("ring init: \(output)") }
    for gateway in plan.gateways { try start(gateway) }
  }

  func start(_ node: String) throws {
    precondition(running[node] == nil, "\(node) runs already")
    running[node] = try ChildProcess.start(
      namespaces.entrance(of: node) + plan.command(node), environment: plan.environment(node),
      log: plan.log(node))
  }

  /// Starts whatever does not run, in the order in which it is needed.
  func startMissing() throws {
    for node in plan.nodes where running[node] == nil {
      try start(node)
      if node == ClusterPlan.etcd { try waitUntilReady(node) }
    }
  }

  /// A file of a shard's store is not what was written.
  func wasDamaged(_ shard: String) { damages[shard, default: 0] += 1 }

  func clearSetAside() throws {
    for shard in plan.shards { try clearSetAside(of: shard) }
  }

  /// Counts the stores that a shard has given up and removes what it set aside of them, as an
  /// operator does before there are too many.
  func clearSetAside(of shard: String) throws {
    let (files, root) = (FileManager.default, plan.data(shard))
    for name in try files.contentsOfDirectory(atPath: root) where name.hasPrefix("damaged-") {
      try files.removeItem(atPath: "\(root)/\(name)")
      storesGivenUp += 1
      // What was damaged is gone: the store has no more excuse to end.
      damages[shard] = 0
    }
  }

  // MARK: Signals

  /// SIGKILL, all of them at once; returns when they are gone.
  func kill(_ nodes: [String]) {
    let processes = nodes.compactMap { running[$0] }
    for process in processes { process.send(SIGKILL) }
    for process in processes { process.killNow() }
    for node in nodes {
      running[node] = nil
      restarts[node] = nil
    }
  }

  func pause(_ node: String) { running[node]?.send(SIGSTOP) }
  func resume(_ node: String) { running[node]?.send(SIGCONT) }
  func isRunning(_ node: String) -> Bool { running[node] != nil }

  /// Notes nodes that have ended by themselves and starts them again, as an operator would.
  func lookAfter() throws {
    for (node, process) in running {
      guard let status = process.ending() else { continue }
      running[node] = nil
      guard !mayEnd.contains(node) else { continue }
      restarts[node] = Pace.now() + Self.restartPause
      if let left = damages[node], left > 0, status == Self.storeFailedCode << 8 {
        damages[node] = left - 1
        continue
      }
      unexpectedEnds["\(node): \(ChildProcess.words(status))", default: 0] += 1
    }
    for (node, moment) in restarts where moment <= Pace.now() {
      restarts[node] = nil
      if running[node] == nil { try start(node) }
    }
  }

  // MARK: Waiting

  private func waitUntilReady(_ node: String) throws {
    let isReady = try Pace.wait(Self.startMax) { try lookAfterAndAsk(node) }
    guard isReady else { throw Failure("\(node) is not ready; its log is \(plan.log(node))") }
  }

  private func lookAfterAndAsk(_ node: String) throws -> Bool {
    try lookAfter()
    return answer(of: node, plan.readinessPath(node))?.status == 200
  }

  private func answer(of node: String, _ path: String) -> HTTPResponse? {
    try? HTTPConnection(plan.operatorEndpoint(node)).request(
      "GET", path, deadline: Pace.now() + Self.answerMax)
  }

  /// **Returns**: whether within `limit` everything runs, every partition has its leader and all
  /// replicas in sync, and every node is ready.
  func waitUntilWhole(_ limit: Moment) throws -> Bool {
    try Pace.wait(limit) {
      try lookAfter()
      guard plan.nodes.allSatisfy({ running[$0] != nil }), ring()?.whole ?? false else {
        return false
      }
      return plan.nodes.allSatisfy { answer(of: $0, plan.readinessPath($0))?.status == 200 }
    }
  }

  // MARK: The ring

  /// As any node that answers tells it.
  func ring() -> Ring? {
    for node in plan.shards + plan.gateways where running[node] != nil {
      if let response = answer(of: node, "/ring"),
        let ring = try? JSONDecoder().decode(Ring.self, from: Data(response.body))
      {
        return ring
      }
    }
    return nil
  }

  /// Keeps what the ring looks like and what the shards count, for whoever looks into a run that
  /// has failed.
  func keepRing(_ name: String) {
    for node in plan.shards where running[node] != nil {
      keep("/metrics", of: node, as: "\(name)-\(node)")
    }
    for node in plan.shards + plan.gateways where running[node] != nil {
      if keep("/ring?format=text&all", of: node, as: name) { return }
    }
  }

  /// **Returns**: whether there was an answer.
  @discardableResult private func keep(_ path: String, of node: String, as name: String) -> Bool {
    guard let response = answer(of: node, path) else { return false }
    let text = String(decoding: response.body, as: UTF8.self)
    try? text.write(toFile: "\(plan.directory)/\(name).txt", atomically: true, encoding: .utf8)
    return true
  }

  /// The shards, from the one that leads most to the one that leads fewest.
  func shardsByLeadership() throws -> [String] {
    guard let ring = ring() else { throw Failure("no node tells the ring") }
    return plan.shards.sorted { (ring.led(by: $0), $1) > (ring.led(by: $1), $0) }
  }

  /// Everything is over.
  func end() { kill(Array(running.keys)) }
}

import Foundation
import HistoryChecker

/// The network namespaces of one run: one for each node and one, the hub, with a bridge to which
/// all of them are connected. The runner and its clients live in the hub. Nothing leaves them.
///
/// ```
///    shard1 ── eth0 ═ shard1 ─┐
///    shard2 ── eth0 ═ shard2 ─┼─ hub (bridge, 10.99.0.254) ─ runner and clients
///   gateway1 ─ eth0 ═ gateway1┘
/// ```
/// A port of the bridge has its node's name, by which rules tell who speaks to whom.
///
/// **Isolation**: the runner's first thread.
struct Namespaces {
  static let hubAddress = "10.99.0.254"
  private static let bits = 24
  private static let prefix = "martlet-faults-"
  private static let folder = "/run/netns"

  /// Names everything that this run makes outside of its directory.
  let run: String

  static var ownRun: String { "\(prefix)\(getpid())" }

  func name(of node: String) -> String { "\(run)-\(node)" }
  func path(of node: String) -> String { "\(Self.folder)/\(name(of: node))" }

  // MARK: Making

  func makeHub() throws {
    let hub = name(of: "hub")
    try ChildProcess.run("ip", "netns", "add", hub)
    for words in [
      "link set lo up", "link add hub type bridge forward_delay 0", "link set hub up",
      "addr add \(Self.hubAddress)/\(Self.bits) dev hub",
    ] {
      try ChildProcess.run(["ip", "-n", hub] + words.split(separator: " ").map(String.init))
    }
  }

  func make(_ node: String, address: String) throws {
    let (hub, own) = (name(of: "hub"), name(of: node))
    try ChildProcess.run("ip", "netns", "add", own)
    for (place, words) in [
      (hub, "link add \(node) type veth peer name eth0 netns \(own)"),
      (hub, "link set \(node) master hub up"),
      (own, "addr add \(address)/\(Self.bits) dev eth0"),
      (own, "link set eth0 up"), (own, "link set lo up"),
    ] {
      try ChildProcess.run(["ip", "-n", place] + words.split(separator: " ").map(String.init))
    }
  }

  /// What a command line begins with to run in a node's namespace, and to end with the runner.
  func entrance(of node: String) -> [String] {
    ["nsenter", "--net=\(path(of: node))", "setpriv", "--pdeathsig", "KILL"]
  }

  // MARK: Taking away

  /// Ends what runs in the namespaces of this run, and deletes them.
  func remove() {
    for name in Self.all() where name.hasPrefix("\(run)-") {
      let listing = try? ChildProcess.outcome(of: ["ip", "netns", "pids", name])
      for word in listing?.output.split(whereSeparator: \.isWhitespace) ?? [] {
        if let pid = pid_t(word), pid != getpid() { kill(pid, SIGKILL) }
      }
      _ = try? ChildProcess.outcome(of: ["ip", "netns", "del", name])
    }
    unmount()
  }

  /// Directories of this run that are still mounted.
  private func unmount() {
    let mounts = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
    for line in mounts.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count > 1, words[1].contains("/\(run)/") else { continue }
      _ = try? ChildProcess.outcome(of: ["umount", "-l", String(words[1])])
    }
  }

  private static func all() -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
  }

  /// Takes away what runs that were killed have left.
  static func removeLeftOvers() {
    var runs: Set<String> = []
    for name in all() where name.hasPrefix(prefix) {
      guard let pid = pid_t(name.dropFirst(prefix.count).prefix { $0.isNumber }) else { continue }
      if pid != getpid(), !isRunner(pid) { runs.insert("\(prefix)\(pid)") }
    }
    for run in runs.sorted() { Namespaces(run: run).remove() }
  }

  /// One that has ended and was not reaped has no program any more.
  private static func isRunner(_ pid: pid_t) -> Bool {
    let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")
    return program?.contains("fault-runner") ?? false
  }
}

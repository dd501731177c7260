import Foundation
import Testing

/// `cluster/up`, `status` and `down` with a state directory and ports of a test's own.
struct ClusterScripts {
  /// What `cluster/local.bash` listens on without an offset.
  private static let ports =
    [8080, 8081, 8443, 8444, 23_790, 23_800]
    + (1...3).flatMap { [7100 + $0, 7200 + $0, 7300 + $0] }

  let parent: TemporaryDirectory
  let offset: Int
  /// Where programs are looked for; `nil`: where the test's are.
  var path: String?

  var state: String { parent.file("state") }

  /// Purges whatever `body` has started.
  static func with(_ body: (ClusterScripts) async throws -> Void) async throws {
    let scripts = ClusterScripts(
      parent: try TemporaryDirectory(), offset: try Ports.freeOffset(of: ports))
    defer { scripts.parent.remove() }
    do {
      try await body(scripts)
    } catch {
      let status = (try? await scripts.run("status", ["--all"]))?.output ?? "no status"
      Issue.record("the cluster at the end:\n\(status)")
      _ = try? await scripts.run("down", ["--purge"])
      throw error
    }
    _ = try await scripts.run("down", ["--purge"])
  }

  func run(_ name: String, _ arguments: [String] = []) async throws -> Program.Outcome {
    try await Program.run(
      "\(Program.root)/cluster/\(name)", arguments, environment: environment,
      within: .seconds(120))
  }

  var environment: [String: String] {
    var variables = ["MARTLET_STATE": state, "MARTLET_PORT_OFFSET": "\(offset)"]
    if let path { variables["PATH"] = path }
    return variables
  }

  /// Where the cluster is reached.
  var addresses: People.Addresses {
    People.Addresses(
      plain: (0..<2).map { "http://127.0.0.1:\(8080 + offset + $0)" },
      secure: (0..<2).map { "https://127.0.0.1:\(8443 + offset + $0)" },
      authority: "\(state)/certificates/authority.pem")
  }

  var etcd: [String] { ["--etcd", "http://127.0.0.1:\(23_790 + offset)"] }

  /// **Returns**: what it has said; it must succeed, and say `words`.
  @discardableResult
  func up(
    _ arguments: String..., binary: String = Program.martlet,
    saying words: String = "The cluster serves: 16 partitions on 3 shards"
  ) async throws -> String {
    let outcome = try await run(
      "up",
      ["--binary", binary, "--partitions", "\(ClusterLayout.partitionCount)"] + arguments)
    try #require(outcome.ending == .exited(0), "\(outcome)")
    try #require(outcome.output.contains(words), "\(outcome)")
    return outcome.output
  }

  /// The pids of everything that the scripts have started.
  func pids() throws -> [String: pid_t] {
    var pids: [String: pid_t] = [:]
    for node in try FileManager.default.contentsOfDirectory(atPath: "\(state)/run") {
      let lines = try Program.text("\(state)/run/\(node)").split(separator: "\n")
      pids[node] = lines.first.flatMap { pid_t($0) }
    }
    return pids
  }

  /// A process that has ended and that nobody has reaped yet has no program any more.
  static func isRunning(_ pid: pid_t) -> Bool {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/exe")) != nil
  }

  /// A directory with every program of this machine but these, to be a whole `PATH`.
  func programs(without missing: Set<String>) throws -> String {
    let directory = parent.file("programs")
    let files = FileManager.default
    try files.createDirectory(atPath: directory, withIntermediateDirectories: true)
    for folder in ["/usr/sbin", "/usr/bin", "/usr/local/bin"] {
      for name in (try? files.contentsOfDirectory(atPath: folder)) ?? []
      where !missing.contains(name) {
        let link = "\(directory)/\(name)"
        try? files.removeItem(atPath: link)
        try files.createSymbolicLink(atPath: link, withDestinationPath: "\(folder)/\(name)")
      }
    }
    return directory
  }
}

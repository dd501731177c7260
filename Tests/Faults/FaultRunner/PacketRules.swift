import Foundation

/// What the bridge drops.
///
/// **Isolation**: the runner's first thread.
final class PacketRules {
  /// A direction between two nodes.
  struct Way: Hashable {
    let from: String
    let to: String
  }

  private let namespaces: Namespaces
  private let file: String

  init(_ namespaces: Namespaces, directory: String) {
    self.namespaces = namespaces
    file = "\(directory)/rules.nft"
  }

  /// Nothing passes from one side to the other, in either direction.
  static func cut(_ one: [String], from other: [String]) -> Set<Way> {
    var ways: Set<Way> = []
    for near in one {
      for far in other {
        ways.insert(Way(from: near, to: far))
        ways.insert(Way(from: far, to: near))
      }
    }
    return ways
  }

  /// Drops everything on these ways, until other rules replace this one.
  func block(_ ways: Set<Way>) throws {
    let sorted = ways.sorted { ($0.from, $0.to) < ($1.from, $1.to) }
    try apply(sorted.map { "iifname \"\($0.from)\" oifname \"\($0.to)\" drop" })
  }

  /// Loses so many of a thousand frames that these nodes send to other nodes.
  func lose(perMille: Int, of nodes: [String]) throws {
    try apply(nodes.map { "iifname \"\($0)\" numgen random mod 1000 < \(perMille) drop" })
  }

  func clear() throws { try apply([]) }

  /// One transaction: no frame sees half of it.
  private func apply(_ rules: [String]) throws {
    var lines = ["add table bridge faults", "delete table bridge faults"]
    if !rules.isEmpty {
      lines += ["table bridge faults {", "  chain forward {"]
      lines += ["    type filter hook forward priority 0; policy accept;"]
      lines += rules.map { "    \($0)" } + ["  }", "}"]
    }
    try (lines.joined(separator: "\n") + "\n").write(
      toFile: file, atomically: true, encoding: .utf8)
    try ChildProcess.run("nsenter", "--net=\(namespaces.path(of: "hub"))", "nft", "-f", file)
  }
}

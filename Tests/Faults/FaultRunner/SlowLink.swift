import Foundation
import HistoryChecker

/// A line of its own between two nodes, through a program that delays what passes. While it is up
/// the two reach each other over it and over nothing else; connections that were there go on.
///
/// **Isolation**: the runner's first thread.
final class SlowLink {
  private static let readyMax: Moment = 10 * Pace.second
  private static let addresses = ("10.98.0.1", "10.98.0.2")

  private struct Counters: Decodable {
    let packets: Int
  }

  private let program: String
  private let namespaces: Namespaces
  private let plan: ClusterPlan
  private let ends: (String, String)
  private let control: ControlSocket
  private var process: ChildProcess?

  init(
    _ program: String, between one: String, and other: String, plan: ClusterPlan,
    namespaces: Namespaces
  ) {
    self.program = program
    self.namespaces = namespaces
    self.plan = plan
    ends = (one, other)
    control = ControlSocket(path: plan.control("link.sock"))
  }

  func begin(
    seed: Int, delayMicroseconds: ClosedRange<Int>, lossPerMille: Int, duplicatePerMille: Int
  ) throws {
    process = try ChildProcess.start(
      [
        "setpriv", "--pdeathsig", "KILL", program, "--left-netns", namespaces.name(of: ends.0),
        "--left-address", Self.addresses.0, "--right-netns", namespaces.name(of: ends.1),
        "--right-address", Self.addresses.1, "--control", control.path,
      ], environment: ChildProcess.plainEnvironment, log: plan.log("slow-link"))
    try control.waitUntilReady(Self.readyMax)
    try control.ask("seed \(seed)")
    try control.ask("delay \(delayMicroseconds.lowerBound) \(delayMicroseconds.upperBound)")
    try control.ask("loss \(lossPerMille)")
    try control.ask("duplicate \(duplicatePerMille)")
    try lead(ends.0, to: ends.1, over: Self.addresses.1)
    try lead(ends.1, to: ends.0, over: Self.addresses.0)
  }

  /// What one node sends to the other goes to the other end of the line.
  private func lead(_ from: String, to: String, over gateway: String) throws {
    try ChildProcess.run(
      "ip", "-n", namespaces.name(of: from), "route", "add", "\(plan.address(to))/32", "via",
      gateway, "src", plan.address(from))
  }

  /// **Throws**: `Failure` when nothing has passed: then nothing was tried.
  func end() throws {
    let answer = try control.ask("stat")
    let counters = try? JSONDecoder().decode([String: Counters].self, from: Data(answer.utf8))
    guard let counters, counters.count == 2, counters.values.allSatisfy({ $0.packets > 0 }) else {
      throw Failure("nothing has passed over the slow link: \(answer)")
    }
    for (from, to) in [(ends.0, ends.1), (ends.1, ends.0)] {
      try ChildProcess.run(
        "ip", "-n", namespaces.name(of: from), "route", "del", "\(plan.address(to))/32")
    }
    process?.killNow()
    process = nil
  }
}

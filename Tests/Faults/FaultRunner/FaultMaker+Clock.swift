import Foundation

extension FaultMaker {
  /// Seconds. Less than a token's time, so that nobody has to log in again for it.
  private static let jumps = [-480, -120, -30, -6, -2, 2, 6, 30, 120, 480]

  /// The wall clock of one node jumps and stays wrong for a while; then it jumps back.
  func clockJump() -> Fault {
    let victim = chance.pick(plan.shards + plan.gateways)
    let jump = chance.pick(Self.jumps)
    return Fault(
      kind: .clockJump, detail: "\(victim) by \(jump) s", effect: .strain, serving: plan.gateways,
      holdMilliseconds: chance.number(2_000...4_000), endsOnTime: true,
      inject: { [plan] in try Clock.set(victim, seconds: jump, plan) },
      heal: { [plan] in try Clock.set(victim, seconds: 0, plan) })
  }
}

/// The wall clocks of nodes: a file each, which libfaketime reads once a second.
enum Clock {
  static func set(_ node: String, seconds: Int, _ plan: ClusterPlan) throws {
    try "\(seconds < 0 ? "" : "+")\(seconds)\n".write(
      toFile: plan.clock(node), atomically: true, encoding: .utf8)
  }
}

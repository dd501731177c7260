/// Makes faults: draws victims and numbers, and knows what to do and to undo.
///
/// **Isolation**: the runner's first thread.
final class FaultMaker {
  static let pausesMilliseconds = 1_000...10_000
  static let lossesPerMille = 10...300

  let cluster: RealCluster
  let rules: PacketRules
  let disks: [String: ControlSocket]
  let makeLink: ((String, String) throws -> SlowLink)?
  var chance: Chance

  init(
    _ cluster: RealCluster, _ rules: PacketRules, disks: [String: ControlSocket],
    makeLink: ((String, String) throws -> SlowLink)?, chance: Chance
  ) {
    self.cluster = cluster
    self.rules = rules
    self.disks = disks
    self.makeLink = makeLink
    self.chance = chance
  }

  var plan: ClusterPlan { cluster.plan }

  func leader() throws -> String { try cluster.shardsByLeadership()[0] }

  func follower() throws -> String {
    let shards = try cluster.shardsByLeadership()
    return shards[shards.count - 1]
  }

  func others(than node: String) -> [String] { plan.nodes.filter { $0 != node } }

  func make(_ kind: FaultKind) throws -> Fault {
    switch kind {
    case .killLeader: kill(kind, try leader(), .crash)
    case .killFollower: kill(kind, try follower(), .crash)
    case .killGateway: kill(kind, chance.pick(plan.gateways), .aside)
    case .killEtcd: kill(kind, ClusterPlan.etcd, .aside)
    case .killAll: killAll()
    case .pauseLeader: pause(kind, try leader(), .silence)
    case .pauseFollower: pause(kind, try follower(), .silence)
    case .pauseGateway: pause(kind, chance.pick(plan.gateways), .aside)
    case .pauseEtcd: pause(kind, ClusterPlan.etcd, .aside)
    case .halves, .leaderAlone, .oneWay, .bridge, .gatewayAlone, .etcdAway: try cut(kind)
    case .loss: loss()
    case .slowLink: try slowLink()
    case .clockJump: clockJump()
    case .loseUnsynced, .tornWrite: try unsynced(kind)
    case .fsyncStall, .fsyncFails, .diskError, .diskFull: try failingDisk(kind)
    case .flipStopped, .flipRunning, .truncateLog, .truncateTable: try damage(kind)
    }
  }

  // MARK: Processes

  private func kill(_ kind: FaultKind, _ victim: String, _ effect: Effect) -> Fault {
    Fault(
      kind: kind, detail: victim, effect: effect,
      serving: plan.gateways.filter { $0 != victim }, holdMilliseconds: chance.number(0...2_000),
      inject: { [cluster] in cluster.kill([victim]) },
      heal: { [cluster] in try cluster.startMissing() })
  }

  private func killAll() -> Fault {
    Fault(
      kind: .killAll, detail: "everything", effect: .restart, serving: plan.gateways,
      holdMilliseconds: 0, endsOnTime: true,
      inject: { [cluster] in cluster.kill(cluster.plan.nodes) },
      heal: { [cluster] in try cluster.startMissing() })
  }

  private func pause(_ kind: FaultKind, _ victim: String, _ effect: Effect) -> Fault {
    let length = chance.number(Self.pausesMilliseconds)
    return Fault(
      kind: kind, detail: "\(victim) for \(length) ms", effect: effect,
      serving: plan.gateways.filter { $0 != victim }, holdMilliseconds: length, endsOnTime: true,
      inject: { [cluster] in cluster.pause(victim) },
      heal: { [cluster] in cluster.resume(victim) })
  }
}

/// Makes faults: draws victims and numbers, and knows what to do and to undo.
///
/// **Isolation**: the runner's first thread.
final class FaultMaker {
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
    case .killTwo: try killTwo()
    case .killWithoutEtcd: try killWithoutEtcd()
    case .crashLoop: try crashLoop()
    case .pauseLeader: pause(kind, try leader(), .silence)
    case .pauseFollower: pause(kind, try follower(), .silence)
    case .pauseGateway: pause(kind, chance.pick(plan.gateways), .aside)
    case .pauseEtcd: pause(kind, ClusterPlan.etcd, .aside)
    case .pauseAll: pauseAll()
    case .halves, .leaderAlone, .oneWay, .bridge, .gatewayAlone, .etcdAway: try cut(kind)
    case .loss: loss()
    case .slowLink: try slowLink()
    case .clockJump: clockJump()
    case .loseUnsynced, .tornWrite: try unsynced(kind)
    case .powerLoss: powerLoss()
    case .fsyncStall, .fsyncFails, .diskError, .diskFull: try failingDisk(kind)
    case .flipStopped, .flipRunning, .flipTable, .truncateLog, .truncateRunning, .truncateTable:
      try damage(kind)
    case .lyingDisks: try lyingDisks()
    }
  }
}

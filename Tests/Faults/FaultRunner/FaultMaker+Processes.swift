import Glibc
import HistoryChecker

extension FaultMaker {
  private static let pausesMilliseconds = 1_000...10_000
  private static let betweenMilliseconds = 50...1_000

  func kill(_ kind: FaultKind, _ victim: String, _ effect: Effect) -> Fault {
    Fault(
      kind: kind, detail: victim, effect: effect,
      serving: plan.gateways.filter { $0 != victim }, holdMilliseconds: chance.number(0...2_000),
      inject: { [cluster] in cluster.kill([victim]) },
      heal: { [cluster] in try cluster.startMissing() })
  }

  func killAll() -> Fault {
    Fault(
      kind: .killAll, detail: "everything", effect: .restart, serving: plan.gateways,
      holdMilliseconds: 0, endsOnTime: true,
      inject: { [cluster] in cluster.kill(cluster.plan.nodes) },
      heal: { [cluster] in try cluster.startMissing() })
  }

  /// The leader, and its successor while that takes over or soon after.
  func killTwo() throws -> Fault {
    let pair = Array(try cluster.shardsByLeadership().prefix(2))
    let between = Moment(chance.number(Self.betweenMilliseconds)) * Pace.millisecond
    return Fault(
      kind: .killTwo, detail: pair.joined(separator: ", then "), effect: .restart,
      serving: plan.gateways, holdMilliseconds: chance.number(0...2_000), endsOnTime: true,
      inject: { [cluster] in
        cluster.kill([pair[0]])
        Pace.sleep(between)
        cluster.kill([pair[1]])
      },
      heal: { [cluster] in try cluster.startMissing() })
  }

  /// Nobody can replace the leader until etcd is back.
  func killWithoutEtcd() throws -> Fault {
    let victim = try leader()
    let ways = PacketRules.cut([ClusterPlan.etcd], from: others(than: ClusterPlan.etcd))
    let between = Moment(chance.number(Self.betweenMilliseconds)) * Pace.millisecond
    return Fault(
      kind: .killWithoutEtcd, detail: victim, effect: .restart, serving: plan.gateways,
      holdMilliseconds: chance.number(1_000...4_000), endsOnTime: true,
      inject: { [cluster, rules] in
        try rules.block(ways)
        Pace.sleep(between)
        cluster.kill([victim])
      },
      heal: { [cluster, rules] in
        try rules.clear()
        try cluster.startMissing()
      })
  }

  /// A shard that dies again and again while it starts.
  func crashLoop() throws -> Fault {
    let victim = try leader()
    let lives = (0..<chance.number(2...4)).map { _ in
      Moment(chance.number(Self.betweenMilliseconds)) * Pace.millisecond
    }
    return Fault(
      kind: .crashLoop, detail: "\(victim), \(lives.count + 1) times", effect: .crash,
      serving: plan.gateways, holdMilliseconds: 0,
      inject: { [cluster] in cluster.kill([victim]) },
      heal: { [cluster] in
        for life in lives {
          try cluster.startMissing()
          Pace.sleep(life)
          cluster.kill([victim])
        }
        try cluster.startMissing()
      })
  }

  func pause(_ kind: FaultKind, _ victim: String, _ effect: Effect) -> Fault {
    let length = chance.number(Self.pausesMilliseconds)
    return Fault(
      kind: kind, detail: "\(victim) for \(length) ms", effect: effect,
      serving: plan.gateways.filter { $0 != victim }, holdMilliseconds: length, endsOnTime: true,
      inject: { [cluster] in cluster.pause(victim) },
      heal: { [cluster] in cluster.resume(victim) })
  }

  /// As when a machine is put to sleep.
  func pauseAll() -> Fault {
    let length = chance.number(Self.pausesMilliseconds)
    return Fault(
      kind: .pauseAll, detail: "everything for \(length) ms", effect: .restart,
      serving: plan.gateways, holdMilliseconds: length, endsOnTime: true,
      inject: { [cluster] in for node in cluster.plan.nodes { cluster.pause(node) } },
      heal: { [cluster] in for node in cluster.plan.nodes { cluster.resume(node) } })
  }
}

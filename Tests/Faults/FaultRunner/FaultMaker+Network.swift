extension FaultMaker {
  private static let cutMilliseconds = 1_000...4_000
  /// Longer than the lease of any node: what is up goes on without it.
  private static let etcdAwayMilliseconds = 130_000
  private static let lossesPerMille = 10...300

  func cut(_ kind: FaultKind) throws -> Fault {
    let leader = try leader()
    let peers = plan.shards.filter { $0 != leader }
    var serving = plan.gateways
    var effect = Effect.silence
    let ways: Set<PacketRules.Way>
    let detail: String
    switch kind {
    case .halves:
      // One shard and one gateway on the side without etcd.
      let gateway = chance.pick(plan.gateways)
      let small = [chance.pick(plan.shards), gateway]
      ways = PacketRules.cut(small, from: plan.nodes.filter { !small.contains($0) })
      serving = plan.gateways.filter { $0 != gateway }
      detail = "\(small.joined(separator: ", ")) from all others"
    case .leaderAlone:
      let keepsEtcd = chance.happens(perMille: 500)
      let far = others(than: leader).filter { !keepsEtcd || $0 != ClusterPlan.etcd }
      ways = PacketRules.cut([leader], from: far)
      detail = "\(leader) from all others\(keepsEtcd ? " but etcd" : "")"
    case .oneWay:
      let isMute = chance.happens(perMille: 500)
      let far = chance.happens(perMille: 500) ? others(than: leader) : peers
      ways = Set(
        far.map {
          isMute ? PacketRules.Way(from: leader, to: $0) : PacketRules.Way(from: $0, to: leader)
        })
      detail = "\(leader) is \(isMute ? "mute" : "deaf") to \(far.joined(separator: ", "))"
    case .bridge:
      let far = chance.pick(peers)
      ways = PacketRules.cut([leader], from: [far])
      detail = "\(leader) from \(far), both reach the others"
    case .gatewayAlone:
      let gateway = chance.pick(plan.gateways)
      ways = PacketRules.cut([gateway], from: others(than: gateway))
      serving = plan.gateways.filter { $0 != gateway }
      effect = .aside
      detail = "\(gateway) from all others"
    default:
      ways = PacketRules.cut([ClusterPlan.etcd], from: others(than: ClusterPlan.etcd))
      effect = .aside
      detail = "etcd from all others"
    }
    return Fault(
      kind: kind, detail: detail, effect: effect, serving: serving,
      holdMilliseconds: kind == .etcdAway
        ? Self.etcdAwayMilliseconds : chance.number(Self.cutMilliseconds),
      inject: { [rules] in try rules.block(ways) }, heal: { [rules] in try rules.clear() })
  }

  func loss() -> Fault {
    let share = chance.number(Self.lossesPerMille)
    let nodes = chance.happens(perMille: 500) ? plan.nodes : [chance.pick(plan.shards)]
    let where_ = nodes.count == 1 ? nodes[0] : "all"
    return Fault(
      kind: .loss, detail: "\(Double(share) / 10) % of what \(where_) sends", effect: .strain,
      serving: plan.gateways, holdMilliseconds: chance.number(2_000...5_000), endsOnTime: true,
      inject: { [rules] in try rules.lose(perMille: share, of: nodes) },
      heal: { [rules] in try rules.clear() })
  }

  /// Two shards speak over a line that delays, reorders, loses and repeats.
  func slowLink() throws -> Fault {
    guard let makeLink else { throw Failure("there is no slow-link") }
    let pair = chance.shuffled(plan.shards).prefix(2)
    let low = chance.number(0...20_000)
    let high = low + chance.number(1_000...80_000)
    let lost = chance.number(0...50)
    let repeated = chance.number(0...50)
    let seed = chance.number(1...1_000_000)
    var link: SlowLink?
    return Fault(
      kind: .slowLink,
      detail: "\(pair.joined(separator: " and ")): \(low / 1_000) to \(high / 1_000) ms, "
        + "lost \(lost) ‰, repeated \(repeated) ‰",
      effect: .strain, serving: plan.gateways, holdMilliseconds: chance.number(3_000...6_000),
      endsOnTime: true,
      inject: {
        link = try makeLink(pair[0], pair[1])
        try link?.begin(
          seed: seed, delayMicroseconds: low...high, lossPerMille: lost, duplicatePerMille: repeated
        )
      },
      heal: {
        try link?.end()
        link = nil
      })
  }
}

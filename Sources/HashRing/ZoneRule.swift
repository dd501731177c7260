/// How many replicas of one partition a zone may hold, so that as few pairs as possible share one.
///
/// The fewest pairs come from filling zones evenly: every zone gets `level` replicas (or all its
/// nodes when it has fewer), and exactly `raisedMax` zones get one more. With three zones and
/// three replicas `level` is 0 and `raisedMax` 3: one in each.
///
/// **Invariant**: Σ min(nodes of the zone, `level`) + `raisedMax` = replicas; so a partition that
/// obeys the upper limits and has all its replicas has the fewest pairs.
struct ZoneRule {
  let zoneOfNode: [Int]
  let nodeCounts: [Int]
  let level: Int
  let raisedMax: Int

  init(zoneOfNode: [Int], zoneCount: Int, replicaCount: Int) {
    var nodeCounts = [Int](repeating: 0, count: zoneCount)
    for zone in zoneOfNode { nodeCounts[zone] += 1 }
    var level = 0
    while nodeCounts.reduce(0, { $0 + min($1, level + 1) }) < replicaCount { level += 1 }
    self.zoneOfNode = zoneOfNode
    self.nodeCounts = nodeCounts
    self.level = level
    raisedMax = replicaCount - nodeCounts.reduce(0) { $0 + min($1, level) }
  }

  /// Replicas of every partition that the zone must hold.
  func least(_ zone: Int) -> Int { min(nodeCounts[zone], level) }

  /// Replicas of any partition that the zone may hold.
  func most(_ zone: Int) -> Int { min(nodeCounts[zone], level + 1) }
}

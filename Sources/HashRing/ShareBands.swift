/// How much each node should hold, and how far from that it may be before anything moves.
///
/// Shares are fixed-point numbers. A node within its band is left alone; one outside is brought to
/// its share. So small changes of the cluster do not chase single replicas around.
///
/// **Invariant**: `lower` ≤ `floor` ≤ share ≤ `ceiling` ≤ `upper`.
struct ShareBands {
  /// **Units**: replicas (or leaders) × 2^`fractionBits`.
  private(set) var shares: [Int] = []
  private(set) var floors: [Int] = []
  private(set) var ceilings: [Int] = []
  private(set) var lowers: [Int] = []
  private(set) var uppers: [Int] = []

  /// The band reaches a twentieth of the share to both sides: the ε of bounded loads.
  private static let bandDivisor = 20
  private static let fractionBits = 20
  /// `level` counts 2^-32 of a replica per unit of weight.
  private static let levelBits = 32
  /// Rounding of the water level stays far below this; a share so close to a whole number is
  /// whole.
  private static let snap = 1 << (fractionBits - 8)

  /// Shares of all replicas: in proportion to weight, at most one replica of a partition per node,
  /// and per zone what the zone rule makes it take.
  init(weights: [Int], zones: ZoneRule, partitionCount: Int, replicaCount: Int) {
    let one = partitionCount << Self.fractionBits
    let members = (0..<zones.nodeCounts.count).map { zone in
      weights.indices.filter { zones.zoneOfNode[$0] == zone }
    }
    func poured(_ level: Int, into zone: Int) -> Int {
      members[zone].reduce(0) { $0 + min(one, Self.amount(level, weights[$1])) }
    }
    func clamped(_ level: Int, _ zone: Int) -> Int {
      min(max(poured(level, into: zone), zones.least(zone) * one), zones.most(zone) * one)
    }
    let top = partitionCount << Self.levelBits
    let level = Self.highest(upTo: top, notAbove: replicaCount * one) { level in
      members.indices.reduce(0) { $0 + clamped(level, $1) }
    }
    shares = [Int](repeating: 0, count: weights.count)
    for zone in members.indices {
      let total = clamped(level, zone)
      let own = Self.highest(upTo: top, notAbove: total) { poured($0, into: zone) }
      for node in members[zone] { shares[node] = min(one, Self.amount(own, weights[node])) }
    }
    setBands(caps: [Int](repeating: partitionCount, count: weights.count))
  }

  /// Shares of all leaders: in proportion to weight, at most what the node holds.
  init(weights: [Int], caps: [Int], total: Int) {
    let level = Self.highest(upTo: total << Self.levelBits, notAbove: total << Self.fractionBits) {
      level in
      weights.indices.reduce(0) {
        $0 + min(caps[$1] << Self.fractionBits, Self.amount(level, weights[$1]))
      }
    }
    shares = weights.indices.map {
      min(caps[$0] << Self.fractionBits, Self.amount(level, weights[$0]))
    }
    setBands(caps: caps)
  }

  private mutating func setBands(caps: [Int]) {
    let mask = (1 << Self.fractionBits) - 1
    for (node, raw) in shares.enumerated() {
      let nearest = (raw + mask / 2) & ~mask
      let share = abs(raw - nearest) <= Self.snap ? nearest : raw
      let slack = share / Self.bandDivisor
      let ceiling = (share + mask) >> Self.fractionBits
      shares[node] = share
      floors.append(share >> Self.fractionBits)
      ceilings.append(ceiling)
      lowers.append((share - slack) >> Self.fractionBits)
      uppers.append(min(caps[node], max(ceiling, (share + slack) >> Self.fractionBits)))
    }
  }

  private static func amount(_ level: Int, _ weight: Int) -> Int {
    (level * weight) >> (levelBits - fractionBits)
  }

  /// The highest level at which the monotone `measure` is still not above `limit`.
  private static func highest(upTo top: Int, notAbove limit: Int, _ measure: (Int) -> Int) -> Int {
    var low = 0
    var high = top
    while low < high {
      let middle = low + (high - low + 1) / 2
      if measure(middle) <= limit { low = middle } else { high = middle - 1 }
    }
    return low
  }

  /// Whether `load` on `node` is more, relative to the share, than `otherLoad` on `other`.
  func isFuller(_ node: Int, load: Int, than other: Int, load otherLoad: Int) -> Bool {
    load * shares[other] > otherLoad * shares[node]
  }

  func isAboveShare(_ node: Int, load: Int) -> Bool { load << Self.fractionBits > shares[node] }
}

import Primitives
import WalkSupport

/// What breaks, by kind. Each seed draws which of them it uses (swarm testing: a run with few kinds
/// reaches states that a run with all of them never does).
///
/// **Source**: Groce et al., "Swarm Testing" (ISSTA 2012).
package enum FaultKind: String, CaseIterable, Sendable {
  // Processes
  case crash, crashAll, shardStop, pause, exile, gatewayCrash, gatewayDrain, gatewayPause
  // Network
  case cut, oneWayCut, isolation, reset, slowLink, clientReset, clientCongestion, linkCongestion
  // Disks
  case failedSync, stalledSync, lostTail, flippedBit, damagedStore, wipedStore
  // Coordinator
  case coordinatorOutage, coordinatorCut, slowCoordinator, lateWatch, leaseEnd
  // Membership
  case retarget, zombieController, ringChange
  // Clocks
  case clockJump

  /// What a kind of fault hits.
  package enum Family: String, CaseIterable, Sendable {
    case processes, network, disks, coordinator, membership, clocks
  }

  package var family: Family {
    switch self {
    case .crash, .crashAll, .shardStop, .pause, .exile, .gatewayCrash, .gatewayDrain, .gatewayPause:
      .processes
    case .cut, .oneWayCut, .isolation, .reset, .slowLink, .clientReset, .clientCongestion,
      .linkCongestion:
      .network
    case .failedSync, .stalledSync, .lostTail, .flippedBit, .damagedStore, .wipedStore: .disks
    case .coordinatorOutage, .coordinatorCut, .slowCoordinator, .lateWatch, .leaseEnd: .coordinator
    case .retarget, .zombieController, .ringChange: .membership
    case .clockJump: .clocks
    }
  }
}

/// One fault of a run. What it hits is drawn from `salt` when it happens, so that leaving another
/// one out changes as little as possible.
package struct PlannedFault: Sendable {
  /// Microseconds since the start.
  let at: UInt64
  let kind: FaultKind
  /// Microseconds, for those that end.
  let duration: UInt64
  let salt: UInt64
}

/// Everything that a seed decides before the run begins.
///
/// **Units**: times in microseconds.
package struct SimulationPlan: Sendable {
  package let seed: UInt64
  package var shardCount = 3
  package var gatewayCount = 2
  package var clientCount = 4
  package var partitionCount = 3
  package var replicaCount = 3
  package var minInSync: Int { min(2, replicaCount) }
  /// One owner is in sync at first, the others are learners.
  package var startsAlone = false
  package var faultsEnd: UInt64 = 10_000_000
  package var linkDelay = 100...1_000
  package var syncDelay = 100...1_000
  package var coordinatorDelay = 500...2_000
  package var clientDelay = 100...2_000
  package var tick = 20_000
  /// Of 1,000 replica messages.
  package var lossPermille = 0
  package var repetitionPermille = 0
  package var reordersReplicas = false
  /// Between two operations of one client.
  package var operationInterval = 300_000
  package var clientWindow = 2
  package var checkpointEntries = 4_096
  package var checkpointInterval = 5_000
  package var logEntriesMax = 65_536
  package var isTight = false
  package var clockDrift = 0
  /// Anything may fail, all at once and for good: nothing needs to be well at the end, but what can
  /// be read then must be right.
  package var isSafetyOnly = false
  /// Clients that only send and ask.
  package var quietClientCount = 0
  /// When operators ask for the partitions to be split.
  package var splits: [UInt64] = []
  package private(set) var faults: [PlannedFault] = []

  package init(seed: UInt64) {
    self.seed = seed
    var dice = Dice(seed: seed)
    drawSize(&dice)
    drawPace(&dice)
    drawFaults(&dice)
    // Drawn apart, so that what a seed draws above stays what it was.
    var others = Dice(seed: seed ^ 0x7175_6965_745f_5f31)
    isSafetyOnly = others.chance(permille: 80)
    quietClientCount = clientCount > 2 && others.chance(permille: 250) ? 1 : 0
    logEntriesMax = others.pick([4, 30, 65_536])
    guard others.chance(permille: 400) else { return }
    for _ in 0..<others.between(1...2) {
      splits.append(UInt64(others.between(500_000...Int(faultsEnd))))
    }
  }

  private mutating func drawSize(_ dice: inout Dice) {
    shardCount = dice.pick([1, 2, 3, 3, 3, 3, 4, 5])
    gatewayCount = dice.between(1...2)
    clientCount = dice.between(2...5)
    partitionCount = dice.between(1...4)
    replicaCount = min(shardCount, dice.pick([2, 3, 3, 3]))
    startsAlone = replicaCount > 1 && dice.chance(permille: 50)
    faultsEnd = UInt64(dice.between(3...25)) * 1_000_000
  }

  private mutating func drawPace(_ dice: inout Dice) {
    linkDelay = 50...dice.pick([300, 1_000, 5_000, 30_000])
    syncDelay = 100...dice.pick([500, 2_000, 20_000])
    coordinatorDelay = 300...dice.pick([1_000, 10_000, 100_000])
    clientDelay = 50...dice.pick([500, 5_000, 50_000])
    tick = dice.pick([10_000, 50_000, 100_000])
    if dice.chance(permille: 300) {
      lossPermille = dice.pick([5, 50, 200])
      repetitionPermille = dice.pick([5, 50])
      reordersReplicas = true
    }
    operationInterval = dice.pick([30_000, 300_000, 300_000, 1_000_000, 3_000_000])
    clientWindow = dice.pick([1, 2, 8])
    checkpointEntries = dice.pick([3, 20, 4_096])
    checkpointInterval = dice.pick([200, 1_000, 5_000])
    isTight = dice.chance(permille: 300)
    clockDrift = dice.chance(permille: 300) ? 2_000 : 0
  }

  private mutating func drawFaults(_ dice: inout Dice) {
    let kinds = FaultKind.allCases.filter { _ in dice.chance(permille: 400) }
    guard !kinds.isEmpty else { return }
    let interval = dice.pick([200_000, 700_000, 2_000_000])
    var at: UInt64 = 1_500_000
    while at < faultsEnd {
      faults.append(
        PlannedFault(
          at: at, kind: dice.pick(kinds),
          duration: UInt64(dice.pick([50_000, 300_000, 1_500_000, 4_000_000])),
          salt: dice.number()))
      at += UInt64(dice.between(1...(2 * interval)))
    }
  }

  /// The same plan with only these of its faults, and fewer seconds.
  package func keeping(faults kept: [Int], until end: UInt64? = nil) -> SimulationPlan {
    var plan = self
    plan.faults = kept.map { faults[$0] }
    plan.faultsEnd = end ?? faultsEnd
    return plan
  }
}

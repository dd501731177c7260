import ArgumentParser

/// What can be done to a cluster.
enum FaultKind: String, CaseIterable, ExpressibleByArgument, Sendable {
  case killLeader = "kill-leader"
  case killFollower = "kill-follower"
  case killGateway = "kill-gateway"
  case killEtcd = "kill-etcd"
  case killAll = "kill-all"
  case killTwo = "kill-two"
  case killWithoutEtcd = "kill-without-etcd"
  case crashLoop = "crash-loop"
  case pauseLeader = "pause-leader"
  case pauseFollower = "pause-follower"
  case pauseGateway = "pause-gateway"
  case pauseEtcd = "pause-etcd"
  case pauseAll = "pause-all"
  case halves
  case leaderAlone = "leader-alone"
  case oneWay = "one-way"
  case bridge
  case gatewayAlone = "gateway-alone"
  case etcdAway = "etcd-away"
  case loss
  case slowLink = "slow-link"
  case clockJump = "clock-jump"
  case loseUnsynced = "lose-unsynced"
  case powerLoss = "power-loss"
  case tornWrite = "torn-write"
  case fsyncStall = "fsync-stall"
  case fsyncFails = "fsync-fails"
  case diskError = "disk-error"
  case diskFull = "disk-full"
  case flipStopped = "flip-stopped"
  case flipRunning = "flip-running"
  case truncateLog = "truncate-log"
  case truncateRunning = "truncate-running"
  case flipTable = "flip-table"
  case truncateTable = "truncate-table"
  /// What nothing can get over: it shows that the checker is awake.
  case lyingDisks = "lying-disks"

  enum Need { case nothing, clock, disk, link }

  var need: Need {
    switch self {
    case .clockJump: .clock
    case .slowLink: .link
    case .loseUnsynced, .powerLoss, .tornWrite, .fsyncStall, .fsyncFails, .diskError, .diskFull,
      .flipStopped, .flipRunning, .flipTable, .truncateLog, .truncateRunning, .truncateTable:
      .disk
    default: .nothing
    }
  }

  /// Whether it changes a table, which a store has only after a start with something in its log.
  var hitsTable: Bool { self == .flipTable || self == .truncateTable }

  /// Whether it changes files of a process that runs on with them.
  var hitsRunning: Bool { self == .flipRunning || self == .truncateRunning }

  /// How often it is in the fixed mix, and its weight in longer runs.
  var share: Int {
    switch self {
    case .killLeader: 12
    case .killFollower, .pauseLeader: 6
    case .killGateway, .pauseFollower, .halves, .leaderAlone, .oneWay, .loss: 4
    case .killEtcd, .bridge, .clockJump, .slowLink, .loseUnsynced, .powerLoss, .tornWrite: 3
    case .killAll, .killTwo, .killWithoutEtcd, .crashLoop, .pauseGateway, .fsyncStall: 2
    case .pauseEtcd, .pauseAll, .gatewayAlone, .etcdAway, .diskFull: 1
    case .fsyncFails, .diskError, .flipStopped, .flipRunning, .flipTable, .truncateLog,
      .truncateRunning, .truncateTable:
      2
    case .lyingDisks: 0
    }
  }
}

/// What a fault means for those who write, by which times are put together.
enum Effect: String, CaseIterable, Sendable {
  /// A shard's process is gone.
  case crash
  /// A shard does not answer, and nobody says so.
  case silence
  /// Too much is away; counted is the time from the end of the fault.
  case restart
  /// What leads nothing is away.
  case aside
  /// Everything goes on, slowly.
  case strain
  /// A fault is over.
  case healing

  /// What is promised of the slowest but one in a hundred. **Units**: nanoseconds.
  var boundSeconds: UInt64? {
    switch self {
    case .crash: 1
    case .silence: 5
    default: nil
    }
  }
}

/// One fault that is ready to happen.
///
/// **Isolation**: the runner's first thread.
struct Fault {
  let kind: FaultKind
  let detail: String
  let effect: Effect
  /// The gateways through which messages must be taken meanwhile.
  let serving: [String]
  /// How long it lasts at least.
  let holdMilliseconds: Int
  /// It ends after that time whether or not messages are taken again; otherwise it lasts until they
  /// are.
  var endsOnTime = false
  /// What its end does to the cluster, if it is a fault of its own; counted from there.
  var ending: Effect?
  let inject: () throws -> Void
  let heal: () throws -> Void
}

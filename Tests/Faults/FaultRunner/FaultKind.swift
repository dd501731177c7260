import ArgumentParser

/// What can be done to a cluster.
enum FaultKind: String, CaseIterable, ExpressibleByArgument, Sendable {
  case killLeader = "kill-leader"
  case killFollower = "kill-follower"
  case killGateway = "kill-gateway"
  case killEtcd = "kill-etcd"
  case killAll = "kill-all"
  case pauseLeader = "pause-leader"
  case pauseFollower = "pause-follower"
  case pauseGateway = "pause-gateway"
  case pauseEtcd = "pause-etcd"
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
  case tornWrite = "torn-write"
  case fsyncStall = "fsync-stall"
  case fsyncFails = "fsync-fails"
  case diskError = "disk-error"
  case diskFull = "disk-full"
  case flipStopped = "flip-stopped"
  case flipRunning = "flip-running"
  case truncateLog = "truncate-log"
  case truncateTable = "truncate-table"

  enum Need { case nothing, clock, disk, link }

  var need: Need {
    switch self {
    case .clockJump: .clock
    case .slowLink: .link
    case .loseUnsynced, .tornWrite, .fsyncStall, .fsyncFails, .diskError, .diskFull, .flipStopped,
      .flipRunning, .truncateLog, .truncateTable:
      .disk
    default: .nothing
    }
  }

  /// How often it is in the fixed mix, and its weight in longer runs.
  ///
  /// Damage is zero until a damaged replica is rebuilt from its peers; `--only` asks for it.
  var share: Int {
    switch self {
    case .killLeader: 12
    case .killFollower, .pauseLeader: 6
    case .killGateway, .pauseFollower, .halves, .leaderAlone, .oneWay, .loss: 4
    case .killEtcd, .bridge, .clockJump, .slowLink, .loseUnsynced, .tornWrite: 3
    case .killAll, .pauseGateway, .fsyncStall: 2
    case .pauseEtcd, .gatewayAlone, .etcdAway, .fsyncFails, .diskError, .diskFull: 1
    case .flipStopped, .flipRunning, .truncateLog, .truncateTable: 0
    }
  }
}

/// What a fault means for those who write, by which times are put together.
enum Effect: String, CaseIterable, Sendable {
  /// A shard's process is gone.
  case crash
  /// A shard does not answer, and nobody says so.
  case silence
  /// Everything or what leads nothing is started anew.
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
  let inject: () throws -> Void
  let heal: () throws -> Void
}

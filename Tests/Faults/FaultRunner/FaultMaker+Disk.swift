import Foundation
import HistoryChecker

extension FaultMaker {
  /// What disks lose that lied about it is what was written for so long.
  private static let lossLength: Moment = 2 * Pace.second

  private func disk(_ shard: String) throws -> ControlSocket {
    guard let disk = disks[shard] else { throw Failure("\(shard) has no fault disk") }
    return disk
  }

  /// A shard is killed, and its disk keeps only what was synced, or shreds of the rest besides.
  func unsynced(_ kind: FaultKind) throws -> Fault {
    let victim = chance.happens(perMille: 700) ? try leader() : try follower()
    let disk = try disk(victim)
    let order = kind == .tornWrite ? "tear \(chance.number(1...1_000_000))" : "lose"
    return Fault(
      kind: kind, detail: victim, effect: .crash, serving: plan.gateways,
      holdMilliseconds: chance.number(0...1_000),
      inject: { [cluster] in
        cluster.kill([victim])
        try disk.ask(order)
      },
      heal: { [cluster] in try cluster.startMissing() })
  }

  /// Everything dies at once, and every disk keeps only what was synced.
  func powerLoss() -> Fault {
    Fault(
      kind: .powerLoss, detail: "everything", effect: .restart, serving: plan.gateways,
      holdMilliseconds: 0, endsOnTime: true,
      inject: { [cluster, disks] in
        cluster.kill(cluster.plan.nodes)
        for disk in disks.values { try disk.ask("lose") }
      },
      heal: { [cluster] in try cluster.startMissing() })
  }

  /// Everything dies at once, and every store has lost the end of what it had synced: messages of
  /// the last seconds, as all before lies in tables.
  func lyingDisks() throws -> Fault {
    for shard in plan.shards { try makeTable(of: shard) }
    Pace.sleep(Self.lossLength)
    return Fault(
      kind: .lyingDisks, detail: "everything", effect: .restart, serving: plan.gateways,
      holdMilliseconds: 0, endsOnTime: true,
      inject: { [cluster, plan] in
        cluster.kill(plan.nodes)
        for shard in plan.shards { try Damage.shortenNewestLog(of: shard, plan) }
      },
      heal: { [cluster] in try cluster.startMissing() })
  }

  /// A disk that does not do its work for a while. A store that has seen an error takes no more
  /// until its process is started anew, which is done when the disk is good again.
  func failingDisk(_ kind: FaultKind) throws -> Fault {
    let victim = try leader()
    let disk = try disk(victim)
    let length = chance.number(1_000...6_000)
    let (begin, end, detail) =
      switch kind {
      case .fsyncStall:
        ("fsync stall \(length)", "fsync ok", "every fsync of \(victim) takes \(length) ms")
      case .fsyncFails: ("fsync fail", "fsync ok", "every fsync of \(victim) fails")
      case .diskError: ("eio on", "eio off", "\(victim) gets EIO")
      default: ("enospc on", "enospc off", "\(victim) gets ENOSPC")
      }
    let isStall = kind == .fsyncStall
    return Fault(
      kind: kind, detail: detail, effect: .silence, serving: plan.gateways,
      holdMilliseconds: isStall ? length * 2 : 1_000, endsOnTime: isStall,
      inject: { [cluster] in
        cluster.mayEnd.insert(victim)
        try disk.ask(begin)
      },
      heal: { [cluster] in
        try disk.ask(end)
        if !isStall { cluster.kill([victim]) }
        cluster.mayEnd.remove(victim)
        try cluster.startMissing()
      })
  }

  /// A store writes tables when it has much in memory, which takes longer than a run, and when it
  /// starts.
  private func makeTable(of shard: String) throws {
    cluster.kill([shard])
    try cluster.startMissing()
    guard try cluster.waitUntilWhole(FaultRun.wholeMax) else {
      throw Failure("not whole after \(shard) was started to write a table")
    }
  }

  /// What is stored is not what was written. A process whose files change while it runs works on
  /// with them for a while, and is started anew if it has not ended itself.
  func damage(_ kind: FaultKind) throws -> Fault {
    let victim = kind.hitsRunning && chance.happens(perMille: 500) ? try leader() : try follower()
    let disk = try disk(victim)
    if kind.hitsTable, try Damage.files(of: victim, plan, for: kind).isEmpty {
      try makeTable(of: victim)
    }
    var lots = chance.split()
    return Fault(
      kind: kind, detail: victim, effect: kind.hitsRunning ? .strain : .crash,
      serving: plan.gateways, holdMilliseconds: kind.hitsRunning ? 3_000 : 500,
      ending: kind.hitsRunning ? .crash : nil,
      inject: { [cluster, plan] in
        if !kind.hitsRunning { cluster.kill([victim]) }
        try disk.ask("sync")
        try cluster.clearSetAside(of: victim)
        cluster.wasDamaged(victim)
        try Damage.make(kind, victim, plan, disk, &lots)
      },
      heal: { [cluster] in
        if kind.hitsRunning { cluster.kill([victim]) }
        try cluster.startMissing()
      })
  }
}

/// Files of a store that are changed behind its back.
private enum Damage {
  static func make(
    _ kind: FaultKind, _ victim: String, _ plan: ClusterPlan, _ disk: ControlSocket,
    _ chance: inout Chance
  ) throws {
    let root = plan.data(victim)
    let files = try files(of: victim, plan, for: kind)
    guard !files.isEmpty else { throw Failure("\(victim) has no file for \(kind.rawValue)") }
    let file = chance.pick(files)
    let length = size(of: "\(root)/\(file)")
    switch kind {
    case .truncateLog, .truncateRunning, .truncateTable:
      guard truncate("\(root)/\(file)", chance.number(0...(length - 1))) == 0 else {
        throw Failure("\(file) cannot be shortened")
      }
      try disk.ask("sync")
    default:
      try disk.ask("flip \(file) \(chance.number(0...(length - 1))) \(chance.number(0...7))")
    }
  }

  /// Those that a kind of damage may hit, by their paths in the data directory.
  static func files(of shard: String, _ plan: ClusterPlan, for kind: FaultKind) throws -> [String] {
    let root = plan.data(shard)
    let isLog = kind == .truncateLog || kind == .truncateRunning
    let ending = kind.hitsTable ? ".sst" : isLog ? ".log" : ""
    return (FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? [])
      .filter { path in
        let name = path.split(separator: "/").last ?? ""
        let isData = name.hasSuffix(".log") || name.hasSuffix(".sst") || name.hasPrefix("MANIFEST")
        return isData && !path.hasPrefix("damaged-") && name.hasSuffix(ending)
          && size(of: "\(root)/\(path)") > 0
      }.sorted()
  }

  /// The newest log that holds anything loses its second half.
  static func shortenNewestLog(of shard: String, _ plan: ClusterPlan) throws {
    let root = plan.data(shard)
    let files = FileManager.default.enumerator(atPath: root)?.compactMap { $0 as? String } ?? []
    let logs = files.filter { $0.hasSuffix(".log") && size(of: "\(root)/\($0)") > 0 }.sorted()
    guard let newest = logs.last else { throw Failure("\(shard) has no log") }
    guard truncate("\(root)/\(newest)", size(of: "\(root)/\(newest)") / 2) == 0 else {
      throw Failure("\(newest) cannot be shortened")
    }
  }

  private static func size(of path: String) -> Int {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    return attributes?[.size] as? Int ?? 0
  }
}

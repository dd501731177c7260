import HistoryChecker

/// One fault after the other, each on a cluster that is whole.
///
/// **Isolation**: the runner's first thread.
final class FaultRun {
  /// Without an answer for so long, a fault counts as one that the cluster does not get over.
  static let writableMax: Moment = 30 * Pace.second
  static let wholeMax: Moment = 60 * Pace.second
  /// Where nothing should be wrong.
  private static let serviceMax: Moment = 2 * Pace.second
  private static let startMax: Moment = 90 * Pace.second
  /// A fault that ends when messages are taken again ends after this time anyhow.
  private static let holdMax: Moment = 15 * Pace.second
  /// What takes longer than this is worth a look at the ring.
  private static let oddAfter: Moment = 6 * Pace.second

  let cluster: RealCluster
  let workload: Workload
  private let maker: FaultMaker
  private let watch: StallWatch
  private var schedule: Schedule
  private var chance: Chance
  /// When the faults end, if that is not decided by their number.
  private let deadline: Moment?
  private(set) var report: Report

  init(
    cluster: RealCluster, workload: Workload, maker: FaultMaker, watch: StallWatch,
    schedule: Schedule, chance: Chance, deadline: Moment?, report: Report
  ) {
    self.cluster = cluster
    self.workload = workload
    self.maker = maker
    self.watch = watch
    self.schedule = schedule
    self.chance = chance
    self.deadline = deadline
    self.report = report
  }

  /// Everything from the start of the processes to the last read.
  ///
  /// **Throws**: `Failure` when the run cannot go on; what was recorded until then counts.
  func run() throws {
    try cluster.startAll()
    guard try cluster.waitUntilWhole(Self.startMax) else { throw Failure("the ring is not whole") }
    try workload.begin(&chance)
    _ = try probe(cluster.plan.gateways, as: workload.freshProber(), since: Pace.now())
      .wait(Self.writableMax)
    say("the cluster serves; faults begin")
    do {
      let total = schedule.count.map(String.init) ?? "∞"
      var number = 0
      while deadline.map({ Pace.now() < $0 }) ?? true, let kind = schedule.next() {
        number += 1
        try strike(try maker.make(kind), "\(number)/\(total)")
      }
    } catch let failure as Failure {
      cluster.keepRing("ring")
      report.fail("\(failure)")
    }
    say("reading everything")
    report.unexpectedEnds = cluster.unexpectedEnds
    for line in try workload.finish() { report.fail(line) }
    report.unexpectedEnds = cluster.unexpectedEnds
    try cluster.clearSetAside()
    report.storesGivenUp = cluster.storesGivenUp
  }

  private func probe(
    _ gateways: [String], as prober: Prober, since begin: Moment
  ) -> WritableProbe {
    WritableProbe(
      workload.probes, through: gateways.map(cluster.plan.publicEndpoint), as: prober,
      stage: workload.stage, begin: begin)
  }

  /// A fault that must hurt nobody has lasted long: it still hurts nobody.
  private func expectService(through gateways: [String], as prober: Prober) throws {
    let late = probe(gateways, as: prober, since: Pace.now())
    guard try late.wait(Self.serviceMax) != nil else {
      throw Failure("not served any more at the end of a long fault")
    }
  }

  /// One fault, and what is waited for before the next.
  private func strike(_ fault: Fault, _ number: String) throws {
    let prober = try workload.freshProber()
    let stalledBefore = watch.stalled
    try fault.inject()
    let begin = Pace.now()
    report.count(fault)
    let during = probe(fault.serving, as: prober, since: begin)
    let hold = Moment(fault.holdMilliseconds) * Pace.millisecond
    var isOdd = false
    // Of the time until it is writable, not of what comes after.
    var stalled: Moment?
    _ = try Pace.wait(max(hold, Self.holdMax)) {
      try cluster.lookAfter()
      if during.isDone, stalled == nil { stalled = watch.stalled - stalledBefore }
      if !isOdd, !during.isDone, Pace.now() > begin + Self.oddAfter {
        isOdd = true
        cluster.keepRing("ring-\(number.prefix { $0 != "/" })")
      }
      return Pace.now() >= begin + hold && (fault.endsOnTime || during.isDone)
    }
    if fault.kind == .etcdAway { try expectService(through: fault.serving, as: prober) }
    let healing = Pace.now()
    try fault.heal()
    let ending = fault.ending.map { effect in
      (effect, probe(fault.serving, as: prober, since: healing), watch.stalled)
    }
    var writable = try during.wait(Self.writableMax)
    if fault.effect == .restart, let whole = writable {
      writable = whole - min(whole, healing - begin)
    }
    let stall = stalled ?? watch.stalled - stalledBefore
    report.add(fault.effect, writable, stalled: stall)
    if let (effect, probe, before) = ending {
      let time = try probe.wait(Self.writableMax)
      report.add(effect, time, stalled: watch.stalled - before)
      guard time != nil else {
        throw Failure("not writable after the end of \(fault.kind.rawValue)")
      }
    }
    let isWhole = try cluster.waitUntilWhole(Self.wholeMax)
    let whole = Pace.now() - healing
    try cluster.clearSetAside()
    let after = try probe(
      cluster.plan.gateways, as: workload.freshProber(), since: Pace.now()
    ).wait(Self.writableMax)
    report.add(.healing, after.map { $0 + whole }, stalled: 0)
    say(
      "\(number) \(fault.kind.rawValue) \(fault.detail): "
        + "\(writable.map { "writable after \(Pace.text($0))" } ?? "not writable in time"), "
        + "\(isWhole ? "whole \(Pace.text(whole)) after its end" : "not whole in time")"
        + (stall > Report.stalledMax ? "; the machine stalled for \(Pace.text(stall))" : ""))
    guard writable != nil, after != nil else {
      throw Failure(
        "not writable within \(Pace.text(Self.writableMax)) after \(fault.kind.rawValue)")
    }
    guard isWhole else {
      throw Failure(
        "not whole within \(Pace.text(Self.wholeMax)) after \(fault.kind.rawValue): "
          + (cluster.ring()?.states ?? "no ring"))
    }
  }

  private func say(_ line: String) { report.progress(line) }
}

extension WritableProbe {
  /// **Returns**: how long it took; `nil` when it took longer than `limit`.
  func wait(_ limit: Moment) throws -> Moment? {
    if !(try Pace.wait(limit, until: { isDone })) { giveUp() }
    return duration
  }
}

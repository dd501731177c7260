import Foundation
import HistoryChecker

/// Everything outside of a run's logic: directory, namespaces, disks; made, and taken away again.
///
/// **Isolation**: the runner's first thread.
struct RunEnvironment {
  /// Says to the second life of the process in which run it is.
  static let variable = "MARTLET_FAULTS_RUN"
  private static let diskMax: Moment = 10 * Pace.second

  let run: String
  let options: RunCommand

  /// Makes the hub and becomes a process in it. Its pid stays.
  static func enter() throws {
    Namespaces.removeLeftOvers()
    let namespaces = Namespaces(run: Namespaces.ownRun)
    do {
      try namespaces.makeHub()
      setenv(variable, namespaces.run, 1)
      let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let words = ["nsenter", "--net=\(namespaces.path(of: "hub"))", own]
      let arguments = (words + CommandLine.arguments.dropFirst()).map { strdup($0) } + [nil]
      execvp("nsenter", arguments)
      throw Failure("nsenter: \(String(cString: strerror(errno)))")
    } catch {
      namespaces.remove()
      throw error
    }
  }

  private var directory: String { "\(options.directory)/\(run)" }

  /// **Returns**: whether everything is as promised.
  func perform() throws -> Bool {
    let seed = options.seed ?? UInt64.random(in: 1...999_999)
    let namespaces = Namespaces(run: run)
    var disks: [ChildProcess] = []
    defer { namespaces.remove() }
    for folder in ["log", "clock", "disk", "control"] {
      try FileManager.default.createDirectory(
        atPath: "\(directory)/\(folder)", withIntermediateDirectories: true)
    }
    if !options.json {
      print("seed \(seed): \(options.kinds.map(\.rawValue).joined(separator: " "))")
    }
    let plan = makePlan()
    for node in plan.nodes {
      try namespaces.make(node, address: plan.address(node))
      try Clock.set(node, seconds: 0, plan)
    }
    let controls = try mountDisks(plan, &disks)
    let cluster = RealCluster(plan, namespaces)
    defer {
      cluster.end()
      for disk in disks { disk.killNow() }
    }
    let report = try live(cluster, namespaces, controls, seed)
    print(options.json ? report.json : report.text, terminator: options.json ? "\n" : "")
    if report.isPassed && !options.keep {
      cluster.end()
      namespaces.remove()
      try? FileManager.default.removeItem(atPath: directory)
    } else if !options.json {
      FileHandle.standardError.write(Data("kept: \(directory)\n".utf8))
    }
    return report.isPassed
  }

  private func live(
    _ cluster: RealCluster, _ namespaces: Namespaces, _ controls: [String: ControlSocket],
    _ seed: UInt64
  ) throws -> Report {
    var chance = Chance(seed: seed)
    let plan = cluster.plan
    let log = try HistoryLog("\(directory)/history.jsonl")
    let stage = Stage(log: log, gateways: plan.gateways.map(plan.publicEndpoint))
    let watch = StallWatch(stage)
    var size = Workload.Size()
    size.senders = options.senders
    let workload = Workload(size, stage: stage)
    let rules = PacketRules(namespaces, directory: directory)
    var makeLink: ((String, String) throws -> SlowLink)?
    if let program = options.slowLink {
      makeLink = { SlowLink(program, between: $0, and: $1, plan: plan, namespaces: namespaces) }
    }
    let maker = FaultMaker(
      cluster, rules, disks: controls, makeLink: makeLink, chance: chance.split())
    let schedule = Schedule(
      kinds: options.kinds, count: options.faults, isEndless: options.minutes != nil,
      chance: chance.split())
    let run = FaultRun(
      cluster: cluster, workload: workload, maker: maker, watch: watch, schedule: schedule,
      chance: chance.split(),
      deadline: options.minutes.map { Pace.now() + Moment($0) * 60 * Pace.second },
      report: Report(seed: seed, isQuiet: options.json))
    defer {
      workload.stop()
      log.flush()
    }
    var failure: Failure?
    do {
      try run.run()
    } catch let error as Failure {
      failure = error
    }
    var report = run.report
    if let failure { report.fail("\(failure)") }
    report.longestStall = watch.longestStall
    report.judge(log.history, stage)
    return report
  }

  private func makePlan() -> ClusterPlan {
    ClusterPlan(
      shards: (1...options.shards).map { "shard\($0)" },
      gateways: (1...options.gateways).map { "gateway\($0)" },
      partitionCount: options.partitions, directory: directory,
      certificates: options.certificates, martlet: options.martlet,
      clockLibrary: options.kinds.contains { $0.need == .clock } ? options.clockLibrary : nil,
      logLevel: options.logLevel)
  }

  /// Every shard's directory, on a disk of its own that can be told to fail.
  private func mountDisks(
    _ plan: ClusterPlan, _ processes: inout [ChildProcess]
  ) throws -> [String: ControlSocket] {
    guard let program = options.faultDisk, options.kinds.contains(where: { $0.need == .disk })
    else { return [:] }
    var controls: [String: ControlSocket] = [:]
    for shard in plan.shards {
      for folder in [plan.disk(shard), plan.data(shard)] {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      }
      let control = ControlSocket(path: plan.control("\(shard).sock"))
      processes.append(
        try ChildProcess.start(
          [
            "setpriv", "--pdeathsig", "KILL", program, plan.disk(shard), plan.data(shard),
            "--control", control.path,
          ], environment: ChildProcess.plainEnvironment, log: plan.log("\(shard)-disk")))
      try control.waitUntilReady(Self.diskMax)
      controls[shard] = control
    }
    return controls
  }
}

import ArgumentParser
import Glibc
import Primitives
import Simulation

/// Runs simulated clusters, seed after seed, and says what it found.
@main
struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Whole clusters on one thread, from a seed, with every kind of fault.")

  @Option(help: "Seeds to run.")
  var seeds = 200
  @Option(help: "The first seed.")
  var first: UInt64 = 1
  @Option(help: "Stop after so many seconds of wall time.")
  var seconds: Int?
  @Option(help: "Run one seed, or one line of Seeds.txt, and print its trace.")
  var replay: String?
  @Flag(help: "With --replay: tell everything that happens.")
  var verbose = false
  @Option(help: "Run every line of a file as --replay does.")
  var file: String?
  @Option(help: "Plant one bug (or `all`, one after the other) and look for it.")
  var plant: String?
  @Option(help: "With --plant: seeds until a bug counts as missed.")
  var plantSeeds = 3_000
  @Flag(help: "Fail when a rare event never came.")
  var demandRare = false

  func run() throws {
    if let replay { return try self.replay(replay) }
    if let file { return try replayFile(file) }
    if let plant { return try search(plant) }
    try walk()
  }
}

extension Simulate {
  private static func cpuSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  private static func wallSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  private func replay(_ line: String) throws {
    guard let plan = SimulationPlan(line: line) else {
      throw ValidationError("--replay \(line): allowed is a seed, or a line of Seeds.txt")
    }
    let result = RunResult(running: plan, narrator: verbose ? { print($0) } : nil)
    print("seed \(result.seed): \(result.events) events, trace \(String(result.trace, radix: 16))")
    if let violation = result.violation {
      print("VIOLATION \(violation)")
      throw ExitCode(1)
    }
  }

  private func replayFile(_ path: String) throws {
    var failed = 0
    var count = 0
    guard let stream = fopen(path, "r") else { throw ValidationError("--file \(path): unreadable") }
    defer { fclose(stream) }
    var buffer = [CChar](repeating: 0, count: 4_096)
    while fgets(&buffer, Int32(buffer.count), stream) != nil {
      let text = String(
        decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      let line = text.prefix { $0 != "\n" }
      guard !line.isEmpty, !line.hasPrefix("#") else { continue }
      guard let plan = SimulationPlan(line: line) else {
        throw ValidationError("--file \(path): '\(line)' is no seed")
      }
      count += 1
      if let violation = RunResult(running: plan).violation {
        failed += 1
        print("\(line): VIOLATION \(violation)")
      }
    }
    print("seeds kept: \(count - failed) passed, \(failed) failed")
    if failed > 0 { throw ExitCode(1) }
  }

  // MARK: Walking

  private func walk() throws {
    var tally = Tally()
    let began = Self.wallSeconds()
    var told = began
    for seed in first..<first + UInt64(seeds) {
      let plan = SimulationPlan(seed: seed)
      let result = RunResult(running: plan)
      tally.add(result)
      if let violation = result.violation { report(plan, violation) }
      let now = Self.wallSeconds()
      if now - told > 10 {
        told = now
        print(tally.progress(since: began, now: now))
      }
      if let seconds, now - began > Double(seconds) { break }
    }
    print(tally.summary(cpuSeconds: Self.cpuSeconds()))
    let missing = tally.rare.missing
    if !missing.isEmpty {
      print("never came: \(missing.map { "\($0)" }.joined(separator: ", "))")
    }
    print("\(tally.runs - tally.failed) passed, \(tally.failed) failed")
    if tally.failed > 0 || (demandRare && !missing.isEmpty) { throw ExitCode(1) }
  }

  private func report(_ plan: SimulationPlan, _ violation: Violation) {
    print("seed \(plan.seed): VIOLATION \(violation)")
    var shortening = Shortening(plan, violation)
    shortening.run()
    print("  shortened: \(shortening.line)")
    print("  \(shortening.violation)")
  }

  // MARK: Planted bugs

  private func search(_ name: String) throws {
    #if MARTLET_PLANTED_BUGS
      let bugs: [PlantedBug]
      if name == "all" {
        bugs = PlantedBug.allCases
      } else if let bug = PlantedBug(rawValue: name) {
        bugs = [bug]
      } else {
        throw ValidationError(
          "--plant \(name): allowed is all or one of "
            + PlantedBug.allCases.map(\.rawValue).joined(separator: ", "))
      }
      var found: [Int] = []
      for bug in bugs {
        PlantedBug.active = bug
        if let (count, violation) = firstFailure() {
          found.append(count)
          print("found \(bug.rawValue) with seed number \(count): \(violation)")
        } else {
          print("MISSED \(bug.rawValue) in \(plantSeeds) seeds")
        }
      }
      PlantedBug.active = nil
      let median = found.isEmpty ? "" : ", median \(found.sorted()[found.count / 2]) seeds"
      print("found \(found.count) of \(bugs.count)\(median)")
      print("\(found.count) passed, \(bugs.count - found.count) failed")
      if found.count < bugs.count { throw ExitCode(1) }
    #else
      throw ValidationError("--plant \(name): this build plants no bugs (-DMARTLET_PLANTED_BUGS)")
    #endif
  }

  private func firstFailure() -> (count: Int, violation: Violation)? {
    for number in 0..<plantSeeds {
      let plan = SimulationPlan(seed: first + UInt64(number))
      if let violation = RunResult(running: plan).violation { return (number + 1, violation) }
    }
    return nil
  }
}

/// What many runs came to.
struct Tally {
  private(set) var runs = 0
  private(set) var failed = 0
  private(set) var rare = RareEventCounts()
  private var seconds = 0.0
  private var events = 0
  private var sent = 0
  private var acknowledged = 0
  private var reads = 0
  private var faults: [FaultKind: Int] = [:]

  mutating func add(_ result: RunResult) {
    runs += 1
    if result.violation != nil { failed += 1 }
    rare.add(result.rare)
    seconds += result.seconds
    events += result.events
    sent += result.sent
    acknowledged += result.acknowledged
    reads += result.reads
    faults.merge(result.faults) { $0 + $1 }
  }

  func progress(since began: Double, now: Double) -> String {
    let rate = Double(runs) / (now - began)
    var kinds: [FaultKind.Family: Int] = [:]
    for (kind, count) in faults { kinds[kind.family, default: 0] += count }
    let struck = FaultKind.Family.allCases.map { "\($0) \(kinds[$0] ?? 0)" }
    return "\(runs) seeds, \(Self.rounded(rate)) a second, \(acknowledged) acknowledged, "
      + "faults: \(struck.joined(separator: ", ")); \(failed) found"
  }

  func summary(cpuSeconds: Double) -> String {
    var lines = [
      "\(runs) seeds, \(Int(seconds)) cluster-seconds, \(events) events in "
        + "\(Self.rounded(cpuSeconds)) s of CPU: \(Int(seconds / cpuSeconds)) cluster-seconds a second",
      "sent \(sent), acknowledged \(acknowledged), reads \(reads)",
    ]
    let struck = FaultKind.allCases.map { "\($0) \(faults[$0] ?? 0)" }
    lines.append("faults: " + struck.joined(separator: ", "))
    lines.append("rare: " + RareEvent.allCases.map { "\($0) \(rare[$0])" }.joined(separator: ", "))
    return lines.joined(separator: "\n")
  }

  private static func rounded(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
}

import Foundation
import HistoryChecker
import Synchronization

/// What a run has found, and the table at its end.
struct Report {
  private static let shownMax = 12
  /// A stall of the machine that is worth telling.
  static let stalledMax: Moment = 250 * Pace.millisecond

  let seed: UInt64
  private let begin = Pace.now()
  private var faults: [FaultKind: Int] = [:]
  private var times: [Effect: [Moment]] = [:]
  /// The same without what the machine itself stood still: what is held against bounds.
  private var running: [Effect: [Moment]] = [:]
  private var failures: [String] = []
  /// How, and how often.
  var unexpectedEnds: [String: Int] = [:]
  /// Of stores whose files were damaged.
  var storesGivenUp = 0
  /// Of the machine, not of the cluster.
  var longestStall: Moment = 0
  private var violations: [Violation] = []
  private var remarks: [String] = []
  private var counts: [(name: String, count: Int)] = []
  private let isQuiet: Bool

  init(seed: UInt64, isQuiet: Bool) {
    self.seed = seed
    self.isQuiet = isQuiet
  }

  mutating func fail(_ line: String) { failures.append(line) }
  mutating func count(_ fault: Fault) { faults[fault.kind, default: 0] += 1 }

  /// - Parameter duration: `nil` when it took too long; that counts as the longest wait.
  /// - Parameter stalled: for how long the machine stood still meanwhile.
  mutating func add(_ effect: Effect, _ duration: Moment?, stalled: Moment) {
    let time = duration ?? FaultRun.writableMax
    times[effect, default: []].append(time)
    // Too long is too long, whoever was to blame.
    running[effect, default: []].append(duration == nil ? time : time - min(time, stalled))
  }

  func progress(_ line: String) {
    guard !isQuiet else { return }
    print("\(Pace.text(Pace.now() - begin))  \(line)")
    fflush(nil)
  }

  /// The history is complete.
  mutating func judge(_ history: History, _ stage: Stage) {
    violations = Checker.violations(of: history)
    remarks = stage.allRemarks
    counts = [
      ("sends tried", stage.attemptCount.load(ordering: .relaxed)),
      ("acknowledged", stage.acknowledgedCount.load(ordering: .relaxed)),
      ("reads", stage.readCount.load(ordering: .relaxed)),
      ("events heard", stage.heardCount.load(ordering: .relaxed)),
      ("streams opened", stage.resumeCount.load(ordering: .relaxed)),
      ("stored at the end", history.finals.values.reduce(0) { $0 + $1.count }),
    ]
  }

  // MARK: Checks

  private struct Check {
    let name: String
    let isPassed: Bool
  }

  private func count(_ category: Violation.Category) -> Int {
    violations.count { $0.kind.category == category }
  }

  private var checks: [Check] {
    var checks = Violation.Category.allCases.map { category in
      Check(name: "nothing \(category.rawValue)", isPassed: count(category) == 0)
    }
    for effect in Effect.allCases {
      guard let seconds = effect.boundSeconds, let times = running[effect] else { continue }
      checks.append(
        Check(
          name: "writable within \(seconds) s after \(effect.rawValue) (p99)",
          isPassed: Self.percentile(times, 99) < seconds * Pace.second))
    }
    checks.append(Check(name: "every fault was got over", isPassed: failures.isEmpty))
    checks.append(Check(name: "no process ended by itself", isPassed: unexpectedEnds.isEmpty))
    checks.append(
      Check(name: "no operation was refused or left unanswered", isPassed: remarks.isEmpty))
    return checks
  }

  var isPassed: Bool { checks.allSatisfy(\.isPassed) }

  /// **Source**: nearest rank.
  static func percentile(_ values: [Moment], _ percent: Int) -> Moment {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return 0 }
    return sorted[max(0, (sorted.count * percent + 99) / 100 - 1)]
  }

  // MARK: For people

  var text: String {
    var lines: [String] = ["", "seed \(seed), \(Pace.text(Pace.now() - begin))", ""]
    lines += counts.map { row($0.name, "\($0.count)") }
    lines += ["", row("faults", "\(faults.values.reduce(0, +))")]
    lines += faults.sorted { $0.key.rawValue < $1.key.rawValue }
      .map { row("  \($0.key.rawValue)", "\($0.value)") }
    lines.append("")
    lines += Violation.Category.allCases.map { row($0.rawValue, "\(count($0))") }
    lines += ["", row("time to writable", "times    p50       p99       max")]
    for effect in Effect.allCases {
      guard let all = times[effect] else { continue }
      let columns = [50, 99, 100].map { Self.padded(Pace.text(Self.percentile(all, $0)), 10) }
      lines.append(row("  \(effect.rawValue)", Self.padded("\(all.count)", 9) + columns.joined()))
    }
    lines += ["", row("stores given up", "\(storesGivenUp)")]
    lines += ["", row("the machine's stalls", "up to \(Pace.text(longestStall))")]
    lines += findings
    let passed = checks.count { $0.isPassed }
    lines += [""] + checks.map { "\($0.isPassed ? "passed" : "FAILED")  \($0.name)" }
    lines += ["", "\(passed) passed, \(checks.count - passed) failed"]
    return lines.joined(separator: "\n") + "\n"
  }

  private var findings: [String] {
    let all =
      few(failures).map { "not got over: \($0)" }
      + unexpectedEnds.sorted { $0.key < $1.key }.map { "ended by itself: \($0), \($1) times" }
      + few(violations.map(\.description)) + few(remarks)
    return all.isEmpty ? [] : [""] + all
  }

  private func few(_ lines: [String]) -> [String] {
    lines.count <= Self.shownMax
      ? lines : lines.prefix(Self.shownMax) + ["… and \(lines.count - Self.shownMax) more"]
  }

  private func row(_ name: String, _ value: String) -> String { Self.padded(name, 22) + value }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
}

// MARK: - For programs

extension Report {
  private struct Summary: Encodable {
    struct Times: Encodable {
      let count: Int
      let p50Milliseconds, p99Milliseconds, maxMilliseconds: UInt64
    }

    let seed: UInt64
    let counts: [String: Int]
    let faults: [String: Int]
    let violations: [String: Int]
    let writable: [String: Times]
    let longestStallMilliseconds: UInt64
    let findings: [String]
    let passed, failed: Int
  }

  /// One line.
  var json: String {
    let summary = Summary(
      seed: seed, counts: Dictionary(uniqueKeysWithValues: counts.map { ($0.name, $0.count) }),
      faults: Dictionary(uniqueKeysWithValues: faults.map { ($0.key.rawValue, $0.value) }),
      violations: Dictionary(
        uniqueKeysWithValues: Violation.Category.allCases.map { ($0.rawValue, count($0)) }),
      writable: Dictionary(
        uniqueKeysWithValues: times.map { effect, all in
          let milliseconds = [50, 99, 100].map { Self.percentile(all, $0) / Pace.millisecond }
          return (
            effect.rawValue,
            Summary.Times(
              count: all.count, p50Milliseconds: milliseconds[0], p99Milliseconds: milliseconds[1],
              maxMilliseconds: milliseconds[2])
          )
        }),
      longestStallMilliseconds: longestStall / Pace.millisecond,
      findings: findings.filter { !$0.isEmpty }, passed: checks.count { $0.isPassed },
      failed: checks.count { !$0.isPassed })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    return String(decoding: (try? encoder.encode(summary)) ?? Data(), as: UTF8.self)
  }
}

import ClusterModel
package import Primitives
package import RingControl
import ShardCore

/// Changes of the ring in words and in JSON.
package enum RingText {
  package static func plan(
    _ plan: RingPlan, _ status: RingStatus, _ sizes: PartitionSizes
  ) -> String {
    if plan.record.change?.kind == .split { return splitPlan(status) }
    let share = plan.idealMoves == 0 ? "" : ", \(percent(plan.replicaMoves, of: plan.idealMoves))"
    var text = "\(plan.record.change?.kind.word ?? "") \(plan.edit.subject):\n"
    text += "  partitions that change   \(plan.moves.count) of \(status.partitions.count)\n"
    text +=
      "  replicas to be learned   \(plan.replicaMoves) (at least \(plan.idealMoves)\(share))\n"
    let bytes = bytes(plan.moves, sizes)
    text += "  to be copied             about \(amount(bytes)), "
    text += "at the limit \(estimate(plan, status, sizes)) s\n"
    text += "  leaders that change      \(plan.leaderChanges)\n"
    text += "  at a time                \(plan.record.movesMax) partitions\n"
    text += "  fullest, of its share    \(permille(plan.before.maxPermille)) before, "
    text += "\(permille(plan.after.maxPermille)) after\n\n"
    return text + loads(plan, status)
  }

  private static func splitPlan(_ status: RingStatus) -> String {
    let count = status.partitionCount
    var text = "split every partition:\n"
    text += "  partitions               \(count) before, \(count * 2) after\n"
    text += "  replicas to be learned   0: both halves stay where they are\n"
    text += "  at a time                \(ShardConfiguration.splitsMaxUsual) led by each shard; "
    text += "what belongs to an upper half waits meanwhile\n"
    text += "  to turn it back          not possible\n"
    return text
  }

  /// What has to be learned, all in all.
  static func bytes(_ moves: [RingMove], _ sizes: PartitionSizes) -> UInt64 {
    moves.reduce(0) { $0 + UInt64($1.newcomers.count) * sizes[$1.partition] }
  }

  /// How long the store takes that has most to read for others, at the rate that is allowed, or the
  /// moves one after the other with nothing in them. **Units**: seconds.
  static func estimate(_ plan: RingPlan, _ status: RingStatus, _ sizes: PartitionSizes) -> Int {
    var read: [StoreID: UInt64] = [:]
    for move in plan.moves {
      guard let leader = status.record(of: move.partition)?.leader else { continue }
      read[leader.store, default: 0] += bytes([move], sizes)
    }
    let slowest = (read.values.max() ?? 0) / plan.record.bytesPerSecond
    let learning = plan.moves.count { !$0.newcomers.isEmpty }
    let rounds = (learning + Int(plan.record.movesMax) - 1) / Int(plan.record.movesMax)
    return Int(slowest) + (rounds * secondsPerTenRounds + 9) / 10
  }

  /// What ten rounds of moves took with little in them, of which most is waiting for the next look
  /// of somebody.
  private static let secondsPerTenRounds = 3

  package static func amount(_ bytes: UInt64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(bytes)
    var place = 0
    while value >= 1_024, place < units.count - 1 {
      value /= 1_024
      place += 1
    }
    return place == 0 ? "\(bytes) bytes" : "\((value * 10).rounded() / 10) \(units[place])"
  }

  private static func loads(_ plan: RingPlan, _ status: RingStatus) -> String {
    var rows = [["NODE", "REPLICAS", "AFTER", "LEADS", "AFTER"]]
    let stores = Set(plan.before.loads.map(\.store) + plan.after.loads.map(\.store)).sorted()
    for store in stores {
      let before = plan.before.loads.first { $0.store == store }
      let after = plan.after.loads.first { $0.store == store }
      rows.append([
        name(store, plan, status), "\(before?.replicas ?? 0)", "\(after?.replicas ?? 0)",
        "\(before?.leads ?? 0)",
        "\(after?.leads ?? 0)",
      ])
    }
    return RingStatus.aligned(rows)
  }

  /// Of a member that comes, stays or goes.
  private static func name(_ store: StoreID, _ plan: RingPlan, _ status: RingStatus) -> String {
    (plan.record.members + status.ring.members).first { $0.store == store }?.name
      ?? store.description
  }

  /// **Shape**: `{"kind", "subject", "partitions", "replicaMoves", "idealMoves", "leaderChanges",
  /// "maxPermilleBefore", "maxPermilleAfter", "bytes", "seconds", "moves": [{"partition", "bytes",
  /// "before", "after"}]}`; stores by their nodes' names, sums of bytes as strings.
  package static func json(
    _ plan: RingPlan, _ status: RingStatus, _ sizes: PartitionSizes
  ) -> String {
    func names(_ stores: [StoreID]) -> String {
      JSONText.strings(stores.map { name($0, plan, status) })
    }
    return JSONText.object([
      ("kind", JSONText.string(plan.record.change?.kind.word ?? "")),
      ("subject", JSONText.string(plan.edit.subject)),
      ("partitionsBefore", "\(status.cluster.scheme.count(level: status.ring.level))"),
      ("partitionsAfter", "\(status.cluster.scheme.count(level: plan.record.wantedLevel))"),
      ("partitions", "\(plan.moves.count)"), ("replicaMoves", "\(plan.replicaMoves)"),
      ("idealMoves", "\(plan.idealMoves)"), ("leaderChanges", "\(plan.leaderChanges)"),
      ("maxPermilleBefore", "\(plan.before.maxPermille)"),
      ("maxPermilleAfter", "\(plan.after.maxPermille)"),
      ("bytes", JSONText.string("\(bytes(plan.moves, sizes))")),
      ("seconds", "\(estimate(plan, status, sizes))"),
      (
        "moves",
        JSONText.array(
          plan.moves.map { move in
            JSONText.object([
              ("partition", "\(move.partition.rawValue)"),
              ("bytes", JSONText.string("\(sizes[move.partition])")),
              ("before", names(move.before)),
              ("after", names(move.after)),
            ])
          })
      ),
    ]) + "\n"
  }

  /// One line about a change under way.
  ///
  /// - Parameter first: what it was when it was looked at first, so many seconds ago.
  /// - Parameter bytes: what was in the partitions that are done.
  package static func line(
    _ progress: RingProgress, since first: RingProgress? = nil, seconds: Double = 0,
    bytes: UInt64 = 0
  ) -> String {
    var line = "\(progress.done) of \(progress.total) partitions, \(progress.underWay) under way"
    let done = progress.done - (first?.done ?? 0)
    guard done > 0, progress.done < progress.total, seconds >= 1 else { return line }
    let share = Double(done) / Double(progress.done)
    let rate = Double(bytes) * share / 1_000_000 / seconds
    if rate >= 0.1 { line += ", \((rate * 10).rounded() / 10) MB/s" }
    let left = seconds / Double(done) * Double(progress.total - progress.done)
    return line + ", about \(Int(left.rounded(.up))) s left"
  }

  /// What is not as it should be although the change is over: stores that have been gone for long.
  /// Empty when all is well.
  package static func waiting(_ status: RingStatus) -> String {
    let registered = Set(status.nodes.compactMap(\.store))
    var waits: [StoreID: Int] = [:]
    for partition in status.partitions {
      for member in partition.record.target where !partition.record.inSync.contains(member) {
        if !registered.contains(member.store) { waits[member.store, default: 0] += 1 }
      }
    }
    return waits.sorted { $0.key < $1.key }.map { store, count in
      let name = status.ring.members.first { $0.store == store }?.name ?? store.description
      return
        "\(count) partitions still wait for \(name), which is not registered, and keep what they "
        + "have meanwhile: start it, or `martlet ring remove \(name)`"
    }.joined(separator: "\n")
  }

  /// **Shape**: `{"done", "underWay", "total", "turnedBack"}`.
  package static func json(_ progress: RingProgress, isTurnedBack: Bool) -> String {
    JSONText.object([
      ("done", "\(progress.done)"), ("underWay", "\(progress.underWay)"),
      ("total", "\(progress.total)"), ("turnedBack", "\(isTurnedBack)"),
    ]) + "\n"
  }

  /// **Shape**: `{"finished": true, "turnedBack"}`.
  package static func json(finishedTurnedBack isTurnedBack: Bool) -> String {
    JSONText.object([("finished", "true"), ("turnedBack", "\(isTurnedBack)")]) + "\n"
  }

  // MARK: Verification

  /// A line for each partition of which it is not shown, and how many are in order.
  package static func findings(
    _ findings: [(PartitionID, RingVerification.Finding)], _ status: RingStatus
  ) -> String {
    var equal = 0
    var text = ""
    for (partition, finding) in findings {
      switch finding {
      case .equal: equal += 1
      case .open: text += "\(partition): not seen equal in time\n"
      case .differs(let index, let one, let other):
        text +=
          "\(partition): after entry \(index) the states of \(status.plain(one)) and "
          + "\(status.plain(other)) differ\n"
      case .owned(let stores):
        let names = stores.map { status.plain($0) }.joined(separator: ", ")
        text += "\(partition): led by \(names.isEmpty ? "nobody" : names)\n"
      }
    }
    return text
      + "\(equal) of \(status.partitionCount) partitions are owned once and equal\n"
  }

  /// **Shape**: `{"equal", "partitionCount", "others": [{"partition", "finding": "open", "differs" or
  /// "notOwnedOnce"}]}`.
  package static func json(
    _ findings: [(PartitionID, RingVerification.Finding)], _ status: RingStatus
  ) -> String {
    let others = findings.compactMap { partition, finding -> String? in
      let what: String
      switch finding {
      case .equal: return nil
      case .open: what = "open"
      case .differs: what = "differs"
      case .owned: what = "notOwnedOnce"
      }
      return JSONText.object([
        ("partition", "\(partition.rawValue)"), ("finding", JSONText.string(what)),
      ])
    }
    return JSONText.object([
      ("equal", "\(findings.count - others.count)"),
      ("partitionCount", "\(status.partitionCount)"), ("others", JSONText.array(others)),
    ]) + "\n"
  }

  private static func permille(_ value: Int) -> String {
    "\(value / 1_000).\(String(1_000 + value % 1_000).dropFirst())"
  }

  private static func percent(_ value: Int, of whole: Int) -> String {
    "\(value * 100 / whole) % of that"
  }
}

/// Puts JSON together from parts that are JSON already.
enum JSONText {
  static func object(_ members: [(String, String)]) -> String {
    "{" + members.map { "\(string($0.0)):\($0.1)" }.joined(separator: ",") + "}"
  }

  static func array(_ elements: [String]) -> String {
    "[" + elements.joined(separator: ",") + "]"
  }

  static func strings(_ texts: [String]) -> String { array(texts.map(string)) }

  static func string(_ text: String) -> String {
    var escaped = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": escaped += "\\\""
      case "\\": escaped += "\\\\"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped + "\""
  }
}

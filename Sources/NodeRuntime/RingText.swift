import ClusterModel
import Primitives
package import RingControl

/// Changes of the ring in words and in JSON.
package enum RingText {
  package static func plan(_ plan: RingPlan, _ status: RingStatus) -> String {
    let share = plan.idealMoves == 0 ? "" : ", \(percent(plan.replicaMoves, of: plan.idealMoves))"
    var text = "\(plan.record.change?.kind.word ?? "") \(plan.edit.subject):\n"
    text += "  partitions that change   \(plan.moves.count) of \(status.partitions.count)\n"
    text +=
      "  replicas to be learned   \(plan.replicaMoves) (at least \(plan.idealMoves)\(share))\n"
    text += "  leaders that change      \(plan.leaderChanges)\n"
    text += "  at a time                \(plan.record.movesMax) partitions\n"
    text += "  fullest, of its share    \(permille(plan.before.maxPermille)) before, "
    text += "\(permille(plan.after.maxPermille)) after\n\n"
    return text + loads(plan, status)
  }

  private static func loads(_ plan: RingPlan, _ status: RingStatus) -> String {
    var rows = [["NODE", "REPLICAS", "AFTER", "LEADS", "AFTER"]]
    let stores = Set(plan.before.loads.map(\.store) + plan.after.loads.map(\.store)).sorted()
    for store in stores {
      let before = plan.before.loads.first { $0.store == store }
      let after = plan.after.loads.first { $0.store == store }
      let name =
        plan.record.members.first { $0.store == store }?.name
        ?? status.ring.members.first { $0.store == store }?.name ?? store.description
      rows.append([
        name, "\(before?.replicas ?? 0)", "\(after?.replicas ?? 0)", "\(before?.leads ?? 0)",
        "\(after?.leads ?? 0)",
      ])
    }
    return RingStatus.aligned(rows)
  }

  /// **Shape**: `{"kind", "subject", "partitions", "replicaMoves", "idealMoves", "leaderChanges",
  /// "maxPermilleBefore", "maxPermilleAfter", "moves": [{"partition", "before", "after"}]}`; stores
  /// by their nodes' names.
  package static func json(_ plan: RingPlan, _ status: RingStatus) -> String {
    func names(_ stores: [StoreID]) -> String {
      JSONText.strings(
        stores.map { store in
          (plan.record.members + status.ring.members).first { $0.store == store }?.name
            ?? store.description
        })
    }
    return JSONText.object([
      ("kind", JSONText.string(plan.record.change?.kind.word ?? "")),
      ("subject", JSONText.string(plan.edit.subject)),
      ("partitions", "\(plan.moves.count)"), ("replicaMoves", "\(plan.replicaMoves)"),
      ("idealMoves", "\(plan.idealMoves)"), ("leaderChanges", "\(plan.leaderChanges)"),
      ("maxPermilleBefore", "\(plan.before.maxPermille)"),
      ("maxPermilleAfter", "\(plan.after.maxPermille)"),
      (
        "moves",
        JSONText.array(
          plan.moves.map { move in
            JSONText.object([
              ("partition", "\(move.partition.rawValue)"), ("before", names(move.before)),
              ("after", names(move.after)),
            ])
          })
      ),
    ]) + "\n"
  }

  /// One line about a change under way.
  ///
  /// - Parameter seconds: since it was looked at first.
  package static func line(_ progress: RingProgress, seconds: Double) -> String {
    var line = "\(progress.done) of \(progress.total) partitions, \(progress.underWay) under way"
    if progress.done > 0, progress.done < progress.total, seconds >= 1 {
      let left = seconds / Double(progress.done) * Double(progress.total - progress.done)
      line += ", about \(Int(left.rounded(.up))) s left"
    }
    return line
  }

  /// **Shape**: `{"done", "underWay", "total", "turnedBack"}`.
  package static func json(_ progress: RingProgress, isTurnedBack: Bool) -> String {
    JSONText.object([
      ("done", "\(progress.done)"), ("underWay", "\(progress.underWay)"),
      ("total", "\(progress.total)"), ("turnedBack", "\(isTurnedBack)"),
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

import Foundation
package import LoadModel

extension Comparison {
  /// What anybody was measured by.
  fileprivate var measures: [Measure] {
    Measure.allCases.filter { measure in rows.contains { $0.values[measure] != nil } }
  }
}

/// Tables of ratios, in Markdown.
package enum ComparisonText {
  /// Of systems that were measured in turn.
  package static func table(_ comparison: Comparison, first: String) -> String {
    var lines = cells(comparison, first: first).map { "| \($0.joined(separator: " | ")) |" }
    let columns = comparison.measures.count + 3
    lines.insert("|" + String(repeating: "---|", count: columns), at: 1)
    return lines.joined(separator: "\n")
  }

  /// The same cell by cell; the first line names the columns.
  static func cells(_ comparison: Comparison, first: String) -> [[String]] {
    let measures = comparison.measures
    var lines = [["class", "run", "system"] + measures.map(\.rawValue)]
    for row in comparison.rows {
      let cells = measures.map { measure -> String in
        guard let value = row.values[measure] else { return "–" }
        guard let ratio = row.ratios[measure] else { return spread(value) }
        return "\(spread(value)); \(first) \(times(ratio))"
      }
      lines.append([row.durability, row.run, row.target] + cells)
    }
    return lines
  }

  /// What changed between two reports, of the runs and systems that both have.
  package static func difference(_ before: Report, _ after: Report) -> String {
    let one = Comparison(before.results, first: "").rows
    let two = Comparison(after.results, first: "").rows
    var lines = [
      "| run | system | figure | before | after | after / before |", "|---|---|---|---|---|---|",
    ]
    for row in two {
      guard let old = one.first(where: { $0.run == row.run && $0.target == row.target }) else {
        lines.append("| \(row.run) | \(row.target) | – | not measured | | |")
        continue
      }
      for measure in Measure.allCases {
        guard let first = old.values[measure], let second = row.values[measure],
          first.median > 0
        else { continue }
        lines.append(
          "| \(row.run) | \(row.target) | \(measure.rawValue) | \(spread(first)) | "
            + "\(spread(second)) | \(TextReport.number(second.median / first.median, 2)) |")
      }
    }
    for row in one where !two.contains(where: { $0.run == row.run && $0.target == row.target }) {
      lines.append("| \(row.run) | \(row.target) | – | | not measured | |")
    }
    return lines.joined(separator: "\n")
  }

  private static func spread(_ spread: Spread) -> String {
    func short(_ value: Double) -> String {
      value >= 1_000 ? TextReport.number(value, 0) : TextReport.milliseconds(value)
    }
    guard spread.least < spread.greatest else { return short(spread.median) }
    return "\(short(spread.median)) (\(short(spread.least))–\(short(spread.greatest)))"
  }

  private static func times(_ spread: Spread) -> String {
    "× \(TextReport.number(spread.median, 2)) "
      + "(\(TextReport.number(spread.least, 2))–\(TextReport.number(spread.greatest, 2)))"
  }
}

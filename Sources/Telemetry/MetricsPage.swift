/// One answer to a scrape: metric families in the Prometheus text format, gathered when somebody
/// asks.
///
/// Names carry their unit (`_seconds`, `_bytes`, `_total`). Labels are names of nodes, roles and
/// reasons, never identifiers of users or conversations: each value of a label is a time series.
///
/// **Source**: prometheus.io, "Text-based exposition format", version 0.0.4.
package struct MetricsPage: Sendable {
  /// In the order in which they are written.
  package typealias Labels = [(name: String, value: String)]

  private enum Kind: String {
    case counter, gauge, histogram
  }

  private struct Family {
    let kind: Kind
    let help: String
    var lines: [String] = []
  }

  /// What the answer to a scrape is labelled with.
  package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  /// Put before the labels of everything that is added from now on: the node, when several share a
  /// page.
  package var commonLabels: Labels = []
  private var families: [String: Family] = [:]
  /// Families are written in the order in which they came first.
  private var names: [String] = []

  package init() {}

  /// Something that only grows while the process lives. `name` ends in `_total`.
  package mutating func counter(
    _ name: String, _ help: String, labels: Labels = [], _ value: Double
  ) {
    add(.counter, name, help, ["\(name)\(Self.text(commonLabels + labels)) \(Self.text(value))"])
  }

  /// The same for a whole number.
  package mutating func counter(
    _ name: String, _ help: String, labels: Labels = [], _ value: UInt64
  ) {
    add(.counter, name, help, ["\(name)\(Self.text(commonLabels + labels)) \(value)"])
  }

  /// Something that goes up and down.
  package mutating func gauge(
    _ name: String, _ help: String, labels: Labels = [], _ value: Double
  ) {
    add(.gauge, name, help, ["\(name)\(Self.text(commonLabels + labels)) \(Self.text(value))"])
  }

  /// The same for a whole number.
  package mutating func gauge(_ name: String, _ help: String, labels: Labels = [], _ value: Int) {
    add(.gauge, name, help, ["\(name)\(Self.text(commonLabels + labels)) \(value)"])
  }

  /// How often which value was seen.
  ///
  /// **Shape**: `counts[n]` observations were at most `upperBounds[n]` and above the bound before;
  /// one more count at the end holds those above every bound.
  package mutating func histogram(
    _ name: String, _ help: String, labels: Labels = [], upperBounds: [Double], counts: [UInt64],
    sum: Double
  ) {
    precondition(counts.count == upperBounds.count + 1, "\(name): \(counts.count) buckets")
    var lines: [String] = []
    var total: UInt64 = 0
    for (index, count) in counts.enumerated() {
      total += count
      let bound = index < upperBounds.count ? Self.text(upperBounds[index]) : "+Inf"
      let labels = Self.text(commonLabels + labels + [("le", bound)])
      lines.append("\(name)_bucket\(labels) \(total)")
    }
    let labels = Self.text(commonLabels + labels)
    lines.append("\(name)_sum\(labels) \(Self.text(sum))")
    lines.append("\(name)_count\(labels) \(total)")
    add(.histogram, name, help, lines)
  }

  /// The page as it goes over the wire.
  package var text: String {
    var text = ""
    for name in names {
      guard let family = families[name] else { continue }
      text += "# HELP \(name) \(Self.escaped(family.help, quotes: false))\n"
      text += "# TYPE \(name) \(family.kind.rawValue)\n"
      for line in family.lines { text += line + "\n" }
    }
    return text
  }

  /// **Shape**: values by the names and labels of their lines.
  package var samples: [String: Double] {
    var samples: [String: Double] = [:]
    for line in families.values.lazy.flatMap(\.lines) {
      guard let end = line.lastIndex(of: " "), let value = Double(line[line.index(after: end)...])
      else { continue }
      samples[String(line[..<end])] = value
    }
    return samples
  }

  /// The page without the samples of other nodes, and without the node's label.
  package func page(of node: String) -> MetricsPage {
    let label = "node=\"\(Self.escaped(node, quotes: true))\""
    var page = self
    for name in names {
      page.families[name]?.lines =
        families[name]?.lines.compactMap { line in
          if line.contains("{\(label),") { return line.replacing("{\(label),", with: "{") }
          if line.contains("{\(label)}") { return line.replacing("{\(label)}", with: "") }
          return line.contains("{node=\"") ? nil : line
        } ?? []
    }
    page.names = names.filter { page.families[$0]?.lines.isEmpty == false }
    return page
  }

  private mutating func add(_ kind: Kind, _ name: String, _ help: String, _ lines: [String]) {
    if families[name] == nil {
      precondition(Self.isName(name), "'\(name)' is no metric's name")
      families[name] = Family(kind: kind, help: help)
      names.append(name)
    }
    precondition(families[name]?.kind == kind, "\(name) is of two kinds")
    families[name]?.lines += lines
  }

  // MARK: Text

  private static func isName(_ name: String) -> Bool {
    name.utf8.first.map { !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false
      && name.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"):
          true
        default: false
        }
      }
  }

  private static func text(_ labels: Labels) -> String {
    guard !labels.isEmpty else { return "" }
    let pairs = labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }
    return "{\(pairs.joined(separator: ","))}"
  }

  /// A number as the page has it.
  package static func text(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if let whole = Int64(exactly: value) { return "\(whole)" }
    return "\(value)"
  }

  private static func escaped(_ text: String, quotes: Bool) -> String {
    var escaped = ""
    for character in text.unicodeScalars {
      switch character {
      case "\\": escaped += "\\\\"
      case "\n": escaped += "\\n"
      case "\"" where quotes: escaped += "\\\""
      default: escaped.unicodeScalars.append(character)
      }
    }
    return escaped
  }
}

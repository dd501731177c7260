import Foundation
package import LoadModel

/// Figures for a terminal.
package enum TextReport {
  package static func text(_ result: RunResult) -> String {
    let head =
      "\(result.run.name) at \(result.target) (\(result.durability)), "
      + "\(number(result.seconds, 1)) s, \(result.run.payloadBytes) B"
    let rows = rows(result)
    let width = rows.map(\.0.count).max() ?? 0
    var lines = [head]
    for (name, value) in rows {
      lines.append("  " + name.padding(toLength: width, withPad: " ", startingAt: 0) + "  " + value)
    }
    for finding in result.findings { lines.append("  WRONG: \(finding)") }
    return lines.joined(separator: "\n")
  }

  /// What of a result there is, in words.
  static func rows(_ result: RunResult) -> [(String, String)] {
    var rows: [(String, String)] = []
    if result.counts.acknowledged > 0 {
      rows.append(("acknowledged/s", number(result.acknowledgedPerSecond, 0)))
      rows.append(("acknowledgement ms", latencies(result.acknowledgements)))
    }
    if result.counts.delivered > 0 {
      rows.append(("heard/s", number(result.deliveredPerSecond, 0)))
      rows.append(("heard after ms", latencies(result.deliveries)))
    }
    if result.lasts.count > 0 {
      rows.append(("first listener ms", latencies(result.firsts)))
      rows.append(("half of them ms", latencies(result.medians)))
      rows.append(("last listener ms", latencies(result.lasts)))
    }
    if result.counts.pages > 0 {
      rows.append(("pages/s", number(result.pagesPerSecond, 0)))
      rows.append(("page ms", latencies(result.pages)))
    }
    if result.returns.count > 0 {
      rows.append(("sessions that came back", "\(result.returns.count)"))
      rows.append(("back after ms", latencies(result.returns)))
    }
    rows.append(("longest pause ms", number(result.longestPause, 1)))
    if let fsyncs = result.fsyncsPerThousandAndShard {
      rows.append(("fsyncs per 1,000 and shard", number(fsyncs, 1)))
    }
    if let cpu = result.cpuMicrosecondsPerMessage {
      rows.append(("server CPU µs per message", number(cpu, 1)))
    }
    if let cpu = result.gatewayMicrosecondsPerDelivery {
      rows.append(("gateway CPU µs per delivery", number(cpu, 2)))
    }
    for server in result.servers {
      rows.append(
        (
          server.name,
          "\(number(server.cpuSeconds / max(result.seconds, 0.001) * 100, 1)) % of a core, "
            + "\(number(server.residentKiBBefore / 1_024, 1)) → "
            + "\(number(server.residentKiB / 1_024, 1)) MiB"
        ))
    }
    rows.append(
      (
        "generator",
        "\(number(result.generatorCPUSeconds / max(result.seconds, 0.001) * 100, 0)) % of a core, "
          + "late p99 \(number(result.lateness.p99, 2)) ms"
      ))
    rows.append(("refused", refused(result.counts)))
    if result.counts.resent > 0 { rows.append(("sent again", "\(result.counts.resent)")) }
    for action in result.actions {
      rows.append(
        (
          "at \(number(action.at, 1)) s",
          "\(action.words) (\(number(action.ended - action.at, 1)) s)"
        ))
    }
    if result.checked > 0 { rows.append(("read back", "\(result.checked)")) }
    return rows
  }

  private static func refused(_ counts: Counts) -> String {
    guard counts.refusedCount > 0 else { return "0" }
    let codes = counts.refused.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    return "\(counts.refusedCount) (\(codes.joined(separator: ", ")))"
  }

  private static func latencies(_ summary: LatencySummary) -> String {
    "p50 \(milliseconds(summary.p50))  p90 \(milliseconds(summary.p90))  "
      + "p99 \(milliseconds(summary.p99))  p99.9 \(milliseconds(summary.p999))  "
      + "max \(milliseconds(summary.max))"
  }

  /// Two significant digits where they matter.
  static func milliseconds(_ value: Double) -> String {
    value < 10 ? number(value, 2) : value < 100 ? number(value, 1) : number(value, 0)
  }

  static func number(_ value: Double, _ digits: Int) -> String {
    let text = String(format: "%.\(digits)f", value)
    guard digits == 0, text.count > 4 else { return text }
    var grouped = ""
    for (place, digit) in text.reversed().enumerated() {
      if place > 0, place.isMultiple(of: 3), digit != "-" { grouped.append(",") }
      grouped.append(digit)
    }
    return String(grouped.reversed())
  }
}

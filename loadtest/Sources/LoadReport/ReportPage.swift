import Foundation
package import LoadModel

/// A report as one page that needs nothing else: figures, plots as inline SVG, one style sheet.
package enum ReportPage {
  /// **Throws**: `LoadError` when it cannot be written.
  package static func write(_ report: Report, to path: String) throws {
    do { try Data(html(report).utf8).write(to: URL(fileURLWithPath: path)) } catch {
      throw LoadError("\(path): cannot be written: \(error.localizedDescription)")
    }
  }

  package static func html(_ report: Report) -> String {
    let systems = Set(report.results.map(\.target)).sorted()
    var body = "<h1>\(Markup.escaped(report.title))</h1>\n"
    body +=
      "<p>\(Markup.escaped(report.time)) · \(Markup.escaped(report.machine)) · "
      + "\(Markup.escaped(systems.joined(separator: ", ")))</p>\n"
    if systems.count > 1 { body += ratios(report.results) }
    body += overview(report.results)
    for result in report.results { body += section(result) }
    return """
      <!doctype html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(Markup.escaped(report.title))</title>
      <style>\(style)</style>
      </head>
      <body>
      \(body)</body>
      </html>

      """
  }

  // MARK: Parts

  /// Of systems that were measured in turn: the median of all rounds, the least and the greatest,
  /// and how the first of them stands to the others within a round.
  private static func ratios(_ results: [RunResult]) -> String {
    let first = results.first?.target ?? ""
    let lines = ComparisonText.cells(Comparison(results, first: first), first: first)
    let rows = lines.enumerated().map { number, cells in
      let tag = number == 0 ? "th" : "td"
      return "<tr>" + cells.map { "<\(tag)>\(Markup.escaped($0))</\(tag)>" }.joined() + "</tr>\n"
    }
    return "<table>\n" + rows.joined() + "</table>\n"
  }

  private static func overview(_ results: [RunResult]) -> String {
    var text = """
      <table>
      <tr><th>class</th><th>system</th><th>run</th><th>acknowledged/s</th><th>heard/s</th>\
      <th>p50 ms</th><th>p99 ms</th><th>max ms</th><th>CPU µs</th><th>fsyncs</th>\
      <th>content</th></tr>

      """
    for result in results {
      let latency = main(result)
      let cells = [
        result.durability, result.target, result.run.name,
        TextReport.number(result.acknowledgedPerSecond, 0),
        TextReport.number(result.deliveredPerSecond, 0), TextReport.milliseconds(latency.p50),
        TextReport.milliseconds(latency.p99), TextReport.milliseconds(latency.max),
        result.cpuMicrosecondsPerMessage.map { TextReport.number($0, 1) } ?? "–",
        result.fsyncsPerThousandAndShard.map { TextReport.number($0, 1) } ?? "–",
        result.findings.isEmpty ? "right" : "WRONG",
      ]
      text += "<tr>" + cells.map { "<td>\(Markup.escaped($0))</td>" }.joined() + "</tr>\n"
    }
    return text + "</table>\n"
  }

  /// The latency that a run is about.
  private static func main(_ result: RunResult) -> LatencySummary {
    [result.acknowledgements, result.deliveries, result.pages, result.returns]
      .max { $0.count < $1.count } ?? result.acknowledgements
  }

  private static func section(_ result: RunResult) -> String {
    var text =
      "<section>\n<h2>\(Markup.escaped(result.run.name)) <small>\(Markup.escaped(result.target))"
      + ", class \(result.durability)</small></h2>\n"
    for finding in result.findings {
      text += "<p class=\"wrong\">\(Markup.escaped(finding))</p>\n"
    }
    text += "<dl>\n"
    for (name, value) in TextReport.rows(result) {
      text += "<dt>\(Markup.escaped(name))</dt><dd>\(Markup.escaped(value))</dd>\n"
    }
    text += "</dl>\n<div class=\"plots\">\n"
    for plot in plots(result) { text += "<figure>\(plot.svg)</figure>\n" }
    return text + "</div>\n</section>\n"
  }

  private static func plots(_ result: RunResult) -> [Plot] {
    let bands = result.actions.map {
      Plot.Band(from: $0.at, to: max($0.ended, $0.at), words: $0.words)
    }
    var plots: [Plot] = []
    if !result.curve.isEmpty {
      plots.append(
        Plot(
          title: "Latency by percentile", xLabel: "percentile", yLabel: "ms", xScale: .nines,
          yScale: .logarithmic,
          series: [
            Plot.Series(
              name: "latency", points: result.curve.map { ($0.percentile, $0.milliseconds) })
          ]))
    }
    if !result.slices.isEmpty {
      plots.append(throughput(result, bands))
      plots.append(
        Plot(
          title: "Latency over time", xLabel: "seconds", yLabel: "ms", yScale: .logarithmic,
          series: [
            Plot.Series(name: "p50", points: result.slices.map { ($0.at, $0.p50) }),
            Plot.Series(name: "p99", points: result.slices.map { ($0.at, $0.p99) }),
            Plot.Series(name: "max", points: result.slices.map { ($0.at, $0.max) }),
          ], bands: bands))
    }
    if result.samples.contains(where: { $0.cpu > 0 }) {
      plots.append(
        Plot(
          title: "Servers' CPU", xLabel: "seconds", yLabel: "cores",
          series: [Plot.Series(name: "CPU", points: result.samples.map { ($0.at, $0.cpu) })],
          bands: bands))
      plots.append(
        Plot(
          title: "Servers' memory", xLabel: "seconds", yLabel: "MiB resident",
          series: [
            Plot.Series(
              name: "memory", points: result.samples.map { ($0.at, $0.residentKiB / 1_024) })
          ], bands: bands))
    }
    if result.fsyncs != nil {
      plots.append(
        Plot(
          title: "fsyncs of all shards", xLabel: "seconds", yLabel: "in half a second",
          series: [Plot.Series(name: "fsyncs", points: result.samples.map { ($0.at, $0.fsyncs) })],
          bands: bands))
    }
    return plots
  }

  private static func throughput(_ result: RunResult, _ bands: [Plot.Band]) -> Plot {
    var series = [
      Plot.Series(
        name: "acknowledged",
        points: result.slices.map { ($0.at, Double($0.acknowledged) / max($0.seconds, 0.001)) })
    ]
    if result.counts.delivered > 0 {
      series.append(
        Plot.Series(
          name: "heard",
          points: result.slices.map { ($0.at, Double($0.delivered) / max($0.seconds, 0.001)) }))
    }
    return Plot(
      title: "Throughput over time", xLabel: "seconds", yLabel: "messages/s", series: series,
      bands: bands)
  }

  private static let style = """

    :root { color-scheme: light dark;
      --ink: #1d2330; --paper: #fff; --rule: #d9dee7; --soft: #5b6577; }
    @media (prefers-color-scheme: dark) {
      :root { --ink: #e6e9ef; --paper: #14171d; --rule: #2c323d; --soft: #98a2b3; }
    }
    body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
      max-width: 1360px; margin: 2rem auto; padding: 0 1rem; }
    h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
    small, p { color: var(--soft); font-weight: normal; }
    table {
      border-collapse: collapse; width: 100%; margin-bottom: 2rem;
      font-variant-numeric: tabular-nums;
    }
    th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--rule); }
    th { color: var(--soft); font-weight: 600; font-size: .85rem; }
    th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
    dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0;
      font-variant-numeric: tabular-nums; font-size: .9rem; }
    dt { color: var(--soft); } dd { margin: 0; }
    .wrong { color: #c62828; font-weight: 600; }
    .plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 1rem;
      margin-top: 1rem; }
    figure { margin: 0; border: 1px solid var(--rule); border-radius: 8px; padding: .4rem; }
    svg { width: 100%; height: auto; display: block; }
    svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
    svg text.title { fill: var(--ink); font-weight: 600; font-size: 13px; }
    .grid { stroke: var(--rule); stroke-width: 1; }
    .band { fill: #e57373; opacity: .22; } svg text.note { fill: #c62828; }
    polyline { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
    line[class^=s] { stroke-width: 3; }
    .s0 { stroke: #2f6fdf; } .s1 { stroke: #e07a1f; } .s2 { stroke: #b23ab8; }
    .s3 { stroke: #239b56; } .s4 { stroke: #7a6ff0; } .s5 { stroke: #8d6e63; }

    """
}

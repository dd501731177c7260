import Foundation

/// A line plot as inline SVG: axes with round numbers, one line a series, bands for what happened.
struct Plot {
  enum Scale {
    case linear
    /// Powers of ten.
    case logarithmic
    /// Percentiles: 0, 90, 99, 99.9 … at equal distances.
    case nines
  }

  struct Series {
    let name: String
    let points: [(x: Double, y: Double)]
  }

  /// A time in which something was done to the system.
  struct Band {
    let from: Double
    let to: Double
    let words: String
  }

  let title: String
  let xLabel: String
  let yLabel: String
  var xScale = Scale.linear
  var yScale = Scale.linear
  let series: [Series]
  var bands: [Band] = []

  private static let width = 640.0
  private static let height = 260.0
  private static let left = 64.0
  private static let right = 16.0
  private static let top = 30.0
  private static let bottom = 44.0
  private static let ticksWanted = 6.0

  var svg: String {
    let points = series.flatMap(\.points).filter { $0.y.isFinite && $0.x.isFinite }
    guard let xMax = points.map(\.x).max(), let yMax = points.map(\.y).max() else { return "" }
    let xRange = range(points.map(\.x).min() ?? 0, xMax, xScale)
    let yRange = range(points.map(\.y).min() ?? 0, yMax, yScale)
    var text = """
      <svg viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" role="img" \
      aria-label="\(Markup.escaped(title))">
      <text class="title" x="\(Self.left)" y="18">\(Markup.escaped(title))</text>

      """
    for band in bands {
      let from = x(band.from, xRange)
      let to = max(x(band.to, xRange), from + 2)
      text += """
        <rect class="band" x="\(short(from))" y="\(Self.top)" width="\(short(to - from))" \
        height="\(Self.height - Self.top - Self.bottom)"><title>\(Markup.escaped(band.words))</title></rect>
        <text class="note" x="\(short(from + 4))" y="\(Self.top + 12)">\(Markup.escaped(band.words))</text>

        """
    }
    for tick in ticks(xRange, xScale) {
      let place = short(x(tick, xRange))
      text += """
        <line class="grid" x1="\(place)" x2="\(place)" y1="\(Self.top)" y2="\(Self.height - Self.bottom)"/>
        <text class="tick" x="\(place)" y="\(Self.height - Self.bottom + 14)" text-anchor="middle">\(label(tick))</text>

        """
    }
    for tick in ticks(yRange, yScale) {
      let place = short(y(tick, yRange))
      text += """
        <line class="grid" x1="\(Self.left)" x2="\(Self.width - Self.right)" y1="\(place)" y2="\(place)"/>
        <text class="tick" x="\(Self.left - 6)" y="\(place)" dy="4" text-anchor="end">\(label(tick))</text>

        """
    }
    for (number, series) in series.enumerated() where !series.points.isEmpty {
      let path = series.points.map { point in
        "\(short(x(point.x, xRange))),\(short(y(point.y, yRange)))"
      }.joined(separator: " ")
      text += "<polyline class=\"s\(number % 6)\" points=\"\(path)\"/>\n"
    }
    if series.count > 1 { text += legend }
    text += """
      <text class="axis" x="\((Self.left + Self.width - Self.right) / 2)" y="\(Self.height - 8)" \
      text-anchor="middle">\(Markup.escaped(xLabel))</text>
      <text class="axis" transform="translate(14 \(Self.height / 2)) rotate(-90)" \
      text-anchor="middle">\(Markup.escaped(yLabel))</text>
      </svg>

      """
    return text
  }

  private var legend: String {
    var text = ""
    for (number, line) in series.enumerated() {
      let x = Self.width - Self.right - 84 * Double(min(series.count, 3) - number % 3)
      let y = 18 - 12 * Double(number / 3)
      text += """
        <line class="s\(number % 6)" x1="\(x)" x2="\(x + 18)" y1="\(y - 4)" y2="\(y - 4)"/>
        <text class="tick" x="\(x + 22)" y="\(y)">\(Markup.escaped(line.name))</text>

        """
    }
    return text
  }

  // MARK: Scales

  private func range(_ low: Double, _ high: Double, _ scale: Scale) -> ClosedRange<Double> {
    switch scale {
    case .linear: 0...(high > 0 ? high * 1.05 : 1)
    case .logarithmic:
      pow(10, floor(log10(max(low, 1e-3))))...pow(10, ceil(log10(max(high, 1e-2))))
    case .nines: 0...100
    }
  }

  private func part(_ value: Double, _ range: ClosedRange<Double>, _ scale: Scale) -> Double {
    switch scale {
    case .linear: return (value - range.lowerBound) / (range.upperBound - range.lowerBound)
    case .logarithmic:
      let (low, high) = (log10(range.lowerBound), log10(range.upperBound))
      return (log10(max(value, range.lowerBound)) - low) / max(high - low, 1e-9)
    case .nines: return min(nines(value) / Self.ninesMax, 1)
    }
  }

  private static let ninesMax = 5.0

  private func nines(_ percentile: Double) -> Double {
    -log10(max(1 - percentile / 100, pow(10, -Self.ninesMax)))
  }

  private func x(_ value: Double, _ range: ClosedRange<Double>) -> Double {
    Self.left + part(value, range, xScale) * (Self.width - Self.left - Self.right)
  }

  private func y(_ value: Double, _ range: ClosedRange<Double>) -> Double {
    Self.height - Self.bottom
      - part(value, range, yScale) * (Self.height - Self.top - Self.bottom)
  }

  private func ticks(_ range: ClosedRange<Double>, _ scale: Scale) -> [Double] {
    switch scale {
    case .linear:
      let rough = (range.upperBound - range.lowerBound) / Self.ticksWanted
      let power = pow(10, floor(log10(max(rough, 1e-9))))
      let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough } ?? power
      return Array(stride(from: 0, through: range.upperBound, by: step))
    case .logarithmic:
      var ticks: [Double] = []
      var tick = range.lowerBound
      while tick <= range.upperBound * 1.001 {
        ticks.append(tick)
        tick *= 10
      }
      return ticks
    case .nines: return [0, 90, 99, 99.9, 99.99, 99.999]
    }
  }

  private func label(_ value: Double) -> String {
    if value >= 10_000, value.truncatingRemainder(dividingBy: 1_000) == 0 {
      return "\(Int(value / 1_000))k"
    }
    return value == value.rounded() ? "\(Int(value))" : "\((value * 1_000).rounded() / 1_000)"
  }

  private func short(_ value: Double) -> String { String(format: "%.1f", value) }
}

/// Text in HTML.
enum Markup {
  static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;")
      .replacingOccurrences(of: "<", with: "&lt;")
      .replacingOccurrences(of: ">", with: "&gt;")
      .replacingOccurrences(of: "\"", with: "&quot;")
  }
}

import Primitives
import Telemetry

/// What a process measured of its nodes during the last hour, for plots. A process that starts has
/// none.
///
/// **Units**: rates are per second, over the interval that ends with the sample.
struct NodeHistory {
  static let interval: Milliseconds = 10_000
  /// An hour.
  static let samplesMax = 360

  private struct Sample {
    let time: WallTime
    let values: [(name: String, value: Double)]
  }

  private var samples: [String: [Sample]] = [:]
  private var last: [String: [String: Double]] = [:]
  private var lastInstant: Instant?

  /// Takes a page of metrics in; of the first one only totals are kept.
  ///
  /// - Parameter nodes: those that share it; a single one has it for itself.
  mutating func add(_ page: MetricsPage, of nodes: [String], now: Instant, wall: WallTime) {
    let elapsed = lastInstant.map { Double(now.milliseconds(since: $0).rawValue) / 1_000 }
    lastInstant = now
    for node in nodes {
      let found = (nodes.count == 1 ? page : page.page(of: node)).samples
      let before = last.updateValue(found, forKey: node)
      guard let before, let elapsed, elapsed > 0 else { continue }
      let values = Interval(before: before, after: found, seconds: elapsed).values
      samples[node, default: []].append(Sample(time: wall, values: values))
      if samples[node, default: []].count > Self.samplesMax { samples[node]?.removeFirst() }
    }
  }

  /// **Shape**: `{"intervalSeconds": 10, "samples": [{"time": ms, "values": {name: number}}]}`,
  /// oldest first.
  func json(of node: String) -> String {
    let samples = (samples[node] ?? []).map { sample in
      JSONText.object([
        ("time", "\(sample.time.milliseconds)"),
        ("values", JSONText.object(sample.values.map { ($0.name, "\($0.value)") })),
      ])
    }
    return JSONText.object([
      ("intervalSeconds", "\(Self.interval.rawValue / 1_000)"),
      ("samples", JSONText.array(samples)),
    ])
  }
}

/// Two pages of one node, some time apart.
private struct Interval {
  let before: [String: Double]
  let after: [String: Double]
  let seconds: Double

  var values: [(name: String, value: Double)] {
    var values: [(String, Double)] = []
    func add(_ name: String, _ value: Double?) {
      if let value, value.isFinite { values.append((name, value)) }
    }
    add("cpu", rate("process_cpu_seconds_total"))
    add("residentBytes", after["process_resident_memory_bytes"])
    add("commands", rate("martlet_commands_total"))
    if let syncs = growth("martlet_store_synced_write_seconds_count") {
      add("syncs", syncs / seconds)
      let total = growth("martlet_store_synced_write_seconds_sum") ?? 0
      add("syncSeconds", syncs > 0 ? total / syncs : 0)
    }
    add("diskBytes", after["martlet_disk_bytes"])
    add("diskFreeBytes", after["martlet_disk_free_bytes"])
    add("sessions", after["martlet_sessions"])
    add("sends", rate("martlet_send_seconds_count"))
    add("sendP50", quantile(0.5, of: "martlet_send_seconds"))
    add("sendP99", quantile(0.99, of: "martlet_send_seconds"))
    return values
  }

  /// `nil` when there is no such counter.
  private func growth(_ name: String) -> Double? {
    guard let value = after[name] else { return nil }
    return max(0, value - (before[name] ?? 0))
  }

  private func rate(_ name: String) -> Double? { growth(name).map { $0 / seconds } }

  /// By its place between the bounds of its bucket; `nil` when nothing was counted.
  private func quantile(_ quantile: Double, of name: String) -> Double? {
    guard let count = growth("\(name)_count"), count > 0 else { return nil }
    let wanted = count * quantile
    var lower = 0.0
    var below = 0.0
    for bound in DurationHistogram.upperBounds {
      let through = growth("\(name)_bucket{le=\"\(MetricsPage.text(bound))\"}") ?? 0
      if through >= wanted, through > below {
        return lower + (bound - lower) * (wanted - below) / (through - below)
      }
      (lower, below) = (bound, through)
    }
    return lower
  }
}

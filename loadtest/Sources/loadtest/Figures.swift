import Foundation
import Histogram

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// What the servers counted at one moment.
struct Counters: Sendable {
  /// Of all shards.
  var fsyncs = 0.0
  /// **Units**: seconds, user and system, of all named processes.
  var cpuSeconds = 0.0
  var shardCount = 0

  private static let fsyncMetric = "martlet_store_synced_write_seconds_count"

  static func read(metrics: [String], pids: [Int32]) async throws -> Counters {
    var counters = Counters()
    for text in metrics {
      guard let url = URL(string: text),
        let (data, _) = try? await URLSession.shared.data(from: url)
      else { throw LoadTestError("--metrics \(text): cannot be read") }
      let lines = String(decoding: data, as: UTF8.self).split(separator: "\n")
      guard let line = lines.first(where: { $0.hasPrefix(fsyncMetric) }),
        let value = line.split(separator: " ").last.flatMap({ Double($0) })
      else { throw LoadTestError("--metrics \(text): has no \(fsyncMetric)") }
      counters.fsyncs += value
      counters.shardCount += 1
    }
    for pid in pids { counters.cpuSeconds += try cpuSeconds(of: pid) }
    return counters
  }

  /// Fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms.
  private static func cpuSeconds(of pid: Int32) throws -> Double {
    guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let end = stat.lastIndex(of: ")")
    else { throw LoadTestError("--pid \(pid): no such process") }
    let fields = stat[stat.index(after: end)...].split(separator: " ")
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
      throw LoadTestError("--pid \(pid): its times cannot be read")
    }
    return (user + system) / 100
  }

  func since(_ before: Counters) -> Counters {
    Counters(
      fsyncs: fsyncs - before.fsyncs, cpuSeconds: cpuSeconds - before.cpuSeconds,
      shardCount: shardCount)
  }
}

/// What a send run measured.
struct SendFigures: Sendable {
  let acknowledgedCount: Int
  let latencies: Histogram<UInt64>
  let elapsedSeconds: Double

  private func milliseconds(_ percentile: Double) -> Double {
    Double(latencies.valueAtPercentile(percentile)) / 1_000
  }

  func report(_ counters: Counters, plan: SendCommand, refusals: [String: Int]) -> String {
    let rate = Double(acknowledgedCount) / elapsedSeconds
    let perThousand = acknowledgedCount > 0 ? 1_000 / Double(acknowledgedCount) : 0
    var rows: [(name: String, value: Double)] = [
      ("acknowledged_per_second", rate), ("p50_milliseconds", milliseconds(50)),
      ("p90_milliseconds", milliseconds(90)), ("p99_milliseconds", milliseconds(99)),
      ("p99_9_milliseconds", milliseconds(99.9)),
      ("max_milliseconds", Double(latencies.max) / 1_000),
    ]
    if counters.shardCount > 0 {
      let fsyncs = counters.fsyncs * perThousand / Double(counters.shardCount)
      rows.append(("fsyncs_per_1000_acknowledgements_per_shard", fsyncs))
    }
    if !plan.pid.isEmpty {
      rows.append(
        ("server_cpu_microseconds_per_message", counters.cpuSeconds * perThousand * 1_000))
    }
    let refused = refusals.values.reduce(0, +)
    rows.append(("refused", Double(refused)))
    if plan.json {
      let body = rows.map { "\"\($0.name)\":\(String(format: "%.3f", $0.value))" }
      return
        "{\"connections\":\(plan.connections),\"window\":\(plan.window),\(body.joined(separator: ","))}"
    }
    let head =
      "\(plan.connections) connections × \(plan.window) in flight, \(plan.bytes) B, closed loop"
      + (plan.logOnly ? ", log only" : "")
    return
      ([head] + rows.map { "  \($0.name) \(String(format: "%.2f", $0.value))" }
      + refusals.keys.sorted().map { "  refused \($0): \(refusals[$0] ?? 0)" }).joined(
        separator: "\n")
  }
}

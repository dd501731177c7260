import Foundation
import LoadModel

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// What the servers had used and counted at one moment.
struct ServerCounters: Sendable {
  var processes: [(name: String, pid: Int32, times: ProcessTimes)] = []
  /// Of each shard, by its page, as far as it answered.
  private var fsyncs: [String: Double] = [:]

  private static let fsyncMetric = "martlet_store_synced_write_seconds_count"

  /// A process that has ended meanwhile (it was killed on purpose) is left out.
  ///
  /// **Throws**: `LoadError` when a page cannot be read and `isStrict`.
  static func read(_ servers: Servers, isStrict: Bool) async throws -> ServerCounters {
    var counters = ServerCounters()
    for text in servers.metrics {
      do {
        counters.fsyncs[text] = try await fsyncs(text)
      } catch { if isStrict { throw error } }
    }
    for process in servers.processes {
      do {
        guard let pid = process.pid else { throw LoadError("\(process.name) does not run") }
        counters.processes.append((process.name, pid, try ProcessTimes.of(pid)))
      } catch { if isStrict { throw error } }
    }
    return counters
  }

  private static func fsyncs(_ page: String) async throws -> Double {
    guard let url = URL(string: page),
      let (data, _) = try? await URLSession.shared.data(from: url)
    else { throw LoadError("\(page): cannot be read") }
    let lines = String(decoding: data, as: UTF8.self).split(separator: "\n")
    guard let line = lines.first(where: { $0.hasPrefix(fsyncMetric) }),
      let value = line.split(separator: " ").last.flatMap({ Double($0) })
    else { throw LoadError("\(page): has no \(fsyncMetric)") }
    return value
  }

  /// Of all shards since `before`; `nil` when none was asked. One that was started anew has begun
  /// with nothing.
  func fsyncs(since before: ServerCounters) -> Double? {
    guard !fsyncs.isEmpty else { return nil }
    return fsyncs.reduce(0) { sum, shard in
      guard let earlier = before.fsyncs[shard.key] else { return sum }
      return sum + (shard.value >= earlier ? shard.value - earlier : shard.value)
    }
  }

  var cpuSeconds: Double { processes.reduce(0) { $0 + $1.times.cpuSeconds } }
  var residentKiB: Double { processes.reduce(0) { $0 + $1.times.residentKiB } }

  /// What each process used since.
  func uses(since before: ServerCounters) -> [ServerUse] {
    processes.compactMap { name, pid, times in
      guard let known = before.processes.first(where: { $0.name == name }) else { return nil }
      // One that was started anew began with nothing.
      let first =
        known.pid == pid
        ? known.times
        : ProcessTimes(cpuSeconds: 0, residentKiB: known.times.residentKiB, writeCalls: 0)
      return ServerUse(
        name: name, cpuSeconds: times.cpuSeconds - first.cpuSeconds,
        residentKiBBefore: first.residentKiB, residentKiB: times.residentKiB,
        writeCalls: times.writeCalls - first.writeCalls)
    }
  }
}

import Foundation
import LoadModel

/// Where the figures come from.
package enum Machine {
  /// Processor, cores and memory.
  package static var words: String {
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let memory = ProcessInfo.processInfo.physicalMemory >> 30
    let info = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let model = info.split(separator: "\n").first { $0.hasPrefix("model name") }
      .flatMap { $0.split(separator: ":").last }
    let name = model.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown processor"
    return "\(name), \(cores) cores, \(memory) GiB"
  }

  package static var time: String { Date().formatted(.iso8601) }
}

/// How many files a process may open.
package enum FileDescriptors {
  /// Up to what the system allows.
  ///
  /// **Throws**: `LoadError` when the limit cannot be read.
  package static func raise() throws {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
      throw LoadError("the limit of open files cannot be read")
    }
    limit.rlim_cur = limit.rlim_max
    _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// Of the process itself: standard streams, event loops, questions to the API and counters.
  private static let reserve = 200

  /// **Throws**: `LoadError` when a process of this machine cannot open its share of so many
  /// sessions.
  package static func check(sessions: Int, workers: Int) throws {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
      throw LoadError("the limit of open files cannot be read")
    }
    let most = max(1, Int(clamping: limit.rlim_cur) - reserve)
    guard (sessions + workers - 1) / workers <= most else {
      throw LoadError(
        "\(sessions) sessions: a process may open \(limit.rlim_cur) files here; "
          + "--workers \((sessions - 1) / most + 1) share them, or raise the limit (ulimit -n)")
    }
  }
}

import Foundation
import LoadModel

/// What the kernel says of processes.
package struct ProcessTimes: Sendable {
  /// User and system. **Units**: seconds.
  package var cpuSeconds: Double
  /// Resident. **Units**: KiB.
  package var residentKiB: Double
  /// Calls of write(2) and the like.
  package var writeCalls: Double

  /// **Throws**: `LoadError` when there is no such process.
  package static func of(_ pid: Int32) throws -> ProcessTimes {
    guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let end = stat.lastIndex(of: ")")
    else { throw LoadError("process \(pid): there is none") }
    let fields = stat[stat.index(after: end)...].split(separator: " ")
    guard fields.count > 21, let user = Double(fields[11]), let system = Double(fields[12]),
      let pages = Double(fields[21])
    else { throw LoadError("process \(pid): its times cannot be read") }
    let io = try? String(contentsOfFile: "/proc/\(pid)/io", encoding: .utf8)
    let writes = io?.split(separator: "\n").first { $0.hasPrefix("syscw:") }
      .flatMap { Double($0.split(separator: " ").last ?? "") }
    return ProcessTimes(
      cpuSeconds: (user + system) / Double(sysconf(Int32(_SC_CLK_TCK))),
      residentKiB: pages * Double(sysconf(Int32(_SC_PAGESIZE))) / 1_024, writeCalls: writes ?? 0)
  }

  /// This process's. **Units**: seconds.
  static func own() -> Double {
    var usage = rusage()
    guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}

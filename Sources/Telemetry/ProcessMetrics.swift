import Glibc

/// What the kernel knows of this process, under the names that every Prometheus library uses.
package enum ProcessMetrics {
  private static let statBytesMax = 4_096

  /// Adds what the kernel knows of this process.
  package static func add(to page: inout MetricsPage) {
    var usage = rusage()
    if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
      page.counter(
        "process_cpu_seconds_total", "User and system time of the process, in seconds.",
        seconds(usage.ru_utime) + seconds(usage.ru_stime))
    }
    if let pages = residentPages() {
      page.gauge(
        "process_resident_memory_bytes", "Memory of the process that is in RAM, in bytes.",
        pages * sysconf(Int32(_SC_PAGESIZE)))
    }
    if let count = openFileCount() {
      page.gauge("process_open_fds", "File descriptors that the process has open.", count)
    }
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
      page.gauge(
        "process_max_fds", "File descriptors that the process may have open.",
        Double(limit.rlim_cur))
    }
  }

  private static func seconds(_ time: timeval) -> Double {
    Double(time.tv_sec) + Double(time.tv_usec) / 1_000_000
  }

  /// The second number of `/proc/self/statm`.
  private static func residentPages() -> Int? {
    let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: statBytesMax)
    let count = read(file, &bytes, bytes.count)
    guard count > 0 else { return nil }
    let numbers = String(decoding: bytes.prefix(count), as: UTF8.self).split(separator: " ")
    return numbers.count > 1 ? Int(numbers[1]) : nil
  }

  private static func openFileCount() -> Int? {
    guard let directory = opendir("/proc/self/fd") else { return nil }
    defer { closedir(directory) }
    // Without ".", ".." and the descriptor of this listing.
    var count = -3
    while readdir(directory) != nil { count += 1 }
    return count
  }
}

import Glibc
package import Logging

/// Writes one line per event to standard error:
///
/// ```
/// 2025-01-31T08:15:30.123Z info the shard serves node=shard1 links=127.0.0.1:7101
/// ```
///
/// Whatever a value holds, the line stays one line: peers' names are among them.
package struct LineLogHandler: LogHandler {
  package var metadata: Logger.Metadata = [:]
  package var metadataProvider: Logger.MetadataProvider?
  package var logLevel: Logger.Level
  private let write: @Sendable ([UInt8]) -> Void

  /// - Parameter write: gets whole lines, from any thread.
  package init(
    level: Logger.Level, write: @escaping @Sendable ([UInt8]) -> Void = Self.standardError
  ) {
    logLevel = level
    self.write = write
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
    if let own = event.metadata { all.merge(own) { $1 } }
    var line = "\(Self.now()) \(event.level.rawValue) \(Self.oneLine("\(event.message)"))"
    for (key, value) in all.sorted(by: { $0.key < $1.key }) {
      line += " \(Self.oneLine(key))=\(Self.quoted("\(value)"))"
    }
    write(Array((line + "\n").utf8))
  }

  /// One call of the system for a line, so that lines of several threads do not mix.
  package static func standardError(_ line: [UInt8]) {
    _ = line.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  private static func now() -> String {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    var parts = tm()
    gmtime_r(&time.tv_sec, &parts)
    func padded(_ value: Int, _ digits: Int) -> String {
      let text = String(value)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    let date =
      "\(parts.tm_year + 1900)-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
    let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { padded(Int($0), 2) }
    return "\(date)T\(clock.joined(separator: ":")).\(padded(time.tv_nsec / 1_000_000, 3))Z"
  }

  private static func quoted(_ value: String) -> String {
    let text = oneLine(value)
    guard text.isEmpty || text.contains(where: { $0 == " " || $0 == "\"" || $0 == "=" }) else {
      return text
    }
    return "\"" + text.map { $0 == "\"" ? "\\\"" : String($0) }.joined() + "\""
  }

  private static func oneLine(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) else {
      return text
    }
    return text.unicodeScalars.map { scalar in
      scalar.properties.generalCategory == .control
        ? "\\u{\(String(scalar.value, radix: 16))}" : String(scalar)
    }.joined()
  }
}

import Foundation
package import LoadModel

/// Reports as files of JSON.
package enum ReportFile {
  package static func text(_ report: Report) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    return String(decoding: try encoder.encode(report), as: UTF8.self)
  }

  /// **Throws**: `LoadError` when it cannot be written.
  package static func write(_ report: Report, to path: String) throws {
    do { try Data(try text(report).utf8).write(to: URL(fileURLWithPath: path)) } catch {
      throw LoadError("\(path): cannot be written: \(error.localizedDescription)")
    }
  }

  /// **Throws**: `LoadError` when it is no report.
  package static func read(_ path: String) throws -> Report {
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)) else {
      throw LoadError("\(path): cannot be read")
    }
    do { return try JSONDecoder().decode(Report.self, from: data) } catch {
      throw LoadError("\(path): it is no report of this version")
    }
  }
}

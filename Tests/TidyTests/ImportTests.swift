import Foundation
import Testing

/// Reads the import lines of all sources and holds them against the table.
@Suite struct ImportTests {
  private struct Source {
    let module: String
    let path: String
    let lines: [String]
  }

  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static let sources: [Source] = {
    let folder = root.appendingPathComponent("Sources")
    let files = FileManager.default.enumerator(atPath: folder.path)
    return (files?.compactMap { $0 as? String } ?? []).sorted()
      .filter { $0.hasSuffix(".swift") }
      .compactMap { path in
        guard
          let text = try? String(contentsOf: folder.appendingPathComponent(path), encoding: .utf8),
          let module = path.split(separator: "/").first
        else { return nil }
        return Source(
          module: String(module), path: path, lines: text.components(separatedBy: "\n"))
      }
  }()

  private static func imports(of source: Source) -> [String] {
    source.lines.compactMap { line in
      let words = line.split(separator: " ")
      guard let place = words.firstIndex(of: "import"), words.count > place + 1,
        words[..<place].allSatisfy({ ["package", "public", "internal", "@testable"].contains($0) })
      else { return nil }
      return words[place + 1].split(separator: ".").first.map(String.init)
    }
  }

  @Test func everyModuleHasARow() {
    let modules = Set(Self.sources.map(\.module)).subtracting(ImportTable.programs)
    let missing = modules.filter { ImportTable.rules[$0] == nil }
    #expect(!modules.isEmpty)
    #expect(missing.isEmpty, "no row in the import table: \(missing.sorted())")
  }

  @Test func modulesImportOnlyWhatTheirRowAllows() {
    for source in Self.sources where !ImportTable.programs.contains(source.module) {
      guard let rule = ImportTable.rules[source.module],
        !source.path.contains("/\(ImportTable.generatedFolder)/")
      else { continue }
      for name in Self.imports(of: source) {
        let allowed = rule.imports.contains(name) || rule.external.contains(name)
        #expect(allowed, "\(source.path) imports \(name)")
      }
    }
  }

  @Test func importsPointDown() {
    for (module, rule) in ImportTable.rules {
      for name in rule.imports {
        guard let below = ImportTable.rules[name] else { continue }
        #expect(below.layer <= rule.layer, "\(module) (layer \(rule.layer)) imports \(name)")
      }
    }
  }

  @Test func noModuleImportsItselfThroughOthers() {
    func reaches(_ start: String, _ from: String, _ seen: inout Set<String>) -> Bool {
      for name in ImportTable.rules[from]?.imports ?? [] {
        if name == start { return true }
        if seen.insert(name).inserted, reaches(start, name, &seen) { return true }
      }
      return false
    }
    for module in ImportTable.rules.keys {
      var seen: Set<String> = []
      #expect(!reaches(module, module, &seen), "\(module) is part of a cycle")
    }
  }

  @Test func logicReadsNoClockAndDrawsNoLots() {
    let forbidden = [
      "SystemRandomNumberGenerator", ".random(in", "clock_gettime", "ContinuousClock", "Date()",
      "DispatchTime", "hashValue",
    ]
    for source in Self.sources {
      guard let rule = ImportTable.rules[source.module], rule.layer <= 2 else { continue }
      for line in source.lines where !line.trimmingCharacters(in: .whitespaces).hasPrefix("//") {
        for word in forbidden { #expect(!line.contains(word), "\(source.path): \(line)") }
      }
    }
  }

  @Test func uncheckedSendabilityIsExplained() {
    let words = ["@unchecked Sendable", "nonisolated(unsafe)"]
    for source in Self.sources {
      for (number, line) in source.lines.enumerated()
      where words.contains(where: { line.contains($0) })
        && !line.trimmingCharacters(in: .whitespaces).hasPrefix("//")
      {
        let near = source.lines[max(0, number - 6)..<min(source.lines.count, number + 8)]
        #expect(
          near.contains { $0.contains("Safety:") },
          "\(source.path):\(number + 1) has no Safety note")
      }
    }
  }
}

import Foundation
import Testing

/// Files stay small enough to read in one go.
@Suite struct SizeTests {
  private static let linesMax = 450
  private static let columnsMax = 100

  private static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  private static func files() -> [(path: String, text: String)] {
    var found: [(path: String, text: String)] = []
    for folder in ["Sources", "Tests", "loadtest/Sources"] {
      let base = root.appendingPathComponent(folder)
      let paths =
        FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
      for path in paths.sorted() where path.hasSuffix(".swift") && !path.contains("Generated/") {
        if let text = try? String(contentsOf: base.appendingPathComponent(path), encoding: .utf8) {
          found.append(("\(folder)/\(path)", text))
        }
      }
    }
    return found
  }

  @Test func filesAreShort() {
    let files = Self.files()
    #expect(files.count > 100)
    for file in files {
      let lines = file.text.components(separatedBy: "\n").count
      #expect(lines <= Self.linesMax, "\(file.path) has \(lines) lines")
    }
  }

  /// A table's row and a long text cannot be broken without harm.
  private static func mayBeLong(_ line: String) -> Bool {
    line.contains("\"") || line.trimmingCharacters(in: .whitespaces).hasPrefix("/// |")
  }

  @Test func linesAreShort() {
    for file in Self.files() {
      for (number, line) in file.text.components(separatedBy: "\n").enumerated()
      where line.count > Self.columnsMax && !Self.mayBeLong(line) {
        Issue.record("\(file.path):\(number + 1) has \(line.count) columns")
      }
    }
  }

  @Test func noFileIsAJunkDrawer() {
    let names = ["Utils", "Helpers", "Manager", "Common"]
    for file in Self.files() {
      let name = file.path.split(separator: "/").last ?? ""
      for word in names { #expect(!name.contains(word), "\(file.path)") }
    }
  }
}

/// The files of the web pages are parts of the program.
@Suite struct WebPagesTests {
  private static let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Sources/WebPages")
  private static let columnsMax = 100
  private static let linesMax = 450

  private static func files() throws -> [(path: String, text: String)] {
    try ["Chat", "Console"].flatMap { page in
      try FileManager.default.contentsOfDirectory(
        atPath: folder.appendingPathComponent(page).path
      ).sorted().map { name in
        let path = "\(page)/\(name)"
        return (
          path, try String(contentsOf: folder.appendingPathComponent(path), encoding: .utf8)
        )
      }
    }
  }

  @Test func everyFileIsEmbeddedAndServed() throws {
    let source = try String(
      contentsOf: Self.folder.appendingPathComponent("WebPages.c"), encoding: .utf8)
    let files = try Self.files()
    #expect(files.count > 10)
    for file in files {
      let parts = file.path.split(separator: "/")
      #expect(source.contains("#embed \"\(file.path)\""), "\(file.path)")
      #expect(source.contains("{\"\(parts[0])\", \"\(parts[1])\","), "\(file.path)")
    }
  }

  @Test func scriptsAreShortAndMakeNoMarkup() throws {
    for file in try Self.files() where file.path.hasSuffix(".js") {
      let lines = file.text.components(separatedBy: "\n")
      #expect(lines.count <= Self.linesMax, "\(file.path) has \(lines.count) lines")
      for (number, line) in lines.enumerated() {
        #expect(line.count <= Self.columnsMax, "\(file.path):\(number + 1)")
      }
      for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        #expect(!file.text.contains(word), "\(file.path): \(word)")
      }
    }
  }
}

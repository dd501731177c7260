import Foundation

/// Programs that a test runs to their end.
enum Program {
  /// The `martlet` of the same build as the tests; MARTLET_TEST_BINARY names another one.
  static let martlet: String = {
    if let other = ProcessInfo.processInfo.environment["MARTLET_TEST_BINARY"] { return other }
    let tests =
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
      ?? CommandLine.arguments[0]
    return URL(fileURLWithPath: tests).deletingLastPathComponent()
      .appendingPathComponent("martlet").path
  }()

  /// Where the repository lies.
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  /// A program of an earlier version, where there is one.
  static let older = ProcessInfo.processInfo.environment["MARTLET_TEST_OLDER_BINARY"]

  /// What every program gets: nothing of Martlet's settings, whatever the tester's shell holds.
  static let environment: [String: String] = ProcessInfo.processInfo.environment.filter {
    ["PATH", "HOME", "LANG", "TMPDIR"].contains($0.key)
  }

  struct Outcome: Sendable, CustomStringConvertible {
    let ending: Ending
    let output: String
    let error: String

    var description: String { "\(ending), output '\(output)', error '\(error)'" }
  }

  /// **Throws**: `ClusterFailure` when it does not end in time; it is killed then.
  static func run(
    _ program: String, _ arguments: [String], environment added: [String: String] = [:],
    within limit: Duration = .seconds(60)
  ) async throws -> Outcome {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let (output, error) = (directory.file("output"), directory.file("error"))
    let process = try ChildProcess(
      program, arguments, environment: environment.merging(added) { $1 }, output: output,
      error: error)
    do {
      let ending = try await process.waitUntilEnd(within: limit)
      return Outcome(ending: ending, output: try text(output), error: try text(error))
    } catch {
      process.send(SIGKILL)
      _ = try? await process.waitUntilEnd(within: .seconds(10))
      throw ClusterFailure("\(program) \(arguments.joined(separator: " ")): \(error)")
    }
  }

  /// Runs `martlet`.
  static func martlet(
    _ arguments: [String], environment: [String: String] = [:]
  ) async throws -> Outcome {
    try await run(martlet, arguments, environment: environment)
  }

  /// **Throws**: `ClusterFailure` unless it exits with 0.
  /// **Returns**: what it has written on standard output.
  static func succeed(
    _ program: String, _ arguments: [String], environment: [String: String] = [:],
    within limit: Duration = .seconds(60)
  ) async throws -> String {
    let outcome = try await run(
      program, arguments, environment: environment, within: limit)
    guard outcome.ending == .exited(0) else {
      throw ClusterFailure("\(program) \(arguments.joined(separator: " ")): \(outcome)")
    }
    return outcome.output
  }

  static func text(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
  }
}

/// A directory of one test alone.
struct TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    path =
      FileManager.default.temporaryDirectory
      .appendingPathComponent("martlet-cluster-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  func file(_ name: String) -> String { "\(path)/\(name)" }
  func remove() { try? FileManager.default.removeItem(atPath: path) }
}

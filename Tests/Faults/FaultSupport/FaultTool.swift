import Foundation
import Glibc

/// What keeps a test of a fault tool from going on.
package struct FaultToolError: Error, CustomStringConvertible {
  package let description: String

  package init(_ description: String) { self.description = description }
}

/// A running `fault-disk` or `slow-link`, and the connection to its control socket.
///
/// **Isolation**: one thread at a time.
package final class FaultTool {
  private static let startTimeoutSeconds = 20.0
  private static let stopTimeoutSeconds = 20.0

  private let process = Process()
  private let control: ControlClient

  /// Starts the tool and waits until it takes commands.
  ///
  /// - Parameter name: of a program of the same build as the tests.
  /// - Parameter controlPath: is passed on as `--control`.
  /// **Throws**: when it ends first, or takes no commands in time.
  package init(_ name: String, _ arguments: [String], controlPath: String) throws {
    process.executableURL = URL(fileURLWithPath: Self.path(of: name))
    process.arguments = arguments + ["--control", controlPath]
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    let deadline = Date().addingTimeInterval(Self.startTimeoutSeconds)
    while true {
      if let client = try? ControlClient(path: controlPath) {
        control = client
        return
      }
      guard process.isRunning else { throw FaultToolError("\(name) has ended") }
      guard Date() < deadline else {
        process.terminate()
        throw FaultToolError("\(name) takes no commands")
      }
      usleep(5_000)
    }
  }

  /// **Returns**: the answer to one command.
  package func ask(_ line: String) throws -> String { try control.ask(line) }

  /// **Throws**: unless the answer is `ok`.
  package func tell(_ line: String) throws {
    let answer = try ask(line)
    guard answer == "ok" else { throw FaultToolError("'\(line)' is answered by '\(answer)'") }
  }

  /// The numbers of the answer to `stat`, by name. Those of objects within have names as in
  /// `outer.inner`.
  package func statistics() throws -> [String: Int] {
    let answer = try ask("stat")
    let object = try JSONSerialization.jsonObject(with: Data(answer.utf8))
    guard let fields = object as? [String: Any] else { throw FaultToolError(answer) }
    var numbers: [String: Int] = [:]
    for (name, value) in fields {
      if let number = value as? Int { numbers[name] = number }
      for (inner, value) in value as? [String: Int] ?? [:] { numbers["\(name).\(inner)"] = value }
    }
    return numbers
  }

  /// Sends SIGTERM and waits for the end; kills what does not end in time.
  /// **Returns**: whether it ended by itself, with code 0.
  @discardableResult
  package func stop() -> Bool {
    process.terminate()
    let deadline = Date().addingTimeInterval(Self.stopTimeoutSeconds)
    while process.isRunning, Date() < deadline { usleep(5_000) }
    if process.isRunning {
      kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
    }
    return process.terminationReason == .exit && process.terminationStatus == 0
  }

  private static func path(of name: String) -> String {
    let tests =
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
      ?? CommandLine.arguments[0]
    return URL(fileURLWithPath: tests).deletingLastPathComponent()
      .appendingPathComponent(name).path
  }
}

/// A directory of one test alone.
package struct TemporaryFolder: Sendable {
  package let path: String

  /// Its path is short: a unix socket's may have 107 bytes.
  package init() throws {
    path = "/tmp/martlet-fault-\(UInt32.random(in: 0...UInt32.max))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  package func file(_ name: String) -> String { "\(path)/\(name)" }
  package func remove() { try? FileManager.default.removeItem(atPath: path) }
}

import ArgumentParser
import Foundation
import LoadModel

/// The entry point: one subcommand per question.
@main
struct LoadTest: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "loadtest",
    abstract: "Puts load on a Martlet cluster, or on another system, and says what came of it.",
    subcommands: [
      RunCommand.self, SendCommand.self, IdleCommand.self, FanOutCommand.self,
      FailoverCommand.self, FloorCommand.self, CompareCommand.self, DiffCommand.self,
      PageCommand.self,
      WorkerCommand.self,
    ])
}

/// Writes to standard error: progress, and why something ended.
func tellError(_ line: String) {
  FileHandle.standardError.write(Data("loadtest: \(line)\n".utf8))
}

extension AsyncParsableCommand {
  /// Ends with one line when something does not work.
  func guarded(_ body: () async throws -> Void) async throws {
    do { try await body() } catch let error as LoadError {
      tellError(error.description)
      throw ExitCode(1)
    }
  }
}

/// Ctrl-C ends what is measured; a second one ends the process.
final class Interruption: @unchecked Sendable {
  // Safety: behind the lock.
  private let lock = NSLock()
  private var count = 0
  private let source: any DispatchSourceSignal

  static let shared = Interruption()

  private init() {
    signal(SIGINT, SIG_IGN)
    source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
    source.setEventHandler { [unowned self] in
      let times = lock.withLock {
        count += 1
        return count
      }
      if times > 1 { exit(130) }
      tellError("interrupted: what was measured so far is reported; once more ends at once")
    }
    source.resume()
  }

  var isInterrupted: Bool { lock.withLock { count > 0 } }
}

struct WorkerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker",
    abstract: "Serves another loadtest by its standard input and output.")

  func run() async throws { try await serveAsWorker() }
}

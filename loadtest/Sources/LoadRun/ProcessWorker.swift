import Foundation
package import LoadModel

/// A worker in another process, here or on another machine: requests and answers are lines of JSON
/// on its standard input and output. So any command that starts `loadtest worker` somewhere will
/// do, such as `ssh HOST loadtest worker`, and nothing listens on a network.
package actor ProcessWorker: LoadWorker {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private let command: String
  private var rest = Data()

  /// - Parameter command: of a shell.
  /// **Throws**: `LoadError` when it cannot be started.
  package init(_ command: String) throws {
    self.command = command
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "exec \(command)"]
    process.standardInput = input
    process.standardOutput = output
    do { try process.run() } catch { throw LoadError("\(command): \(error)") }
  }

  package func ask(_ request: WorkerRequest) async throws -> WorkerAnswer {
    do {
      try input.fileHandleForWriting.write(
        contentsOf: try JSONEncoder().encode(request) + Data([0x0a]))
    } catch { throw LoadError("the worker '\(command)' has ended") }
    return try JSONDecoder().decode(WorkerAnswer.self, from: try await line())
  }

  private func line() async throws -> Data {
    while true {
      if let end = rest.firstIndex(of: 0x0a) {
        let line = rest[..<end]
        rest = Data(rest[rest.index(after: end)...])
        return Data(line)
      }
      let handle = output.fileHandleForReading
      let more = await withCheckedContinuation { waiting in
        DispatchQueue.global().async { waiting.resume(returning: handle.availableData) }
      }
      guard !more.isEmpty else { throw LoadError("the worker '\(command)' has ended") }
      rest.append(more)
    }
  }

  package func shutDown() {
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }
}

/// The other end of a `ProcessWorker`.
package enum WorkerLoop {
  /// Serves requests until the input ends.
  package static func run() async throws {
    let worker = LocalWorker()
    while let line = readLine() {
      let answer: WorkerAnswer
      do {
        let request = try JSONDecoder().decode(WorkerRequest.self, from: Data(line.utf8))
        answer = try await worker.ask(request)
      } catch { answer = .failed("\(error)") }
      FileHandle.standardOutput.write(try JSONEncoder().encode(answer) + Data([0x0a]))
    }
    try await worker.shutDown()
  }
}

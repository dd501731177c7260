import ArgumentParser
import Foundation
import LoadModel
import LoadReport
import LoadRun

struct FloorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "floor",
    abstract: "What this machine needs for a sync, a loopback message and the generator itself.")

  @Option(help: "Where to sync; a directory on the disk that shards use.") var place = "."
  @Option(help: "Seconds of each run of the generator against nothing.") var seconds = 3.0

  func validate() throws { try check("seconds", seconds, Limits.seconds) }

  func run() async throws {
    try await guarded {
      print(Machine.words)
      for figure in try Floor.measure(in: place) {
        let wall = String(format: "%.2f", figure.wall)
        let cpu = String(format: "%.2f", figure.cpu)
        print("  \(figure.name): \(wall) µs, of which CPU \(cpu) µs")
      }
      let target = try await NullTarget()
      let worker = LocalWorker()
      let measurement = Measurement(
        at: target, workers: [worker], cluster: nil, sharesClock: true, tell: { _ in },
        isInterrupted: { Interruption.shared.isInterrupted })
      for (connections, window) in [(64, 1), (8, 256), (1, 1)] {
        var traffic = Traffic()
        traffic.sessions = connections
        traffic.conversations = connections
        traffic.senders = connections
        traffic.pace = .closed(window: window)
        var run = Run(name: "\(connections) × \(window)", workload: .traffic(traffic))
        run.seconds = seconds
        run.warmupSeconds = 0.5
        let result = try await measurement.measure(run, of: "floor")
        let count = max(1, Double(result.counts.acknowledged))
        // The null server runs in this process, too.
        let cpu = String(format: "%.2f", result.generatorCPUSeconds * 1e6 / count)
        print(
          "  generator and null server, \(run.name): "
            + "\(Int(result.acknowledgedPerSecond)) messages/s, CPU of both \(cpu) µs a message")
        for finding in result.findings { tellError(finding) }
      }
      try await worker.shutDown()
      try await target.shutDown()
    }
  }
}

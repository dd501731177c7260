import Foundation
import Primitives
import Simulation
import Testing

/// The simulation itself: that a seed means one run, that what is planted is found, that a failing
/// run is made small. The long walks are `simulate`'s, in a release build.
@Suite(.serialized) struct SimulationTests {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent()

  /// Lines of `Seeds.txt` that are seeds.
  private static var keptLines: [String] {
    let text = try? String(contentsOf: folder.appending(path: "Seeds.txt"), encoding: .utf8)
    return (text ?? "").split(separator: "\n").map(String.init).filter { !$0.hasPrefix("#") }
  }

  @Test func `every seed that once found something passes`() throws {
    #expect(Self.keptLines.count >= 10)
    for line in Self.keptLines {
      let plan = try #require(SimulationPlan(line: line), "\(line) is no seed")
      let result = RunResult(running: plan)
      #expect(result.violation == nil, "\(line)")
    }
  }

  @Test func `a seed gives the same run in every process`() throws {
    let program = Self.folder.deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: ".build/debug/simulate")
    for seed in [3, 17, 101] as [UInt64] {
      let here = RunResult(running: SimulationPlan(seed: seed))
      for _ in 0..<2 {
        let output = try Self.run(program, ["--replay", "\(seed)"])
        #expect(
          output.contains("trace \(String(here.trace, radix: 16))"), "seed \(seed): \(output)")
      }
    }
  }

  private static func run(_ program: URL, _ arguments: [String]) throws -> String {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = program
    process.arguments = arguments
    process.standardOutput = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: output, as: UTF8.self)
  }

  @Test func `a run that fails is made small and can be repeated from its line`() throws {
    PlantedBug.active = .undurableAcknowledged
    defer { PlantedBug.active = nil }
    let plan = SimulationPlan(seed: 1)
    let violation = try #require(RunResult(running: plan).violation)
    var shortening = Shortening(plan, violation, runsMax: 20)
    shortening.run()
    #expect(shortening.kept.count < plan.faults.count)
    let again = try #require(SimulationPlan(line: shortening.line))
    #expect(RunResult(running: again).violation?.description == shortening.violation.description)
  }

  @Test(
    arguments: [
      PlantedBug.commitIsNotAll, .failureIgnored, .applyDiffers, .repeatNotRecognised,
      .shrinksBelowMinimum, .outboxSentOnce,
    ])
  func `a planted bug is found within few seeds`(_ bug: PlantedBug) {
    // Four times what the slowest of them takes, as any change of the protocol draws other faults.
    let seedsMax: UInt64 = 60
    PlantedBug.active = bug
    defer { PlantedBug.active = nil }
    let isFound = (1...seedsMax).contains { seed in
      RunResult(running: SimulationPlan(seed: seed)).violation != nil
    }
    #expect(isFound)
  }

  @Test func `a line that is no plan is refused`() {
    for line in ["", "x", "1 faults=9999", "1 until=x", "1 and=2"] {
      #expect(SimulationPlan(line: line) == nil, "\(line)")
    }
    #expect(SimulationPlan(line: "7 # with a remark") != nil)
  }
}

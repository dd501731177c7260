import Foundation
import LoadModel
import Testing

@Suite struct ScenarioTests {
  private func read(_ text: String) throws(LoadError) -> Scenario {
    try ScenarioFile.read(text, named: "x.yaml")
  }

  private func refusal(_ text: String) -> String {
    do {
      _ = try read(text)
      return ""
    } catch { return error.description }
  }

  private func run(_ lines: String) -> String {
    "name: x\nruns:\n  - name: one\n" + lines.split(separator: "\n").map { "    \($0)\n" }.joined()
  }

  @Test func `a run says who sends what to whom`() throws {
    let scenario = try read(
      run(
        """
        traffic: {sessions: 20, conversations: 10, members: 2, senders: 10,
          listening: receivers, rate: 100}
        bytes: 200
        seconds: 3
        actions: [{at: 1, kill: shard1}, {at: 2, ring: add shard4}]
        """))
    let run = try #require(scenario.runs.first)
    guard case .traffic(let traffic) = run.workload else { return #expect(Bool(false)) }
    #expect(traffic.pace == .open(rate: 100, arrivals: .poisson))
    #expect(traffic.members(of: 3) == [3, 13])
    #expect(run.payloadBytes == 200 && run.seconds == 3 && run.actions.count == 2)
    #expect(run.actions[1].kind == .ring(["add", "shard4"]))
  }

  @Test(
    arguments: [
      ("traffic: {sessions: 4, window: 257}", "x.yaml:4: traffic: window 257: allowed is 1 to 256"),
      ("traffic: {sesions: 4}", "'sesions' is not known"),
      ("traffic: {window: 1, rate: 5}", "say one of window, rate and of-ceiling"),
      ("traffic: {sessions: 4, members: 5}", "there are 4 sessions"),
      ("traffic: {sessions: 4, senders: 5}", "senders 5: allowed is 0 to 4"),
      ("traffic: {listening: some}", "allowed is one of nobody, receivers, everybody"),
      ("traffic: {}\nbytes: 10", "bytes 10: allowed is 44 to 65536"),
      ("traffic: {}\nquiet: true", "say one of traffic, paging, syncing and quiet"),
      ("bytes: 100", "say one of traffic, paging, syncing and quiet"),
      ("traffic: []", "a mapping is expected"),
      ("traffic: {}\nactions: [{at: 1}]", "say one of kill, stop"),
      ("traffic: {}\nactions: [{kill: shard1}]", "at is missing"),
      ("traffic: {}\nseconds: 5\nactions: [{at: 6, kill: a}]", "at 6: allowed is 0.0 to 5.0"),
    ])
  func `what makes no sense is refused with its place`(lines: String, words: String) {
    let text = refusal(run(lines))
    #expect(text.contains(words) && text.hasPrefix("x.yaml:"), "\(text)")
  }

  @Test func `a file without runs, or with two of one name, is refused`() {
    #expect(refusal("").contains("it is empty"))
    #expect(refusal("name: x").contains("runs is missing"))
    #expect(refusal("name: [").hasPrefix("x.yaml:"))
    let one = "  - {name: a, quiet: true}\n"
    #expect(refusal("name: x\nruns:\n\(one)\(one)").contains("two runs are called 'a'"))
  }

  @Test func `the scenarios that are shipped can be read`() throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Scenarios")
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    for number in 1...10 {
      #expect(files.contains { $0.hasPrefix("W\(number)-") }, "W\(number) is missing")
    }
    for file in files {
      let text = try String(
        contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
      let scenario = try ScenarioFile.read(text, named: file)
      #expect(!scenario.runs.isEmpty && !scenario.about.isEmpty)
    }
  }

  @Test func `members of a conversation are different people at different gateways`() {
    var traffic = Traffic()
    traffic.sessions = 1_000
    traffic.conversations = 500
    traffic.members = 8
    for conversation in 0..<500 {
      let members = traffic.members(of: conversation)
      #expect(Set(members).count == 8)
      #expect(Set(members.map { traffic.gateway(of: $0, among: 2) }).count == 2)
    }
    #expect(traffic.places.allSatisfy { $0.count == 4 })
  }

  @Test func `an open loop keeps its rate, and its times do not depend on answers`() {
    for arrivals in Schedule.Arrivals.allCases {
      var schedule = Schedule(rate: 1_000, arrivals: arrivals, seed: 3)
      var last: Int64 = 0
      for _ in 0..<20_000 {
        #expect(schedule.next >= last)
        last = schedule.next
        schedule.advance()
      }
      #expect(abs(Double(last) / 1e9 - 20) < 0.6, "\(arrivals)")
    }
  }

  @Test func `the most popular is drawn most often, as Zipf says`() {
    let draw = ZipfDraw(count: 100, exponent: 1)
    var random = SplitMix64(seed: 1)
    var counts = [Int](repeating: 0, count: 100)
    for _ in 0..<100_000 { counts[draw.draw(&random)] += 1 }
    let ratio = Double(counts[0]) / Double(counts[9])
    #expect((8...12).contains(ratio))
    #expect(counts[99] > 0)
  }
}

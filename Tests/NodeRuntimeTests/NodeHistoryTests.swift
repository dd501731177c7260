import Foundation
import Primitives
import Telemetry
import Testing

@testable import NodeRuntime

@Suite struct NodeHistoryTests {
  private func page(_ fill: (inout MetricsPage) -> Void) -> MetricsPage {
    var page = MetricsPage()
    fill(&page)
    return page
  }

  private func add(
    _ page: MetricsPage, to history: inout NodeHistory, seconds: UInt64, of nodes: [String] = ["a"]
  ) {
    history.add(
      page, of: nodes, now: Instant(nanoseconds: seconds * 1_000_000_000),
      wall: WallTime(milliseconds: seconds * 1_000))
  }

  private struct Read: Decodable {
    struct Sample: Decodable {
      var time: Int
      var values: [String: Double]
    }
    var intervalSeconds: Int
    var samples: [Sample]
  }

  private func read(_ history: NodeHistory, _ node: String = "a") throws -> Read {
    try JSONDecoder().decode(Read.self, from: Data(history.json(of: node).utf8))
  }

  @Test func `Counters become rates of the time between two samples`() throws {
    var history = NodeHistory()
    let pages = [100.0, 160].map { total in
      page { $0.counter("martlet_commands_total", "Commands.", total) }
    }
    add(pages[0], to: &history, seconds: 10)
    #expect(try read(history).samples.isEmpty, "one total says nothing of a rate")
    add(pages[1], to: &history, seconds: 30)
    let read = try read(history)
    #expect(read.intervalSeconds == 10)
    #expect(read.samples.map(\.time) == [30_000])
    #expect(read.samples.map(\.values) == [["commands": 3]])
  }

  @Test func `Quantiles are of the interval alone`() throws {
    var history = NodeHistory()
    var sends = DurationHistogram()
    for _ in 0..<1_000 { sends.add(nanoseconds: 900_000_000) }
    add(page { $0.histogram("martlet_send_seconds", "", sends) }, to: &history, seconds: 0)
    for _ in 0..<98 { sends.add(nanoseconds: 1_500_000) }
    for _ in 0..<2 { sends.add(nanoseconds: 60_000_000) }
    add(page { $0.histogram("martlet_send_seconds", "", sends) }, to: &history, seconds: 10)
    let values = try #require(try read(history).samples.last?.values)
    #expect(values["sends"] == 10)
    #expect((0.001...0.0021).contains(try #require(values["sendP50"])))
    #expect((0.03...0.07).contains(try #require(values["sendP99"])))
    // Nothing was sent: there is no latency to tell.
    add(page { $0.histogram("martlet_send_seconds", "", sends) }, to: &history, seconds: 20)
    #expect(try read(history).samples.last?.values == ["sends": 0])
  }

  @Test func `An hour is kept`() throws {
    var history = NodeHistory()
    for number in 0...UInt64(NodeHistory.samplesMax + 5) {
      add(page { $0.gauge("martlet_sessions", "", 1) }, to: &history, seconds: number * 10)
    }
    let samples = try read(history).samples
    #expect(samples.count == NodeHistory.samplesMax)
    #expect(samples.first?.time == 60_000)
  }

  @Test func `Nodes that share a process have histories of their own`() throws {
    var history = NodeHistory()
    for seconds: UInt64 in [0, 10] {
      let page = page {
        for (name, count) in [("a", 2), ("b", 5)] {
          $0.commonLabels = [("node", name)]
          $0.gauge("martlet_sessions", "", count)
        }
      }
      add(page, to: &history, seconds: seconds, of: ["a", "b"])
    }
    #expect(try read(history, "a").samples.map(\.values) == [["sessions": 2]])
    #expect(try read(history, "b").samples.map(\.values) == [["sessions": 5]])
    #expect(try read(history, "c").samples.isEmpty)
  }
}

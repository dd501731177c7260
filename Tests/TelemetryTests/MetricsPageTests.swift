import Telemetry
import Testing

@Suite struct MetricsPageTests {
  @Test func `A family is written once, whoever adds to it`() {
    var page = MetricsPage()
    page.commonLabels = [("node", "shard1")]
    page.gauge("martlet_links", "Open links.", 2)
    page.counter("martlet_sent_total", "Sent.", 7 as UInt64)
    page.commonLabels = [("node", "shard2")]
    page.gauge("martlet_links", "Open links.", 3)
    #expect(
      page.text == """
        # HELP martlet_links Open links.
        # TYPE martlet_links gauge
        martlet_links{node="shard1"} 2
        martlet_links{node="shard2"} 3
        # HELP martlet_sent_total Sent.
        # TYPE martlet_sent_total counter
        martlet_sent_total{node="shard1"} 7

        """)
  }

  @Test func `A node's part of a shared page looks as if it were alone`() {
    var page = MetricsPage()
    page.gauge("process_open_fds", "Of the process.", 9)
    for (name, count) in [("shard1", 2), ("shard2", 3)] {
      page.commonLabels = [("node", name)]
      page.gauge("martlet_links", "Open links.", count)
      page.histogram(
        "martlet_write_seconds", "Writes.", upperBounds: [1], counts: [1, 0], sum: 0.5)
    }
    page.commonLabels = [("node", "gateway1")]
    page.gauge("martlet_sessions", "Clients.", 4)
    #expect(
      page.page(of: "shard2").samples == [
        "process_open_fds": 9, "martlet_links": 3, "martlet_write_seconds_bucket{le=\"1\"}": 1,
        "martlet_write_seconds_bucket{le=\"+Inf\"}": 1, "martlet_write_seconds_sum": 0.5,
        "martlet_write_seconds_count": 1,
      ])
    #expect(!page.page(of: "shard2").text.contains("martlet_sessions"))
  }

  @Test func `A histogram's buckets add up and end at infinity`() {
    var page = MetricsPage()
    page.histogram(
      "martlet_write_seconds", "Writes.", labels: [("disk", "a")], upperBounds: [0.001, 0.5],
      counts: [3, 2, 1], sum: 4.25)
    #expect(
      page.text == """
        # HELP martlet_write_seconds Writes.
        # TYPE martlet_write_seconds histogram
        martlet_write_seconds_bucket{disk="a",le="0.001"} 3
        martlet_write_seconds_bucket{disk="a",le="0.5"} 5
        martlet_write_seconds_bucket{disk="a",le="+Inf"} 6
        martlet_write_seconds_sum{disk="a"} 4.25
        martlet_write_seconds_count{disk="a"} 6

        """)
  }

  @Test func `Values that would end a label or a line are escaped`() {
    var page = MetricsPage()
    page.gauge("a", "two\nlines \\", labels: [("why", "a \"b\"\n\\")], 1)
    #expect(
      page.text
        == "# HELP a two\\nlines \\\\\n# TYPE a gauge\na{why=\"a \\\"b\\\"\\n\\\\\"} 1\n")
  }

  @Test(arguments: [
    (0.0, "0"), (2.0, "2"), (0.25, "0.25"), (-3.0, "-3"), (Double.infinity, "+Inf"),
    (-Double.infinity, "-Inf"), (Double.nan, "NaN"),
  ])
  func `Numbers are written as Prometheus reads them`(value: Double, text: String) {
    var page = MetricsPage()
    page.gauge("a", "A.", value)
    #expect(page.text.hasSuffix("\na \(text)\n"))
  }

  @Test func `The kernel's figures of this process are there and make sense`() throws {
    var page = MetricsPage()
    ProcessMetrics.add(to: &page)
    func value(_ name: String) throws -> Double {
      let line = try #require(page.text.split(separator: "\n").first { $0.hasPrefix(name + " ") })
      return try #require(Double(line.dropFirst(name.count + 1)))
    }
    #expect(try value("process_resident_memory_bytes") > 1_048_576)
    #expect(try value("process_open_fds") >= 3)
    #expect(try value("process_max_fds") >= value("process_open_fds"))
    #expect(try value("process_cpu_seconds_total") > 0)
  }
}

import Testing

extension RealProcesses {
  @Suite struct RingCommandTests {
    @Test func aRingThatExistsIsLeftAsItIsAndOtherNumbersAreTold() async throws {
      try await Cluster.with { cluster in
        let source = cluster.layout.ringSource
        let before = try await status(source)
        let shown = try Regex(
          "there is a ring already: cluster [0-9a-z]{26}, 16 partitions, 3 replicas, on 3 shards\n")
        for (arguments, code, error) in [
          (["--shards", "3"], 0, ""),
          (["--shards", "3", "--partitions", "16", "--replicas", "3"], 0, ""),
          (["--shards", "2"], 0, "martlet: the ring is left as it is, not 2 shards\n"),
          (
            ["--shards", "3", "--partitions", "32"], 1,
            "martlet: the ring is left as it is, not 32 partitions\n"
          ),
          (
            ["--shards", "4", "--partitions", "8", "--replicas", "2"], 1,
            "martlet: the ring is left as it is, not 8 partitions and 2 replicas and 4 shards\n"
          ),
        ] {
          let outcome = try await Program.martlet(["ring", "init"] + arguments + source)
          #expect(outcome.ending == .exited(Int32(code)), "\(arguments): \(outcome)")
          #expect(outcome.error == error, "\(arguments)")
          #expect(try shown.wholeMatch(in: outcome.output) != nil, "\(outcome)")
        }
        #expect(try await status(source) == before)
      }
    }

    private func status(_ source: [String]) async throws -> String {
      try await Program.succeed(Program.martlet, ["ring", "status", "--json"] + source)
    }
  }
}

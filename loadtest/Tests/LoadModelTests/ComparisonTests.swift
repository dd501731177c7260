import LoadModel
import Testing

@Suite struct ComparisonTests {
  private func result(_ target: String, round: Int, acknowledged: Int) -> RunResult {
    var result = RunResult(
      scenario: "s", run: Run(name: "r", workload: .quiet), target: target, durability: "D2")
    result.round = round
    result.seconds = 1
    result.counts.acknowledged = acknowledged
    return result
  }

  @Test func `ratios are those within a round`() throws {
    // A machine that gets slower: the medians of all rounds would say 1.
    let results = [
      result("a", round: 1, acknowledged: 400), result("b", round: 1, acknowledged: 200),
      result("a", round: 2, acknowledged: 200), result("b", round: 2, acknowledged: 100),
      result("a", round: 3, acknowledged: 100), result("b", round: 3, acknowledged: 50),
    ]
    let rows = Comparison(results, first: "a").rows
    #expect(rows.map(\.target) == ["a", "b"])
    #expect(rows[0].ratios.isEmpty)
    let ratio = try #require(rows[1].ratios[.rate])
    #expect(ratio.median == 2 && ratio.least == 2 && ratio.greatest == 2)
    #expect(rows[1].values[.rate] == Spread([200, 100, 50]))
  }

  @Test func `a median of an even number lies between two`() {
    #expect(Spread([4, 1, 3, 2])?.median == 2.5)
    #expect(Spread([]) == nil)
  }

  @Test func `figures of two workers are those of both`() {
    var one = WorkerFigures()
    one.counts.acknowledged = 3
    one.slices = [Slice(at: 0, seconds: 1)]
    one.slices[0].acknowledged = 3
    one.slices[0].p99 = 4
    var other = one
    other.slices.append(Slice(at: 1, seconds: 1))
    other.slices[0].p99 = 9
    one.add(other)
    #expect(one.counts.acknowledged == 6)
    #expect(one.slices.map(\.acknowledged) == [6, 0] && one.slices[0].p99 == 9)
  }
}

import ClusterModel
import Primitives
import Testing

@testable import ShardCore
import WalkSupport

/// How fast learners are read for, and in which order.
@Suite struct LearningBudgetTests {
  private func load(_ partition: UInt32, from index: UInt64) -> LearningBudget.Load {
    LearningBudget.Load(
      partition: PartitionID(partition), replica: ReplicaID(store: store(3), number: 7),
      what: .entries(from: LogIndex(index)), bytesMax: 1_000)
  }

  @Test func `no more is read than the rate allows, but for the last page`() {
    var budget = LearningBudget()
    budget.bytesPerSecond = 100_000
    var now = Instant(nanoseconds: 1_000_000_000)
    budget.fill(now: now)
    var bytes = 0
    for number in 0..<1_000 {
      budget.wait(load(UInt32(number), from: 1))
      now = now + 10
      budget.fill(now: now)
      while budget.next() != nil {
        bytes += 3_000
        budget.take(3_000)
      }
    }
    // Ten seconds, and what a quiet while before has saved.
    #expect(bytes > 950_000 && bytes <= 1_000_000 + 10_000 + 3_000)
  }

  @Test func `a quiet while saves up a tenth of a second`() {
    var budget = LearningBudget()
    budget.bytesPerSecond = 1_000_000
    budget.fill(now: Instant(nanoseconds: 1_000_000_000))
    budget.fill(now: Instant(nanoseconds: 90_000_000_000))
    #expect(budget.left == 100_000)
  }

  @Test func `one that asks again keeps its place and waits once`() {
    var budget = LearningBudget()
    for partition in 1...3 { budget.wait(load(UInt32(partition), from: 1)) }
    budget.wait(load(1, from: 9))
    #expect(budget.waiting.map(\.partition.rawValue) == [1, 2, 3])
    let first = budget.waiting.first
    #expect(first?.what == .entries(from: LogIndex(9)))
    #expect(budget.next() == nil, "nothing was filled in so far")
  }
}

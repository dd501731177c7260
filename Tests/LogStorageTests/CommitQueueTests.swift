import Primitives
import Testing

@testable import LogStorage

@Suite struct CommitQueueTests {
  private let sink = RecordingSink()

  private func add(_ batch: StorageBatch, _ ticket: UInt64, to queue: inout CommitQueue) {
    queue.add(Submission(batch: batch, ticket: StorageTicket(ticket), sink: sink))
  }

  private func checkpoint(_ partition: UInt32, bytes: Int = 10) -> StorageBatch {
    var batch = StorageBatch(needsSync: false)
    batch.setState(partition, [1], [UInt8](repeating: 0, count: bytes))
    batch.setMeta(of: PartitionID(partition), makeMeta(prefix: partition))
    return batch
  }

  private func promise(_ partition: UInt32) -> StorageBatch {
    var batch = StorageBatch(needsSync: true)
    batch.setMeta(of: PartitionID(partition), makeMeta(prefix: partition, promise: 9))
    return batch
  }

  private func tickets(_ submissions: [Submission]) -> [UInt64] {
    submissions.map(\.ticket.rawValue)
  }

  @Test func appendsOvertakeCheckpoints() {
    var queue = CommitQueue()
    add(checkpoint(1), 1, to: &queue)
    add(appends(1, 1...2), 2, to: &queue)
    add(appends(2, 1...2), 3, to: &queue)
    let group = queue.take(CommitterLimits())
    #expect(tickets(group.synced) == [2, 3])
    #expect(tickets(group.unsynced) == [1])
    #expect(queue.isEmpty)
  }

  @Test func aPromiseNeverOvertakesACheckpointOfItsPartition() {
    var queue = CommitQueue()
    add(checkpoint(1), 1, to: &queue)
    add(checkpoint(2), 2, to: &queue)
    add(checkpoint(3), 3, to: &queue)
    add(promise(2), 4, to: &queue)
    let group = queue.take(CommitterLimits())
    #expect(tickets(group.synced) == [1, 2, 4])
    #expect(tickets(group.unsynced) == [3])
  }

  @Test func aPromiseOvertakesCheckpointsOfOtherPartitions() {
    var queue = CommitQueue()
    add(checkpoint(1), 1, to: &queue)
    add(promise(2), 2, to: &queue)
    #expect(tickets(queue.take(CommitterLimits()).synced) == [2])
  }

  @Test func aCheckpointNeverOvertakesAnEarlierPromiseOfItsPartition() {
    var limits = CommitterLimits()
    limits.batchBytesMax = 1
    var queue = CommitQueue()
    add(appends(1, 1...1), 1, to: &queue)
    add(promise(1), 2, to: &queue)
    add(checkpoint(1), 3, to: &queue)
    var turns: [[UInt64]] = []
    while !queue.isEmpty {
      let group = queue.take(limits)
      turns.append(tickets(group.synced) + tickets(group.unsynced))
    }
    #expect(turns == [[1], [2, 3]])
  }

  @Test func checkpointsAreSpreadOverTurns() {
    var limits = CommitterLimits()
    limits.unsyncedBytesPerTurnMax = 1000
    var queue = CommitQueue()
    for ticket in UInt64(1)...6 {
      add(checkpoint(UInt32(ticket), bytes: ticket == 3 ? 5000 : 300), ticket, to: &queue)
    }
    var turns: [[UInt64]] = []
    while !queue.isEmpty { turns.append(tickets(queue.take(limits).unsynced)) }
    #expect(turns == [[1, 2], [3], [4, 5], [6]])
  }

  @Test func aBatchIsBoundedAndALargerSubmissionGoesAlone() {
    var limits = CommitterLimits()
    limits.batchBytesMax = 2000
    var queue = CommitQueue()
    add(appends(1, 1...1, payloadBytes: 900), 1, to: &queue)
    add(appends(1, 2...2, payloadBytes: 900), 2, to: &queue)
    add(appends(1, 3...3, payloadBytes: 900), 3, to: &queue)
    add(appends(1, 4...4, payloadBytes: 9000), 4, to: &queue)
    var turns: [[UInt64]] = []
    while !queue.isEmpty { turns.append(tickets(queue.take(limits).synced)) }
    #expect(turns == [[1, 2], [3], [4]])
  }

  /// Against the rule itself: per target, what is taken is in the order of submission.
  @Test func whatWritesTheSameTargetKeepsItsOrder() {
    let seed = UInt64.random(in: 0 ... .max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    for _ in 0..<300 {
      var limits = CommitterLimits()
      limits.batchBytesMax = Int.random(in: 1...2000, using: &random)
      limits.unsyncedBytesPerTurnMax = Int.random(in: 1...1000, using: &random)
      var queue = CommitQueue()
      var targets: [UInt64: Set<WriteTarget>] = [:]
      var taken: [UInt64] = []
      var next: UInt64 = 0
      while taken.count < 60 {
        for _ in 0..<Int.random(in: 0...6, using: &random) where next < 60 {
          let partition = UInt32.random(in: 1...4, using: &random)
          let batch =
            switch Int.random(in: 0..<3, using: &random) {
            case 0: checkpoint(partition)
            case 1: promise(partition)
            default: appends(partition, 1...2)
            }
          targets[next] = batch.targets
          add(batch, next, to: &queue)
          next += 1
        }
        let group = queue.take(limits)
        taken += tickets(group.synced) + tickets(group.unsynced)
      }
      #expect(Set(taken).count == 60)
      for (place, earlier) in taken.enumerated() {
        for later in taken[(place + 1)...] where later < earlier {
          #expect(targets[later]?.isDisjoint(with: targets[earlier] ?? []) == true)
        }
      }
    }
  }
}

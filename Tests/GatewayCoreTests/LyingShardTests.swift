import ChatModel
import ClientProtocol
import GatewayCore
import NodeProtocol
import Primitives
import Testing

/// Shards that break their word: the gateway mends what it can see, and the walk's checks see the
/// rest, or they would prove nothing.
@Suite struct LyingShardTests {
  private let room = conversation(1, in: PartitionID(1), of: 4)

  private func rig(
    seed: UInt64, configure: (inout GatewayConfiguration) -> Void = { _ in }
  ) throws -> GatewayRig {
    var rig = GatewayRig(seed: seed, configure: configure)
    try rig.run(milliseconds: 20)
    rig.create(room, members: [user(1), user(2)], creator: user(9))
    try rig.run(milliseconds: 50)
    for number in 1...3 { rig.addClient(user(1 + number % 2), device: number) }
    try rig.run(milliseconds: 1_500)
    rig.say("first", in: room, by: user(9))
    try rig.run(milliseconds: 50)
    return rig
  }

  @Test func `a delivery that is left out is noticed with the next one, and pulled`() throws {
    var skipped = 0
    for seed in 1...20 {
      var rig = try rig(seed: UInt64(seed))
      rig.shards.faults.skipped = 300
      for number in 1...30 {
        rig.say("m\(number)", in: room, by: user(9))
        try rig.run(milliseconds: 5)
      }
      skipped += rig.shards.skippedCount
      rig.shards.faults.skipped = 0
      rig.say("last", in: room, by: user(9))
      try rig.run(milliseconds: 500)
      for client in rig.clients { try client.checkComplete(in: rig.world) }
    }
    #expect(skipped > 100)
  }

  /// Runs until something is wrong. **Returns**: what was.
  private func violation(
    _ plant: (inout FakeShards.Faults) -> Void, _ body: (inout GatewayRig, Int) -> Void
  ) -> Violation? {
    for seed in 1...20 {
      do {
        var rig = try rig(seed: UInt64(seed))
        plant(&rig.shards.faults)
        for number in 1...39 {
          rig.say("m\(number)", in: room, by: user(9))
          body(&rig, number)
          try rig.run(milliseconds: 30)
        }
        try rig.run(milliseconds: 200)
        rig.shards.faults = FakeShards.Faults()
        try rig.run(milliseconds: 500)
        for client in rig.clients { try client.checkComplete(in: rig.world) }
      } catch let violation as Violation {
        return violation
      } catch {
        Issue.record("\(error)")
      }
    }
    return nil
  }

  @Test func `the checks notice a page that leaves an event out`() {
    let found = violation({ $0.omitted = 500 }) { rig, number in
      rig.setCongested(0, number % 3 != 0)
    }
    #expect(found != nil)
  }

  @Test func `the checks notice a subscription that hides what it missed`() {
    let found = violation({ $0.liesGapless = true }) { rig, number in
      guard number % 3 == 0 else { return }
      rig.shards.endSubscription(
        .conversation(room), of: PartitionID(1), on: rig.shards.leader(PartitionID(1)), .behind)
    }
    #expect(found != nil)
  }

  @Test func `without a lie the same runs are clean`() {
    let found = violation({ _ in }) { rig, number in
      rig.setCongested(0, number % 3 != 0)
      guard number % 3 == 0 else { return }
      rig.shards.endSubscription(
        .conversation(room), of: PartitionID(1), on: rig.shards.leader(PartitionID(1)), .behind)
    }
    #expect(found == nil)
  }
}

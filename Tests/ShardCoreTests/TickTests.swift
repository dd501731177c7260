import ChatModel
import Primitives
import Testing

@testable import ShardCore
import Simulation
import WalkSupport

/// What ticks cost.
@Suite struct TickTests {
  private static let partitions = 64
  private let ring = Ring(count: UInt32(partitions))

  private func looks(_ rig: ShardRig) -> UInt64 {
    rig.stores.reduce(0) { $0 + ($1.core?.lookCount ?? 0) }
  }

  @Test func `partitions at rest are not looked at`() {
    var rig = ShardRig(stores: 3, partitions: Self.partitions)
    let isLed = rig.run(upTo: 3_000) { rig in
      (0..<Self.partitions).allSatisfy { rig.leader(of: $0) != nil }
    }
    #expect(isLed)
    rig.run(milliseconds: 30_000)
    let before = looks(rig)
    rig.run(milliseconds: 10_000)
    let atRest = looks(rig) - before
    print("looks of 3 stores at 64 partitions in 10 s at rest: \(atRest)")
    #expect(atRest == 0)
  }

  @Test func `only where something happens is looked`() {
    var rig = ShardRig(stores: 3, partitions: Self.partitions)
    rig.run(milliseconds: 30_000)
    _ = rig.openGateway(to: rig.leader(of: 0) ?? 0)
    let before = looks(rig)
    rig.command(
      group(ring.conversation(1, in: 0), creator: ring.user(1, in: 0), members: []),
      through: rig.leader(of: 0) ?? 0)
    rig.run(milliseconds: 1_000)
    let looks = looks(rig) - before
    // The entry, its outbox and the checkpoint, on three stores.
    print("looks after one command: \(looks)")
    #expect((1...100).contains(looks))
  }
}

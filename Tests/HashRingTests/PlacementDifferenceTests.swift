import Primitives
import Testing

@testable import HashRing

@Suite struct PlacementDifferenceTests {
  private let stores = (0..<5).map { RingFixture.store($0) }

  @Test func aReplacedReplicaNamesWhoLeavesAndWhoComes() {
    let difference = PlacementDifference(
      from: [ReplicaSet([stores[0], stores[1]]), ReplicaSet([stores[2], stores[3]])],
      to: [ReplicaSet([stores[0], stores[4]]), ReplicaSet([stores[3], stores[2]])])
    #expect(
      difference.moves == [
        .init(partition: PartitionID(0), source: stores[1], destination: stores[4])
      ])
    #expect(difference.leaderChangeCount == 1)
  }

  @Test func aNewReplicaHasNoSource() {
    let difference = PlacementDifference(
      from: [ReplicaSet([stores[0]])], to: [ReplicaSet([stores[0], stores[1]])])
    #expect(
      difference.moves == [.init(partition: PartitionID(0), source: nil, destination: stores[1])])
    #expect(difference.leaderChangeCount == 0)
  }

  @Test func aNewClusterIsAllGain() {
    let difference = PlacementDifference(from: [], to: [ReplicaSet([stores[0], stores[1]])])
    #expect(difference.moves.map(\.source) == [nil, nil])
    #expect(difference.leaderChangeCount == 1)
  }
}

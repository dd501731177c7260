package import Primitives

/// What has to happen to get from one placement to another; what `ring plan` prints.
package struct PlacementDifference: Equatable, Sendable {
  /// One replica that a store has to fetch. `source` is the store that gives its own up for it, or
  /// `nil` when the partition only gains a replica.
  package struct Move: Hashable, Sendable {
    /// Which one it is a replica of.
    package let partition: PartitionID
    package let source: StoreID?
    /// The store that fetches it.
    package let destination: StoreID
  }

  /// **Shape**: by partition, then in preference order of the destination.
  package let moves: [Move]
  /// Partitions whose preferred leader changes.
  package let leaderChangeCount: Int

  /// **Shape**: both by partition number; what only one of them has is compared with nothing.
  package init(from previous: [ReplicaSet], to next: [ReplicaSet]) {
    var moves: [Move] = []
    var leaderChangeCount = 0
    for (number, set) in next.enumerated() {
      let before = number < previous.count ? previous[number] : ReplicaSet([])
      if before.preferredLeader != set.preferredLeader { leaderChangeCount += 1 }
      var leaving = before.stores.filter { !set.stores.contains($0) }[...]
      for store in set.stores where !before.stores.contains(store) {
        moves.append(
          Move(
            partition: PartitionID(UInt32(number)), source: leaving.popFirst(), destination: store))
      }
    }
    self.moves = moves
    self.leaderChangeCount = leaderChangeCount
  }
}

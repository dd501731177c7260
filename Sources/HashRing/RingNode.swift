package import Primitives

/// One store that the ring may place replicas on.
package struct RingNode: Hashable, Sendable {
  package let store: StoreID
  /// For people and plans; placement never looks at it.
  package let name: String
  /// The store's part of the load in proportion to the other stores' weights.
  ///
  /// **Units**: none; 1…`Ring.weightMax`.
  package let weight: UInt32
  /// What fails together: a rack, a room, a data centre. Compared byte by byte. Stores without a
  /// known zone share the zone "".
  package let zone: String

  package init(store: StoreID, name: String, weight: UInt32 = 1, zone: String = "") {
    self.store = store
    self.name = name
    self.weight = weight
    self.zone = zone
  }
}

/// The stores of one partition in order of preference; the first is the preferred leader.
///
/// **Invariant** (of those that a `Ring` returns): not empty, every store at most once.
package struct ReplicaSet: Hashable, Sendable {
  package let stores: [StoreID]

  package init(_ stores: [StoreID]) { self.stores = stores }

  /// `nil` for an empty set alone.
  package var preferredLeader: StoreID? { stores.first }
}

/// Why a ring or a placement was refused.
package enum RingError: Error, Equatable, Sendable {
  case noNodes
  case tooManyNodes(Int)
  case duplicateStore(StoreID)
  case weightOutOfRange(StoreID, weight: UInt32)
  case tokensPerNodeOutOfRange(Int)
  case partitionCountOutOfRange(UInt32)
  case replicaCountOutOfRange(Int)
  /// The previous placement has another number of partitions than the one asked for.
  case previousCountDiffers(previous: Int, partitions: UInt32)
}

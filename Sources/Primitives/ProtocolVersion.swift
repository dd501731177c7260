/// Which versions of what nodes say to each other, and of what they store, this program knows.
///
/// | version | brought |
/// |---|---|
/// | 1 | the beginning |
/// | 2 | snapshots, and logs that give up their beginning |
/// | 3 | splits of partitions |
///
/// Nodes of different versions work together as long as their ranges overlap. What a version
/// brought is used when it is the **active** one: a number in the coordinator that an operator
/// raises when all nodes know it, and that never goes down. So a cluster is upgraded node by node,
/// and back as long as the new version is not active.
package enum ProtocolVersion {
  package static let oldest: UInt32 = 1
  /// A debug build calls itself one version later, in which nothing is new, so that tests have two
  /// builds to upgrade from and to.
  #if MARTLET_NEXT_VERSION
    package static let newest: UInt32 = 4
  #else
    package static let newest: UInt32 = 3
  #endif

  package static let snapshots: UInt32 = 2
  package static let splits: UInt32 = 3

  package static var known: ClosedRange<UInt32> { oldest...newest }
}

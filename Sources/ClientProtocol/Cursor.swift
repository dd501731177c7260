package import Primitives

/// Everything a client has seen, whatever it misses: the log position of its user's own partition
/// and of each partition with conversations of theirs.
///
/// **Shape** (text, opaque to clients): base64url of `martlet.v1.Cursor`.
package struct Cursor: Equatable, Sendable {
  /// How far one partition's log was seen.
  package struct Position: Equatable, Sendable {
    package var partition: PartitionID
    /// Of the partition's record: with another one the index means nothing any more.
    package var generation: UInt32
    package var index: LogIndex

    package init(partition: PartitionID, generation: UInt32, index: LogIndex) {
      self.partition = partition
      self.generation = generation
      self.index = index
    }
  }

  /// Up to where the user's list of conversations was seen.
  package var user: Position
  /// In the order of the partitions, without duplicates.
  package var positions: [Position]

  package init(user: Position, positions: [Position]) {
    self.user = user
    self.positions = positions
  }
}

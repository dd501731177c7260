/// What the state machine reads of what is already checkpointed. Synchronous: a store implements
/// it over its database, a test over a sorted array.
///
/// **Invariant**: a checkpoint shows all of its writes or none, and at the latest when
/// `ChatPartition.checkpointWritten` has been called.
package protocol StateReader {
  /// **Throws**: `StateReadError` when it cannot be said what the value is.
  func value(_ key: [UInt8]) throws(StateReadError) -> [UInt8]?

  /// **Returns**: the records with keys in `from..<upTo`, ascending or (with `reverse`)
  /// descending, at most `countMax`.
  func scan(
    from: [UInt8], upTo: [UInt8], reverse: Bool, countMax: Int
  ) throws(StateReadError) -> [(key: [UInt8], value: [UInt8])]
}

/// Why stored state could not be used. The replica that meets it stops.
package enum StateReadError: Error, Equatable, Sendable {
  /// The store failed to read.
  case unreadable(String)
  /// What lies under the key is no record that this version can read, or contradicts another one.
  case damaged(key: [UInt8])
}

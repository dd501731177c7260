/// What the embedded service keeps its state in: a small ordered or unordered map on a disk.
///
/// **Isolation**: called on the service's event loop, one call at a time; calls may block.
package protocol DurableKeyValue: Sendable {
  /// **Returns**: everything that was written and not removed, in any order, every key once.
  func load() throws -> [(key: [UInt8], value: [UInt8])]

  /// Writes all or nothing; `nil` removes a key. No key appears twice.
  ///
  /// **Invariant**: durable when it returns. When it throws it is not known what was written, and
  /// it is not called again.
  func write(_ changes: [(key: [UInt8], value: [UInt8]?)]) throws
}

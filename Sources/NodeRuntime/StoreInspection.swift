package import ChatModel
package import LogStorage
package import Primitives

/// Reads what a shard's directory holds while the shard does not run: above all what was set aside
/// when an operator forced a leader.
package final class StoreInspection {
  /// One replica in the directory.
  package struct Replica: Sendable {
    package let partition: PartitionID
    package let id: ReplicaID
    /// Of a generation that an operator has ended.
    package let isSetAside: Bool
    /// The end of its log; `nil` when it has none.
    package let last: EntryID?
    let prefix: UInt32
    let firstIndex: LogIndex
  }

  /// A message as the log has it, whatever became of it when it was applied.
  package struct LoggedMessage: Sendable {
    package let entry: EntryID
    package let time: WallTime
    package let message: SendMessage
  }

  /// Entries that are read at a time.
  private static let entriesPerRead = 1_024
  private static let bytesPerRead = 16 << 20

  private let store: Store

  /// **Throws**: `StartError` when the directory is no shard's; `StorageError` when the shard runs
  /// or something cannot be read.
  package init(directory: String) throws {
    guard let identity = StoreIdentity(inDirectory: directory) else {
      throw StartError(
        "--data-dir '\(directory)': it is no shard's; allowed is a shard's directory")
    }
    store = try Store.open(
      directory: directory,
      expecting: StoreExpectation(clusterID: nil, nodeName: identity.nodeName),
      newStoreID: identity.store)
  }

  /// In the order of their partitions, those that are set aside first.
  package func replicas() throws(StorageError) -> [Replica] {
    var found: [Replica] = []
    for (partition, meta) in try store.partitions().sorted(by: { $0.key < $1.key }) {
      for former in meta.former {
        found.append(
          try replica(
            former.replica, of: partition, prefix: former.prefix, from: former.firstIndex,
            isSetAside: former.isSetAside))
      }
      found.append(
        try replica(
          meta.replica, of: partition, prefix: meta.prefix, from: meta.firstIndex,
          isSetAside: meta.isSetAside))
    }
    return found
  }

  private func replica(
    _ id: ReplicaID, of partition: PartitionID, prefix: UInt32, from firstIndex: LogIndex,
    isSetAside: Bool
  ) throws(StorageError) -> Replica {
    let last = try store.lastEntry(prefix, firstIndex: firstIndex)
    return Replica(
      partition: partition, id: id, isSetAside: isSetAside, last: last?.id, prefix: prefix,
      firstIndex: firstIndex)
  }

  /// Gives every message in a replica's log to `body`, in order.
  ///
  /// **Throws**: `StorageError` where the log cannot be read on.
  package func messages(
    of replica: Replica, _ body: (LoggedMessage) -> Void
  ) throws(StorageError) {
    var next = replica.firstIndex
    while let last = replica.last, next <= last.index {
      let entries = try store.entries(
        replica.prefix, from: next, countMax: Self.entriesPerRead, bytesMax: Self.bytesPerRead)
      guard let end = entries.last else { return }
      for entry in entries {
        guard let payload = try? EntryPayload(decoding: entry.payload) else { continue }
        for bytes in payload.commands {
          guard case .sendMessage(let message)? = try? Command(decoding: bytes) else { continue }
          body(LoggedMessage(entry: entry.id, time: payload.time, message: message))
        }
      }
      next = end.index.successor
    }
  }
}

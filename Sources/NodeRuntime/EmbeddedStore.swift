import Coordination
import Dispatch
package import LogStorage
import Primitives
import Synchronization

/// Keeps the embedded coordination service's state in a data directory of its own.
///
/// **Isolation**: the service's event loop, which `write` blocks until the disk has it.
package final class EmbeddedStore: DurableKeyValue {
  private static let nodeName = "coordination"
  /// There are no replicas here, so one number serves for ever.
  private static let prefix: UInt32 = 1
  private static let pageBytesMax = 8 << 20
  private static let pageKeysMax = 4_096

  private let store: Store
  private let committer: Committer
  private let sink = WriteSink()

  /// **Throws**: `StorageError`, in its own words for the operator.
  package init(directory: String, newStoreID: UInt64) throws(StorageError) {
    var options = StoreOptions()
    options.blockCacheBytes = 4 << 20
    options.logMemtableBytes = 1 << 20
    options.stateMemtableBytes = 4 << 20
    options.memtablesBytesMax = 16 << 20
    options.walBytesMax = 32 << 20
    options.backgroundJobsMax = 1
    options.openFilesMax = 64
    store = try Store.open(
      directory: directory,
      expecting: StoreExpectation(clusterID: nil, nodeName: Self.nodeName),
      newStoreID: StoreID(newStoreID), options: options)
    committer = try Committer(store: store)
  }

  package func load() throws -> [(key: [UInt8], value: [UInt8])] {
    var found: [(key: [UInt8], value: [UInt8])] = []
    var lower: [UInt8] = []
    while true {
      let page = try store.scan(
        Self.prefix, StateRange(from: lower), countMax: Self.pageKeysMax,
        bytesMax: Self.pageBytesMax)
      found += page.records.map { ($0.key, $0.value) }
      guard !page.isComplete, let last = page.records.last else { return found }
      lower = last.key + [0]
    }
  }

  package func write(_ changes: [(key: [UInt8], value: [UInt8]?)]) throws {
    var batch = StorageBatch(needsSync: true)
    // Sorted writes cost half.
    for change in changes.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      batch.setState(Self.prefix, change.key, change.value)
    }
    if case .refused(let error) = committer.submit(batch, ticket: StorageTicket(1), sink: sink) {
      throw error
    }
    if let failure = sink.wait() { throw failure }
  }

  /// **Isolation**: any thread; nothing may be written afterwards.
  package func stop() { committer.stop() }
}

/// Waits for the one write that is under way.
private final class WriteSink: CompletionSink {
  private let done = DispatchSemaphore(value: 0)
  private let failure = Mutex<StorageError?>(nil)

  func storageCompleted(_ tickets: [StorageTicket], failure: StorageError?) {
    self.failure.withLock { $0 = failure }
    done.signal()
  }

  /// **Returns**: why it failed, or `nil`.
  func wait() -> StorageError? {
    done.wait()
    return failure.withLock { $0 }
  }
}

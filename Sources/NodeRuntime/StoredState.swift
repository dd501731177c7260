import ChatCore
import LogStorage
import NodeProtocol
import Primitives
import ShardCore

/// The checkpointed state of one partition.
struct StoredState: StateReader {
  /// Of one scan. A value is at most a block of events.
  private static let scanBytesMax = 16 << 20

  let store: Store
  let place: StatePlace

  func value(_ key: [UInt8]) throws(StateReadError) -> [UInt8]? {
    do { return try store.get(place, key) } catch { throw .unreadable("\(error)") }
  }

  func scan(
    from: [UInt8], upTo: [UInt8], reverse: Bool, countMax: Int
  ) throws(StateReadError) -> [(key: [UInt8], value: [UInt8])] {
    var found: [(key: [UInt8], value: [UInt8])] = []
    var lower = from
    var upper = upTo
    do {
      while found.count < countMax {
        let page = try store.scan(
          place, StateRange(from: lower, upTo: upper), reversed: reverse,
          countMax: countMax - found.count, bytesMax: Self.scanBytesMax)
        found += page.records.map { ($0.key, $0.value) }
        guard !page.isComplete, let last = page.records.last else { break }
        if reverse { upper = last.key } else { lower = last.key + [0] }
      }
    } catch {
      throw .unreadable("\(error)")
    }
    return found
  }
}

/// The checkpointed state of one partition as it was at one moment.
final class StoredSnapshot: FrozenState {
  private static let recordsMax = 16_384

  private let store: Store
  private let snapshot: StoreSnapshot
  private let place: StatePlace
  let appliedIndex: LogIndex

  /// **Throws**: what reading the store throws.
  init(_ store: Store, _ partition: PartitionID) throws(StorageError) {
    self.store = store
    snapshot = store.snapshot()
    // State and index are written together, so what this meta says is what the state is.
    let meta = try store.meta(of: partition, at: snapshot)
    place = meta?.place ?? StatePlace(prefix: 0)
    appliedIndex = meta?.appliedIndex ?? .zero
  }

  func records(
    after key: [UInt8], bytesMax: Int
  ) throws(StateReadError) -> (records: StateRecords, isComplete: Bool) {
    do {
      let page = try store.scan(
        place, StateRange(from: key.isEmpty ? [] : key + [0]), countMax: Self.recordsMax,
        bytesMax: bytesMax, at: snapshot, fillCache: false)
      var records = StateRecords()
      for record in page.records { records.add(key: record.key, value: record.value) }
      return (records, page.isComplete)
    } catch {
      throw .unreadable("\(error)")
    }
  }
}

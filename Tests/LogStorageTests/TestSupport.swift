import Foundation
import Primitives

@testable import LogStorage

/// A directory of its own for one test, removed with the value.
final class TestDirectory: Sendable {
  let parent: String
  let path: String

  init() {
    let temporary = FileManager.default.temporaryDirectory.path
    parent = "\(temporary)/martlet-log-\(UUID().uuidString)"
    path = parent + "/data"
    try? FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: parent) }

  func files(withSuffix suffix: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path)
      .filter { $0.hasSuffix(suffix) }.sorted().map { "\(path)/\($0)" }
  }

  /// What a crash of the process would leave: the files as they are, without closing anything.
  /// Taken again while the engine makes or removes files in the background.
  func copy() throws -> TestDirectory {
    while true {
      let copy = TestDirectory()
      let before = try sizes()
      do {
        try FileManager.default.copyItem(atPath: path, toPath: copy.path)
      } catch CocoaError.fileReadNoSuchFile, CocoaError.fileNoSuchFile {
        continue
      }
      if try sizes() == before { return copy }
    }
  }

  private func sizes() throws -> [String: Int] {
    var sizes: [String: Int] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: path) {
      let attributes = try? FileManager.default.attributesOfItem(atPath: "\(path)/\(name)")
      sizes[name] = attributes?[.size] as? Int
    }
    return sizes
  }

  func open(
    options: StoreOptions = StoreOptions(), clusterID: UInt128? = 7, nodeName: String = "shard-1",
    storeID: UInt64 = 1
  ) throws(StorageError) -> Store {
    try Store.open(
      directory: path, expecting: StoreExpectation(clusterID: clusterID, nodeName: nodeName),
      newStoreID: StoreID(storeID), options: options)
  }
}

/// Records completions in their order and lets a test wait for them.
final class RecordingSink: CompletionSink, @unchecked Sendable {
  // Safety: everything mutable is read and written under `condition`.
  private let condition = NSCondition()
  private var groups: [[StorageTicket]] = []
  private var failures: [StorageTicket: StorageError] = [:]
  private var completed = 0

  func storageCompleted(_ tickets: [StorageTicket], failure: StorageError?) {
    condition.withLock {
      groups.append(tickets)
      completed += tickets.count
      if let failure { for ticket in tickets { failures[ticket] = failure } }
      condition.broadcast()
    }
  }

  @discardableResult
  func wait(forCount count: Int) -> Bool {
    let deadline = Date(timeIntervalSinceNow: 30)
    return condition.withLock {
      while completed < count { if !condition.wait(until: deadline) { return false } }
      return true
    }
  }

  var order: [UInt64] { condition.withLock { groups.flatMap { $0 }.map(\.rawValue) } }
  var groupSizes: [Int] { condition.withLock { groups.map(\.count) } }
  func failure(_ ticket: UInt64) -> StorageError? {
    condition.withLock { failures[StorageTicket(ticket)] }
  }
}

/// Holds the committer's thread inside of a completion until it is released.
final class HoldingSink: CompletionSink, Sendable {
  private let entered = DispatchSemaphore(value: 0)
  private let released = DispatchSemaphore(value: 0)

  func storageCompleted(_ tickets: [StorageTicket], failure: StorageError?) {
    entered.signal()
    released.wait()
  }

  /// Returns when the committer's thread is held.
  func hold(_ committer: Committer) {
    _ = committer.submit(StorageBatch(needsSync: true), ticket: StorageTicket(0), sink: self)
    entered.wait()
  }

  func release() { released.signal() }
}

extension Committer {
  /// Submits and waits.
  @discardableResult
  func commit(_ batch: StorageBatch) -> StorageError? {
    let sink = RecordingSink()
    if case .refused(let error) = submit(batch, ticket: StorageTicket(1), sink: sink) {
      return error
    }
    guard sink.wait(forCount: 1) else { return .readFailed("no completion in time") }
    return sink.failure(1)
  }

  /// Waits until sweeps have deleted `count` keys.
  func waitForSweptKeys(_ count: UInt64) -> Bool {
    let deadline = Date(timeIntervalSinceNow: 30)
    while metrics.sweptKeyCount < count {
      if Date() > deadline { return false }
      usleep(1000)
    }
    return true
  }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
func index(_ value: UInt64) -> LogIndex { LogIndex(value) }
func epoch(_ value: UInt64) -> Epoch { Epoch(value) }

func makeMeta(
  prefix: UInt32, promise: UInt64 = 1, firstIndex: UInt64 = 1, appliedIndex: UInt64 = 0
) -> PartitionMeta {
  PartitionMeta(
    replica: ReplicaID(store: StoreID(1), number: 3), prefix: prefix, promise: Epoch(promise),
    firstIndex: LogIndex(firstIndex), appliedIndex: LogIndex(appliedIndex))
}

func appends(
  _ prefix: UInt32, _ indexes: ClosedRange<UInt64>, epoch: UInt64 = 1, payloadBytes: Int? = nil
) -> StorageBatch {
  var batch = StorageBatch(needsSync: true)
  for index in indexes {
    let payload = payloadBytes.map { [UInt8](repeating: UInt8(index & 0xff), count: $0) }
    batch.append(
      prefix, index: LogIndex(index), epoch: Epoch(epoch),
      payload: payload ?? bytes("entry \(prefix)/\(index)"))
  }
  return batch
}

extension Store {
  func allEntries(_ prefix: UInt32, from first: UInt64 = 1) throws(StorageError) -> [StoredEntry] {
    try entries(prefix, from: LogIndex(first), countMax: .max, bytesMax: .max)
  }
}

import ClusterModel
import Coordination
import Logging
import LogStorage
import NIOCore
import NIOPosix
import Primitives
import ShardCore
import Synchronization

/// What a shard does for a backup that an operator's tool makes: it keeps its outboxes while there
/// is a request, copies its store when it is one of the chosen, and tells the tool of both.
///
/// **Isolation**: any task.
final class BackupRole: Sendable {
  private static let pollInterval: Milliseconds = 100
  private static let retryInterval: Milliseconds = 1_000
  /// Copies of finished backups that are kept in a directory.
  private static let keptCount = 30

  private let request = Mutex<BackupRequest?>(nil)
  /// The latest copy.
  private let copied = Mutex<UInt32>(0)
  private let name: String
  private let boot: BootID
  private let directory: String?
  private let store: Store
  private let lane: ShardLane
  private let coordinator: any Coordinator
  private let logger: Logger

  /// - Parameter directory: where copies of the store go; `nil` for nowhere.
  init(
    name: String, boot: BootID, directory: String?, store: Store, lane: ShardLane,
    coordinator: any Coordinator, logger: Logger
  ) {
    self.name = name
    self.boot = boot
    self.directory = directory
    self.store = store
    self.lane = lane
    self.coordinator = coordinator
    self.logger = logger
  }

  /// What the coordinator says, in order. Callable from anywhere.
  func deliver(_ changes: [ClusterChange]) {
    for case .backup(let request) in changes { self.request.withLock { $0 = request } }
  }

  /// Runs until cancelled.
  func run() async {
    var answered: (id: UInt64, phase: BackupRequest.Phase)?
    while !Task.isCancelled {
      await Mirror.sleep(Self.pollInterval)
      guard let request = request.withLock({ $0 }) else {
        answered = nil
        continue
      }
      if let answered, answered == (request.id, request.phase) { continue }
      guard let report = await answer(request) else { continue }
      do throws(CoordinationError) {
        _ = try await coordinator.transact(
          Transaction(
            conditions: [],
            success: [
              .put(
                key: CoordinationKey.backupReports + name, value: report.encoded(), lease: nil)
            ]))
        answered = (request.id, request.phase)
      } catch {
        await Mirror.sleep(Self.retryInterval)
      }
    }
  }

  /// **Returns**: `nil` when there is nothing to tell so far.
  private func answer(_ request: BackupRequest) async -> BackupReport? {
    var report = BackupReport(id: request.id, phase: request.phase, store: store.id, boot: boot)
    let keeps = try? await lane.eventLoop.submit { [lane] in lane.keepsOutboxes }.get()
    guard keeps ?? false else { return nil }
    guard request.phase != .hold, request.takers.contains(store.id) else { return report }
    guard let directory else {
      report.failure = "it has no --backup-dir"
      return report
    }
    let path = BackupDirectory.path(of: store.id, in: directory)
    do {
      let store = store
      if request.phase == .finish {
        let number = copied.withLock { $0 }
        try await NIOThreadPool.singleton.runIfActive {
          try BackupDirectory(path).finish(number, keeping: Self.keptCount)
        }
        return report
      }
      if let stopped = try await stoppedPartition() {
        report.failure = "its replica of \(stopped) has stopped"
        return report
      }
      let made = try await NIOThreadPool.singleton.runIfActive {
        try BackupDirectory(of: store.id, in: directory).add(store)
      }
      copied.withLock { $0 = made.number }
      report.directory = path
      report.time = made.time
      report.number = made.number
      report.bytes = made.bytes
      logger.info(
        "the store is copied", metadata: ["to": .string(path), "number": "\(made.number)"])
    } catch {
      report.failure = "\(error)"
      logger.error("the store is not copied", metadata: ["why": "\(error)"])
    }
    return report
  }

  /// A replica that has given itself up may be listed as in sync for a while.
  private func stoppedPartition() async throws -> PartitionID? {
    let partitions = try await lane.eventLoop.submit { [lane] in lane.partitions }.get()
    return partitions.first { $0.stop != nil }?.partition
  }
}

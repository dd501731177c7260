import Logging
import LogStorage
import NIOCore
import NIOPosix
import NodeProtocol
import Primitives
import ReplicaCore
import ShardCore

/// Prepares states that come in as snapshots, on a thread of its own: no turn of the event loop and
/// no write of another partition waits for the files.
///
/// **Isolation**: the shard's event loop.
final class StatePreparation {
  private let store: ShardStore
  private let eventLoop: any EventLoop
  private let pool: NIOThreadPool
  private let logger: Logger
  /// Tells what came of a step.
  var onOutcome: ((PartitionID, ReplicaID, InstallationID, InstallationOutcome) -> Void)?
  /// Whatever the database has of this prefix is of no use.
  var onLeftover: ((_ prefix: UInt32) -> Void)?

  init(_ store: ShardStore, on eventLoop: any EventLoop, logger: Logger) {
    self.store = store
    self.eventLoop = eventLoop
    self.logger = logger
    pool = NIOThreadPool(numberOfThreads: 1)
    pool.start()
  }

  /// Lets what is under way end. Blocks for as long as one step takes.
  func stop() {
    onOutcome = nil
    onLeftover = nil
    pool.shutdownGracefully { _ in }
  }

  func perform(
    _ step: InstallationStep, of id: InstallationID, _ partition: PartitionID, _ replica: ReplicaID
  ) {
    switch step {
    case .begin:
      store.beginImport(id, of: partition)
      run(id, partition, replica, then: nil) { state throws(StorageError) in try state.begin() }
    case .write(let chunk):
      run(id, partition, replica, then: .written) { state throws(StorageError) in
        let records: [(key: [UInt8], value: [UInt8])]
        do { records = try StateRecords.decode(chunk.records) } catch {
          throw .damaged(Damage(.prefix(state.prefix), "a part of a snapshot: \(error)"))
        }
        try state.write(records)
      }
    case .finish:
      run(id, partition, replica, then: .ready) { state throws(StorageError) in
        try state.finish()
      }
    case .abandon: abandon(id, partition)
    }
  }

  private func run(
    _ id: InstallationID, _ partition: PartitionID, _ replica: ReplicaID,
    then outcome: InstallationOutcome?,
    _ work: @escaping @Sendable (StateImport) throws(StorageError) -> Void
  ) {
    guard let state = store.preparing(id, of: partition) else { return }
    let done = pool.runIfActive(eventLoop: eventLoop) { try work(state) }
    done.assumeIsolated().whenComplete { [weak self] result in
      switch result {
      case .success: if let outcome { self?.onOutcome?(partition, replica, id, outcome) }
      case .failure(let error): self?.fail(error, state, id, partition, replica)
      }
    }
  }

  private func fail(
    _ error: any Error, _ state: StateImport, _ id: InstallationID, _ partition: PartitionID,
    _ replica: ReplicaID
  ) {
    // The steps that followed one that failed fail, too.
    guard store.preparing(id, of: partition) === state else { return }
    note(error, partition)
    abandon(id, partition)
    onOutcome?(partition, replica, id, .failed)
  }

  private func note(_ error: any Error, _ partition: PartitionID) {
    logger.error(
      "a snapshot cannot be written",
      metadata: ["partition": "\(partition)", "why": .string("\(error)")])
  }

  private func abandon(_ id: InstallationID, _ partition: PartitionID) {
    guard let state = store.preparing(id, of: partition) else { return }
    store.endImport(id, of: partition)
    let done = pool.runIfActive(eventLoop: eventLoop) { state.abandon() }
    done.assumeIsolated().whenComplete { [weak self] _ in
      if state.prefix > 0 { self?.onLeftover?(state.prefix) }
    }
  }
}

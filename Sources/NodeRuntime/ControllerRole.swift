import ClusterModel
import Coordination
import Logging
import Primitives
import RingControl
import Synchronization

/// The ring controller's role: any shard takes it while the ring is being changed and nobody has
/// it, by a key under a lease. What it writes is conditioned on that key, so one that was replaced
/// without knowing it writes nothing.
///
/// **Isolation**: any task.
final class ControllerRole: Sendable {
  private static let leaseSeconds: Int64 = 3
  private static let stepInterval: Milliseconds = 50
  /// Between two looks whether somebody is needed.
  private static let idleInterval: Milliseconds = 250
  private static let retryInterval: Milliseconds = 1_000

  private struct State {
    var controller: RingController
    var stores: [String: StoreID] = [:]

    mutating func observe(_ change: ClusterChange) {
      switch change {
      case .record(let partition, let record): controller.recordObserved(partition, record)
      case .ring(let record, let revision): controller.ringObserved(record, revision: revision)
      case .node(let node): stores[node.name] = node.role == .shard ? node.store : nil
      case .nodeGone(let name): stores[name] = nil
      case .backup: return
      }
      controller.registeredStores(Set(stores.values))
    }
  }

  private let state: Mutex<State>
  private let store: StoreID
  private let coordinator: any Coordinator
  private let logger: Logger

  init(
    of store: StoreID, _ scheme: PartitionScheme, in coordinator: any Coordinator, logger: Logger
  ) {
    state = Mutex(State(controller: RingController(scheme)))
    self.store = store
    self.coordinator = coordinator
    self.logger = logger
  }

  /// What the coordinator says, in order. Callable from anywhere.
  func deliver(_ changes: [ClusterChange]) {
    state.withLock { state in for change in changes { state.observe(change) } }
  }

  /// Runs until cancelled.
  func run() async {
    while !Task.isCancelled {
      guard state.withLock({ $0.controller.hasChange }) else {
        await Mirror.sleep(Self.idleInterval)
        continue
      }
      do throws(CoordinationError) {
        try await campaign()
      } catch {
        logger.debug("no controller here", metadata: ["why": "\(error)"])
      }
      await Mirror.sleep(Self.retryInterval)
    }
  }

  /// Takes the role if nobody has it, and keeps it while there is something to do.
  private func campaign() async throws(CoordinationError) {
    guard try await coordinator.get(CoordinationKey.controller).item == nil else { return }
    let lease = try await coordinator.grantLease(ttlSeconds: Self.leaseSeconds)
    let key = CoordinationKey.controller
    let outcome: Result<TransactionResult, CoordinationError>
    do throws(CoordinationError) {
      outcome = .success(
        try await coordinator.transact(
          .compareAndSet(
            key, at: .zero, to: Array(store.description.utf8), lease: lease.id)))
    } catch {
      outcome = .failure(error)
    }
    if case .success(let result) = outcome, result.succeeded {
      logger.info("controls the ring")
      await serve(under: lease, key: result.revision)
      logger.info("controls the ring no more")
    }
    try await coordinator.revoke(lease)
    _ = try outcome.get()
  }

  private func serve(under lease: Lease, key revision: Revision) async {
    while !Task.isCancelled, lease.state != .lost {
      let actions = state.withLock { state in
        state.controller.hasChange ? state.controller.step(now: Clock.now()) : nil
      }
      guard let actions else { return }
      for action in actions {
        guard await carryOut(action, key: revision) else { return }
      }
      await Mirror.sleep(Self.stepInterval)
    }
  }

  /// **Returns**: whether the role is still held, as far as is known.
  private func carryOut(_ action: RingControlAction, key revision: Revision) async -> Bool {
    let name: String
    let value: [UInt8]
    var conditions = [
      Transaction.Condition.modRevision(of: CoordinationKey.controller, equals: revision)
    ]
    var partition: PartitionID?
    switch action {
    case .retarget(let retargeted, let record, let base, let ring):
      partition = retargeted
      (name, value) = (CoordinationKey.partition(retargeted), record.encoded())
      // A change that was turned back or is over asks for nothing any more.
      conditions += [
        .modRevision(of: name, equals: base), .modRevision(of: CoordinationKey.ring, equals: ring),
      ]
    case .finish(let record, let base):
      (name, value) = (CoordinationKey.ring, record.encoded())
      conditions.append(.modRevision(of: name, equals: base))
    }
    let transaction = Transaction(
      conditions: conditions, success: [.put(key: name, value: value, lease: nil)],
      failure: [.get(name), .get(CoordinationKey.controller)])
    guard let result = try? await coordinator.transact(transaction) else {
      // It may have been done; the record will tell.
      state.withLock { $0.controller.failed(partition) }
      return true
    }
    if result.succeeded {
      if case .finish(let record, _) = action {
        logger.info("the ring is as asked for", metadata: ["changes": "\(record.changeCount)"])
      }
      return true
    }
    state.withLock { $0.controller.failed(partition) }
    guard case .get(let holder?)? = result.responses.last else { return false }
    return holder.modRevision == revision
  }
}

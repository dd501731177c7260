package import NIOCore
import Primitives

/// The coordination service inside the process, for a cluster of one machine. Any number of
/// `EmbeddedCoordinator`s use it.
///
/// Requests of one turn of the loop are written together, with one durable write, and answered
/// after it. A write that fails stops the service: what is in memory may be ahead of the disk.
///
/// **Isolation**: its event loop, which storage may block: no connection should live there.
package final class EmbeddedService: @unchecked Sendable {
  // Safety: everything mutable is touched on `eventLoop` only, which every method checks.

  package let eventLoop: any EventLoop
  /// Its identity, made with its storage: what `CoordinationPosition` carries.
  package let serviceID: UInt64
  private let storage: any DurableKeyValue
  private var state: EmbeddedState

  private var writes: [[UInt8]: [UInt8]?] = [:]
  /// Order of the keys in `writes`, so that what reaches the storage does not depend on hashing.
  private var writeOrder: [[UInt8]] = []
  private var afterWrite: [(Result<Void, CoordinationError>) -> Void] = []
  private var isFlushScheduled = false
  private var failure: CoordinationError?

  private struct Watcher {
    let prefix: String
    let source: WatchSource
    /// Changes up to here are queued or were not asked for.
    var after: Revision
  }
  private var watchers: [UInt64: Watcher] = [:]
  private var watcherCount: UInt64 = 0
  private var expiry: (at: Instant, timer: Scheduled<Void>)?

  /// Reads the storage, which may block; an empty one becomes a new service named `newServiceID`.
  ///
  /// `known` is what this process's predecessor had seen of the service.
  ///
  /// **Throws**: `storageFailed`; `wentBackInTime` when the storage is older than `known`.
  package init(
    storage: any DurableKeyValue, newServiceID: UInt64, known: CoordinationPosition? = nil,
    historyEventsMax: Int? = nil, eventLoop: any EventLoop
  ) throws(CoordinationError) {
    precondition(newServiceID != 0, "zero is no identity")
    self.eventLoop = eventLoop
    self.storage = storage
    let historyEventsMax = historyEventsMax ?? EmbeddedState.historyEventsMax
    let stored: [(key: [UInt8], value: [UInt8])]
    do { stored = try storage.load() } catch { throw .storageFailed("\(error)") }
    if let loaded = try EmbeddedState(
      loading: stored, now: eventLoop.instant, historyEventsMax: historyEventsMax)
    {
      state = loaded
    } else {
      state = EmbeddedState(serviceID: newServiceID, historyEventsMax: historyEventsMax)
      do { try storage.write(state.initialWrites()) } catch { throw .storageFailed("\(error)") }
    }
    serviceID = state.serviceID
    if let known, known.serviceID != state.serviceID || known.revision > state.revision {
      throw .wentBackInTime(known: known, found: state.position)
    }
    eventLoop.execute { self.scheduleExpiry() }
  }

  // MARK: Requests

  func read<T>(
    _ body: (EmbeddedState) -> T, _ completion: @escaping Completion<T>
  ) {
    eventLoop.preconditionInEventLoop()
    answer(.success(body(state)), commit: nil, completion)
  }

  func transact(_ transaction: Transaction, _ completion: @escaping Completion<TransactionResult>) {
    eventLoop.preconditionInEventLoop()
    do throws(CoordinationError) {
      let (result, commit) = try state.transact(transaction)
      answer(.success(result), commit: commit, completion)
    } catch {
      answer(.failure(error), commit: nil, completion)
    }
  }

  func grant(ttlSeconds: Int64, _ completion: @escaping Completion<LeaseID>) {
    eventLoop.preconditionInEventLoop()
    let (id, commit) = state.grant(ttlSeconds: ttlSeconds, now: eventLoop.instant)
    answer(.success(id), commit: commit, completion)
    scheduleExpiry()
  }

  /// **Returns**: the seconds from now that the lease has; `nil` when there is no such lease.
  func renew(_ id: LeaseID) -> Int64? {
    eventLoop.preconditionInEventLoop()
    guard failure == nil else { return nil }
    return state.renew(id, now: eventLoop.instant)
  }

  func revoke(_ id: LeaseID, _ completion: @escaping Completion<Void>) {
    eventLoop.preconditionInEventLoop()
    answer(.success(()), commit: state.revoke(id), completion)
  }

  /// Begins a watch. Events follow when what they tell is durable.
  func watch(_ prefix: String, after: Revision?, _ source: WatchSource) {
    eventLoop.preconditionInEventLoop()
    if let failure { return source.finish(.failure(failure)) }
    let start = after ?? state.revision
    guard let missed = state.changes(after: start, prefix: prefix) else {
      return source.compact(at: state.compactedRevision)
    }
    watcherCount += 1
    let number = watcherCount
    // Changes in memory that are not durable yet are among the missed ones, so all wait together.
    watchers[number] = Watcher(prefix: prefix, source: source, after: max(start, state.revision))
    source.onAbandon { [eventLoop] in
      eventLoop.execute { self.watchers[number] = nil }
    }
    afterWrites { result in
      if case .failure(let error) = result { return source.finish(.failure(error)) }
      for batch in missed where !source.push(batch.changes, revision: batch.revision) { return }
    }
  }

  // MARK: Durability

  private func answer<T>(
    _ result: Result<T, CoordinationError>, commit: EmbeddedCommit?,
    _ completion: @escaping Completion<T>
  ) {
    if failure == nil, let commit {
      for (key, value) in commit.writes {
        if writes.updateValue(value, forKey: key) == nil { writeOrder.append(key) }
      }
      afterWrites { result in
        if case .success = result { self.publish(commit) }
      }
    }
    // Even a read waits: it may have seen what is not durable.
    afterWrites { written in completion(written.flatMap { result }) }
  }

  private func afterWrites(_ body: @escaping (Result<Void, CoordinationError>) -> Void) {
    if let failure { return body(.failure(failure)) }
    if writeOrder.isEmpty, afterWrite.isEmpty { return body(.success(())) }
    afterWrite.append(body)
    guard !isFlushScheduled else { return }
    isFlushScheduled = true
    eventLoop.execute { self.flush() }
  }

  private func flush() {
    isFlushScheduled = false
    let batch = writeOrder.map { (key: $0, value: writes[$0] ?? nil) }
    let waiting = afterWrite
    writes.removeAll(keepingCapacity: true)
    writeOrder.removeAll(keepingCapacity: true)
    afterWrite.removeAll(keepingCapacity: true)
    var result = Result<Void, CoordinationError>.success(())
    do { try storage.write(batch) } catch {
      let stopped = CoordinationError.storageFailed("\(error)")
      failure = stopped
      result = .failure(stopped)
    }
    for body in waiting { body(result) }
    if case .failure = result { stop(result) }
  }

  private func publish(_ commit: EmbeddedCommit) {
    guard !commit.changes.isEmpty else { return }
    for (number, watcher) in watchers where watcher.after < commit.revision {
      let matching = commit.changes.filter { $0.concerns(watcher.prefix) }
      guard !matching.isEmpty else { continue }
      if !watcher.source.push(matching, revision: commit.revision) { watchers[number] = nil }
    }
  }

  private func stop(_ result: Result<Void, CoordinationError>) {
    expiry?.timer.cancel()
    expiry = nil
    for watcher in watchers.values { watcher.source.finish(result) }
    watchers = [:]
  }

  // MARK: Expiry

  private func scheduleExpiry() {
    eventLoop.preconditionInEventLoop()
    guard failure == nil, let next = state.nextExpiry else { return }
    if let expiry, expiry.at <= next { return }
    expiry?.timer.cancel()
    let timer = eventLoop.scheduleTask(deadline: .uptimeNanoseconds(next.nanoseconds)) {
      self.expiry = nil
      self.expire()
    }
    expiry = (next, timer)
  }

  private func expire() {
    for id in state.expiredLeases(now: eventLoop.instant) { revoke(id) { _ in } }
    scheduleExpiry()
  }
}

/// Takes the result of one request, once, on the service's event loop.
typealias Completion<T> = (Result<T, CoordinationError>) -> Void

extension EventLoop {
  /// The loop's clock, in this project's words.
  var instant: Instant { Instant(nanoseconds: now.uptimeNanoseconds) }

  /// Calls `body` on this loop and waits for the completion that it was given.
  func request<T: Sendable>(
    _ body: @escaping @Sendable (@escaping Completion<T>) -> Void
  ) async throws(CoordinationError) -> T {
    let result: Result<T, CoordinationError> = await withCheckedContinuation { continuation in
      execute { body { continuation.resume(returning: $0) } }
    }
    return try result.get()
  }
}

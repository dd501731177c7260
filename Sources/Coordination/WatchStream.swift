import DequeModule
package import Primitives
import Synchronization

/// What a watch delivers.
///
/// The changes of one transaction come together, in the order in which it made them, followed by
/// `progress` of its revision.
package enum WatchEvent: Hashable, Sendable {
  case put(KeyValue)
  case delete(key: String, revision: Revision)
  /// Every change up to and including this revision has been delivered.
  case progress(Revision)
  /// Changes up to this revision may be missing: the service has dropped its history, or the reader
  /// was too slow. List anew. The stream ends after it.
  case compacted(at: Revision)
}

/// A watch's events, in order of their revisions. It goes on over lost connections.
///
/// The watch ends when the stream and its iterators are gone, or the reading task is cancelled.
/// Ends without an error after `compacted` and when the coordinator is shut down.
///
/// **Invariant**: at most `CoordinationLimits.watchEventsMax` events wait.
///
/// **Isolation**: any task, but one reader.
package struct WatchStream: AsyncSequence, Sendable {
  package typealias Element = WatchEvent
  package typealias Failure = CoordinationError

  /// Ends the watch when the last reader lets go of it; the service holds only the source.
  fileprivate final class Reader: Sendable {
    let source: WatchSource
    init(_ source: WatchSource) { self.source = source }
    deinit { source.abandon() }
  }

  private let reader: Reader

  init(_ source: WatchSource) { reader = Reader(source) }

  /// Keeps the watch going; it ends with the last copy.
  package struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let reader: Reader

    package mutating func next(
      isolation: isolated (any Actor)? = #isolation
    ) async throws(CoordinationError) -> WatchEvent? {
      try await reader.source.next()
    }
  }

  package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(reader: reader) }
}

/// The service's end of a `WatchStream`: a bounded queue with one reader.
final class WatchSource: Sendable {
  private struct State {
    var events = Deque<WatchEvent>()
    var reader: CheckedContinuation<Void, Never>?
    var end: Result<Void, CoordinationError>?
    var isAbandoned = false
    var onAbandon: (@Sendable () -> Void)?

    /// The reader to wake, which is no longer waiting then.
    mutating func takeReader() -> CheckedContinuation<Void, Never>? {
      defer { reader = nil }
      return reader
    }
  }

  private let state = Mutex(State())
  private let eventsMax: Int

  init(eventsMax: Int = CoordinationLimits.watchEventsMax) { self.eventsMax = eventsMax }

  /// Sets what to do, once, when the reader has gone: at once, if it has gone already.
  func onAbandon(_ body: @escaping @Sendable () -> Void) {
    let isAbandoned = state.withLock { state in
      if !state.isAbandoned { state.onAbandon = body }
      return state.isAbandoned
    }
    if isAbandoned { body() }
  }

  /// Queues the changes of `revision` and their progress; an overflow ends the stream.
  ///
  /// **Returns**: whether more events are of use.
  func push(_ changes: [WatchEvent], revision: Revision) -> Bool {
    let (reader, isOpen) = state.withLock { state in
      guard state.end == nil, !state.isAbandoned else {
        return (CheckedContinuation<Void, Never>?.none, false)
      }
      if state.events.count + changes.count + 1 > eventsMax {
        state.events.append(.compacted(at: revision))
        state.end = .success(())
      } else {
        state.events.append(contentsOf: changes)
        state.events.append(.progress(revision))
      }
      return (state.takeReader(), state.end == nil)
    }
    reader?.resume()
    return isOpen
  }

  /// Tells that history is gone, and ends the stream.
  func compact(at revision: Revision) { end(.success(()), after: .compacted(at: revision)) }

  /// Ends the stream after what waits.
  func finish(_ result: Result<Void, CoordinationError> = .success(())) { end(result, after: nil) }

  private func end(_ result: Result<Void, CoordinationError>, after last: WatchEvent?) {
    let reader = state.withLock { state in
      guard state.end == nil else { return CheckedContinuation<Void, Never>?.none }
      if let last { state.events.append(last) }
      state.end = result
      return state.takeReader()
    }
    reader?.resume()
  }

  /// The reader is gone.
  func abandon() {
    let (reader, body) = state.withLock { state in
      state.isAbandoned = true
      state.events.removeAll()
      defer { state.onAbandon = nil }
      return (state.takeReader(), state.onAbandon)
    }
    reader?.resume()
    body?()
  }

  private enum Poll {
    case event(WatchEvent)
    case end(Result<Void, CoordinationError>)
    case empty
  }

  private func poll() -> Poll {
    state.withLock { state in
      if state.isAbandoned { return .end(.success(())) }
      if let event = state.events.popFirst() { return .event(event) }
      if let end = state.end { return .end(end) }
      return .empty
    }
  }

  func next() async throws(CoordinationError) -> WatchEvent? {
    while true {
      switch poll() {
      case .event(let event): return event
      case .end(.success): return nil
      case .end(.failure(let error)): throw error
      case .empty: break
      }
      await withTaskCancellationHandler {
        await withCheckedContinuation { park($0) }
      } onCancel: {
        abandon()
      }
    }
  }

  private func park(_ continuation: CheckedContinuation<Void, Never>) {
    let mayWait = state.withLock { state in
      precondition(state.reader == nil, "a watch has one reader")
      guard state.events.isEmpty, state.end == nil, !state.isAbandoned else { return false }
      state.reader = continuation
      return true
    }
    if !mayWait { continuation.resume() }
  }
}

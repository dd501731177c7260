package import Primitives

/// One key's change as a mirror tells it.
package enum MirrorChange: Hashable, Sendable {
  case put(KeyValue)
  /// **Invariant**: the key was there before. After a listing the revision is the listing's: when
  /// exactly the key went is not known.
  case delete(key: String, revision: Revision)

  /// The key that has changed.
  package var key: String {
    switch self {
    case .put(let item): item.key
    case .delete(let key, _): key
    }
  }
}

/// What changed between two states of a prefix, both of which it really had.
package struct MirrorUpdate: Hashable, Sendable {
  /// The state after it.
  package let revision: Revision
  /// Several changes of one key appear in their order; after a listing each key appears once.
  package let changes: [MirrorChange]
  /// Found by comparing a listing. The first update is one, and lists everything.
  package let isListing: Bool

  package init(revision: Revision, changes: [MirrorChange], isListing: Bool) {
    self.revision = revision
    self.changes = changes
    self.isListing = isListing
  }
}

/// Keeps the state of a prefix. A value: what was read goes in, what changed comes out.
///
/// ```
/// unlisted ── listed ──► following ── progress ──► following
///                            │  ▲
///                 compacted, └──┘ listed
///                 stream over
/// ```
/// **Invariant**: the position never goes back; `items` is the prefix's state there, apart from
/// changes whose `progress` has not come.
package struct MirrorState: Sendable {
  /// By key.
  package private(set) var items: [String: KeyValue] = [:]
  /// As of when; `nil` before the first listing.
  package private(set) var position: CoordinationPosition?
  /// Changes of a revision that is not complete yet.
  private var pending: [MirrorChange] = []

  package init() {}

  /// **Returns**: the difference; `nil` for a later listing that differs in nothing.
  ///
  /// **Throws**: `wentBackInTime` for a listing older than what was delivered.
  package mutating func listed(_ listing: Listing) throws(CoordinationError) -> MirrorUpdate? {
    if let known = position,
      known.serviceID != listing.position.serviceID || listing.revision < known.revision
    {
      throw .wentBackInTime(known: known, found: listing.position)
    }
    pending = []
    var fresh: [String: KeyValue] = [:]
    var changes: [MirrorChange] = []
    for item in listing.items {
      fresh[item.key] = item
      if items[item.key] != item { changes.append(.put(item)) }
    }
    for key in items.keys.sorted() where fresh[key] == nil {
      changes.append(.delete(key: key, revision: listing.revision))
    }
    let isFirst = position == nil
    items = fresh
    position = listing.position
    guard isFirst || !changes.isEmpty else { return nil }
    return MirrorUpdate(revision: listing.revision, changes: changes, isListing: true)
  }

  /// What an event of the watch has led to.
  package enum Step: Hashable, Sendable {
    case update(MirrorUpdate)
    /// Nothing to tell yet.
    case none
    /// History is gone.
    case list
  }

  /// Takes one event of the watch in.
  package mutating func received(_ event: WatchEvent) -> Step {
    switch event {
    case .put(let item):
      pending.append(.put(item))
      return .none
    case .delete(let key, let revision):
      pending.append(.delete(key: key, revision: revision))
      return .none
    case .compacted:
      pending = []
      return .list
    case .progress(let revision):
      return complete(revision)
    }
  }

  private mutating func complete(_ revision: Revision) -> Step {
    defer { pending = [] }
    guard let known = position, revision > known.revision else { return .none }
    position = CoordinationPosition(serviceID: known.serviceID, revision: revision)
    var changes: [MirrorChange] = []
    for change in pending {
      switch change {
      case .put(let item):
        items[item.key] = item
      case .delete(let key, _):
        guard items.removeValue(forKey: key) != nil else { continue }
      }
      changes.append(change)
    }
    guard !changes.isEmpty else { return .none }
    return .update(MirrorUpdate(revision: revision, changes: changes, isListing: false))
  }
}

/// Follows a prefix: lists it, watches from the listing's revision, lists anew when history is
/// gone.
/// The updates, applied in order, give the prefix's state at each update's revision.
///
/// It has no task of its own: it works while somebody waits in `next`, and what comes meanwhile
/// waits in the watch, within its bound.
package struct Mirror: Sendable {
  /// Between two attempts to list while the service is away.
  package static let retryMilliseconds: Milliseconds = 100

  package let prefix: String
  private let coordinator: any Coordinator
  private let sleep: @Sendable (Milliseconds) async -> Void
  private var state = MirrorState()
  private var events: WatchStream.AsyncIterator?

  package init(
    of prefix: String, in coordinator: any Coordinator,
    sleep: @escaping @Sendable (Milliseconds) async -> Void = Mirror.sleep
  ) {
    self.prefix = prefix
    self.coordinator = coordinator
    self.sleep = sleep
  }

  /// The prefix's state after the last update.
  package var items: [String: KeyValue] { state.items }
  /// `nil` before the first update.
  package var position: CoordinationPosition? { state.position }

  /// Waits for the next change. While the service is away it waits too.
  ///
  /// **Returns**: `nil` when the task is cancelled.
  ///
  /// **Throws**: what does not pass by itself: `wentBackInTime`, `refused`, `shutDown` …
  package mutating func next() async throws(CoordinationError) -> MirrorUpdate? {
    while !Task.isCancelled {
      do throws(CoordinationError) {
        if let update = try await step() { return update }
      } catch {
        events = nil
        guard error.isRetryable else { throw error }
        await sleep(Self.retryMilliseconds)
      }
    }
    return nil
  }

  private mutating func step() async throws(CoordinationError) -> MirrorUpdate? {
    guard events != nil else { return try await list() }
    guard let event = try await events?.next() else {
      events = nil
      return nil
    }
    switch state.received(event) {
    case .update(let update): return update
    case .none: return nil
    case .list: return try await list()
    }
  }

  private mutating func list() async throws(CoordinationError) -> MirrorUpdate? {
    events = nil
    let listing = try await coordinator.list(prefix)
    // Before the state changes: an update must not be lost because the watch could not begin.
    let stream = try await coordinator.watch(prefix, after: listing.revision)
    let update = try state.listed(listing)
    events = stream.makeAsyncIterator()
    return update
  }

  /// Waits; ends early when the task is cancelled.
  package static func sleep(_ time: Milliseconds) async {
    // A cancelled sleep ends early, and `next` looks at the cancellation itself.
    try? await Task.sleep(nanoseconds: time.rawValue * 1_000_000)
  }
}

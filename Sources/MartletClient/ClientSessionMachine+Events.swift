import ChatModel
import ClientProtocol
import DequeModule
import Primitives

/// How far a conversation was delivered.
struct ReadingPlace: Equatable {
  var last: Sequence
  /// What follows `last` was erased, so that the next event may have any later number.
  var isCut = false
}

/// Events of a conversation that the gateway passed over, while they are fetched. Everything that
/// comes later waits in `held`, in its order.
struct GapFill: Equatable {
  let conversation: WireConversation
  /// Below the event that showed the gap.
  let upTo: Sequence
}

/// Events: each once, in order, whatever gateways repeat or pass over.
///
/// ```
///   from the gateway ──▶ (held, while a gap is filled) ──▶ repeated? ──▶ deliveries ──▶ consumer
///                                                             └ passed over? ──▶ fill
/// ```
extension ClientSessionMachine {
  /// The machine's own operations have ids from here on; the shell's are smaller.
  static let fillIDs: UInt64 = 1 << 63

  mutating func deliverableReceived(
    _ delivery: Delivery, now: Instant, into actions: inout [ClientAction]
  ) {
    guard !isShedding else { return }
    guard fill == nil else {
      held.append(delivery)
      // The cursor stands before everything held, so that all of it comes again.
      if held.count > configuration.heldMax { lose(isSocketGone: false, now: now, into: &actions) }
      return
    }
    accept(delivery, now: now, into: &actions)
  }

  /// - Precondition: no gap is being filled.
  private mutating func accept(
    _ delivery: Delivery, now: Instant, into actions: inout [ClientAction]
  ) {
    switch delivery {
    case .cursor(let cursor):
      self.cursor = cursor
      deliver(delivery)
    case .cut(let conversation, _):
      // What comes next may have any number, one that was seen already too.
      let place = places.removeValue(forKey: conversation)
      deliver(.cut(conversation, after: place?.last ?? .zero))
    case .event(let event):
      guard let place = places[event.conversation] else { return pass(event) }
      if event.sequence <= place.last { return }
      if event.sequence == place.last.successor || place.isCut { return pass(event) }
      held.prepend(delivery)
      fill = GapFill(conversation: event.conversation, upTo: event.sequence)
      askForGap(now: now)
    }
  }

  private mutating func pass(_ event: ChatModel.Event) {
    places[event.conversation] = ReadingPlace(last: event.sequence)
    deliver(.event(event))
  }

  private mutating func deliver(_ delivery: Delivery) {
    deliveries.append(delivery)
    undelivered += 1
    if undelivered >= configuration.shedEventsMax { isShedding = true }
  }

  /// The consumer took so many deliveries.
  mutating func consumed(_ count: Int, now: Instant, into actions: inout [ClientAction]) {
    undelivered = max(0, undelivered - count)
    if isShedding, isConnected, undelivered <= configuration.bufferedEventsMax / 2 {
      // What was given up comes again from the cursor on.
      move(to: gateway, now: now, into: &actions)
    }
    settle(now: now, into: &actions)
  }

  // MARK: Gaps

  private mutating func askForGap(now: Instant) {
    guard let gap = fill else { return }
    let operation = PendingOperation(
      id: Self.fillIDs + lastOrder,
      operation: .history(
        conversation: gap.conversation, range: .after(places[gap.conversation]?.last ?? .zero),
        limit: configuration.fillPageMax),
      deadline: .distantFuture, isFill: true)
    enqueue(operation, now: now)
  }

  /// The page that was asked for, or why there is none.
  mutating func filled(
    _ result: Result<ServerBody, MartletError>, now: Instant, into actions: inout [ClientAction]
  ) {
    guard let gap = fill else { return }
    let events: [ChatModel.Event]
    switch result {
    case .success(.history(_, let page)): events = page.events
    case .success, .failure: events = []
    }
    let before = places[gap.conversation]?.last ?? .zero
    for event in events where event.sequence < gap.upTo {
      guard event.conversation == gap.conversation else { continue }
      let last = places[gap.conversation]?.last ?? .zero
      guard event.sequence > last else { continue }
      // Retention took the oldest ones; or a gateway lies, which a client can only report.
      if event.sequence != last.successor { cutAway(gap.conversation, after: last) }
      pass(event)
    }
    let last = places[gap.conversation]?.last ?? .zero
    if last.successor < gap.upTo {
      guard last == before else { return askForGap(now: now) }
      // Nothing is to be had: erased, or this client is no member any more.
      cutAway(gap.conversation, after: last)
    }
    fill = nil
    drainHeld(now: now, into: &actions)
  }

  private mutating func cutAway(_ conversation: WireConversation, after last: Sequence) {
    places[conversation] = ReadingPlace(last: last, isCut: true)
    deliver(.cut(conversation, after: last))
  }

  private mutating func drainHeld(now: Instant, into actions: inout [ClientAction]) {
    while fill == nil, let delivery = held.popFirst() {
      accept(delivery, now: now, into: &actions)
    }
  }
}

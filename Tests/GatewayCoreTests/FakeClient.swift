import ChatModel
import ClientProtocol
import GatewayCore
import NodeProtocol
import Primitives
import WalkSupport

/// Something that must not happen.
struct Violation: Error, Equatable, CustomStringConvertible {
  enum Kind: Equatable { case gap, repetition, falseEvent, cursor, missing, leak, answer }

  let kind: Kind
  let text: String

  var description: String { "\(kind): \(text)" }
}

/// A client that reconnects with the last cursor it was told, and throws away what it saw after
/// it: whatever it is told next must go on from there.
///
/// A *life* begins with a hello without a cursor. What happened after the first cursor of a life,
/// in conversations that were listed then, and everything since it joined in those that were
/// listed later, it must get exactly once and in order.
struct FakeClient {
  let user: UserID
  let device: DeviceID
  var session: SessionID?
  var cursor: Cursor?
  /// The first cursor of this life.
  private(set) var start: Cursor?
  private(set) var log: [ConversationID: [Event]] = [:]
  /// Conversations with an event on this connection.
  private var heard: Set<ConversationID> = []
  var isCongested = false
  var isWelcome = false
  var answers: [String: ServerBody] = [:]
  var endings: [ServiceError] = []
  private(set) var cursorCount = 0
  private(set) var eventCount = 0
  private(set) var behindCount = 0

  init(user: UserID, device: DeviceID) {
    self.user = user
    self.device = device
  }

  /// A connection begins; without a cursor, a new life.
  mutating func connect(_ id: SessionID, in world: ChatWorld) {
    session = id
    heard = []
    isCongested = false
    isWelcome = false
    guard let cursor else {
      log = [:]
      start = nil
      return
    }
    for (conversation, events) in log {
      let position = Self.position(of: conversation, in: cursor, world) ?? .zero
      log[conversation] = events.filter { $0.index <= position }
    }
  }

  static func position(
    of conversation: ConversationID, in cursor: Cursor, _ world: ChatWorld
  ) -> LogIndex? {
    let partition = world.partition(of: .conversation(conversation))
    return cursor.positions.first { $0.partition == partition }?.index
  }

  // MARK: What it is told

  mutating func receive(_ body: ServerBody, in world: ChatWorld) throws(Violation) {
    switch body {
    case .event(let event): try receive(event, in: world)
    case .cursor(let told): try receive(told, in: world)
    case .behind: behindCount += 1
    default: break
    }
  }

  private mutating func receive(_ event: Event, in world: ChatWorld) throws(Violation) {
    let id = event.conversation
    eventCount += 1
    let events = world.conversations[id]?.events ?? []
    let place = Int(event.sequence.rawValue) - 1
    guard events.indices.contains(place), events[place] == event else {
      throw violation(.falseEvent, "\(id)/\(event.sequence) never happened")
    }
    let isFirst = heard.insert(id).inserted
    if let last = log[id]?.last, event.sequence <= last.sequence {
      // A conversation that the cursor's list does not show is read again from the joining.
      guard isFirst, let cursor, isListed(id, after: cursor, in: world) else {
        throw violation(.repetition, "\(id): \(event.sequence) after \(last.sequence)")
      }
      log[id]?.removeAll { $0.sequence >= event.sequence }
    }
    if let last = log[id]?.last, event.sequence != last.sequence.successor {
      guard wasAway(id, since: last, in: world) else {
        throw violation(.gap, "\(id): \(event.sequence) after \(last.sequence)")
      }
    }
    log[id, default: []].append(event)
  }

  private func isListed(
    _ id: ConversationID, after cursor: Cursor, in world: ChatWorld
  ) -> Bool {
    world.lists[user]?[id].map { $0.listed > cursor.user.index } ?? false
  }

  /// Whoever was no member for a while may miss what happened before and meanwhile: nobody who is
  /// no member can pull it.
  private func wasAway(_ id: ConversationID, since last: Event, in world: ChatWorld) -> Bool {
    guard let found = world.conversations[id] else { return false }
    return ((found.joins[user] ?? []) + (found.leaves[user] ?? [])).contains { $0 > last.index }
  }

  private mutating func receive(_ told: Cursor, in world: ChatWorld) throws(Violation) {
    cursorCount += 1
    for position in [told.user] + told.positions {
      let applied = world.applied(position.partition)
      guard position.index <= applied else {
        throw violation(.cursor, "\(position.partition) at \(position.index) of \(applied)")
      }
    }
    if start == nil { start = told }
    // What it had of the list it would read again from the joinings.
    if let cursor, told.user.index < cursor.user.index {
      throw violation(.cursor, "the list goes back: \(told.user.index) < \(cursor.user.index)")
    }
    if told.user.index == .zero, world.lists[user] != nil {
      throw violation(.cursor, "it says that nothing of the list was seen")
    }
    cursor = told
    for (id, listing) in world.lists[user] ?? [:]
    where !listing.isRemoved && listing.listed <= told.user.index {
      guard let position = Self.position(of: id, in: told, world) else { continue }
      let claimed = owed(id, in: world).filter { $0.index <= position }
      let has = Set((log[id] ?? []).map(\.sequence))
      if let missing = claimed.first(where: { !has.contains($0.sequence) }) {
        throw violation(
          .cursor, "\(id)/\(missing.sequence) at \(missing.index) is below \(position)")
      }
    }
  }

  // MARK: What it must have

  /// What it must have got by now of a conversation that it is a member of.
  func owed(_ id: ConversationID, in world: ChatWorld) -> [Event] {
    guard let start, let listing = world.lists[user]?[id], !listing.isRemoved,
      let found = world.conversations[id], found.members[user] != nil,
      let joined = found.joins[user]?.last
    else { return [] }
    var base = LogIndex.zero
    if listing.listed <= start.user.index {
      base = Self.position(of: id, in: start, world) ?? .zero
    } else if found.joins[user]?.first != joined,
      let position = Self.position(of: id, in: start, world), joined <= position
    {
      // It was listed before this life, left and joined again: it began as it was listed then.
      base = position
    }
    let first = joining(of: user, in: found.events)
    return found.events.filter {
      $0.index > base && $0.index >= joined && $0.sequence >= first
    }
  }

  /// After everything has come to rest.
  func checkComplete(in world: ChatWorld) throws(Violation) {
    guard start != nil else { throw violation(.missing, "it was never told a cursor") }
    for (id, listing) in world.lists[user] ?? [:] where !listing.isRemoved {
      let owed = owed(id, in: world).map(\.sequence)
      let has = (log[id] ?? []).suffix(owed.count).map(\.sequence)
      guard Array(has) == owed else {
        throw violation(.missing, "\(id): \(owed) are owed, \((log[id] ?? []).map(\.sequence))")
      }
    }
  }

  private func violation(_ kind: Violation.Kind, _ text: String) -> Violation {
    Violation(kind: kind, text: "\(device) of \(user): \(text)")
  }
}

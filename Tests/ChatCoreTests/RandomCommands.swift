import ChatModel
import Primitives
import WalkSupport

/// Draws commands and queries about a small world, so that they meet often.
struct RandomCommands {
  var random: SeededRandom
  private var sent = 0

  init(seed: UInt64) { random = SeededRandom(seed: seed) }

  mutating func below(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

  private mutating func person() -> Int { 1 + below(9) }
  private mutating func room() -> Int { 1 + below(6) }

  private mutating func people(upTo count: Int) -> [Int] {
    Array(Set((0..<below(count + 1)).map { _ in person() })).sorted()
  }

  mutating func command(outbox: [(id: OutboxEntryID, command: Command)]) -> Command {
    switch below(100) {
    case 0..<55: return message()
    case 55..<61: return creation()
    case 61..<70:
      // More come than go: a group that everybody left stays empty, and its history unread.
      let removed = people(upTo: 1)
      let added = people(upTo: 3).filter { !removed.contains($0) || chance(5) }
      return change(
        room(), by: person(), add: added.map { member($0, chance(20) ? .admin : .member) },
        remove: removed)
    case 70..<74: return createUser(person(), handle: "user\(1 + below(5))")
    case 74..<78:
      return openSession(
        person(), device: 1 + below(70), token: below(3), expires: UInt64(1_000 + below(9_000)))
    case 78..<81:
      return rotate(
        person(), device: 1 + below(70), from: below(3), to: below(3),
        expires: UInt64(1_000 + below(9_000)))
    case 81..<82:
      return .closeSession(CloseSession(user: user(person()), device: device(1 + below(70))))
    case 82..<83 where chance(20): return .generationBegan(UInt32(below(5)))
    case 82..<84:
      return listed(person(), room(), removed: chance(50), origin: UInt64(below(3_000)))
    case 84..<94:
      guard !outbox.isEmpty else { return message() }
      return outbox[below(min(outbox.count, 40))].command
    default:
      let confirmed = outbox.prefix(20).filter { _ in chance(60) }.map(\.id)
      return .outboxConfirmed(OutboxConfirmed(entries: confirmed))
    }
  }

  private mutating func message() -> Command {
    sent += chance(80) ? 1 : 0
    let text = chance(2) ? "" : String(repeating: "x", count: 1 + below(chance(2) ? 3_000 : 40))
    return send(
      text, to: room(), by: person(), device: 1 + below(2), id: "\(max(0, sent - below(5)))")
  }

  private mutating func creation() -> Command {
    if chance(30) { return direct(person(), person()) }
    let creator = person()
    let members = Array(Set(people(upTo: 6) + [creator])).sorted()
    return group(room(), creator: creator, members: members)
  }

  mutating func query(applied: LogIndex) -> Query {
    switch below(8) {
    case 0: return .handle(handle("user\(1 + below(5))"))
    case 1: return .user(user(person()))
    case 2: return .credentials(user(person()))
    case 3:
      return .conversationList(
        user: user(person()), after: chance(50) ? conversation(room()) : nil, limit: 1 + below(6))
    case 4:
      return .summaries(reader: user(person()), conversations: (1...6).map { conversation($0) })
    case 5, 6:
      let position = Sequence(UInt64(below(900)))
      let range: HistoryQuery.Range =
        chance(10) ? .latest : chance(50) ? .after(position) : .before(position)
      return history(range, of: room(), by: person(), limit: 1 + below(200))
    default:
      let end = Int(applied.rawValue) + 2
      let requests = (1...6).map { number in
        let after = chance(50) ? end - below(min(end, 40)) : below(end)
        return (conversation: number, after: UInt64(after))
      }
      return changes(by: person(), requests, limit: 1 + below(60))
    }
  }
}

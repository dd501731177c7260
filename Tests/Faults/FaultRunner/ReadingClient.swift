import HistoryChecker
import Synchronization

/// Somebody who reads histories all the time, through all gateways.
///
/// **Isolation**: one thread.
final class ReadingClient {
  private static let pauses = 50...150
  private static let pageMax = 50
  private static let wholePageMax = 200

  private let person: Person
  private let talks: [Talk]
  private let stage: Stage
  private var chance: Chance
  private var heads: [Int: UInt64] = [:]

  init(person: Person, talks: [Talk], stage: Stage, chance: Chance) {
    self.person = person
    self.talks = talks
    self.stage = stage
    self.chance = chance
  }

  func run() {
    while !stage.mustRest {
      let talk = chance.pick(talks)
      person.changeGateway()
      let head = heads[talk.place] ?? 0
      // The end by name, the end by number, or somewhere in the middle.
      let after: UInt64? =
        switch chance.number(0...3) {
        case 0: nil
        case 1: UInt64(chance.number(0...Int(head)))
        default: head > 5 ? head - 5 : 0
        }
      do throws(ChatFailure) {
        heads[talk.place] = try read(talk, after: after, limit: Self.pageMax).head
      } catch {
        if case .refused = error { stage.remark("a read was refused: \(error)") }
      }
      Pace.sleep(Moment(chance.number(Self.pauses)) * Pace.millisecond)
    }
  }

  /// One page, which is written down when it is answered.
  private func read(_ talk: Talk, after: UInt64?, limit: Int) throws(ChatFailure) -> ReadPage {
    let invoked = Pace.now()
    let (entries, head) = try person.attempt { connection, token, deadline throws(ChatFailure) in
      try ChatAPI.history(
        of: talk.id, after: after, limit: limit, token: token, connection, deadline)
    }
    let page = ReadPage(
      conversation: talk.place, invoked: invoked, completed: Pace.now(), after: after,
      entries: entries, head: head)
    stage.readCount.wrappingAdd(1, ordering: .relaxed)
    stage.log.add(.read(page))
    return page
  }

  /// Reads a conversation from its beginning to its end.
  ///
  /// **Throws**: `Failure` when that takes longer than until `deadline`.
  func readAll(_ talk: Talk, until deadline: Moment) throws -> [Entry] {
    var entries: [Entry] = []
    while true {
      do throws(ChatFailure) {
        let page = try read(talk, after: entries.last?.sequence ?? 0, limit: Self.wholePageMax)
        entries += page.entries
        if page.entries.isEmpty || (entries.last?.sequence ?? 0) >= page.head { return entries }
      } catch {
        guard Pace.now() < deadline else {
          throw Failure("conversation \(talk.place) cannot be read to its end: \(error)")
        }
        Pace.sleep(20 * Pace.millisecond)
      }
    }
  }
}

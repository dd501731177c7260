import HistoryChecker

/// Somebody who sends all the time, one message after the other, each until it is answered; and
/// who now and then sends again what was answered long ago.
///
/// **Isolation**: one thread.
final class SendingClient {
  private static let pauses = 10...60
  private static let retryPauses = 5...80
  private static let repetitionPerMille = 30
  private static let changePerMille = 20
  /// Of the 1,024 that a device's window holds in a conversation.
  private static let rememberedMax = 300
  /// After the faults have ended everything must be answered within this time.
  private static let patience: Moment = 60 * Pace.second

  private let number: Int
  private let person: Person
  private let talks: [Talk]
  private let stage: Stage
  private var chance: Chance
  private var nextID: UInt64 = 1
  private var answered: [Message] = []

  init(number: Int, person: Person, talks: [Talk], stage: Stage, chance: Chance) {
    self.number = number
    self.person = person
    self.talks = talks
    self.stage = stage
    self.chance = chance
  }

  func run() {
    while !stage.mustRest {
      if chance.happens(perMille: Self.changePerMille) { person.changeGateway() }
      if chance.happens(perMille: Self.repetitionPerMille), !answered.isEmpty {
        deliver(chance.pick(answered))
      } else {
        let message = Message(
          conversation: chance.pick(talks), id: nextID, text: "s\(number)-\(nextID)")
        nextID += 1
        deliver(message)
        answered.append(message)
        if answered.count > Self.rememberedMax { answered.removeFirst() }
      }
      Pace.sleep(Moment(chance.number(Self.pauses)) * Pace.millisecond)
    }
  }

  /// Sends a message until it is answered.
  private func deliver(_ message: Message) {
    var deadline: Moment?
    while true {
      do throws(ChatFailure) {
        _ = try stage.send(message, from: person, sender: number)
        return
      } catch {
        if case .refused = error { return stage.remark("'\(message.text)' was refused: \(error)") }
        if stage.mustRest {
          let end = deadline ?? (Pace.now() + Self.patience)
          deadline = end
          guard Pace.now() < end else {
            return stage.remark("'\(message.text)' was never answered: \(error)")
          }
        }
      }
      Pace.sleep(Moment(chance.number(Self.retryPauses)) * Pace.millisecond)
    }
  }
}

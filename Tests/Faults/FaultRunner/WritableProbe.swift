import HistoryChecker
import Synchronization

/// Who asks: one login for all.
struct Prober: Sendable {
  let handle: String
  let token: String
}

/// Asks through every gateway that should serve, in many conversations at a time, whether a message
/// is taken; each until it is. What is sent is part of the history as everything else.
///
/// **Isolation**: the runner's first thread.
final class WritableProbe {
  /// The next id, of the whole run.
  private static let nextID = Atomic<UInt64>(1)
  private static let sender = 1_000
  private static let retryPause: Moment = 10 * Pace.millisecond

  private final class Answers: Sendable {
    let slowest = Mutex<(count: Int, at: Moment, late: [String])>((0, 0, []))
    let isOver = Atomic(false)
  }

  private let answers = Answers()
  private let expected: Int
  private let begin: Moment

  /// - Parameter begin: since when time is counted.
  init(
    _ talks: [Talk], through gateways: [HTTPEndpoint], as prober: Prober, stage: Stage,
    begin: Moment
  ) {
    self.begin = begin
    expected = talks.count * gateways.count
    for gateway in gateways {
      for talk in talks {
        let answers = answers
        _ = Worker { Self.insist(talk, gateway, prober, stage, answers) }
      }
    }
  }

  private static func insist(
    _ talk: Talk, _ gateway: HTTPEndpoint, _ prober: Prober, _ stage: Stage, _ answers: Answers
  ) {
    let person = Person(prober.handle, gateways: [gateway], first: 0, token: prober.token)
    let id = nextID.wrappingAdd(1, ordering: .relaxed).newValue
    let message = Message(conversation: talk, id: id, text: "p-\(id)")
    while !answers.isOver.load(ordering: .relaxed) {
      do throws(ChatFailure) {
        _ = try stage.send(message, from: person, sender: sender)
        return answers.slowest.withLock { $0 = ($0.count + 1, max($0.at, Pace.now()), $0.late) }
      } catch {
        if case .refused = error { stage.remark("'\(message.text)' was refused: \(error)") }
      }
      Pace.sleep(retryPause)
    }
    let line = "\(talk.place) through \(gateway.address)"
    answers.slowest.withLock { $0.late.append(line) }
  }

  var isDone: Bool { answers.slowest.withLock { $0.count == expected } }

  /// From `begin` until the last of them was answered; `nil` when one was not.
  var duration: Moment? {
    answers.slowest.withLock { $0.count == expected ? $0.at - begin : nil }
  }

  /// No more tries.
  func giveUp() { answers.isOver.store(true, ordering: .relaxed) }
}

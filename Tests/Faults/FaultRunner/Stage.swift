import Foundation
import HistoryChecker
import Synchronization

/// What all clients of a run share.
///
/// **Isolation**: any thread.
final class Stage: Sendable {
  private static let remarksMax = 200

  let log: HistoryLog
  let gateways: [HTTPEndpoint]
  /// No new sends and reads.
  let isQuiet = Atomic(false)
  /// Everything ends.
  let isStopping = Atomic(false)
  let attemptCount = Atomic(0)
  let acknowledgedCount = Atomic(0)
  let readCount = Atomic(0)
  let heardCount = Atomic(0)
  let resumeCount = Atomic(0)
  /// What must not happen and breaks no promise of the history, such as a refused send.
  private let remarks = Mutex<[String]>([])

  init(log: HistoryLog, gateways: [HTTPEndpoint]) {
    self.log = log
    self.gateways = gateways
  }

  func remark(_ line: String) {
    remarks.withLock { if $0.count < Self.remarksMax { $0.append(line) } }
  }

  var allRemarks: [String] { remarks.withLock { $0 } }
  var mustRest: Bool { isQuiet.load(ordering: .relaxed) }
  var mustStop: Bool { isStopping.load(ordering: .relaxed) }

  /// One try of a send, which is written down whatever comes of it.
  func send(
    _ message: Message, from person: Person, sender: Int
  ) throws(ChatFailure) -> UInt64 {
    let invoked = Pace.now()
    attemptCount.wrappingAdd(1, ordering: .relaxed)
    let result: Result<UInt64, ChatFailure>
    do throws(ChatFailure) {
      result = .success(
        try person.attempt { connection, token, deadline throws(ChatFailure) in
          try ChatAPI.send(
            message.text, id: "m\(message.id)", to: message.conversation.id, token: token,
            connection, deadline)
        })
    } catch {
      result = .failure(error)
    }
    var outcome = SendAttempt.Outcome.unknown
    if case .success(let sequence) = result {
      outcome = .acknowledged(sequence, at: Pace.now())
      acknowledgedCount.wrappingAdd(1, ordering: .relaxed)
    }
    log.add(
      .send(
        SendAttempt(
          sender: sender, conversation: message.conversation.place, id: message.id,
          text: message.text, invoked: invoked, outcome: outcome)))
    return try result.get()
  }
}

/// A thread of a client.
final class Worker: Sendable {
  private let hasEnded = Atomic(false)

  init(_ body: @escaping @Sendable () -> Void) {
    Thread.detachNewThread { [self] in
      body()
      hasEnded.store(true, ordering: .releasing)
    }
  }

  var isDone: Bool { hasEnded.load(ordering: .acquiring) }
}

/// A conversation of a run.
struct Talk: Hashable, Sendable {
  let id: String
  /// In the history's list.
  let place: Int
}

struct Message: Hashable, Sendable {
  let conversation: Talk
  let id: UInt64
  let text: String
}

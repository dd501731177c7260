import Foundation
import HistoryChecker
import Synchronization

/// Somebody who follows events as server-sent events, all the time. When a stream breaks or is
/// silent for long, the next one begins at the last position that was told, through the same
/// gateway or another one.
///
/// **Isolation**: one thread; what `Progress` holds is for all.
final class ListeningClient {
  /// What others want to know of a listener.
  final class Progress: Sendable {
    let hasPosition = Atomic(false)
    /// The last number of each conversation.
    let heads = Mutex<[Int: UInt64]>([:])
  }

  /// In a run somebody says something all the time.
  private static let silenceMax: Moment = 4 * Pace.second
  private static let openMax: Moment = 2 * Pace.second
  private static let pause: Moment = 100 * Pace.millisecond
  /// How often a working stream is left for another one.
  private static let leavePerMille = 1

  private let number: Int
  private let person: Person
  private let changesGateway: Bool
  private let stage: Stage
  private let progress: Progress
  private var chance: Chance
  private var position: String?

  init(
    number: Int, person: Person, changesGateway: Bool, stage: Stage, progress: Progress,
    chance: Chance
  ) {
    self.number = number
    self.person = person
    self.changesGateway = changesGateway
    self.stage = stage
    self.progress = progress
    self.chance = chance
  }

  func run() {
    while !stage.mustStop {
      do throws(ChatFailure) {
        try follow()
      } catch {
        if case .refused = error { stage.remark("listener \(number): \(error)") }
        if case .unauthenticated = error { person.forgetToken() }
      }
      if changesGateway { person.changeGateway() }
      Pace.sleep(Self.pause)
    }
  }

  /// One stream until it ends.
  private func follow() throws(ChatFailure) {
    let opening = Pace.now() + Self.openMax
    let connection = HTTPConnection(person.endpoint)
    let token = try person.freshToken(opening)
    var headers = [ChatAPI.authorization(token), "accept: text/event-stream"]
    if let position { headers.append("last-event-id: \(position)") }
    do throws(HTTPFailure) {
      let lines = try connection.stream("/v1/events", headers: headers, deadline: opening)
      stage.log.add(.heard(listener: number, .opened))
      stage.resumeCount.wrappingAdd(1, ordering: .relaxed)
      var block: [String] = []
      while !stage.mustStop {
        let line = try lines.next(Pace.now() + Self.silenceMax)
        if !line.isEmpty {
          block.append(line)
          continue
        }
        try take(block)
        block.removeAll(keepingCapacity: true)
        if changesGateway, position != nil, chance.happens(perMille: Self.leavePerMille) { return }
      }
    } catch {
      if case .malformed(let text) = error, text.hasPrefix("401") { throw .unauthenticated }
      if case .malformed(let text) = error, !text.hasPrefix("503") {
        stage.remark("listener \(number): \(text)")
      }
      throw .connection(error)
    }
  }

  /// One event, position or word about the stream.
  private func take(_ block: [String]) throws(HTTPFailure) {
    var name = "message"
    var data = ""
    for line in block {
      if line.hasPrefix("id: ") {
        position = String(line.dropFirst(4))
        stage.log.add(.heard(listener: number, .position))
        progress.hasPosition.store(true, ordering: .relaxed)
      } else if line.hasPrefix("event: ") {
        name = String(line.dropFirst(7))
      } else if line.hasPrefix("data: ") {
        data += line.dropFirst(6)
      }
    }
    guard !data.isEmpty else { return }
    switch name {
    case "message":
      do {
        let event = try JSONDecoder().decode(ChatAPI.Event.self, from: Data(data.utf8))
        heard(try event.entry, in: stage.log.place(of: event.conversation))
      } catch {
        throw .malformed("\(error): \(data)")
      }
    case "gap": stage.remark("listener \(number) was told of a gap: \(data)")
    default: break
    }
  }

  private func heard(_ entry: Entry, in place: Int) {
    stage.log.add(.heard(listener: number, .event(conversation: place, entry)))
    stage.heardCount.wrappingAdd(1, ordering: .relaxed)
    progress.heads.withLock { $0[place] = max($0[place] ?? 0, entry.sequence) }
  }
}

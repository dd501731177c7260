import ChatModel
import Primitives

/// What clients did and were told, and what that forbids.
///
/// - An acknowledged message is in the final log at its number, once, as it was sent (P1, P2, P3).
/// - Everybody who sees an event sees the same one under its number (P2).
/// - A message sent after another was acknowledged has the greater number.
/// - A read begun after an acknowledgement or after another read's end shows no less (P4).
final class ClientHistory {
  struct Send {
    let client: Int
    let conversation: ConversationID
    let text: String
    let began: UInt64
    var ended: UInt64?
    var sequence: UInt64?
    /// The connection on which it was said last, and how often it was said.
    var connection = 0
    var saidCount = 0
  }

  private(set) var sends: [Send] = []
  private var sendsByText: [String: Int] = [:]
  /// The least head that a read which begins now may show.
  private var floors: [ConversationID: UInt64] = [:]
  private(set) var conversations: [ConversationID] = []
  /// Where each is among them.
  private var places: [ConversationID: Int] = [:]
  /// Of each, the digest of the event with number n at n - 1; `nil` where nobody saw it.
  private var digests: [[UInt64?]] = []
  /// When anything of it was seen first. Microseconds.
  private var firstSeen: [UInt64] = []
  package private(set) var readCount = 0
  package var acknowledgedCount: Int { sends.count { $0.sequence != nil } }
  package var sentCount: Int { sends.count }

  init(clientCount: Int) {}

  func began(_ client: Int, _ conversation: ConversationID, _ text: String, at now: UInt64) -> Int {
    sends.append(Send(client: client, conversation: conversation, text: text, began: now))
    sendsByText[text] = sends.count - 1
    return sends.count - 1
  }

  func said(_ record: Int, on connection: Int) {
    sends[record].connection = connection
    sends[record].saidCount += 1
  }

  func acknowledged(
    _ record: Int, sequence: UInt64, at now: UInt64, in simulation: SimulatedCluster
  ) {
    if let known = sends[record].sequence {
      if known != sequence {
        simulation.fail("'\(sends[record].text)' got number \(known), then \(sequence)")
      }
      return
    }
    sends[record].sequence = sequence
    sends[record].ended = now
    raiseFloor(sends[record].conversation, to: sequence)
  }

  func floor(_ conversation: ConversationID) -> UInt64 { floors[conversation] ?? 0 }

  private func raiseFloor(_ conversation: ConversationID, to sequence: UInt64) {
    floors[conversation] = max(floors[conversation] ?? 0, sequence)
  }

  func read(
    _ conversation: ConversationID, _ page: HistoryPage, floor: UInt64,
    in simulation: SimulatedCluster
  ) {
    readCount += 1
    if page.head.rawValue < floor {
      simulation.fail("a read showed \(page.head) of \(conversation), \(floor) was known before it")
    }
    if let last = page.events.last, last.sequence != page.head {
      simulation.fail("the latest page ends at \(last.sequence), the head is \(page.head)")
    }
    var expected: UInt64?
    for event in page.events {
      if let expected, event.sequence.rawValue != expected {
        simulation.fail("a page of history has a gap before \(event.sequence)")
      }
      expected = event.sequence.rawValue + 1
      saw(event, in: simulation)
    }
    raiseFloor(conversation, to: page.head.rawValue)
  }

  func saw(_ event: Event, in simulation: SimulatedCluster) {
    let number = Int(clamping: event.sequence.rawValue)
    guard (1...1_000_000).contains(number) else {
      return simulation.fail("an event has the number \(event.sequence)")
    }
    let place = place(of: event.conversation, at: simulation.now)
    while digests[place].count < number { digests[place].append(nil) }
    let digest = StableHash.hash64(event.encoded())
    simulation.fold(digest)
    if let known = digests[place][number - 1] {
      if known != digest {
        simulation.fail("two events have number \(event.sequence) of \(event.conversation)")
      }
    } else {
      digests[place][number - 1] = digest
    }
  }

  /// Microseconds; of one that nobody has seen anything of, never.
  func firstSeen(_ conversation: ConversationID) -> UInt64 {
    places[conversation].map { firstSeen[$0] } ?? .max
  }

  private func place(of conversation: ConversationID, at now: UInt64) -> Int {
    if let place = places[conversation] { return place }
    places[conversation] = conversations.count
    conversations.append(conversation)
    digests.append([])
    firstSeen.append(now)
    return conversations.count - 1
  }

  // MARK: At the end

  /// Holds the final log of a conversation against what was acknowledged and seen.
  func check(_ conversation: ConversationID, _ log: [Event], in simulation: SimulatedCluster) {
    var found: [Int: UInt64] = [:]
    for (place, event) in log.enumerated() {
      if event.sequence.rawValue != UInt64(place) + 1 {
        return simulation.fail("number \(place + 1) of \(conversation) is missing")
      }
      saw(event, in: simulation)
      guard case .message(let text) = event.content else { continue }
      guard let record = sendsByText[text], sends[record].conversation == conversation else {
        return simulation.fail("'\(text)' was never sent to \(conversation)")
      }
      if let other = found[record] {
        return simulation.fail("'\(text)' is stored at \(other) and \(event.sequence)")
      }
      found[record] = event.sequence.rawValue
    }
    for (record, send) in sends.enumerated() where send.conversation == conversation {
      guard let sequence = send.sequence else { continue }
      guard let place = found[record] else {
        return simulation.fail("'\(send.text)' was acknowledged as \(sequence) and is lost")
      }
      if place != sequence {
        return simulation.fail("'\(send.text)' was acknowledged as \(sequence), is at \(place)")
      }
    }
    checkOrder(conversation, in: simulation)
    checkPipelines(conversation, log, in: simulation)
  }

  /// What was said one after the other on one connection, once, is stored in that order.
  private func checkPipelines(
    _ conversation: ConversationID, _ log: [Event], in simulation: SimulatedCluster
  ) {
    var last: [Int: Send] = [:]
    for send in sends where send.conversation == conversation && send.saidCount == 1 {
      guard let sequence = send.sequence else { continue }
      if let earlier = last[send.client], earlier.connection == send.connection,
        earlier.sequence ?? 0 > sequence,
        !mayHaveBeenRefused(earlier, before: sequence, log)
      {
        return simulation.fail("'\(send.text)' overtook '\(earlier.text)' on one connection")
      }
      last[send.client] = send
    }
  }

  /// Whether the author may have joined only after `send` was first tried: it was refused then, the
  /// refusal was lost with its link, and the gateway's next try was accepted. A refusal is not
  /// stored, so nothing holds the place of what was refused.
  private func mayHaveBeenRefused(_ send: Send, before sequence: UInt64, _ log: [Event]) -> Bool {
    let known =
      sends.filter { $0.conversation == send.conversation && $0.ended ?? .max < send.began }
      .compactMap(\.sequence).max() ?? 0
    let author = log[Int(sequence) - 1].author
    return log[..<(Int(sequence) - 1)].contains { event in
      guard event.sequence.rawValue > known, case .membersChanged(let added, _) = event.content
      else { return false }
      return added.contains { $0.user == author }
    }
  }

  /// Real-time order: who began after another was acknowledged comes after it.
  private func checkOrder(_ conversation: ConversationID, in simulation: SimulatedCluster) {
    let done = sends.filter { $0.conversation == conversation && $0.sequence != nil }
    let byEnd = done.sorted {
      ($0.ended ?? 0, $0.sequence ?? 0) < ($1.ended ?? 0, $1.sequence ?? 0)
    }
    var next = 0
    var greatest: UInt64 = 0
    for send in done.sorted(by: { $0.began < $1.began }) {
      while next < byEnd.count, byEnd[next].ended ?? 0 < send.began {
        greatest = max(greatest, byEnd[next].sequence ?? 0)
        next += 1
      }
      if send.sequence ?? 0 < greatest {
        return simulation.fail("'\(send.text)' is before what was acknowledged before it was sent")
      }
    }
  }
}

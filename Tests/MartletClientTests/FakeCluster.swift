import ChatModel
import ClientProtocol
import NIOCore
import NIOPosix
import Primitives

@testable import MartletClient

/// What a fake gateway does wrong. **Units**: of 1,000 occasions.
struct Faults {
  var dropBeforeApplying = 0
  var dropAfterApplying = 0
  var dropWhileAnswering = 0
  var dropWhilePushing = 0
  /// `overloaded`; later sends of the conversation are refused until the refused one comes again.
  var refuseInOrder = 0
  /// `overloaded`, without regard to what else is under way.
  var refuse = 0
  var repeatEvent = 0
  var passOverEvent = 0
  var drain = 0
  /// **Units**: milliseconds.
  var delayMax: Int64 = 0

  static let none = Faults()
}

/// Conversations and tokens that several fake gateways share. Everybody is a member of everything.
///
/// **Isolation**: its event loop.
final class FakeCluster: @unchecked Sendable {
  // Safety: touched on `eventLoop` only.
  let eventLoop: any EventLoop
  var random: SeededRandom
  var faults = Faults.none
  /// Of all conversations: an event's index is its place here.
  private(set) var log: [ChatModel.Event] = []
  private(set) var conversations: [WireConversation: [ChatModel.Event]] = [:]
  private var stored: [String: ChatModel.Event] = [:]
  private var sessions: [ObjectIdentifier: FakeSession] = [:]
  private(set) var goodTokens: Set<String> = []
  private var tokenCount = 0
  private(set) var refreshCount = 0
  private(set) var helloCount = 0
  /// Occasions on which a fault happened, by its name: a test that none happened in says nothing.
  private(set) var happened: [String: Int] = [:]
  var tokenLifetimeSeconds: UInt32 = 3_600

  init(eventLoop: any EventLoop, seed: UInt64) {
    self.eventLoop = eventLoop
    random = SeededRandom(seed: seed)
  }

  func happens(_ chance: Int, _ name: String) -> Bool {
    guard Int.random(in: 0..<1_000, using: &random) < chance else { return false }
    happened[name, default: 0] += 1
    return true
  }

  static let user = UserProfile(
    user: ChatModel.UserID(7), handle: Handle("tester")!, displayName: "Tester")

  // MARK: Tokens

  func makeToken() -> String {
    tokenCount += 1
    let token = "access-\(tokenCount)"
    goodTokens.insert(token)
    return token
  }

  func refresh(_ refreshToken: String) -> String? {
    guard refreshToken.hasPrefix("refresh") else { return nil }
    refreshCount += 1
    return makeToken()
  }

  func expireTokens() { goodTokens = [] }

  func greeted() { helloCount += 1 }

  // MARK: Messages

  func send(
    _ conversation: WireConversation, id: ClientMessageID, text: String, device: String
  ) -> (event: ChatModel.Event, repeated: Bool) {
    let key = "\(device)/\(conversation)/\(id)"
    if let event = stored[key] { return (event, true) }
    let event = ChatModel.Event(
      conversation: conversation,
      sequence: Sequence(UInt64(conversations[conversation, default: []].count) + 1),
      time: WallTime(milliseconds: UInt64(log.count) + 1), author: Self.user.user,
      index: LogIndex(UInt64(log.count) + 1), content: .message(text: text))
    stored[key] = event
    log.append(event)
    conversations[conversation, default: []].append(event)
    for session in sessions.values { session.push(event) }
    return (event, false)
  }

  func history(
    _ conversation: WireConversation, _ range: HistoryQuery.Range, limit: Int
  ) -> HistoryPage {
    let all = conversations[conversation, default: []]
    let events: [ChatModel.Event] =
      switch range {
      case .after(let sequence): Array(all.filter { $0.sequence > sequence }.prefix(limit))
      case .before(let sequence): Array(all.filter { $0.sequence < sequence }.suffix(limit))
      case .latest: Array(all.suffix(limit))
      }
    return HistoryPage(events: events, head: Sequence(UInt64(all.count)))
  }

  func cursor(at index: Int) -> Cursor {
    let position = Cursor.Position(
      partition: PartitionID(0), generation: 0, index: LogIndex(UInt64(index)))
    return Cursor(user: position, positions: [position])
  }

  // MARK: Sessions

  func attach(_ session: FakeSession) { sessions[ObjectIdentifier(session)] = session }
  func detach(_ session: FakeSession) { sessions[ObjectIdentifier(session)] = nil }
  var sessionCount: Int { sessions.count }
  func drainAll() { for session in sessions.values { session.drain() } }
  func dropAll() { for session in sessions.values { session.drop() } }

  /// What clients should have seen.
  var publicLog: [SeenConversation: [SeenEvent]] {
    var log: [SeenConversation: [SeenEvent]] = [:]
    for (id, events) in conversations { log[.init(id)] = events.map { .init($0) } }
    return log
  }

  // MARK: For tests, from any thread

  func read<Value: Sendable>(_ body: @escaping @Sendable (FakeCluster) -> Value) async -> Value {
    await withCheckedContinuation { continuation in
      eventLoop.execute { continuation.resume(returning: body(self)) }
    }
  }

  /// Credentials with a token that is good here.
  func credentials(device: String, expiresInMilliseconds: UInt64 = 3_600_000) async -> Credentials {
    let token = await read { $0.makeToken() }
    return Credentials(
      accessToken: "\(token)", refreshToken: "refresh-\(device)",
      expiresMilliseconds: AccountCalls.wallMilliseconds() + expiresInMilliseconds,
      user: User(Self.user), device: device)
  }
}

extension MartletClient {
  static func conversation(_ number: Int) -> SeenConversation {
    SeenConversation(WireConversation(UInt128(number)))
  }
}

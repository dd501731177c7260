import ChatModel
import ClusterModel
import NodeProtocol
import Primitives
import WalkSupport

// Things with names. Where something lies on the ring is chosen by counting up until the hash fits.

/// Everything that is placed on a ring of this many partitions.
struct Ring {
  let count: UInt32

  func conversation(_ number: Int, in partition: Int) -> ConversationID {
    ConversationID(value(number, in: partition) { .conversation(ConversationID($0)) })
  }

  func user(_ number: Int, in partition: Int) -> UserID {
    UserID(value(number, in: partition) { .user(UserID($0)) })
  }

  func handle(_ number: Int, in partition: Int) -> Handle {
    var candidate = number * 1_000
    while true {
      let found = WalkSupport.handle("name\(candidate)")
      if self.partition(.handle(found)) == PartitionID(UInt32(partition)) { return found }
      candidate += 1
    }
  }

  func partition(_ entity: EntityID) -> PartitionID {
    PartitionScheme(rootCount: count).partition(of: entity.token, level: 0)
  }

  private func value(
    _ number: Int, in partition: Int, _ entity: (UInt128) -> EntityID
  ) -> UInt128 {
    var candidate = UInt128(number) << 64
    while self.partition(entity(candidate)) != PartitionID(UInt32(partition)) { candidate += 1 }
    return candidate
  }
}

// MARK: Commands

func group(
  _ id: ConversationID, creator: UserID, members: [UserID], title: String = "tea"
) -> Command {
  .createConversation(
    CreateConversation(
      conversation: id, kind: .group, title: title, creator: creator,
      members: ([creator] + members).map {
        Member(user: $0, handle: handle("someone"), role: $0 == creator ? .admin : .member)
      }))
}

func send(
  _ text: String, to id: ConversationID, by sender: UserID, device number: Int = 1
) -> Command {
  .sendMessage(
    SendMessage(
      conversation: id, sender: sender, device: device(number), clientID: clientID(text),
      text: text))
}

func createUser(_ user: UserID, _ handle: Handle) -> Command {
  .createUser(
    CreateUser(user: user, handle: handle, displayName: "", passwordHash: "$argon2id$"))
}

// MARK: Looking at answers

extension Response.Outcome {
  var error: ServiceError? { if case .failed(let error) = self { error } else { nil } }
  var result: CommandResult? { if case .applied(let result) = self { result } else { nil } }
  var answer: QueryAnswer? { if case .answered(let answer) = self { answer } else { nil } }

  var sequence: UInt64? {
    if case .applied(.messageSent(let sequence, _, _)) = self { sequence.rawValue } else { nil }
  }

  var isNotLeader: Bool { if case .notLeader = self { true } else { false } }
}

extension QueryAnswer {
  var texts: [String]? {
    guard case .history(let page) = self else { return nil }
    return page.events.map { if case .message(let text) = $0.content { text } else { "–" } }
  }

  var listed: [ConversationID]? {
    guard case .conversationList(let page) = self else { return nil }
    return page.conversations.map(\.conversation)
  }
}

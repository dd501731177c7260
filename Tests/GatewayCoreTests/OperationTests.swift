import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import NodeProtocol
import Primitives
import Testing
import WalkSupport

/// Operations that ask more than one shard, and what accounts need.
@Suite struct OperationTests {
  private func rig() throws -> GatewayRig {
    var rig = GatewayRig()
    rig.addClient(user(1))
    try rig.run(milliseconds: 100)
    return rig
  }

  private func perform(
    _ rig: inout GatewayRig, _ operation: ClientOperation
  ) throws -> ServerBody? {
    let ref = "op \(rig.clients[0].answers.count)"
    rig.operate(0, ref, operation)
    try rig.run(milliseconds: 100)
    return rig.clients[0].answers[ref]
  }

  private func group(_ members: [MemberReference], title: String = "tea") -> ClientOperation {
    .createConversation(
      CreateConversationRequest(kind: .group, members: members, title: title))
  }

  // MARK: Conversations

  @Test func `a group is made of people named by id and by handle, each once`() throws {
    var rig = try rig()
    let answer = try perform(
      &rig, group([.handle(handle("user2")), .user(user(3)), .user(user(2)), .user(user(1))]))
    guard case .conversation(let summary, existed: false) = answer else {
      Issue.record("\(String(describing: answer))")
      return
    }
    #expect(summary.members.map(\.user) == [user(1), user(2), user(3)])
    #expect(summary.members.map(\.role) == [.admin, .member, .member])
    #expect(summary.title == "tea")
    try rig.run(milliseconds: 100)
    #expect(rig.clients[0].log[summary.conversation]?.count == 1, "it appears by itself")
  }

  @Test func `two groups have two ids, whatever seed a gateway began with`() throws {
    var rig = try rig()
    var ids: Set<ConversationID> = []
    for _ in 0..<5 {
      if case .conversation(let summary, _) = try perform(&rig, group([.user(user(2))])) {
        ids.insert(summary.conversation)
      }
    }
    #expect(ids.count == 5)
  }

  @Test func `both sides reach the same direct conversation`() throws {
    var rig = try rig()
    rig.addClient(user(2), device: 2)
    try rig.run(milliseconds: 100)
    let request = CreateConversationRequest(
      kind: .direct, members: [.handle(handle("user2"))], title: "")
    let answer = try perform(&rig, .createConversation(request))
    guard case .conversation(let first, existed: false) = answer else {
      Issue.record("\(String(describing: answer))")
      return
    }
    #expect(first.conversation == ConversationID(directBetween: user(1), and: user(2)))
    let back = CreateConversationRequest(kind: .direct, members: [.user(user(1))], title: "")
    rig.operate(1, "back", .createConversation(back))
    try rig.run(milliseconds: 100)
    guard case .conversation(let second, existed: true)? = rig.clients[1].answers["back"] else {
      Issue.record("it was made twice")
      return
    }
    #expect(second.conversation == first.conversation)
  }

  @Test func `a direct conversation has exactly one other member`() throws {
    var rig = try rig()
    for members: [MemberReference] in [[], [.user(user(2)), .user(user(3))]] {
      let request = CreateConversationRequest(kind: .direct, members: members, title: "")
      guard case .error(let error) = try perform(&rig, .createConversation(request)) else {
        Issue.record("\(members.count) others were taken")
        continue
      }
      #expect(error.code == .invalidArgument)
    }
    #expect(rig.world.conversations.isEmpty)
  }

  @Test func `somebody who does not exist is named in the error, and nothing is made`() throws {
    var rig = try rig()
    for member in [MemberReference.handle(handle("nobody")), .user(user(88))] {
      guard case .error(let error) = try perform(&rig, group([.user(user(2)), member])) else {
        Issue.record("\(member) exists")
        continue
      }
      #expect(error.code == .notFound)
    }
    #expect(rig.world.conversations.isEmpty)
  }

  @Test func `of several errors the first is reported, once, when all answers are there`() {
    var script = GatewayScript()
    for partition in 0..<GatewayScript.partitionCount {
      script.lead(PartitionID(partition), by: store(1))
    }
    script.open(store(1))
    script.call(1, group((2...5).map { .user(user($0)) }))
    let asked = script.take().requests.map(\.request)
    #expect(asked.count == 5)
    func answer(_ position: Int, _ outcome: Response.Outcome) {
      script.respond(asked[position], outcome, from: store(1))
    }
    answer(3, .answered(.user(profile(4))))
    answer(2, .failed(ServiceError(.dataLoss, "first")))
    answer(4, .answered(.user(nil)))
    answer(0, .answered(.user(profile(1))))
    #expect(script.take().results.isEmpty)
    answer(1, .failed(ServiceError(.internalError, "last")))
    let results = script.take().results
    #expect(results[CallID(1)]?.error == ServiceError(.dataLoss, "first"))
    #expect(script.core.pendingRequestCount == 0)
  }

  @Test func `a change of members answers with the number of its event`() throws {
    var rig = try rig()
    guard case .conversation(let group, _) = try perform(&rig, group([.user(user(2))])) else {
      Issue.record("no group")
      return
    }
    let change = ClientOperation.changeMembers(
      conversation: group.conversation, add: [.handle(handle("user3"))], remove: [.user(user(2))])
    let answer = try perform(&rig, change)
    #expect(
      answer == .membersChanged(conversation: group.conversation, sequence: Sequence(2)))
    let members = rig.world.conversations[group.conversation]?.members.keys.sorted()
    #expect(members == [user(1), user(3)])
    let again = ClientOperation.changeMembers(
      conversation: group.conversation, add: [.handle(handle("nobody"))], remove: [])
    guard case .error(let error) = try perform(&rig, again) else {
      Issue.record("nobody was added")
      return
    }
    #expect(error.code == .notFound)
  }

  @Test func `too many members are refused before anybody is asked`() {
    var script = GatewayScript()
    let many = (0..<ChatLimits.membersPerCommandMax + 1).map {
      MemberReference.user(user($0 + 1))
    }
    script.call(1, group(many))
    #expect(script.take().results[CallID(1)]?.error?.code == .invalidArgument)
    #expect(script.core.pendingRequestCount == 0)
  }

  // MARK: Lists and history

  @Test func `a list gathers its partitions in the order of the page`() throws {
    var rig = try rig()
    var ids: [ConversationID] = []
    for number in 1...6 {
      let id = conversation(7 - number, in: PartitionID(UInt32(number % 4)), of: 4)
      rig.create(id, members: [user(1)], creator: user(2))
      ids.append(id)
    }
    try rig.run(milliseconds: 100)
    let answer = try perform(&rig, .listConversations(after: nil, limit: 4))
    guard case .conversations(let items, let next) = answer else {
      Issue.record("\(String(describing: answer))")
      return
    }
    #expect(items.map(\.conversation) == Array(ids.sorted().prefix(4)))
    #expect(next == items.last?.conversation)
    guard
      case .conversations(let rest, nil) = try perform(
        &rig, .listConversations(after: next, limit: 4))
    else {
      Issue.record("no second page")
      return
    }
    #expect(rest.map(\.conversation) == Array(ids.sorted().suffix(2)))
    let empty = try perform(&rig, .listConversations(after: rest.last?.conversation, limit: 4))
    #expect(empty == .conversations(items: [], next: nil))
  }

  @Test func `history is one answer of the conversation's partition`() throws {
    var rig = try rig()
    guard case .conversation(let group, _) = try perform(&rig, group([.user(user(2))])) else {
      Issue.record("no group")
      return
    }
    let send = ClientOperation.send(
      conversation: group.conversation, id: clientID("x"), text: "hello")
    guard case .sent(_, let sequence, _, repeated: false) = try perform(&rig, send) else {
      Issue.record("not sent")
      return
    }
    guard case .sent(_, sequence, _, repeated: true) = try perform(&rig, send) else {
      Issue.record("stored twice")
      return
    }
    let answer = try perform(
      &rig, .history(conversation: group.conversation, range: .latest, limit: 10))
    guard case .history(_, let page) = answer else {
      Issue.record("\(String(describing: answer))")
      return
    }
    #expect(page.events.map(\.sequence) == [Sequence(1), Sequence(2)])
    let foreign = try perform(
      &rig, .history(conversation: ConversationID(12), range: .latest, limit: 10))
    guard case .error(let error) = foreign else {
      Issue.record("\(String(describing: foreign))")
      return
    }
    #expect(error.code == .notFound)
  }

  @Test func `a second hello is refused and changes nothing`() throws {
    var rig = try rig()
    let hello = Hello(token: "", cursor: nil, events: true)
    guard case .error(let error) = try perform(&rig, .hello(hello)) else {
      Issue.record("no error")
      return
    }
    #expect(error.code == .failedPrecondition)
    #expect(rig.core.sessionCount == 1)
  }

  // MARK: Accounts

  @Test func `an account is made once per handle`() throws {
    var rig = try rig()
    for (number, who) in [(UInt64(1), 41), (2, 42)] {
      rig.call(
        number,
        .createAccount(
          handle: handle("grace"), displayName: "Grace", passwordHash: "hash", user: user(who)))
      try rig.run(milliseconds: 100)
    }
    let profile = UserProfile(user: user(41), handle: handle("grace"), displayName: "Grace")
    #expect(rig.results[CallID(1)] == .account(profile))
    #expect(rig.results[CallID(2)]?.error?.code == .alreadyExists)
  }

  @Test func `two who want one handle at the same time: one gets it`() throws {
    var rig = try rig()
    for number in 1...2 {
      rig.call(
        UInt64(number),
        .createAccount(
          handle: handle("grace"), displayName: "", passwordHash: "hash", user: user(40 + number)))
    }
    try rig.run(milliseconds: 100)
    let results = (1...2).map { rig.results[CallID(UInt64($0))] }
    #expect(results.count { $0?.error?.code == .alreadyExists } == 1)
    #expect(results.count { if case .account? = $0 { true } else { false } } == 1)
  }

  @Test func `credentials are found by handle, and not for a stranger`() throws {
    var rig = try rig()
    rig.call(1, .credentials(handle("user3")))
    rig.call(2, .credentials(handle("nobody")))
    rig.call(3, .profile(user(3)))
    rig.call(4, .profile(user(77)))
    try rig.run(milliseconds: 100)
    #expect(
      rig.results[CallID(1)]
        == .credentials(UserCredentials(profile: profile(3), passwordHash: "hash of user3")))
    #expect(rig.results[CallID(2)] == .credentials(nil))
    #expect(rig.results[CallID(3)] == .profile(profile(3)))
    #expect(rig.results[CallID(4)] == .profile(nil))
  }

  @Test func `a login, a rotation and a logout end as done`() throws {
    var rig = try rig()
    let token = [UInt8](repeating: 1, count: 32)
    rig.call(
      1,
      .openSession(
        OpenSession(
          user: user(1), device: device(5), deviceName: "phone", refreshTokenHash: token,
          expires: WallTime(milliseconds: 9))))
    rig.call(
      2,
      .rotateRefreshToken(
        RotateRefreshToken(
          user: user(1), device: device(5), presentedHash: token, newHash: token,
          expires: WallTime(milliseconds: 9))))
    rig.call(3, .closeSession(CloseSession(user: user(1), device: device(5))))
    try rig.run(milliseconds: 100)
    for number in 1...3 { #expect(rig.results[CallID(UInt64(number))] == .done) }
  }
}

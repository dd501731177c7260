import ChatModel
package import ClientProtocol
import NodeProtocol
package import Primitives
import Routing

/// Who is told how an operation ended.
enum Reply {
  case session(SessionID, ref: String)
  case call(CallID)
}

extension GatewayCore {
  /// A frame of a client on an open session.
  package mutating func frameReceived(
    _ frame: ClientFrame, from id: SessionID, now: Instant, into actions: inout [GatewayAction]
  ) {
    guard let session = sessions[id] else { return }
    guard session.pendingCount < configuration.pendingPerSessionMax else {
      let error = ServiceError.overloaded("too many operations of this connection wait")
      return actions.append(.answer(id, ServerFrame(ref: frame.ref, body: .error(error))))
    }
    sessions[id]?.pendingCount += 1
    perform(
      frame.operation, user: session.user, device: session.device,
      reply: .session(id, ref: frame.ref), now: now, into: &actions)
  }

  /// A call of the shell: for HTTP, and for what a login needs.
  package mutating func call(
    _ id: CallID, _ call: GatewayCall, now: Instant, into actions: inout [GatewayAction]
  ) {
    switch call {
    case .operation(let operation, let user, let device):
      perform(operation, user: user, device: device, reply: .call(id), now: now, into: &actions)
    case .createAccount(let handle, let displayName, let passwordHash, let user):
      createAccount(
        CreateUser(
          user: user, handle: handle, displayName: displayName, passwordHash: passwordHash),
        call: id, now: now, into: &actions)
    case .credentials(let handle):
      findCredentials(handle, call: id, now: now, into: &actions)
    case .profile(let user):
      request(
        .user(user), .query(.user(user)),
        completion: .call { _, outcome, _, actions in
          guard case .answered(.user(let profile)) = outcome else {
            return actions.append(.finish(id, .failed(Self.error(of: outcome))))
          }
          actions.append(.finish(id, .profile(profile)))
        }, now: now, into: &actions)
    case .openSession(let command):
      executeAccountCommand(.openSession(command), call: id, now: now, into: &actions)
    case .rotateRefreshToken(let command):
      executeAccountCommand(.rotateRefreshToken(command), call: id, now: now, into: &actions)
    case .closeSession(let command):
      executeAccountCommand(.closeSession(command), call: id, now: now, into: &actions)
    }
  }

  // MARK: Operations

  private mutating func perform(
    _ operation: ClientOperation, user: UserID, device: DeviceID, reply: Reply, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    switch operation {
    case .hello:
      let error = ServiceError(.failedPrecondition, "the connection has said hello already")
      self.reply(reply, .error(error), into: &actions)
    case .ping:
      self.reply(reply, .pong, into: &actions)
    case .send(let conversation, let clientID, let text):
      if let refusal = ServiceError.refusal(ofText: text) {
        return self.reply(reply, .error(refusal), into: &actions)
      }
      let command = Command.sendMessage(
        SendMessage(
          conversation: conversation, sender: user, device: device, clientID: clientID, text: text))
      request(
        .conversation(conversation), .command(command.encoded()),
        completion: .send(reply, conversation), now: now, into: &actions)
    case .history(let conversation, let range, let limit):
      let query = HistoryQuery(
        conversation: conversation, reader: user, range: range, limit: limit)
      ask(.history(query), reply: reply, now: now, into: &actions) { answer in
        guard case .history(let page) = answer else { return nil }
        return .history(conversation: conversation, page)
      }
    case .createConversation(let wanted):
      createConversation(wanted, creator: user, reply: reply, now: now, into: &actions)
    case .changeMembers(let conversation, let add, let remove):
      changeMembers(
        conversation, add: add, remove: remove, author: user, reply: reply, now: now,
        into: &actions)
    case .listConversations(let after, let limit):
      listConversations(
        user: user, after: after, limit: limit, reply: reply, now: now, into: &actions)
    }
  }

  mutating func reply(_ reply: Reply, _ body: ServerBody, into actions: inout [GatewayAction]) {
    switch reply {
    case .session(let id, let ref):
      guard sessions[id] != nil else { return }
      sessions[id]?.pendingCount -= 1
      actions.append(.answer(id, ServerFrame(ref: ref, body: body)))
    case .call(let id):
      if case .error(let error) = body {
        actions.append(.finish(id, .failed(error)))
      } else {
        actions.append(.finish(id, .body(body)))
      }
    }
  }

  mutating func sendFinished(
    _ reply: Reply, _ conversation: ConversationID, _ outcome: Response.Outcome,
    into actions: inout [GatewayAction]
  ) {
    guard case .applied(.messageSent(let sequence, let time, let repeated)) = outcome else {
      return self.reply(reply, .error(Self.error(of: outcome)), into: &actions)
    }
    self.reply(
      reply,
      .sent(conversation: conversation, sequence: sequence, time: time, repeated: repeated),
      into: &actions)
  }

  /// The refusal in an outcome that is not the one that was hoped for.
  static func error(of outcome: Response.Outcome) -> ServiceError {
    switch outcome {
    case .failed(let error), .applied(.refused(let error)), .answered(.refused(let error)):
      return error
    case .notLeader:
      return .unavailable("the partition has no leader at the moment")
    case .applied, .answered:
      return ServiceError(.internalError, "the shard gave an answer of another kind")
    }
  }

  /// One query whose answer is the operation's.
  private mutating func ask(
    _ query: Query, reply: Reply, now: Instant, into actions: inout [GatewayAction],
    body: @escaping (QueryAnswer) -> ServerBody?
  ) {
    guard let entity = query.entity else { return }
    request(
      entity, .query(query),
      completion: .call { core, outcome, _, actions in
        if case .answered(let answer) = outcome, let found = body(answer) {
          core.reply(reply, found, into: &actions)
        } else {
          core.reply(reply, .error(Self.error(of: outcome)), into: &actions)
        }
      }, now: now, into: &actions)
  }

  // MARK: Conversations

  private mutating func createConversation(
    _ wanted: CreateConversationRequest, creator: UserID, reply: Reply, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    let members = [.user(creator)] + wanted.members
    resolve(members, now: now, into: &actions) { core, result, now, actions in
      switch result {
      case .failure(let error): core.reply(reply, .error(error), into: &actions)
      case .success(let members):
        core.create(
          wanted, creator: creator, members: members, reply: reply, now: now, into: &actions)
      }
    }
  }

  private mutating func create(
    _ wanted: CreateConversationRequest, creator: UserID, members: [UserProfile], reply: Reply,
    now: Instant, into actions: inout [GatewayAction]
  ) {
    var unique: [Member] = []
    for profile in members where !unique.contains(where: { $0.user == profile.user }) {
      let isAdmin = wanted.kind == .group && profile.user == creator
      unique.append(
        Member(user: profile.user, handle: profile.handle, role: isAdmin ? .admin : .member))
    }
    let conversation: ConversationID
    switch wanted.kind {
    case .direct:
      guard wanted.members.count == 1, let other = unique.last?.user else {
        let error = ServiceError(
          .invalidArgument, "a direct conversation names exactly one other member")
        return self.reply(reply, .error(error), into: &actions)
      }
      conversation = ConversationID(directBetween: creator, and: other)
    case .group:
      conversation = ConversationID(UInt128(random.next()) << 64 | UInt128(random.next()))
    }
    let command = Command.createConversation(
      CreateConversation(
        conversation: conversation, kind: wanted.kind, title: wanted.title, creator: creator,
        members: unique))
    request(
      .conversation(conversation), .command(command.encoded()),
      completion: .call { core, outcome, now, actions in
        guard case .applied(.conversationCreated(_, let existed)) = outcome else {
          return core.reply(reply, .error(Self.error(of: outcome)), into: &actions)
        }
        let query = Query.summaries(reader: creator, conversations: [conversation])
        core.ask(query, reply: reply, now: now, into: &actions) { answer in
          guard case .summaries(let found) = answer, let summary = found.first else { return nil }
          return .conversation(summary, existed: existed)
        }
      }, now: now, into: &actions)
  }

  private mutating func changeMembers(
    _ conversation: ConversationID, add: [MemberReference], remove: [MemberReference],
    author: UserID, reply: Reply, now: Instant, into actions: inout [GatewayAction]
  ) {
    resolve(add + remove, now: now, into: &actions) { core, result, now, actions in
      guard case .success(let profiles) = result else {
        if case .failure(let error) = result { core.reply(reply, .error(error), into: &actions) }
        return
      }
      let added = profiles.prefix(add.count).map {
        Member(user: $0.user, handle: $0.handle, role: .member)
      }
      let command = Command.changeMembers(
        ChangeMembers(
          conversation: conversation, author: author, added: Array(added),
          removed: profiles.dropFirst(add.count).map(\.user)))
      core.request(
        .conversation(conversation), .command(command.encoded()),
        completion: .call { core, outcome, _, actions in
          guard case .applied(.membersChanged(let sequence)) = outcome else {
            return core.reply(reply, .error(Self.error(of: outcome)), into: &actions)
          }
          core.reply(
            reply, .membersChanged(conversation: conversation, sequence: sequence), into: &actions)
        }, now: now, into: &actions)
    }
  }

  private mutating func listConversations(
    user: UserID, after: ConversationID?, limit: Int, reply: Reply, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    let query = Query.conversationList(user: user, after: after, limit: limit)
    request(
      .user(user), .query(query),
      completion: .call { core, outcome, now, actions in
        guard case .answered(.conversationList(let page)) = outcome else {
          return core.reply(reply, .error(Self.error(of: outcome)), into: &actions)
        }
        core.summarise(page, reader: user, reply: reply, now: now, into: &actions)
      }, now: now, into: &actions)
  }

  /// Asks each partition for its conversations of a page and puts the answers in the page's order.
  private mutating func summarise(
    _ page: ConversationListPage, reader: UserID, reply: Reply, now: Instant,
    into actions: inout [GatewayAction]
  ) {
    let next = page.more ? page.conversations.last?.conversation : nil
    var groups: [(partition: PartitionID, conversations: [ConversationID])] = []
    for item in page.conversations {
      let partition = routing.partition(of: EntityID.conversation(item.conversation).token)
      if let group = groups.firstIndex(where: { $0.partition == partition }) {
        groups[group].conversations.append(item.conversation)
      } else {
        groups.append((partition, [item.conversation]))
      }
    }
    guard !groups.isEmpty else {
      return self.reply(reply, .conversations(items: [], next: nil), into: &actions)
    }
    let gathering = Gathering<[ConversationSummary]>(count: groups.count)
    for (position, group) in groups.enumerated() {
      let query = Query.summaries(reader: reader, conversations: group.conversations)
      request(
        partition: group.partition, .query(query),
        completion: .call { core, outcome, now, actions in
          guard !gathering.isAbandoned else { return }
          guard group.conversations.allSatisfy({ core.isIn(group.partition, $0) }) else {
            // The partition was split meanwhile.
            gathering.isAbandoned = true
            return core.summarise(page, reader: reader, reply: reply, now: now, into: &actions)
          }
          if case .answered(.summaries(let found)) = outcome {
            gathering.put(.success(found), at: position)
          } else {
            gathering.put(.failure(Self.error(of: outcome)), at: position)
          }
          switch gathering.outcome {
          case nil: break
          case .failure(let error)?: core.reply(reply, .error(error), into: &actions)
          case .success(let answers)?:
            let order = page.conversations.map(\.conversation)
            let items = answers.flatMap { $0 }.sorted { left, right in
              (order.firstIndex(of: left.conversation) ?? 0)
                < (order.firstIndex(of: right.conversation) ?? 0)
            }
            core.reply(reply, .conversations(items: items, next: next), into: &actions)
          }
        }, now: now, into: &actions)
    }
  }

  // MARK: People

  /// Finds the profiles of people, in the order in which they were named.
  private mutating func resolve(
    _ members: [MemberReference], now: Instant, into actions: inout [GatewayAction],
    then:
      @escaping (
        inout GatewayCore, Result<[UserProfile], ServiceError>, Instant, inout [GatewayAction]
      ) -> Void
  ) {
    guard members.count <= ChatLimits.membersPerCommandMax else {
      let error = ServiceError(
        .invalidArgument, "at most \(ChatLimits.membersPerCommandMax) members at a time")
      return then(&self, .failure(error), now, &actions)
    }
    guard !members.isEmpty else { return then(&self, .success([]), now, &actions) }
    let gathering = Gathering<UserProfile>(count: members.count)
    for (position, member) in members.enumerated() {
      findProfile(member, now: now, into: &actions) { core, result, now, actions in
        gathering.put(result, at: position)
        if let outcome = gathering.outcome { then(&core, outcome, now, &actions) }
      }
    }
  }

  private mutating func findProfile(
    _ member: MemberReference, now: Instant, into actions: inout [GatewayAction],
    then:
      @escaping (
        inout GatewayCore, Result<UserProfile, ServiceError>, Instant, inout [GatewayAction]
      ) -> Void
  ) {
    switch member {
    case .user(let user):
      request(
        .user(user), .query(.user(user)),
        completion: .call { core, outcome, now, actions in
          switch outcome {
          case .answered(.user(let profile?)): then(&core, .success(profile), now, &actions)
          case .answered(.user(nil)):
            then(&core, .failure(ServiceError(.notFound, "no account \(user)")), now, &actions)
          default: then(&core, .failure(Self.error(of: outcome)), now, &actions)
          }
        }, now: now, into: &actions)
    case .handle(let handle):
      request(
        .handle(handle), .query(.handle(handle)),
        completion: .call { core, outcome, now, actions in
          switch outcome {
          case .answered(.handle(let user?)):
            core.findProfile(.user(user), now: now, into: &actions, then: then)
          case .answered(.handle(nil)):
            let error = ServiceError(.notFound, "no account with the handle \(handle)")
            then(&core, .failure(error), now, &actions)
          default: then(&core, .failure(Self.error(of: outcome)), now, &actions)
          }
        }, now: now, into: &actions)
    }
  }
}

/// Answers to several requests of one operation, put together when the last has come.
final class Gathering<Value> {
  private var values: [Value?]
  private var missing: Int
  private var failure: ServiceError?
  /// Something else answers for it.
  var isAbandoned = false

  init(count: Int) {
    values = Array(repeating: nil, count: count)
    missing = count
  }

  func put(_ result: Result<Value, ServiceError>, at position: Int) {
    missing -= 1
    switch result {
    case .success(let value): values[position] = value
    case .failure(let error): if failure == nil { failure = error }
    }
  }

  /// `nil` until everything has come.
  var outcome: Result<[Value], ServiceError>? {
    guard missing == 0 else { return nil }
    if let failure { return .failure(failure) }
    return .success(values.compactMap { $0 })
  }
}

import ChatModel
import ClientProtocol
import ClusterModel
import GatewayCore
import Primitives
import WalkSupport

/// People: they register, connect, talk, read, and look closely at what they are told.
extension SimulatedCluster {
  func happenAtClient(_ event: Happening) {
    switch event {
    case .clientWoke(let number):
      let client = clients[number]
      wake(client)
      queue.schedule(
        event, at: now + UInt64(clientDice.between(5_000...max(6_000, plan.operationInterval / 3))))
    case .clientArrived(let number, let connection, let gateway):
      arrive(clients[number], connection, at: gateways[gateway])
    case .clientLost(let number, let connection):
      if clients[number].connection == connection { lose(clients[number]) }
    case .clientSaid(let number, let connection, let frame):
      guard let session = openSession(of: clients[number], connection) else { return }
      tell("gateway \(session.gateway.number) session \(session.id.rawValue) hears \(frame)")
      input(session.gateway) { $0.frameReceived(frame, from: session.id, now: $1, into: &$2) }
    case .clientHeard(let number, let connection, let frame):
      guard clients[number].connection == connection else { return }
      fold(50, number, connection)
      tell("client \(number) (\(connection)) hears \(frame)")
      hear(frame, clients[number])
    case .clientEnded(let number, let connection, let error):
      guard clients[number].connection == connection else { return }
      fail("client \(number) was sent away: \(error)")
    case .callFinished(let number, let result):
      registered(clients[number], result)
    default: preconditionFailure("not an event of a client")
    }
  }

  private func openSession(
    of client: SimulatedClient, _ connection: Int
  ) -> (gateway: SimulatedGateway, id: SessionID)? {
    guard client.connection == connection, let number = client.gateway, let id = client.session,
      gateways[number].isRunning, gateways[number].sessions[id] != nil
    else { return nil }
    return (gateways[number], id)
  }

  // MARK: Life

  private func wake(_ client: SimulatedClient) {
    guard client.gateway != nil else { return connect(client) }
    guard client.isWelcome else {
      if now > client.connectAt + SimulationLimits.clientPatience { leave(client) }
      return
    }
    if client.inFlight.contains(where: { now > $0.sentAt + SimulationLimits.clientPatience }) {
      return leave(client)
    }
    for place in client.inFlight.indices {
      guard let retryAt = client.inFlight[place].retryAt, now >= retryAt else { continue }
      client.inFlight[place].retryAt = nil
      say(client, place)
    }
    guard !isHealing, now >= client.nextOperationAt else { return }
    client.nextOperationAt =
      now + UInt64(clientDice.between(1...(2 * plan.operationInterval)))
    operate(client)
  }

  private func connect(_ client: SimulatedClient) {
    guard now >= client.connectAt else { return }
    client.connection += 1
    client.connectAt = now
    client.lastArrival = now
    client.lastDeparture = now
    let gateway = clientDice.below(gateways.count)
    client.gateway = gateway
    queue.schedule(
      .clientArrived(client.number, connection: client.connection, gateway: gateway),
      at: after(plan.clientDelay, &clientDice))
  }

  private func arrive(
    _ client: SimulatedClient, _ connection: Int, at gateway: SimulatedGateway
  ) {
    guard client.connection == connection else { return }
    guard gateway.isRunning, !gateway.isDraining, !gateway.isPaused else { return lose(client) }
    guard client.isRegistered else { return register(client, at: gateway) }
    gateway.lastSession += 1
    let id = SessionID(gateway.lastSession)
    gateway.sessions[id] = (client.number, connection)
    client.session = id
    client.openedAt = now
    if client.cursor != nil, client.leadersAtLoss != 0, client.leadersAtLoss != leaders {
      rare.note(.resumeAcrossLeaders)
    }
    tell("client \(client.number) opens session \(id.rawValue) at gateway \(gateway.number)")
    let hello = Hello(token: "", cursor: client.cursor, events: client.listens)
    input(gateway) {
      $0.sessionOpened(
        id, user: client.user, device: client.device, hello: hello, ref: "hello", now: $1,
        into: &$2)
    }
  }

  /// Who leads, in one number.
  private var leaders: UInt64 {
    var hash: UInt64 = 1
    for partition in coordinator.records.keys {
      hash = hash &* 31 &+ (coordinator.records[partition]?.record.epoch.rawValue ?? 0)
    }
    return hash
  }

  /// The connection is gone, or was never made.
  func lose(_ client: SimulatedClient) {
    forgetSession(of: client)
    client.leadersAtLoss = leaders
    client.disconnected()
    client.isRegistering = false
    client.connectAt = now + UInt64(clientDice.between(20_000...500_000))
    // What was asked and cannot be asked again is given up; sends are resent, in their order.
    client.inFlight.removeAll { operation in
      if case .send = operation.kind { false } else { true }
    }
    for place in client.inFlight.indices { client.inFlight[place].retryAt = nil }
  }

  /// The client ends the connection itself.
  func leave(_ client: SimulatedClient) { lose(client) }

  private func forgetSession(of client: SimulatedClient) {
    // What is still on its way to the old connection comes to nothing.
    client.connection += 1
    guard let number = client.gateway, let id = client.session else { return }
    let gateway = gateways[number]
    guard gateway.sessions.removeValue(forKey: id) != nil else { return }
    input(gateway) { core, _, actions in core.sessionClosed(id, into: &actions) }
  }

  private func register(_ client: SimulatedClient, at gateway: SimulatedGateway) {
    client.isRegistering = true
    gateway.lastSession += 1
    let call = CallID(gateway.lastSession)
    gateway.calls[call] = client.number
    input(gateway) {
      $0.call(
        call,
        .createAccount(
          handle: client.handle, displayName: "", passwordHash: "-", user: client.user),
        now: $1, into: &$2)
    }
  }

  private func registered(_ client: SimulatedClient, _ result: CallResult) {
    guard client.isRegistering else { return }
    switch result {
    case .account(let profile), .profile(let profile?):
      if profile.user != client.user { return fail("\(client.handle) became somebody else") }
      client.isRegistered = true
      client.disconnected()
      client.isRegistering = false
    case .failed(let error) where error.code == .alreadyExists:
      // An earlier try whose answer was lost may have made it.
      guard let number = client.gateway, gateways[number].isRunning else { return lose(client) }
      gateways[number].lastSession += 1
      let call = CallID(gateways[number].lastSession)
      gateways[number].calls[call] = client.number
      input(gateways[number]) { $0.call(call, .profile(client.user), now: $1, into: &$2) }
    default:
      lose(client)
    }
  }

  // MARK: Speaking

  private func say(_ client: SimulatedClient, _ place: Int) {
    client.inFlight[place].sentAt = now
    client.lastDeparture = max(client.lastDeparture, after(plan.clientDelay, &clientDice))
    let operation = client.inFlight[place]
    if case .send(let record) = operation.kind { history.said(record, on: client.connection) }
    queue.schedule(
      .clientSaid(
        client.number, connection: client.connection,
        ClientFrame(ref: operation.ref, operation: operation.operation)), at: client.lastDeparture)
  }

  private func begin(
    _ client: SimulatedClient, _ operation: ClientOperation, _ kind: ClientOperationInFlight.Kind
  ) {
    client.inFlight.append(
      ClientOperationInFlight(
        ref: client.nextRef(), operation: operation, kind: kind, sentAt: now))
    say(client, client.inFlight.count - 1)
  }

  private func operate(_ client: SimulatedClient) {
    let members = client.conversations.places.filter(\.isMember).map(\.id)
    switch clientDice.below(100) {
    case 0..<62: if !members.isEmpty { send(client, to: clientDice.pick(members)) }
    case 62..<80: if !members.isEmpty { read(client, clientDice.pick(members)) }
    case 80..<84: begin(client, .listConversations(after: nil, limit: 100), .list)
    case 84..<93: create(client)
    case 93..<98: changeMembers(client)
    default: if members.count > 1 { leave(client) }
    }
    if members.isEmpty { create(client) }
  }

  /// **Returns**: whether anybody said something, or nobody can.
  func sayAnything(in conversation: ConversationID) -> Bool {
    guard leader(of: .conversation(conversation)) != nil else { return false }
    guard let client = clients.first(where: { isMember($0, of: conversation) }) else {
      return true
    }
    let count = client.messageCount
    send(client, to: conversation)
    return client.messageCount > count
  }

  private func send(_ client: SimulatedClient, to conversation: ConversationID) {
    let waiting = client.inFlight.count { operation in
      if case .send = operation.kind { true } else { false }
    }
    guard waiting < plan.clientWindow else { return }
    client.messageCount += 1
    let text = "\(client.number).\(client.messageCount)"
    let record = history.began(client.number, conversation, text, at: now)
    begin(
      client, .send(conversation: conversation, id: clientID("m\(text)"), text: text),
      .send(record: record))
  }

  private func read(_ client: SimulatedClient, _ conversation: ConversationID) {
    begin(
      client, .history(conversation: conversation, range: .latest, limit: 20),
      .history(floor: history.floor(conversation), conversation: conversation))
  }

  private func create(_ client: SimulatedClient) {
    let isCreating = client.inFlight.contains { operation in
      if case .create = operation.kind { true } else { false }
    }
    guard client.conversations.places.count < 6, !isCreating else { return }
    var others = clients.filter { $0 !== client && $0.isRegistered }
    guard !others.isEmpty else { return }
    let isDirect = clientDice.chance(permille: 400)
    if isDirect { others = [clientDice.pick(others)] } else { others.removeLast(others.count / 3) }
    begin(
      client,
      .createConversation(
        CreateConversationRequest(
          kind: isDirect ? .direct : .group, members: others.map { .handle($0.handle) },
          title: isDirect ? "" : "of \(client.number)")), .create(isDirect: isDirect))
  }

  private func changeMembers(_ client: SimulatedClient) {
    let others = clients.filter { $0 !== client && $0.isRegistered }
    guard !client.own.isEmpty, !others.isEmpty else { return }
    let other = MemberReference.user(clientDice.pick(others).user)
    let adds = clientDice.chance(permille: 600)
    begin(
      client,
      .changeMembers(
        conversation: clientDice.pick(client.own), add: adds ? [other] : [],
        remove: adds ? [] : [other]), .changeMembers)
  }

  // MARK: Hearing

  private func hear(_ frame: ServerFrame, _ client: SimulatedClient) {
    switch frame.body {
    case .welcome: welcome(client)
    case .event(let event): take(event, client)
    case .cursor(let cursor):
      if !client.listens { fail("client \(client.number) is told a cursor") }
      if client.cursor == nil { client.firstCursorAt = now }
      checkProgress(client, cursor)
      client.cursor = cursor
    case .gap(let conversation):
      let place = client.conversations.place(of: conversation)
      client.conversations.places[place].hasGap = true
      client.conversations.places[place].hadGap = true
    case .draining: leave(client)
    case .behind: break
    default:
      if frame.ref == "hello", case .error = frame.body { return leave(client) }
      guard let place = client.inFlight.firstIndex(where: { $0.ref == frame.ref }) else { return }
      finish(place, frame.body, client)
    }
  }

  /// Within a connection a cursor never goes back: everything behind it would be told again. But
  /// for who was taken out of something that was still being read: it may come back there.
  private func checkProgress(_ client: SimulatedClient, _ cursor: Cursor) {
    defer { client.toldCursor = cursor }
    guard let earlier = client.toldCursor else { return }
    if cursor.user.index < earlier.user.index {
      fail("client \(client.number): the cursor goes from \(earlier.user) back to \(cursor.user)")
    }
    for position in cursor.positions {
      guard let before = earlier.positions.first(where: { $0.partition == position.partition })
      else { continue }
      guard position.index < before.index else { continue }
      let isMemberOfAll = conversations.allSatisfy { id in
        partition(of: .conversation(id)) != position.partition || isMember(client, of: id)
      }
      if isMemberOfAll {
        fail("client \(client.number): the cursor goes from \(before) back to \(position)")
      }
    }
  }

  private func welcome(_ client: SimulatedClient) {
    client.isWelcome = true
    // What was not acknowledged comes first, in its order.
    for place in client.inFlight.indices { say(client, place) }
  }

  private func finish(_ place: Int, _ body: ServerBody, _ client: SimulatedClient) {
    let operation = client.inFlight[place]
    if case .error(let error) = body { return refuse(place, error, client) }
    client.inFlight.remove(at: place)
    switch (operation.kind, body) {
    case (.send(let record), .sent(_, let sequence, _, let repeated)):
      if repeated { rare.note(operation.isUnknown ? .lostAnswer : .repeatedSend) }
      history.acknowledged(record, sequence: sequence.rawValue, at: now, in: self)
    case (.history(let floor, let conversation), .history(_, let page)):
      history.read(conversation, page, floor: floor, in: self)
    case (.create(let isDirect), .conversation(let summary, _)):
      client.conversations.place(of: summary.conversation)
      if !isDirect, !client.own.contains(summary.conversation) {
        client.own.append(summary.conversation)
      }
    case (.changeMembers, .membersChanged), (.list, .conversations): break
    default: fail("client \(client.number): \(operation.operation) is answered by \(body)")
    }
  }

  private func refuse(_ place: Int, _ error: ServiceError, _ client: SimulatedClient) {
    if error.code == .internalError {
      fail("client \(client.number): \(client.inFlight[place].operation) fails: \(error)")
    }
    if error.code == .notFound || error.code == .permissionDenied {
      switch client.inFlight[place].operation {
      case .send(let conversation, _, _), .history(let conversation, _, _):
        client.refusedIn.append(conversation)
      default: break
      }
    }
    guard case .send = client.inFlight[place].kind else {
      client.inFlight.remove(at: place)
      return
    }
    if error.code == .deadlineExceeded { client.inFlight[place].isUnknown = true }
    switch error.code {
    case .unavailable, .deadlineExceeded, .resourceExhausted:
      client.inFlight[place].retryAt = now + 200_000
    case .notFound, .permissionDenied:
      // Taken out of the conversation meanwhile.
      client.inFlight.remove(at: place)
    default: fail("client \(client.number): a send is refused: \(error)")
    }
  }

  /// An event of a conversation: the next one, or one that was seen.
  private func take(_ event: Event, _ client: SimulatedClient) {
    let id = event.conversation
    if !client.listens { fail("client \(client.number) is told an event") }
    history.saw(event, in: self)
    let place = client.conversations.place(of: id)
    var conversation = client.conversations.places[place]
    let number = event.sequence.rawValue
    var comesBack = false
    let wasMember = conversation.isMember
    if case .membersChanged(let added, let removed) = event.content {
      if added.contains(where: { $0.user == client.user }) {
        comesBack = true
        if !conversation.isMember { rare.note(.rejoinedConversation) }
        conversation.isMember = true
      }
      if removed.contains(client.user) { conversation.isMember = false }
    }
    // Who comes back may read what happened meanwhile, who does not may not.
    if conversation.isMember { conversation.heardOutside = nil }
    if !conversation.isMember, !wasMember { conversation.heardOutside = number }
    if let last = conversation.onConnection, number != last + 1, !comesBack, !conversation.hasGap {
      fail("client \(client.number): \(number) of \(id) came after \(last) on one connection")
    }
    conversation.onConnection = number
    conversation.first = conversation.first ?? number
    if let seen = conversation.seen {
      if number > seen + 1, !comesBack, !conversation.hasGap {
        fail("client \(client.number) saw \(seen) of \(id), then \(number)")
      }
      conversation.seen = max(seen, number)
    } else {
      if number == 1, client.cursor != nil, history.firstSeen(id) < client.openedAt {
        rare.note(.listedWhileAway)
      }
      conversation.seen = number
    }
    conversation.hasGap = false
    client.conversations.places[place] = conversation
  }
}

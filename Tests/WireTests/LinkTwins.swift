import ChatModel
import Foundation
import NodeProtocol
import Primitives
import SwiftProtobuf

// The generated messages of node.proto, made from the values that Swift codes by hand.

extension ProtoLinkFrame {
  init(_ frame: LinkFrame) {
    self.init()
    switch frame {
    case .hello(let value):
      hello = .with {
        $0.clusterID = Data(id: value.clusterID)
        $0.node = value.node
        $0.role = ProtoNodeRole(value.role)
        $0.store = value.store?.rawValue ?? 0
        $0.boot = value.boot.rawValue
        $0.protocolVersion = value.versions.lowerBound
        $0.laterVersions = value.versions.upperBound - value.versions.lowerBound
        $0.requestCredits = value.requestCredits
        $0.lane = value.lane
      }
    case .heartbeat(let value):
      heartbeat = .with {
        $0.boot = value.boot.rawValue
        $0.wallTime = value.wallTime.milliseconds
        $0.deaf = value.isDeaf
        $0.condition = ProtoHeartbeatCondition(rawValue: Int(value.condition.rawValue)) ?? .fit
      }
    case .replica(let value): replica = ProtoReplicaMessage(value)
    case .request(let value): request = ProtoRequest(value)
    case .response(let value): response = ProtoResponse(value)
    case .subscribe(let value):
      subscribe = .with {
        $0.partition = value.partition.rawValue
        $0.entity = ProtoEntityID(value.entity)
        if let after = value.after { $0.after = after.rawValue }
      }
    case .unsubscribe(let value):
      unsubscribe = .with {
        $0.partition = value.partition.rawValue
        $0.entity = ProtoEntityID(value.entity)
      }
    case .subscribed(let value):
      subscribed = .with {
        $0.partition = value.partition.rawValue
        $0.entity = ProtoEntityID(value.entity)
        $0.from = value.from.rawValue
        $0.generation = value.generation
      }
    case .subscriptionEnded(let value):
      subscriptionEnded = .with {
        $0.partition = value.partition.rawValue
        $0.entity = ProtoEntityID(value.entity)
        $0.reason = value.reason == .behind ? .behind : .notLeader
      }
    case .delivery(let value): delivery = ProtoDelivery(value)
    case .draining: draining = ProtoNothing()
    }
  }
}

extension ProtoEntityID {
  init(_ entity: EntityID) {
    self.init()
    switch entity {
    case .conversation(let id): conversation = Data(id: id.rawValue)
    case .user(let id): user = Data(id: id.rawValue)
    case .handle(let value): handle = value.text
    }
  }
}

extension ProtoDelivery {
  init(_ delivery: Delivery) {
    self.init()
    partition = delivery.partition.rawValue
    index = delivery.index.rawValue
    lastOfEntry = delivery.isLastOfEntry
    switch delivery.content {
    case .event(let value): event = ProtoEvent(value)
    case .listed(let user, let conversation, let removed):
      listed = .with {
        $0.user = Data(id: user.rawValue)
        $0.conversation = ProtoListedConversation(conversation)
        $0.removed = removed
      }
    case .sessionClosed(let user, let device):
      sessionClosed = .with {
        $0.user = Data(id: user.rawValue)
        $0.device = device.rawValue
      }
    }
  }
}

extension ProtoEntryID {
  init(_ id: EntryID) {
    self.init()
    epoch = id.epoch.rawValue
    index = id.index.rawValue
  }
}

extension ProtoReplicaMessage {
  init(_ message: ReplicaMessage) {
    self.init()
    partition = message.partition.rawValue
    from = ProtoReplicaID(message.from)
    fromBoot = message.fromBoot.rawValue
    to = ProtoReplicaID(message.to)
    epoch = message.epoch.rawValue
    revision = message.revision.rawValue
    switch message.body {
    case .append(let previous, let entries, let commitIndex):
      append = .with {
        $0.previous = ProtoEntryID(previous)
        $0.commitIndex = commitIndex.rawValue
        $0.entries = entries.map { entry in
          .with {
            $0.epoch = entry.epoch.rawValue
            $0.index = entry.index.rawValue
            $0.payload = Data(entry.payload)
          }
        }
      }
    case .appended(let match, let leaderBoot):
      appended = .with {
        $0.match = match.rawValue
        $0.leaderBoot = leaderBoot.rawValue
      }
    case .mismatched(let previous, let hint, let leaderBoot):
      mismatched = .with {
        $0.previous = ProtoEntryID(previous)
        $0.hint = ProtoEntryID(hint)
        $0.leaderBoot = leaderBoot.rawValue
      }
    case .refused(let promise): refused = .with { $0.promise = promise.rawValue }
    case .barrier(let round): barrier = .with { $0.round = round }
    case .barrierConfirmed(let round, let leaderBoot):
      barrierConfirmed = .with {
        $0.round = round
        $0.leaderBoot = leaderBoot.rawValue
      }
    case .inquiry(let last): inquiry = .with { $0.last = ProtoEntryID(last) }
    case .inquiryAnswered(let last, let inquirerBoot):
      inquiryAnswered = .with {
        if let last { $0.last = ProtoEntryID(last) }
        $0.inquirerBoot = inquirerBoot.rawValue
      }
    case .fenced(let acknowledged, let reported):
      fenced = .with {
        $0.acknowledged = acknowledged.rawValue
        $0.reported = reported.rawValue
      }
    case .stateTold(let index, let hash):
      stateTold = .with {
        $0.index = index.rawValue
        $0.hash = hash
      }
    case .splitAsked(let level): splitAsked = .with { $0.level = level }
    case .splitDone(let level, let origin):
      splitDone = .with {
        $0.level = level
        $0.origin = origin?.rawValue ?? 0
      }
    case .takeOver(let last): takeOver = .with { $0.last = ProtoEntryID(last) }
    case .snapshotOffered(let number, let last):
      snapshotOffered = .with {
        $0.number = number
        $0.last = ProtoEntryID(last)
      }
    case .snapshotWanted(let number, let after, let leaderBoot):
      snapshotWanted = .with {
        $0.number = number
        $0.after = Data(after)
        $0.leaderBoot = leaderBoot.rawValue
      }
    case .snapshotChunk(let chunk):
      snapshotChunk = .with {
        $0.number = chunk.number
        $0.after = Data(chunk.after)
        $0.through = Data(chunk.through)
        $0.records = Data(chunk.records)
        $0.checksum = chunk.checksum
        $0.isLast = chunk.isLast
      }
    }
  }
}

// MARK: Requests and responses

extension ProtoRequest {
  init(_ request: Request) {
    self.init()
    id = request.id
    partition = request.partition.rawValue
    switch request.operation {
    case .command(let bytes): command = Data(bytes)
    case .query(let value): query = ProtoQuery(value)
    }
  }
}

extension ProtoResponse {
  init(_ response: Response) {
    self.init()
    id = response.id
    switch response.outcome {
    case .applied(let result): applied = ProtoCommandResult(result)
    case .answered(let answer): answered = ProtoQueryAnswer(answer)
    case .notLeader(let leader, let revision):
      notLeader = .with {
        if let leader { $0.leader = ProtoReplicaID(leader) }
        $0.revision = revision.rawValue
      }
    case .failed(let error): failed = ProtoRefusal(error)
    }
  }
}

extension ProtoRefusal {
  init(_ error: ServiceError) {
    self.init()
    code = error.code.rawValue
    message = error.message
    retryable = error.retryable
    retryAfterMilliseconds = error.retryAfterMilliseconds
  }
}

extension ProtoCommandResult {
  init(_ result: CommandResult) {
    self.init()
    switch result {
    case .conversationCreated(let conversation, let existed):
      conversationCreated = .with {
        $0.conversation = Data(id: conversation.rawValue)
        $0.existed = existed
      }
    case .messageSent(let sequence, let time, let repeated):
      messageSent = .with {
        $0.sequence = sequence.rawValue
        $0.time = time.milliseconds
        $0.repeated = repeated
      }
    case .membersChanged(let sequence):
      membersChanged = .with { $0.sequence = sequence.rawValue }
    case .userPending: userPending = ProtoNothing()
    case .userActive(let user): userActive = .with { $0.user = Data(id: user.rawValue) }
    case .sessionOpened: sessionOpened = ProtoNothing()
    case .refreshTokenRotated: refreshTokenRotated = ProtoNothing()
    case .sessionClosed: sessionClosed = ProtoNothing()
    case .done: done = ProtoNothing()
    case .refused(let error): refused = ProtoRefusal(error)
    }
  }
}

extension ProtoQuery {
  init(_ query: Query) {
    self.init()
    switch query {
    case .handle(let value): handle = value.text
    case .user(let id): user = Data(id: id.rawValue)
    case .credentials(let id): credentials = Data(id: id.rawValue)
    case .conversationList(let user, let after, let limit):
      conversationList = .with {
        $0.user = Data(id: user.rawValue)
        $0.after = after.map { Data(id: $0.rawValue) } ?? Data()
        $0.limit = UInt32(limit)
      }
    case .summaries(let reader, let conversations):
      summaries = .with {
        $0.reader = Data(id: reader.rawValue)
        $0.conversations = conversations.map { Data(id: $0.rawValue) }
      }
    case .history(let value):
      history = .with {
        $0.conversation = Data(id: value.conversation.rawValue)
        $0.reader = Data(id: value.reader.rawValue)
        $0.limit = UInt32(value.limit)
        switch value.range {
        case .after(let sequence): $0.after = sequence.rawValue
        case .before(let sequence): $0.before = sequence.rawValue
        case .latest: break
        }
      }
    case .changes(let value):
      changes = .with {
        $0.reader = Data(id: value.reader.rawValue)
        $0.limit = UInt32(value.limit)
        $0.positions = value.requests.map { request in
          .with {
            $0.conversation = Data(id: request.conversation.rawValue)
            $0.after = request.after.rawValue
          }
        }
      }
    }
  }
}

extension ProtoQueryAnswer {
  init(_ answer: QueryAnswer) {
    self.init()
    switch answer {
    case .handle(let user): handle = user.map { Data(id: $0.rawValue) } ?? Data()
    case .user(let value):
      user = .with { if let value { $0.profile = ProtoUserProfile(value) } }
    case .credentials(let value):
      credentials = .with {
        guard let value else { return }
        $0.profile = ProtoUserProfile(value.profile)
        $0.passwordHash = value.passwordHash
      }
    case .conversationList(let page):
      conversationList = .with {
        $0.conversations = page.conversations.map(ProtoListedConversation.init)
        $0.applied = page.applied.rawValue
        $0.generation = page.generation
        $0.more = page.more
      }
    case .summaries(let values):
      summaries = .with { $0.summaries = values.map(ProtoConversationSummary.init) }
    case .history(let page):
      history = .with {
        $0.events = page.events.map(ProtoEvent.init)
        $0.head = page.head.rawValue
      }
    case .changes(let page):
      changes = .with {
        $0.events = page.events.map(ProtoEvent.init)
        $0.through = page.through.rawValue
        $0.more = page.more
        $0.generation = page.generation
        $0.refused = page.refused.map { Data(id: $0.rawValue) }
      }
    case .refused(let error): refused = ProtoRefusal(error)
    }
  }
}

extension ProtoUserProfile {
  init(_ profile: UserProfile) {
    self.init()
    user = Data(id: profile.user.rawValue)
    handle = profile.handle.text
    displayName = profile.displayName
  }
}

extension ProtoListedConversation {
  init(_ listed: ListedConversation) {
    self.init()
    conversation = Data(id: listed.conversation.rawValue)
    joined = listed.joined.rawValue
    self.listed = listed.listed.rawValue
  }
}

extension ProtoConversationSummary {
  init(_ summary: ConversationSummary) {
    self.init()
    conversation = Data(id: summary.conversation.rawValue)
    kind = ProtoConversationKind(summary.kind)
    title = summary.title
    members = summary.members.map(ProtoMember.init)
    memberCount = UInt32(summary.memberCount)
    head = summary.head.rawValue
    if let event = summary.last { last = ProtoEvent(event) }
  }
}

import ChatModel
import ClusterModel
import NodeProtocol
import Primitives

extension RandomValues {
  static let replicaBodyVariantCount = 17

  mutating func entry() -> Entry {
    let id = EntryID(epoch: Epoch(positive()), index: LogIndex(positive()))
    let payload = below(4) == 0 ? [] : bytes(below(300))
    return Entry(id: id, payload: payload)
  }

  mutating func replicaBody(_ variant: Int) -> ReplicaMessage.Body {
    switch variant {
    case 0:
      .append(previous: entryID(), entries: list(4) { $0.entry() }, commitIndex: index())
    case 1: .append(previous: .zero, entries: [], commitIndex: index())
    case 2: .appended(match: index(), leaderBoot: boot())
    case 3: .mismatched(previous: entryID(), hint: entryID(), leaderBoot: boot())
    case 4: .refused(promise: Epoch(number()))
    case 5: .barrier(round: number())
    case 6: .barrierConfirmed(round: number(), leaderBoot: boot())
    case 7: .inquiry(last: entryID())
    case 8: .inquiryAnswered(last: below(3) == 0 ? nil : entryID(), inquirerBoot: boot())
    case 9: .fenced(acknowledged: index(), reported: index())
    case 10: .stateTold(index: index(), hash: number())
    case 11: .takeOver(last: entryID())
    case 12: .snapshotOffered(number: number(), last: entryID())
    case 14: .splitAsked(level: number32())
    case 15:
      .splitDone(
        level: number32(), origin: below(3) == 0 ? nil : LogIndex(1 + UInt64(below(9_000))))
    case 13: .snapshotWanted(number: number(), after: bytes(below(40)), leaderBoot: boot())
    default:
      .snapshotChunk(
        SnapshotChunk(
          number: number(), after: bytes(below(40)), through: bytes(below(40)),
          records: bytes(below(300)), checksum: UInt32(truncatingIfNeeded: number()),
          isLast: below(2) == 0))
    }
  }

  mutating func versions() -> ClosedRange<UInt32> {
    let oldest = number32()
    return oldest...(oldest + min(number32(), .max - oldest))
  }

  mutating func replicaMessage(_ variant: Int) -> ReplicaMessage {
    ReplicaMessage(
      partition: partition(), from: replica(), fromBoot: boot(), to: replica(),
      epoch: Epoch(number()), revision: Revision(signed()), body: replicaBody(variant))
  }

  mutating func serviceError() -> ServiceError {
    ServiceError(
      pick(ServiceErrorCode.allCases), text(), retryable: flag(),
      retryAfterMilliseconds: number32())
  }

  static let commandResultVariantCount = 10

  mutating func commandResult(_ variant: Int) -> CommandResult {
    switch variant {
    case 0: .conversationCreated(conversation: conversation(), existed: flag())
    case 1: .messageSent(sequence: Sequence(number()), time: time(), repeated: flag())
    case 2: .membersChanged(sequence: Sequence(number()))
    case 3: .userPending
    case 4: .userActive(user())
    case 5: .sessionOpened
    case 6: .refreshTokenRotated
    case 7: .sessionClosed
    case 8: .done
    default: .refused(serviceError())
    }
  }

  static let queryVariantCount = 7

  mutating func query(_ variant: Int) -> Query {
    switch variant {
    case 0: .handle(handle())
    case 1: .user(user())
    case 2: .credentials(user())
    case 3: .conversationList(user: user(), after: maybe { $0.conversation() }, limit: below(300))
    case 4: .summaries(reader: user(), conversations: list(4) { $0.conversation() })
    case 5:
      .history(
        HistoryQuery(
          conversation: conversation(), reader: user(), range: range(), limit: below(300)))
    default:
      .changes(
        ChangesQuery(
          reader: user(),
          requests: list(4) { .init(conversation: $0.conversation(), after: $0.index()) },
          limit: below(300)))
    }
  }

  mutating func range() -> HistoryQuery.Range {
    switch below(3) {
    case 0: .after(Sequence(number()))
    case 1: .before(Sequence(number()))
    default: .latest
    }
  }

  mutating func profile() -> UserProfile {
    UserProfile(user: user(), handle: handle(), displayName: text())
  }

  mutating func summary() -> ConversationSummary {
    ConversationSummary(
      conversation: conversation(), kind: kind(), title: text(), members: members(),
      memberCount: below(10_000), head: Sequence(number()), last: maybe { $0.event() })
  }

  static let queryAnswerVariantCount = 8

  mutating func queryAnswer(_ variant: Int) -> QueryAnswer {
    switch variant {
    case 0: .handle(maybe { $0.user() })
    case 1: .user(maybe { $0.profile() })
    case 2:
      .credentials(maybe { UserCredentials(profile: $0.profile(), passwordHash: $0.text()) })
    case 3:
      .conversationList(
        ConversationListPage(
          conversations: list(3) { $0.listed() }, applied: index(), generation: number32(),
          more: flag()))
    case 4: .summaries(list(3) { $0.summary() })
    case 5: .history(HistoryPage(events: list(3) { $0.event() }, head: Sequence(number())))
    case 6:
      .changes(
        ChangesPage(
          events: list(3) { $0.event() }, through: index(), more: flag(), generation: number32(),
          refused: list(3) { $0.conversation() }))
    default: .refused(serviceError())
    }
  }

  mutating func listed() -> ListedConversation {
    ListedConversation(conversation: conversation(), joined: index(), listed: index())
  }

  mutating func entity() -> EntityID {
    switch below(3) {
    case 0: .conversation(conversation())
    case 1: .user(user())
    default: .handle(handle())
    }
  }

  /// Every variant of every part of a link frame, once.
  mutating func everyLinkFrame() -> [LinkFrame] {
    var frames: [LinkFrame] = [
      .hello(
        LinkHello(
          clusterID: id128(), node: text(), role: pick([.shard, .gateway]),
          store: maybe { StoreID($0.positive()) }, boot: boot(), lane: number32(),
          versions: versions(),
          requestCredits: number32())),
      .heartbeat(Heartbeat(boot: boot(), wallTime: time(), condition: .stalled, isDeaf: flag())),
      .subscribe(
        Subscribe(partition: partition(), entity: entity(), after: maybe { $0.index() })),
      .subscribe(Subscribe(partition: partition(), entity: entity(), after: .zero)),
      .unsubscribe(Unsubscribe(partition: partition(), entity: entity())),
      .subscribed(
        Subscribed(
          partition: partition(), entity: entity(), from: index(), generation: number32())),
      .subscriptionEnded(
        SubscriptionEnded(
          partition: partition(), entity: entity(), reason: pick([.notLeader, .behind]))),
      .delivery(
        Delivery(
          partition: partition(), index: index(),
          content: .listed(user: user(), conversation: listed(), removed: flag()),
          isLastOfEntry: flag())),
      .delivery(
        Delivery(
          partition: partition(), index: index(),
          content: .sessionClosed(user: user(), device: device()), isLastOfEntry: flag())),
      .response(
        Response(
          id: number(),
          outcome: .notLeader(leader: maybe { $0.replica() }, revision: Revision(signed())))),
      .response(Response(id: number(), outcome: .failed(serviceError()))),
      .draining,
    ]
    for variant in 0..<Self.eventVariantCount {
      frames.append(
        .delivery(
          Delivery(
            partition: partition(), index: index(), content: .event(event(variant)),
            isLastOfEntry: flag())))
    }
    for variant in 0..<Self.replicaBodyVariantCount {
      frames.append(.replica(replicaMessage(variant)))
    }
    for variant in 0..<Self.commandVariantCount {
      frames.append(request(.command(command(variant).encoded())))
    }
    frames.append(request(.command([])))
    for variant in 0..<Self.queryVariantCount { frames.append(request(.query(query(variant)))) }
    for variant in 0..<Self.commandResultVariantCount {
      frames.append(.response(Response(id: number(), outcome: .applied(commandResult(variant)))))
    }
    for variant in 0..<Self.queryAnswerVariantCount {
      frames.append(.response(Response(id: number(), outcome: .answered(queryAnswer(variant)))))
    }
    return frames
  }

  private mutating func request(_ operation: Request.Operation) -> LinkFrame {
    .request(Request(id: number(), partition: partition(), operation: operation))
  }
}

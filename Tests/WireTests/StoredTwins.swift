import ChatModel
import ClusterModel
import Foundation
import Primitives
import SwiftProtobuf

// The generated messages of chat.proto and cluster.proto, made from the values that Swift codes by
// hand. They are what the hand-written bytes are compared with.

extension Data {
  /// An id: 16 bytes, big-endian.
  init(id: UInt128) { self = Swift.withUnsafeBytes(of: id.bigEndian) { Data($0) } }
}

extension ProtoMember {
  init(_ member: Member) {
    self.init()
    user = Data(id: member.user.rawValue)
    handle = member.handle.text
    role = member.role == .admin ? .admin : .member
  }
}

extension ProtoConversationKind {
  init(_ kind: ConversationKind) { self = kind == .direct ? .direct : .group }
}

extension ProtoOutboxOrigin {
  init(_ origin: OutboxOrigin) {
    self.init()
    partition = origin.partition.rawValue
    index = origin.index.rawValue
  }
}

extension ProtoEvent {
  init(_ event: Event) {
    self.init()
    conversation = Data(id: event.conversation.rawValue)
    sequence = event.sequence.rawValue
    time = event.time.milliseconds
    author = Data(id: event.author.rawValue)
    index = event.index.rawValue
    switch event.content {
    case .message(let text): message = .with { $0.text = text }
    case .created(let kind, let title, let members):
      created = .with {
        $0.kind = ProtoConversationKind(kind)
        $0.title = title
        $0.members = members.map(ProtoMember.init)
      }
    case .membersChanged(let added, let removed):
      membersChanged = .with {
        $0.added = added.map(ProtoMember.init)
        $0.removed = removed.map { Data(id: $0.rawValue) }
      }
    case .titleChanged(let title): titleChanged = .with { $0.title = title }
    }
  }
}

extension ProtoCommand {
  init(_ command: Command) {
    self.init()
    switch command {
    case .createConversation(let command):
      createConversation = .with {
        $0.conversation = Data(id: command.conversation.rawValue)
        $0.kind = ProtoConversationKind(command.kind)
        $0.title = command.title
        $0.creator = Data(id: command.creator.rawValue)
        $0.members = command.members.map(ProtoMember.init)
      }
    case .sendMessage(let command):
      sendMessage = .with {
        $0.conversation = Data(id: command.conversation.rawValue)
        $0.sender = Data(id: command.sender.rawValue)
        $0.device = command.device.rawValue
        $0.clientID = command.clientID.text
        $0.text = command.text
      }
    case .changeMembers(let command):
      changeMembers = .with {
        $0.conversation = Data(id: command.conversation.rawValue)
        $0.author = Data(id: command.author.rawValue)
        $0.added = command.added.map(ProtoMember.init)
        $0.removed = command.removed.map { Data(id: $0.rawValue) }
      }
    case .createUser(let command):
      createUser = .with {
        $0.user = Data(id: command.user.rawValue)
        $0.handle = command.handle.text
        $0.displayName = command.displayName
        $0.passwordHash = command.passwordHash
      }
    default: self.init(sessionOrOutbox: command)
    }
  }

  private init(sessionOrOutbox command: Command) {
    self.init()
    switch command {
    case .openSession(let command):
      openSession = .with {
        $0.user = Data(id: command.user.rawValue)
        $0.device = command.device.rawValue
        $0.deviceName = command.deviceName
        $0.refreshTokenHash = Data(command.refreshTokenHash)
        $0.expires = command.expires.milliseconds
      }
    case .rotateRefreshToken(let command):
      rotateRefreshToken = .with {
        $0.user = Data(id: command.user.rawValue)
        $0.device = command.device.rawValue
        $0.presentedHash = Data(command.presentedHash)
        $0.newHash = Data(command.newHash)
        $0.expires = command.expires.milliseconds
      }
    case .closeSession(let command):
      closeSession = .with {
        $0.user = Data(id: command.user.rawValue)
        $0.device = command.device.rawValue
      }
    case .claimHandle(let command):
      claimHandle = .with {
        $0.handle = command.handle.text
        $0.user = Data(id: command.user.rawValue)
        $0.origin = ProtoOutboxOrigin(command.origin)
      }
    case .handleResolved(let command):
      handleResolved = .with {
        $0.user = Data(id: command.user.rawValue)
        $0.handle = command.handle.text
        $0.granted = command.granted
        $0.origin = ProtoOutboxOrigin(command.origin)
      }
    case .conversationListed(let command):
      conversationListed = .with {
        $0.user = Data(id: command.user.rawValue)
        $0.conversation = Data(id: command.conversation.rawValue)
        $0.removed = command.removed
        $0.origin = ProtoOutboxOrigin(command.origin)
      }
    case .partitionSplit(let split):
      partitionSplit = .with {
        $0.level = split.level
        $0.replicaLimit = split.replicaLimit
      }
    case .generationBegan(let generation):
      generationBegan = .with { $0.generation = generation }
    case .outboxConfirmed(let command):
      outboxConfirmed = .with {
        $0.entries = command.entries.map { entry in
          .with {
            $0.index = entry.index.rawValue
            $0.ordinal = entry.ordinal
          }
        }
      }
    default: preconditionFailure("no twin of \(command)")
    }
  }
}

// MARK: cluster.proto

extension ProtoReplicaID {
  init(_ replica: ReplicaID) {
    self.init()
    store = replica.store.rawValue
    number = replica.number
  }
}

extension ProtoPartitionRecord {
  init(_ record: PartitionRecord) {
    self.init()
    version = 1
    epoch = record.epoch.rawValue
    leader = ProtoReplicaID(record.leader)
    leaderBoot = record.leaderBoot.rawValue
    inSync = record.inSync.map(ProtoReplicaID.init)
    target = record.target.map(ProtoReplicaID.init)
    nextReplica = record.nextReplica
    generation = record.generation
    origin = record.origin.rawValue
  }
}

extension ProtoNodeRole {
  init(_ role: NodeRole) { self = role == .shard ? .shard : .gateway }
}

extension ProtoNodeRecord {
  init(_ record: NodeRecord) {
    self.init()
    name = record.name
    role = ProtoNodeRole(record.role)
    store = record.store?.rawValue ?? 0
    boot = record.boot.rawValue
    laneAddresses = record.laneAddresses.map(\.description)
    operatorAddress = record.operatorAddress?.description ?? ""
    publicUrls = record.publicURLs
    zone = record.zone
    weight = record.weight
    protocolVersion = record.protocolVersion
  }
}

extension ProtoClusterRecord {
  init(_ record: ClusterRecord) {
    self.init()
    clusterID = Data(id: record.clusterID)
    partitionCount = record.partitionCount
    replicaCount = record.replicaCount
    minInSync = record.minInSync
  }
}

extension ProtoRingMember {
  init(_ member: RingMember) {
    self.init()
    store = member.store.rawValue
    name = member.name
    weight = member.weight
    zone = member.zone
    drained = member.isDrained
  }
}

extension ProtoRingChange {
  init(_ change: RingChange) {
    self.init()
    number = change.number
    kind = ProtoRingChangeKind(rawValue: Int(change.kind.rawValue)) ?? .unspecified
    subject = change.subject
    startedAt = change.startedAt.milliseconds
    formerMembers = change.formerMembers.map(ProtoRingMember.init)
    let known = Set(change.moves.flatMap { $0.before + $0.after }).sorted()
    stores = known.map { store in .with { $0.store = store.rawValue } }
    func places(_ set: [StoreID]) -> Data {
      Data(
        set.flatMap { store -> [UInt8] in
          let place = UInt16(known.firstIndex(of: store) ?? 0).bigEndian
          return withUnsafeBytes(of: place) { Array($0) }
        })
    }
    moves = change.moves.map { move in
      .with {
        $0.partition = move.partition.rawValue
        $0.before = places(move.before)
        $0.after = places(move.after)
      }
    }
    turnedBack = change.isTurnedBack
  }
}

extension ProtoRingRecord {
  init(_ record: RingRecord) {
    self.init()
    version = 1
    members = record.members.map(ProtoRingMember.init)
    if let change = record.change { self.change = ProtoRingChange(change) }
    changeCount = record.changeCount
    movesMax = record.movesMax
    bytesPerSecond = record.bytesPerSecond
    level = record.level
  }
}

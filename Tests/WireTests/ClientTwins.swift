import ChatModel
import ClientProtocol
import Foundation
import Primitives
import SwiftProtobuf
import Wire

// The generated messages of client.proto, made from the values that Swift codes by hand.

extension ProtoClientFrame {
  init(_ frame: ClientFrame) {
    self.init()
    ref = frame.ref
    switch frame.operation {
    case .hello(let value):
      hello = .with {
        $0.token = value.token
        if let cursor = value.cursor { $0.cursor = CursorCodec.encode(cursor) }
        if !value.events { $0.events = false }
      }
    case .send(let conversation, let id, let text):
      send = .with {
        $0.conversation = conversation.description
        $0.id = id.text
        $0.text = text
      }
    case .createConversation(let value):
      createConversation = .with {
        $0.kind = value.kind == .direct ? "direct" : "group"
        $0.members = value.members.map(\.name)
        $0.title = value.title
      }
    case .changeMembers(let conversation, let add, let remove):
      changeMembers = .with {
        $0.conversation = conversation.description
        $0.add = add.map(\.name)
        $0.remove = remove.map(\.name)
      }
    case .listConversations(let after, let limit):
      listConversations = .with {
        $0.after = after?.description ?? ""
        $0.limit = UInt32(limit)
      }
    case .history(let conversation, let range, let limit):
      history = .with {
        $0.conversation = conversation.description
        switch range {
        case .after(let sequence): $0.after = sequence.rawValue
        case .before(let sequence): $0.before = sequence.rawValue
        case .latest: break
        }
        $0.limit = UInt32(limit)
      }
    case .ping: ping = ProtoPing()
    }
  }
}

extension MemberReference {
  fileprivate var name: String {
    switch self {
    case .user(let user): user.description
    case .handle(let handle): handle.text
    }
  }
}

extension ProtoServerFrame {
  init(_ frame: ServerFrame) {
    self.init()
    ref = frame.ref
    switch frame.body {
    case .welcome(let user, let device):
      welcome = .with {
        $0.user = ProtoUser(user)
        $0.device = device.description
      }
    case .sent(let conversation, let sequence, let time, let repeated):
      sent = .with {
        $0.conversation = conversation.description
        $0.seq = sequence.rawValue
        $0.time = time.milliseconds
        $0.repeated = repeated
      }
    case .conversation(let summary, let existed):
      conversation = ProtoConversation(summary)
      conversation.existed = existed
    case .membersChanged(let conversation, let sequence):
      membersChanged = .with {
        $0.conversation = conversation.description
        $0.seq = sequence.rawValue
      }
    case .conversations(let items, let next):
      conversations = .with {
        $0.items = items.map(ProtoConversation.init)
        $0.next = next?.description ?? ""
      }
    case .history(let conversation, let page):
      history = .with {
        $0.conversation = conversation.description
        $0.events = page.events.map(ProtoClientEvent.init)
        $0.head = page.head.rawValue
      }
    case .pong: pong = ProtoPong()
    case .error(let value): error = ProtoServiceError(value)
    case .event(let value): event = ProtoClientEvent(value)
    case .cursor(let value): cursor = CursorCodec.encode(value)
    case .behind: behind = ProtoBehind()
    case .gap(let conversation): gap = .with { $0.conversation = conversation.description }
    case .draining: draining = ProtoDraining()
    }
  }
}

extension ProtoUser {
  init(_ user: UserProfile) {
    self.init()
    id = user.user.description
    handle = user.handle.text
    displayName = user.displayName
  }
}

extension ProtoServiceError {
  init(_ error: ServiceError) {
    self.init()
    code = error.code.name
    message = error.message
    retryable = error.retryable
    retryAfterMilliseconds = error.retryAfterMilliseconds
  }
}

extension ProtoConversation {
  init(_ summary: ConversationSummary) {
    self.init()
    id = summary.conversation.description
    kind = summary.kind == .direct ? "direct" : "group"
    title = summary.title
    members = summary.members.map(ProtoClientMember.init)
    memberCount = UInt32(summary.memberCount)
    head = summary.head.rawValue
    if let event = summary.last { last = ProtoClientEvent(event) }
  }
}

extension ProtoClientMember {
  init(_ member: Member) {
    self.init()
    id = member.user.description
    handle = member.handle.text
    role = member.role == .admin ? "admin" : "member"
  }
}

extension ProtoClientEvent {
  init(_ event: Event) {
    self.init()
    conversation = event.conversation.description
    seq = event.sequence.rawValue
    time = event.time.milliseconds
    author = event.author.description
    switch event.content {
    case .message(let text): message = .with { $0.text = text }
    case .created(let kind, let title, let members):
      created = .with {
        $0.kind = kind == .direct ? "direct" : "group"
        $0.title = title
        $0.members = members.map(ProtoClientMember.init)
      }
    case .membersChanged(let added, let removed):
      membersChanged = .with {
        $0.added = added.map(ProtoClientMember.init)
        $0.removed = removed.map(\.description)
      }
    case .titleChanged(let title): titleChanged = .with { $0.title = title }
    }
  }
}

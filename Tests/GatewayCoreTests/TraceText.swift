import ChatModel
import ClientProtocol
import GatewayCore
import NodeProtocol
import Primitives
import WalkSupport

// Lines of a trace, short enough to be read by the hundred.

extension EntityID {
  fileprivate var short: String {
    switch self {
    case .conversation(let id): "c\(id.rawValue >> 64)"
    case .user(let id): "u\(id.rawValue >> 64)"
    case .handle(let handle): "\(handle)"
    }
  }
}

extension ConversationID {
  fileprivate var short: String { EntityID.conversation(self).short }
}

extension Event {
  fileprivate var short: String {
    let text =
      switch content {
      case .message(let text): text
      case .created: "created"
      case .membersChanged(let added, let removed):
        (added.map { "+" + EntityID.user($0.user).short }
          + removed.map { "-" + EntityID.user($0).short }).joined()
      case .titleChanged: "title"
      }
    return "\(conversation.short)/\(sequence)@\(index.rawValue)(\(text))"
  }
}

extension ListedConversation {
  fileprivate var short: String {
    "\(conversation.short) joined \(joined.rawValue) listed \(listed.rawValue)"
  }
}

extension Cursor {
  fileprivate var short: String {
    let rest = positions.map { "\($0.partition):\($0.index.rawValue)" }.joined(separator: " ")
    return "user \(user.partition):\(user.index.rawValue), \(rest)"
  }
}

/// One line for a frame of a link.
func traceText(_ frame: LinkFrame) -> String {
  switch frame {
  case .request(let request):
    switch request.operation {
    case .command: return "#\(request.id) \(request.partition) says \(request.text)"
    case .query(.changes(let query)):
      let asked = query.requests.map { "\($0.conversation.short)>\($0.after.rawValue)" }
      let reader = EntityID.user(query.reader).short
      return "#\(request.id) \(request.partition) changes of \(reader): \(asked)"
    case .query(.conversationList(let user, let after, _)):
      return "#\(request.id) list of \(EntityID.user(user).short) after \(after?.short ?? "–")"
    case .query: return "#\(request.id) query"
    }
  case .response(let response):
    switch response.outcome {
    case .answered(.changes(let page)):
      let events = page.events.map(\.short).joined(separator: " ")
      return "#\(response.id) through \(page.through.rawValue)\(page.more ? "+" : ""): \(events)"
    case .answered(.conversationList(let page)):
      let items = page.conversations.map(\.short).joined(separator: "; ")
      return "#\(response.id) list at \(page.applied.rawValue)\(page.more ? "+" : ""): \(items)"
    case .answered: return "#\(response.id) answered"
    case .applied(.messageSent(let sequence, _, _)): return "#\(response.id) sent \(sequence)"
    case .applied(let result): return "#\(response.id) \(result)"
    case .notLeader(let leader, let revision):
      return "#\(response.id) not leader: \(leader?.store.rawValue ?? 0) at \(revision)"
    case .failed(let error): return "#\(response.id) failed \(error.code)"
    }
  case .subscribe(let frame):
    return "subscribe \(frame.entity.short) > \(frame.after?.rawValue ?? 0)"
  case .unsubscribe(let frame): return "unsubscribe \(frame.entity.short)"
  case .subscribed(let frame): return "subscribed \(frame.entity.short) from \(frame.from.rawValue)"
  case .subscriptionEnded(let frame): return "ended \(frame.entity.short): \(frame.reason)"
  case .delivery(let frame):
    switch frame.content {
    case .event(let event): return "delivery \(event.short)"
    case .listed(let user, let item, let removed):
      let what = removed ? "removed" : "listed"
      return "\(what) for \(EntityID.user(user).short): \(item.short)"
    case .sessionClosed: return "session closed"
    }
  default: return "\(frame)"
  }
}

/// One line for something that a gateway asks of its shell.
func traceText(_ action: GatewayAction) -> String {
  switch action {
  case .send(let store, let frame): return "→ \(store.rawValue) \(traceText(frame))"
  case .answer(let id, let frame): return "  s\(id.rawValue) \(frame.ref) \(traceText(frame.body))"
  case .push(let body, let ids): return "  \(ids.map { "s\($0.rawValue)" }) \(traceText(body))"
  case .finish(let call, _): return "  call \(call.rawValue) ends"
  case .endSession(let id, let error): return "  s\(id.rawValue) ends: \(error.code)"
  }
}

private func traceText(_ body: ServerBody) -> String {
  switch body {
  case .event(let event): "event \(event.short)"
  case .cursor(let cursor): "cursor \(cursor.short)"
  case .behind: "behind"
  case .welcome(let user, let device): "welcome \(EntityID.user(user.user).short) \(device)"
  case .error(let error): "error \(error.code)"
  case .sent(let conversation, let sequence, _, _): "sent \(conversation.short)/\(sequence)"
  default: "\(body)"
  }
}

package import ChatModel
package import Primitives

/// The event with which a user's latest membership began, found by going through the log.
package func joining(of user: UserID, in events: [Event]) -> Sequence {
  var joined = Sequence.zero
  var isMember = false
  for event in events {
    switch event.content {
    case .created(_, _, let members):
      if members.contains(where: { $0.user == user }) {
        (joined, isMember) = (event.sequence, true)
      }
    case .membersChanged(let added, let removed):
      if removed.contains(user) { isMember = false }
      if !isMember, added.contains(where: { $0.user == user }) {
        (joined, isMember) = (event.sequence, true)
      }
    default: break
    }
  }
  return joined
}

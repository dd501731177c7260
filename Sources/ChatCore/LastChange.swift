package import ChatModel
package import Primitives

extension ChatPartition {
  /// The greatest stamp of an applied entry; a leader's next one is not below it.
  package var lastStamp: WallTime { time }

  /// The entry that last changed what subscribers of an entity see.
  ///
  /// **Returns**: `zero` for a conversation that does not exist, `nil` when it is not known.
  /// **Throws**: `StateReadError` when stored state cannot be used.
  package mutating func lastChange(
    of entity: EntityID, state: some StateReader
  ) throws(StateReadError) -> LogIndex? {
    guard case .conversation(let id) = entity else { return nil }
    guard let position = try conversationPosition(id, state) else { return .zero }
    return conversations.slots[position].value.head.lastIndex
  }
}

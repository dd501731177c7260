package import ChatModel
package import NodeProtocol
package import Primitives

/// What applying entries gave. The caller keeps one and empties it between uses.
package struct ApplyOutput: Sendable {
  /// Something for those who subscribed to an entity.
  package struct AddressedDelivery: Equatable, Sendable {
    /// Whose subscribers get it.
    package let entity: EntityID
    package let content: Delivery.Content

    package init(entity: EntityID, content: Delivery.Content) {
      self.entity = entity
      self.content = content
    }
  }

  /// One per command, in the order of the commands.
  package var results: [CommandResult] = []
  /// Whether somebody listens; otherwise no deliveries are collected.
  package var isHeard = true
  /// In the order in which it happened.
  package var deliveries: [AddressedDelivery] = []
  /// Positions are of another generation from here on: who follows them has to look again.
  package internal(set) var hasNewGeneration = false

  /// The partition was cut in two.
  package internal(set) var split: PartitionSplit?

  package init() {}

  /// Empties it and keeps its storage.
  package mutating func removeAll() {
    results.removeAll(keepingCapacity: true)
    deliveries.removeAll(keepingCapacity: true)
    hasNewGeneration = false
    split = nil
  }

  mutating func deliver(_ content: @autoclosure () -> Delivery.Content, to entity: EntityID) {
    guard isHeard else { return }
    deliveries.append(AddressedDelivery(entity: entity, content: content()))
  }
}

/// Why an entry could not be applied. The replica stops: to go on would be to diverge.
package enum ApplyError: Error, Equatable, Sendable {
  /// A command of a later version.
  case unknownCommand(LogIndex)
  /// The bytes are no entry, or one of its commands is none.
  case malformedEntry(LogIndex, ProtobufError)
  case state(StateReadError)
}

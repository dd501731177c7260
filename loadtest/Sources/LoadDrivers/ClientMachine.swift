package import LoadModel
package import NIOCore

/// What a connection told.
package enum SessionEvent: Equatable, Sendable {
  /// The session may begin.
  case ready
  /// - Parameter sequence: the place of the message; 0 where the system tells none.
  case acknowledged(ref: UInt64, sequence: UInt64)
  /// - Parameter mayPass: the same may be tried again.
  case refused(ref: UInt64, code: String, mayPass: Bool)
  /// An event of a conversation; without a stamp it is no message of a run.
  case delivered(place: UInt32, sequence: UInt64, stamp: MessageStamp?)
  /// - Parameter first: the place of the page's first event.
  /// - Parameter isDense: every place from the first on is there once, in order.
  case page(ref: UInt64, first: UInt64, stamps: [MessageStamp?], isDense: Bool)
  case cursor(String)
  /// The other side is about to go.
  case leaving
  /// It does not do what the protocol says: the session is over.
  case failed(String)
}

/// What a session asks for.
package struct PageRequest: Equatable, Sendable {
  package let ref: UInt64
  package let place: UInt32
  /// The events below this place; `nil` asks for the last ones.
  package let before: UInt64?
  package let limit: Int

  package init(ref: UInt64, place: UInt32, before: UInt64?, limit: Int) {
    self.ref = ref
    self.place = place
    self.before = before
    self.limit = limit
  }
}

/// The client's side of one connection, as a value: bytes in, events and bytes out. A new one is
/// made for each connection; who owns it owns socket and clock.
package protocol ClientMachine {
  /// The connection is open.
  ///
  /// - Parameter cursor: where an earlier connection of the session stood.
  mutating func opened(cursor: String?, into output: inout ByteBuffer)

  /// Takes what arrived, up to the last whole frame.
  mutating func received(
    _ input: inout ByteBuffer, events: inout [SessionEvent], into output: inout ByteBuffer)

  /// Adds a message to what `flush` writes.
  ///
  /// - Parameter id: the client's id, the same when it is sent again.
  /// - Parameter text: begins with a stamp.
  mutating func send(ref: UInt64, place: UInt32, id: String, text: [UInt8])

  /// Adds a question for a page of a conversation. Systems without history refuse it.
  mutating func read(_ page: PageRequest)

  mutating func flush(into output: inout ByteBuffer)
}

/// Makes the machine for a session's protocol.
package func makeMachine(
  _ seat: Seat, _ names: PlaceNames, host: String
) -> any ClientMachine {
  switch seat.speaks {
  case .martlet: MartletProtobufMachine(seat, names, host: host)
  case .martletJSON: MartletJSONMachine(seat, names, host: host)
  case .martletHTTP2: MartletHTTP2Machine(seat, names, host: host)
  case .nats: NATSMachine(seat, names)
  case .mqtt: MQTTMachine(seat, names)
  }
}

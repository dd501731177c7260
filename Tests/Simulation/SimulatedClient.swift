import ChatModel
import ClientProtocol
import GatewayCore
import Primitives
import WalkSupport

/// The conversations that a client has heard of, in the order in which it did: too few for a
/// dictionary to be faster.
struct ClientConversations {
  var places: [ClientConversation] = []

  subscript(_ id: ConversationID) -> ClientConversation? {
    places.first { $0.id == id }
  }

  /// Where it is among `places`; a new one comes last.
  @discardableResult
  mutating func place(of id: ConversationID) -> Int {
    if let place = places.firstIndex(where: { $0.id == id }) { return place }
    places.append(ClientConversation(id: id))
    return places.count - 1
  }
}

/// One conversation as a client has seen it.
struct ClientConversation {
  let id: ConversationID
  /// The last sequence number taken; `nil` until the first event after a fresh start.
  var seen: UInt64?
  /// The first one that was ever heard.
  var first: UInt64?
  /// The last one pushed on the present connection; `nil` before the first.
  var onConnection: UInt64?
  var isMember = true
  /// The gateway has said once that something is missing.
  var hadGap = false
  /// An event that came after the one that took the client out.
  var heardOutside: UInt64?
  /// The gateway said that something is missing: the next event may be any.
  var hasGap = false
}

/// A send that is not acknowledged, or another operation that waits.
struct ClientOperationInFlight {
  enum Kind {
    case send(record: Int)
    case history(floor: UInt64, conversation: ConversationID)
    case create(isDirect: Bool)
    case changeMembers
    case list
  }

  let ref: String
  let operation: ClientOperation
  let kind: Kind
  var sentAt: UInt64
  /// Nobody knows whether it was done: the answer was not in time.
  var isUnknown = false
  /// Not before then is it sent again.
  var retryAt: UInt64?
}

/// A person with one device: connects to any gateway, sends with a window, resends what was not
/// acknowledged with the same id, resumes from its cursor, and holds everything that it is told
/// against what it knows.
///
/// It keeps the client's part of the protocol by itself and shares no code with the product's
/// client.
final class SimulatedClient {
  let number: Int
  let user: UserID
  let handle: Handle
  let device: DeviceID
  /// Whether it wants to be told what happens.
  var listens = true
  var isRegistered = false
  var isRegistering = false

  /// Counts connections: what was meant for an earlier one comes to nothing.
  var connection = 0
  var gateway: Int?
  var session: SessionID?
  var isWelcome = false
  var connectAt: UInt64 = 0
  /// When the present session was opened.
  var openedAt: UInt64 = 0
  var lastArrival: UInt64 = 0
  var lastDeparture: UInt64 = 0
  var isCongested = false

  var cursor: Cursor?
  /// The last one that it was told on this connection.
  var toldCursor: Cursor?
  /// When it got its first cursor. Microseconds.
  var firstCursorAt: UInt64 = .max
  /// Conversations in which something was refused as to somebody who is no member.
  var refusedIn: [ConversationID] = []
  var conversations = ClientConversations()
  /// Groups that this client made: it may change their members.
  var own: [ConversationID] = []
  var inFlight: [ClientOperationInFlight] = []
  var nextOperationAt: UInt64 = 0
  var lastRef = 0
  var messageCount = 0
  /// Which stores led when the last connection ended, to notice a resume across a change.
  var leadersAtLoss: UInt64 = 0

  init(number: Int) {
    self.number = number
    user = UserID(UInt128(0x5151_0000 + number) &* 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835 | 1)
    handle = WalkSupport.handle("person\(number)")
    device = WalkSupport.device(number + 1)
  }

  func nextRef() -> String {
    lastRef += 1
    return "\(lastRef)"
  }

  /// A connection is gone: the next one begins where the cursor says.
  func disconnected() {
    gateway = nil
    session = nil
    isWelcome = false
    isCongested = false
    toldCursor = nil
    for place in conversations.places.indices {
      conversations.places[place].onConnection = nil
      if cursor == nil { conversations.places[place].seen = nil }
    }
  }
}

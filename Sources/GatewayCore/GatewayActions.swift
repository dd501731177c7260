package import ChatModel
package import ClientProtocol
package import NodeProtocol
package import Primitives

/// One client connection that gets events, or one HTTP call: a number of its process, never reused.
package struct SessionID: Hashable, Comparable, Sendable {
  package let rawValue: UInt64

  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Names a call of the shell into the core; comes back with its result.
package struct CallID: Hashable, Sendable {
  package let rawValue: UInt64

  package init(_ rawValue: UInt64) { self.rawValue = rawValue }
}

/// What a gateway asks its shell to do, in this order.
package enum GatewayAction: Sendable {
  /// To the shard whose store this is.
  case send(StoreID, LinkFrame)
  /// An answer to one session.
  case answer(SessionID, ServerFrame)
  /// The same thing to many sessions: encoded and framed once.
  case push(ServerBody, to: [SessionID])
  case finish(CallID, CallResult)
  /// The device was logged out: say so and close.
  case endSession(SessionID, ServiceError)
}

/// What the shell asks on behalf of an HTTP call or a login: authenticated already where it must
/// be.
package enum GatewayCall: Sendable {
  case operation(ClientOperation, user: UserID, device: DeviceID)
  case createAccount(handle: Handle, displayName: String, passwordHash: String, user: UserID)
  /// What a login checks a password against.
  case credentials(Handle)
  case profile(UserID)
  case openSession(OpenSession)
  case rotateRefreshToken(RotateRefreshToken)
  case closeSession(CloseSession)
}

package enum CallResult: Equatable, Sendable {
  case body(ServerBody)
  case account(UserProfile)
  case credentials(UserCredentials?)
  case profile(UserProfile?)
  case done
  case failed(ServiceError)
}

/// Bounds and times of one event loop of a gateway.
package struct GatewayConfiguration: Sendable {
  package var node: String
  /// The process.
  package var boot: BootID
  package var partitionCount: UInt32
  /// Requests of all sessions that are not answered yet.
  package var pendingRequestsMax = 200_000
  /// Requests of one session that are not answered yet.
  package var pendingPerSessionMax = 1_024
  /// A request that is not answered by then is given up: its outcome is unknown.
  package var requestTimeout: Milliseconds = 10_000
  /// Lost links after which a request that was under way on each of them is given up.
  package var linkLossesMax = 3
  /// Between two times that every shard is told that this gateway is there.
  package var heartbeatInterval: Milliseconds = 250
  /// Before a request is tried again when nobody can be asked.
  package var retryPause: Milliseconds = 50
  /// Events of one page while a session catches up.
  package var changesPageMax = 500
  /// Partitions of one session that are pulled at a time.
  package var pullsPerSessionMax = 8
  /// Conversations of one page of the list while a session starts.
  package var listPageMax = 1_000
  /// Changes of a list that wait while it is read; with more it is read again.
  package var listChangesMax = 4_096
  /// How long a session whose cursor names a partition that is not known here waits for its record.
  package var recordPatience: Milliseconds = 5_000
  /// How often a session is told its cursor while events flow.
  package var cursorInterval: Milliseconds = 1_000

  package init(node: String, boot: BootID, partitionCount: UInt32) {
    precondition(boot != .none, "a process has a boot id")
    self.node = node
    self.boot = boot
    self.partitionCount = partitionCount
  }
}

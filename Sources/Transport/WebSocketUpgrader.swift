package import NIOCore
import WebSocketEngine

/// A request to open a WebSocket that passed the policy. Exactly one of `accept` and `refuse` is
/// called, once, now or later.
///
/// **Isolation**: the connection's event loop.
package final class WebSocketUpgrader: @unchecked Sendable {
  // Safety: everything mutable is touched on `eventLoop` only, which every method checks.

  package var eventLoop: any EventLoop { responder.eventLoop }
  /// The first of the client's subprotocols that the policy knows.
  package var subprotocol: String? { upgrade.subprotocol }

  private let upgrade: WebSocketUpgrade
  private let responder: HTTPResponder
  private var carrier: (any UpgradeCarrier)?
  private let id: Int32

  init(
    _ upgrade: WebSocketUpgrade, _ responder: HTTPResponder, carrier: any UpgradeCarrier, id: Int32
  ) {
    self.upgrade = upgrade
    self.responder = responder
    self.carrier = carrier
    self.id = id
  }

  /// **Returns**: the open session, or `nil` when the client has gone away; `delegate` hears
  /// nothing then. Its first call may come before this returns to its caller's caller, not
  /// earlier.
  package func accept(_ delegate: any WebSocketSessionDelegate) -> WebSocketSession? {
    eventLoop.preconditionInEventLoop()
    let carrier = carrier
    self.carrier = nil
    return carrier?.accept(upgrade, delegate, for: id)
  }

  /// Answers with an error instead; the connection goes on with HTTP.
  package func refuse(
    _ status: Int, headers: HTTPFields.List = [], body: ByteBuffer = ByteBuffer()
  ) {
    carrier = nil
    responder.respond(status, headers: headers, body: body)
  }
}

/// A connection, or a stream of HTTP/2, that can become a WebSocket.
///
/// **Isolation**: the connection's event loop.
protocol UpgradeCarrier: ResponseCarrier {
  func accept(
    _ upgrade: WebSocketUpgrade, _ delegate: any WebSocketSessionDelegate, for id: Int32
  ) -> WebSocketSession?
}

extension WebSocketUpgradeError {
  /// What goes with `httpStatus`.
  var responseHeaders: HTTPFields.List {
    self == .versionUnsupported ? [("sec-websocket-version", "13")] : []
  }
}

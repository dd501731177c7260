package import NIOCore

/// Header fields in the order in which they came; names in any case, fields may repeat.
package struct HTTPFields: Sendable {
  /// In the order in which they came or go.
  package typealias List = [(name: String, value: String)]

  /// All fields.
  package var list: List

  package init(_ list: List = []) { self.list = list }

  /// The value of the first field of this name.
  package subscript(_ name: String) -> String? {
    list.first { Self.areEqual($0.name, name) }?.value
  }

  /// The values of all fields of this name, in their order.
  package func values(of name: String) -> [String] {
    list.filter { Self.areEqual($0.name, name) }.map(\.value)
  }

  static func areEqual(_ left: String, _ right: String) -> Bool {
    let (left, right) = (left.utf8, right.utf8)
    return left.count == right.count && zip(left, right).allSatisfy { lowered($0) == lowered($1) }
  }

  private static func lowered(_ byte: UInt8) -> UInt8 {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
  }

  /// Whether the fields could go onto the wire without becoming something else there: some of their
  /// values come from clients.
  static func areSendable(_ list: List) -> Bool {
    list.allSatisfy { field in
      !field.name.isEmpty && field.name.utf8.allSatisfy(isNameByte)
        && field.value.utf8.allSatisfy { $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7f) }
    }
  }

  /// **Source**: RFC 9110, section 5.6.2.
  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default:
      "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }
}

/// A request with its whole body, over either version of HTTP.
package struct HTTPRequest: Sendable {
  package var method: String
  /// As it came, percent-encoding included; begins with a slash, or is `*`.
  package var path: String
  /// What followed the first question mark.
  package var query: String?
  /// Over HTTP/2 without pseudo-headers, and with `host` from `:authority`.
  package var headers: HTTPFields
  /// At most `PublicLimits.bodyBytesMax`.
  package var body: ByteBuffer
  /// The client's IP address as text.
  package var remoteAddress: String
  /// Whether it came over TLS.
  package var isSecure: Bool

  package init(
    method: String, target: String, headers: HTTPFields, body: ByteBuffer = ByteBuffer(),
    remoteAddress: String = "", isSecure: Bool = false
  ) {
    self.method = method
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = String(parts.first ?? "")
    query = parts.count == 2 ? String(parts[1]) : nil
    self.headers = headers
    self.body = body
    self.remoteAddress = remoteAddress
    self.isSecure = isSecure
  }
}

/// Where the answer to a request goes: a connection of HTTP/1.1, or a stream of HTTP/2.
///
/// **Isolation**: the connection's event loop.
protocol ResponseCarrier: AnyObject {
  var eventLoop: any EventLoop { get }
  /// The head of a response; with the whole body, or with a body that follows by `sendBody`.
  func sendHead(_ status: Int, _ headers: HTTPFields.List, body: ByteBuffer?, for id: Int32)
  /// **Returns**: false when nothing was taken because too much waits.
  func sendBody(_ bytes: ByteBuffer, for id: Int32) -> Bool
  func endBody(for id: Int32)
  func canSendBody(for id: Int32) -> Bool
}

/// The answer to one request: exactly one of `respond` and `startStream` is called, once. When the
/// client has gone away meanwhile, both do nothing.
///
/// **Isolation**: the connection's event loop; from elsewhere hop to `eventLoop`.
package final class HTTPResponder: @unchecked Sendable {
  // Safety: everything mutable is touched on `eventLoop` only, which every method checks.

  package let eventLoop: any EventLoop
  /// The client went away before the answer was complete.
  package var onClose: (() -> Void)?
  /// Fields that the answer gets besides its own, whoever makes it.
  package var commonHeaders: HTTPFields.List = []
  /// There is room again after `write` returned false.
  fileprivate var onWritable: (() -> Void)?

  private let id: Int32
  private var carrier: (any ResponseCarrier)?
  private var hasAnswered = false

  init(_ carrier: any ResponseCarrier, id: Int32) {
    self.carrier = carrier
    self.id = id
    eventLoop = carrier.eventLoop
  }

  /// Answers with a whole body.
  package func respond(
    _ status: Int, headers: HTTPFields.List = [], body: ByteBuffer = ByteBuffer()
  ) {
    let carrier = begin()
    self.carrier = nil
    onClose = nil
    carrier?.sendHead(status, headers + commonHeaders, body: body, for: id)
  }

  /// Begins a body of unknown length.
  package func startStream(_ status: Int, headers: HTTPFields.List = []) -> HTTPResponseStream {
    begin()?.sendHead(status, headers + commonHeaders, body: nil, for: id)
    return HTTPResponseStream(self)
  }

  private func begin() -> (any ResponseCarrier)? {
    eventLoop.preconditionInEventLoop()
    precondition(!hasAnswered, "second answer to one request")
    hasAnswered = true
    return carrier
  }

  // MARK: The stream

  fileprivate var isOpen: Bool { carrier != nil }

  fileprivate func write(_ bytes: ByteBuffer) -> Bool {
    eventLoop.preconditionInEventLoop()
    return carrier?.sendBody(bytes, for: id) ?? true
  }

  fileprivate var isWritable: Bool { carrier?.canSendBody(for: id) ?? false }

  fileprivate func finish() {
    eventLoop.preconditionInEventLoop()
    let carrier = carrier
    self.carrier = nil
    onClose = nil
    onWritable = nil
    carrier?.endBody(for: id)
  }

  // MARK: From the carrier

  func roomAppeared() { onWritable?() }

  func clientLeft() {
    guard carrier != nil else { return }
    carrier = nil
    let body = onClose
    onClose = nil
    onWritable = nil
    body?()
  }
}

/// A response whose body is sent piece by piece, such as server-sent events. Nothing ends it but
/// `finish` and the client.
///
/// **Isolation**: the connection's event loop.
package struct HTTPResponseStream: Sendable {
  private let responder: HTTPResponder

  fileprivate init(_ responder: HTTPResponder) { self.responder = responder }

  package var eventLoop: any EventLoop { responder.eventLoop }
  /// Whether the client is still there.
  package var isOpen: Bool { responder.isOpen }
  /// Whether less than `PublicLimits.streamQueueBytesMax` wait.
  package var isWritable: Bool { responder.isWritable }

  /// `body` runs each time that there is room again after `write` returned false.
  package func onWritable(_ body: @escaping () -> Void) { responder.onWritable = body }
  /// `body` runs when the client went away before `finish`.
  package func onClose(_ body: @escaping () -> Void) { responder.onClose = body }

  /// **Returns**: false when nothing was taken because too much waits; `onWritable` follows.
  @discardableResult
  package func write(_ bytes: ByteBuffer) -> Bool { responder.write(bytes) }
  /// Ends the body in order.
  package func finish() { responder.finish() }
}

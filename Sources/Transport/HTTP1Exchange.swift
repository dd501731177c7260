import NIOHTTP1
import Primitives

/// A request of HTTP/1.1 whose body has not come whole.
struct HTTP1Request {
  var request: HTTPRequest
  let startedAt: Instant
  let keepsAlive: Bool
  let version: HTTPVersion
}

/// A request of HTTP/1.1 that is being answered.
struct HTTP1Answer {
  let responder: HTTPResponder
  let isHead: Bool
  var keepsAlive: Bool
  let version: HTTPVersion
  /// The head of a streamed response is sent.
  var isStreaming = false
  var isChunked = false
  /// A piece was not taken, so the responder is to be told of room.
  var isStalled = false
}

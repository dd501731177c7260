import NIOCore
import NIOHTTP1
import NIOPosix
import SocketErrors
import TLSEngine

/// A gateway's answer to one HTTP call.
struct HTTPAnswer: Sendable {
  let status: Int
  let body: [UInt8]
}

/// Why there is none.
struct HTTPFailure: Error, Sendable {
  let reason: String
  /// The request may have reached the gateway.
  let mayHaveRun: Bool
}

/// One call of the HTTP API on a connection of its own: accounts and tokens are rare, everything
/// else goes over the WebSocket.
struct HTTPCall: Sendable {
  /// **Units**: bytes of an answer's body.
  static let bodyBytesMax = 1 << 20

  let method: HTTPMethod
  let path: String
  var bearer = ""
  var body: [UInt8] = []

  /// **Returns**: the answer, whatever its status. Fails with `HTTPFailure`.
  func perform(
    at gateway: GatewayAddress, tls: TLSContext?, serverName: String?,
    connectTimeout: TimeAmount, timeout: TimeAmount,
    on eventLoop: any EventLoop
  ) -> EventLoopFuture<HTTPAnswer> {
    let promise = eventLoop.makePromise(of: HTTPAnswer.self)
    let peerName = gateway.peerName(serverName)
    let head = requestHead(gateway)
    let body = self.body
    ClientBootstrap(group: eventLoop)
      .connectTimeout(connectTimeout)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls {
            let connection = try TLSConnection(client: tls, expecting: peerName)
            try pipeline.addHandler(ClientTLSHandler(connection))
          }
          try pipeline.addHTTPClientHandlers()
          try pipeline.addHandler(
            HTTPCallHandler(head: head, body: body, timeout: timeout, promise: promise))
        }
      }
      .connect(host: gateway.host, port: gateway.port)
      .whenFailure {
        promise.fail(HTTPFailure(reason: SocketErrors.text(of: $0), mayHaveRun: false))
      }
    return promise.futureResult
  }

  private func requestHead(_ gateway: GatewayAddress) -> HTTPRequestHead {
    var headers = HTTPHeaders()
    headers.add(name: "Host", value: gateway.authority)
    headers.add(name: "Connection", value: "close")
    headers.add(name: "Accept", value: "application/json")
    if !bearer.isEmpty { headers.add(name: "Authorization", value: "Bearer \(bearer)") }
    if !body.isEmpty || method == .POST {
      headers.add(name: "Content-Type", value: "application/json")
      headers.add(name: "Content-Length", value: String(body.count))
    }
    return HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)
  }
}

/// Sends one request and gathers its answer.
///
/// **Isolation**: the channel's event loop.
private final class HTTPCallHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundOut = HTTPClientRequestPart

  private let head: HTTPRequestHead
  private let body: [UInt8]
  private let timeout: TimeAmount
  private var promise: EventLoopPromise<HTTPAnswer>?
  private var deadline: Scheduled<Void>?
  private var wasSent = false
  private var status = 0
  private var answer: [UInt8] = []

  init(
    head: HTTPRequestHead, body: [UInt8], timeout: TimeAmount,
    promise: EventLoopPromise<HTTPAnswer>
  ) {
    self.head = head
    self.body = body
    self.timeout = timeout
    self.promise = promise
  }

  func handlerAdded(context: ChannelHandlerContext) {
    deadline = context.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
      self.fail("no answer in time", context)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    // Why no connection came about is told right after this, by who wanted it.
    context.eventLoop.assumeIsolated().execute { self.fail("the connection was closed", context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    wasSent = true
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    if !body.isEmpty {
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil)
    }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): status = Int(head.status.code)
    case .body(let part):
      guard answer.count + part.readableBytes <= HTTPCall.bodyBytesMax else {
        return fail("the answer is too long", context)
      }
      answer.append(contentsOf: part.readableBytesView)
    case .end:
      promise?.succeed(HTTPAnswer(status: status, body: answer))
      promise = nil
      finish(context)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    fail("the connection was closed", context)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    fail(SocketErrors.text(of: error), context)
  }

  private func fail(_ reason: String, _ context: ChannelHandlerContext) {
    guard let promise else { return }
    self.promise = nil
    promise.fail(HTTPFailure(reason: reason, mayHaveRun: wasSent))
    finish(context)
  }

  private func finish(_ context: ChannelHandlerContext) {
    deadline?.cancel()
    deadline = nil
    context.close(promise: nil)
  }
}

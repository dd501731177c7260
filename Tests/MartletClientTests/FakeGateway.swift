import ChatModel
import ClientProtocol
import NIOCore
import NIOPosix
import Primitives
import TLSEngine
import WebSocketEngine
import Wire

@testable import MartletClient

/// A gateway in front of a `FakeCluster`: enough HTTP for accounts and tokens, and WebSockets.
struct FakeGateway: Sendable {
  let cluster: FakeCluster
  let channel: any Channel
  let url: String

  static func start(_ cluster: FakeCluster, tls: TLSContext? = nil) async throws -> FakeGateway {
    let channel = try await ServerBootstrap(group: cluster.eventLoop)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls {
            let connection = try TLSConnection(server: tls)
            try channel.pipeline.syncOperations.addHandler(ClientTLSHandler(connection))
          }
          try channel.pipeline.syncOperations.addHandler(FakeSession(cluster))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let scheme = tls == nil ? "http" : "https"
    let url = "\(scheme)://127.0.0.1:\(channel.localAddress?.port ?? 0)"
    return FakeGateway(cluster: cluster, channel: channel, url: url)
  }

  func stop() async throws { try await channel.close() }
}

/// One connection to a fake gateway.
final class FakeSession: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let cluster: FakeCluster
  private var head: [UInt8] = []
  private var connection: WebSocketConnection?
  private var encoding = ClientEncoding.protobuf
  private var device: String?
  private var context: ChannelHandlerContext?
  private var hasDrained = false
  /// The refused send that has to come first, by conversation.
  private var blocked: [WireConversation: ClientMessageID] = [:]

  init(_ cluster: FakeCluster) { self.cluster = cluster }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func channelInactive(context: ChannelHandlerContext) {
    cluster.detach(self)
    self.context = nil
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { drop() }

  func drop() {
    cluster.detach(self)
    device = nil
    context?.close(promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let bytes = Array(unwrapInboundIn(data).readableBytesView)
    if connection == nil {
      head += bytes
      readHead(context)
    } else {
      receive(bytes)
    }
  }

  // MARK: HTTP

  private func readHead(_ context: ChannelHandlerContext) {
    guard let end = head.firstRange(of: Array("\r\n\r\n".utf8)) else { return }
    let lines = String(decoding: head[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
    let request = lines[0].split(separator: " ")
    let headers: WebSocketUpgrade.Headers = lines.dropFirst().map { line in
      let parts = line.split(separator: ":", maxSplits: 1)
      return (String(parts[0]), String(parts[1]))
    }
    let length =
      headers.first { $0.name.lowercased() == "content-length" }
      .flatMap { Int($0.value.filter(\.isNumber)) } ?? 0
    guard head.count >= end.upperBound + length else { return }
    let body = Array(head[end.upperBound...].prefix(length))
    if request[1] == "/v1/ws" {
      upgrade(headers, context)
    } else {
      answer(method: request[0], path: request[1], body: body, context)
    }
  }

  private func upgrade(_ headers: WebSocketUpgrade.Headers, _ context: ChannelHandlerContext) {
    let policy = WebSocketUpgradePolicy(
      subprotocols: ClientEncoding.allCases.map(\.subprotocol), requiresSubprotocol: true,
      origins: .any)
    guard
      let upgrade = try? WebSocketUpgrade.accepting(headers, over: .http1, policy: policy),
      let chosen = upgrade.subprotocol.flatMap({ ClientEncoding(subprotocol: $0) })
    else { return drop() }
    encoding = chosen
    connection = WebSocketConnection(role: .server)
    let fields = upgrade.responseHeaders.map { "\($0.name): \($0.value)\r\n" }.joined()
    let text = "HTTP/1.1 101 Switching Protocols\r\n\(fields)\r\n"
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
  }

  private func answer(
    method: Substring, path: Substring, body: [UInt8], _ context: ChannelHandlerContext
  ) {
    let body = body[...]
    switch (method, path) {
    case ("POST", "/v1/accounts"):
      guard let account = try? HTTPBodies.decodeCreateAccount(body) else { return respond(400, []) }
      if account.handle.text == "taken" {
        let error = ServiceError(.alreadyExists, "the handle is taken")
        return respond(409, HTTPBodies.error(error))
      }
      if cluster.happens(cluster.faults.refuse, "refuse") {
        return respond(503, HTTPBodies.error(.unavailable("try again")))
      }
      let profile = UserProfile(
        user: FakeCluster.user.user, handle: account.handle, displayName: account.displayName)
      respond(201, HTTPBodies.account(profile))
    case ("POST", "/v1/sessions"):
      guard let login = try? HTTPBodies.decodeLogin(body) else { return respond(400, []) }
      guard login.password == "good password" else {
        let error = ServiceError(.unauthenticated, "wrong handle or password")
        return respond(401, HTTPBodies.error(error))
      }
      respond(201, session(cluster.makeToken(), refresh: "refresh-1"))
    case ("POST", "/v1/sessions/refresh"):
      guard case .token(let token)? = try? HTTPBodies.decodeRefresh(body),
        let access = cluster.refresh(token)
      else {
        let error = ServiceError(.unauthenticated, "the session has ended")
        return respond(401, HTTPBodies.error(error))
      }
      respond(200, session(access, refresh: token + "+"))
    case ("DELETE", "/v1/sessions/current"): respond(204, [])
    default: respond(404, [])
    }
  }

  private func session(_ access: String, refresh: String) -> [UInt8] {
    HTTPBodies.session(
      SessionBody(
        accessToken: access, refreshToken: refresh,
        expiresInSeconds: cluster.tokenLifetimeSeconds, user: FakeCluster.user,
        device: DeviceID(1)))
  }

  private func respond(_ status: Int, _ body: [UInt8]) {
    guard let context else { return }
    let head = "HTTP/1.1 \(status) X\r\nContent-Length: \(body.count)\r\n\r\n"
    context.writeAndFlush(
      wrapOutboundOut(ByteBuffer(bytes: Array(head.utf8) + body)), promise: nil)
  }

  // MARK: WebSocket

  private func receive(_ bytes: [UInt8]) {
    var actions: [WebSocketAction] = []
    connection?.bytesReceived(bytes[...], now: .zero, into: &actions)
    for action in actions {
      switch action {
      case .deliverText(let message): perform((try? ClientCodec.decode(text: message)) ?? [])
      case .deliverBinary(let message): perform((try? ClientCodec.decode(binary: message)) ?? [])
      case .send(let opcode, let payload): write(FrameEncoder.encode(opcode, payload))
      case .pongReceived, .ended: break
      case .closeTransport: drop()
      }
    }
  }

  private func perform(_ operations: [Result<ClientFrame, RefusedOperation>]) {
    for operation in operations where context != nil {
      guard case .success(let frame) = operation else { return drop() }
      perform(frame)
    }
  }

  private func perform(_ frame: ClientFrame) {
    switch frame.operation {
    case .hello(let hello): greet(hello, ref: frame.ref)
    case .send(let conversation, let id, let text):
      send(conversation, id, text, ref: frame.ref)
    case .history(let conversation, let range, let limit):
      let page = cluster.history(conversation, range, limit: limit)
      answer(ServerFrame(ref: frame.ref, body: .history(conversation: conversation, page)))
    case .createConversation(let request):
      let id = WireConversation(UInt128(request.title.utf8.count) + 1_000)
      let summary = ConversationSummary(
        conversation: id, kind: request.kind, title: request.title, members: [], memberCount: 0,
        head: .zero, last: nil)
      answer(ServerFrame(ref: frame.ref, body: .conversation(summary, existed: false)))
    case .changeMembers(let conversation, _, _):
      let error = ServiceError(.permissionDenied, "no admin of \(conversation)")
      answer(ServerFrame(ref: frame.ref, body: .error(error)))
    case .listConversations(let after, let limit):
      let all = cluster.conversations.keys.sorted().filter { $0 > after ?? WireConversation(0) }
      let items = all.prefix(min(limit, 2)).map { id in
        ConversationSummary(
          conversation: id, kind: .group, title: "", members: [], memberCount: 0,
          head: Sequence(UInt64(cluster.conversations[id, default: []].count)), last: nil)
      }
      let next = items.count < all.count ? items.last?.conversation : nil
      answer(ServerFrame(ref: frame.ref, body: .conversations(items: items, next: next)))
    case .ping: answer(ServerFrame(ref: frame.ref, body: .pong))
    }
  }

  private func greet(_ hello: Hello, ref: String) {
    cluster.greeted()
    guard cluster.goodTokens.contains(hello.token) else {
      let error = ServiceError(.unauthenticated, "the access token has expired")
      return answer(ServerFrame(ref: ref, body: .error(error)))
    }
    let welcome = ServerBody.welcome(user: FakeCluster.user, device: DeviceID(1))
    answer(ServerFrame(ref: ref, body: welcome))
    device = "device"
    guard hello.events else { return }
    let seen = hello.cursor.map { Int($0.user.index.rawValue) } ?? cluster.log.count
    let first = max(0, seen - (cluster.happens(cluster.faults.repeatEvent, "repeat") ? 3 : 0))
    for event in cluster.log.dropFirst(first) { push(event) }
    guard device != nil else { return }
    answer(ServerFrame(ref: "", body: .cursor(cluster.cursor(at: cluster.log.count))))
    cluster.attach(self)
  }

  private func send(
    _ conversation: WireConversation, _ id: ClientMessageID, _ text: String, ref: String
  ) {
    let faults = cluster.faults
    if cluster.happens(faults.dropBeforeApplying, "drop before") { return drop() }
    let isBlocked = blocked[conversation].map { $0 != id } ?? false
    if isBlocked || cluster.happens(faults.refuseInOrder, "refuse in order") {
      if !isBlocked { blocked[conversation] = id }
      return answer(ServerFrame(ref: ref, body: .error(.overloaded("full"))))
    }
    if cluster.happens(faults.refuse, "refuse") {
      return answer(ServerFrame(ref: ref, body: .error(.overloaded("full"))))
    }
    blocked[conversation] = nil
    let (event, repeated) = cluster.send(
      conversation, id: id, text: text, device: device ?? "")
    if cluster.happens(faults.dropAfterApplying, "drop after") { return drop() }
    let sent = ServerBody.sent(
      conversation: conversation, sequence: event.sequence, time: event.time, repeated: repeated)
    let frame = ServerFrame(ref: ref, body: sent)
    if cluster.happens(faults.dropWhileAnswering, "drop while answering") {
      let bytes = FrameEncoder.encode(opcode, ClientCodec.encode(frame, as: encoding))
      write(Array(bytes.prefix(bytes.count / 2)))
      return drop()
    }
    if cluster.happens(faults.drain, "drain") { drain() }
    guard faults.delayMax > 0, let context else { return answer(frame) }
    let delay = Int64.random(in: 0...faults.delayMax, using: &cluster.random)
    context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(delay)) {
      self.answer(frame)
    }
  }

  func push(_ event: ChatModel.Event) {
    guard device != nil else { return }
    if cluster.happens(cluster.faults.dropWhilePushing, "drop while pushing") { return drop() }
    if cluster.happens(cluster.faults.passOverEvent, "pass over") { return }
    let frame = ServerFrame(ref: "", body: .event(event))
    answer(frame)
    if cluster.happens(cluster.faults.repeatEvent, "repeat") { answer(frame) }
    if event.index.rawValue % 5 == 0 {
      answer(ServerFrame(ref: "", body: .cursor(cluster.cursor(at: Int(event.index.rawValue)))))
    }
  }

  func drain() {
    guard !hasDrained else { return }
    hasDrained = true
    answer(ServerFrame(ref: "", body: .draining))
  }

  private var opcode: WebSocketOpcode { encoding == .json ? .text : .binary }

  private func answer(_ frame: ServerFrame) {
    write(FrameEncoder.encode(opcode, ClientCodec.encode(frame, as: encoding)))
  }

  private func write(_ bytes: [UInt8]) {
    guard let context, context.channel.isActive else { return }
    context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
  }
}

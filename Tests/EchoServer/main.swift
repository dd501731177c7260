import ClusterModel
import Foundation
import NIOCore
import NIOPosix
import Primitives
import Transport
import WebSocketEngine

/// Sends every message back. It stands in for the gateway when a conformance suite tests the
/// WebSocket: `echo-server PORT`, with 0 for one that is free.
final class Echo: WebSocketSessionDelegate {
  func session(_ session: WebSocketSession, received messages: [WebSocketMessage]) {
    for message in messages {
      switch message {
      case .text(let bytes): session.send(WebSocketSession.frame(text: bytes))
      case .binary(let bytes): session.send(WebSocketSession.frame(binary: bytes))
      }
    }
  }

  func session(_ session: WebSocketSession, congestionChanged isCongested: Bool) {}
  func session(_ session: WebSocketSession, ended end: WebSocketEnd) {}
}

var limits = PublicLimits()
// Conformance suites send frames up to 16 MiB, in up to 65,536 fragments, and pings in a burst.
limits.webSocket = WebSocketLimits(
  frameBytesMax: 32 << 20, messageBytesMax: 32 << 20, fragmentsMax: 1 << 20, pingInterval: 0)
limits.sessionQueueBytesMax = 64 << 20

let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
let port = CommandLine.arguments.dropFirst().first.flatMap { UInt16($0) } ?? 9_001
let policy = WebSocketUpgradePolicy(subprotocols: [], origins: .any)
let listener = try await PublicListener.bind(
  NodeAddress(host: "127.0.0.1", port: port), tls: nil, group: group,
  endpoint: WebSocketEndpoint(path: "/", policy: policy), limits: limits,
  handlers: PublicHandlers(
    onRequest: { request, responder in responder.respond(200, body: request.body) },
    onWebSocket: { _, upgrader in _ = upgrader.accept(Echo()) })
).get()
// Not `print`, which keeps it back when the output is a file.
FileHandle.standardOutput.write(Data("listening on \(listener.address)\n".utf8))
while true { try await Task.sleep(for: .seconds(3_600)) }

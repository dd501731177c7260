package import ClusterModel
import NIOCore
import NIOHTTP1
import NIOPosix
import SocketErrors

/// A node whose operator port gives no answer, in one line.
package struct OperatorSilence: Error, CustomStringConvertible, Sendable {
  package let description: String
}

/// Asks a node's operator port.
package enum OperatorClient {
  private static let connectTimeoutSeconds: Int64 = 2
  package static let answerTimeoutSeconds: Int64 = 10
  private static let answerBytesMax = 32 << 20

  /// - Parameter seconds: how long the node may be silent.
  ///
  /// **Returns**: the status and the body.
  package static func get(
    _ target: String, from address: NodeAddress, within seconds: Int64 = answerTimeoutSeconds
  ) async throws(OperatorSilence) -> (Int, String) {
    let group = MultiThreadedEventLoopGroup.singleton
    let answer = group.next().makePromise(of: (Int, String).self)
    do {
      let channel = try await ClientBootstrap(group: answer.futureResult.eventLoop)
        .connectTimeout(.seconds(min(seconds, connectTimeoutSeconds)))
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHTTPClientHandlers()
            try pipeline.addHandler(
              NIOHTTPClientResponseAggregator(maxContentLength: answerBytesMax))
            try pipeline.addHandler(
              IdleStateHandler(readTimeout: .seconds(seconds)))
            try pipeline.addHandler(AnswerHandler(answer))
          }
        }
        .connect(host: address.host, port: Int(address.port)).get()
      var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: target)
      head.headers.add(name: "host", value: "\(address)")
      head.headers.add(name: "connection", value: "close")
      channel.write(HTTPClientRequestPart.head(head), promise: nil)
      channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    } catch {
      answer.fail(error)
    }
    do {
      return try await answer.futureResult.get()
    } catch {
      let reason = (error as? OperatorSilence)?.description ?? SocketErrors.text(of: error)
      throw OperatorSilence(description: "\(address) does not answer: \(reason)")
    }
  }

  /// The lines of `ReplicaReport` that a shard tells; `nil` when it does not answer now.
  package static func replicaReports(
    from address: NodeAddress, within seconds: Int64 = answerTimeoutSeconds
  ) async -> String? {
    let answer = try? await get("/partitions?format=marks", from: address, within: seconds)
    guard let (status, text) = answer, status == 200 else { return nil }
    return text
  }

  private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = NIOHTTPClientResponseFull

    private var answer: EventLoopPromise<(Int, String)>?

    init(_ answer: EventLoopPromise<(Int, String)>) { self.answer = answer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let full = unwrapInboundIn(data)
      let body = full.body.map { String(buffer: $0) } ?? ""
      finish(.success((Int(full.head.status.code), body)))
      context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if event is IdleStateHandler.IdleStateEvent {
        finish(.failure(OperatorSilence(description: "it is silent")))
        context.close(promise: nil)
      } else {
        context.fireUserInboundEventTriggered(event)
      }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      finish(.failure(error))
      context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
      finish(.failure(OperatorSilence(description: "it closed the connection")))
      context.fireChannelInactive()
    }

    private func finish(_ result: Result<(Int, String), any Error>) {
      answer?.completeWith(result)
      answer = nil
    }
  }
}

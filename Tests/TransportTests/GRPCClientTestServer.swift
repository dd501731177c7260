import Foundation
import HTTP2Engine
import NIOCore
import NIOPosix
import Primitives
import TLSEngine

@testable import Transport

/// A gRPC server on loopback whose methods do what real ones do and should not.
final class GRPCClientTestServer: Sendable {
  private let listener: any Channel
  let port: UInt16

  private init(_ listener: any Channel) {
    self.listener = listener
    port = UInt16(listener.localAddress?.port ?? 0)
  }

  static func start(tls: TLSContext? = nil) async throws -> GRPCClientTestServer {
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls {
            let connection = try TLSConnection(server: tls)
            try channel.pipeline.syncOperations.addHandler(
              TLSHandler(connection, handshakeTimeout: nil))
          }
          try channel.pipeline.syncOperations.addHandler(Handler())
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return GRPCClientTestServer(listener)
  }

  func stop() async throws { try await listener.close() }

  /// A server that answers everything with the same bytes.
  static func startSaying(_ bytes: [UInt8]) async throws -> GRPCClientTestServer {
    final class Parrot: ChannelInboundHandler {
      typealias InboundIn = ByteBuffer
      typealias OutboundOut = ByteBuffer
      let bytes: [UInt8]
      init(_ bytes: [UInt8]) { self.bytes = bytes }
      func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !bytes.isEmpty else { return }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
      }
    }
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Parrot(bytes))
        }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    return GRPCClientTestServer(listener)
  }

  // MARK: One connection

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private struct Call {
      let path: String
      let timeout: String
      var deframer = GRPCDeframer(messageBytesMax: 16 << 20)
    }

    private let http2 = HTTP2Connection(role: .server, configuration: .nodeLink)
    private var calls: [StreamID: Call] = [:]

    func channelActive(context: ChannelHandlerContext) { write(context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let bytes = unwrapInboundIn(data)
      try? http2.receive(Array(bytes.readableBytesView), now: .zero)
      for event in http2.takeEvents() { handle(event, context) }
      write(context)
    }

    private func write(_ context: ChannelHandlerContext) {
      let bytes = http2.takeOutput()
      if !bytes.isEmpty {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
      }
    }

    private func handle(_ event: HTTP2Event, _ context: ChannelHandlerContext) {
      switch event {
      case .headers(let id, let fields, _):
        calls[id] = Call(
          path: fields.value(of: ":path") ?? "", timeout: fields.value(of: "grpc-timeout") ?? "")
        began(id, context)
      case .data(let id, let bytes, let endStream):
        calls[id]?.deframer.append(bytes)
        while let message = (try? calls[id]?.deframer.next()) ?? nil {
          received(id, Array(message), context)
        }
        if endStream, calls[id]?.path == "/t/stream" { end(id, GRPCStatus(.ok)) }
      default:
        break
      }
    }

    private func began(_ id: StreamID, _ context: ChannelHandlerContext) {
      switch calls[id]?.path {
      case "/t/stream": try? http2.submitResponse(id, GRPCHeaders.response, endStream: false)
      case "/t/refuse": http2.resetStream(id, .refusedStream)
      case "/t/reset": http2.resetStream(id, .internalError)
      default: break
      }
    }

    private func received(_ id: StreamID, _ message: [UInt8], _ context: ChannelHandlerContext) {
      guard let call = calls[id] else { return }
      switch call.path {
      case "/t/echo": answer(id, [message])
      case "/t/timeout": answer(id, [Array(call.timeout.utf8)])
      case "/t/two": answer(id, [message, message])
      case "/t/none": answer(id, [])
      case "/t/large": answer(id, [[UInt8](repeating: 7, count: 3 << 20)])
      case "/t/fail": trailersOnly(id, GRPCStatus(.failedPrecondition, "not now, später"))
      case "/t/late-fail":
        try? http2.submitResponse(id, GRPCHeaders.response, endStream: false)
        http2.send(id, GRPCFraming.frame(message))
        end(id, GRPCStatus(.aborted, "after all"))
      case "/t/cut":
        try? http2.submitResponse(id, GRPCHeaders.response, endStream: false)
        http2.send(id, Array(GRPCFraming.frame(message).dropLast()))
        end(id, GRPCStatus(.ok))
      case "/t/no-status":
        try? http2.submitResponse(id, GRPCHeaders.response, endStream: false)
        http2.send(id, GRPCFraming.frame(message), endStream: true)
      case "/t/compressed":
        try? http2.submitResponse(id, GRPCHeaders.response, endStream: false)
        http2.send(id, [1, 0, 0, 0, 1, 0])
      case "/t/503":
        try? http2.submitResponse(id, [HTTP2HeaderField(":status", "503")], endStream: true)
      case "/t/drain":
        http2.shutdown()
        http2.shutdown()
        answerLater(id, message, context)
      case "/t/slow": answerLater(id, message, context)
      case "/t/die": context.close(promise: nil)
      case "/t/stream":
        if message == Array("end".utf8) {
          end(id, GRPCStatus(.outOfRange, "enough"))
        } else {
          http2.send(id, GRPCFraming.frame(message))
        }
      default: break
      }
    }

    private func answerLater(_ id: StreamID, _ message: [UInt8], _ context: ChannelHandlerContext) {
      context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(30)) {
        self.answer(id, [message])
        self.write(context)
      }
    }

    private func answer(_ id: StreamID, _ messages: [[UInt8]]) {
      try? http2.submitResponse(id, GRPCHeaders.response, endStream: false)
      for message in messages { http2.send(id, GRPCFraming.frame(message)) }
      end(id, GRPCStatus(.ok))
    }

    private func end(_ id: StreamID, _ status: GRPCStatus) {
      try? http2.submitTrailers(id, status.trailers)
      calls[id] = nil
    }

    private func trailersOnly(_ id: StreamID, _ status: GRPCStatus) {
      try? http2.submitResponse(id, GRPCHeaders.trailersOnly(status), endStream: true)
      calls[id] = nil
    }
  }
}

/// One self-signed certificate for loopback, which is its own trust root.
struct GRPCClientTestCertificate: Sendable {
  let directory: String
  var chain: String { "\(directory)/cert.pem" }
  var key: String { "\(directory)/key.pem" }

  init() throws {
    let parent = FileManager.default.temporaryDirectory
    directory = parent.appendingPathComponent("martlet-grpc-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let command = Process()
    command.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
    command.arguments = [
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
      "2",
      "-keyout", key, "-out", chain, "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
    ]
    command.standardError = FileHandle.nullDevice
    try command.run()
    command.waitUntilExit()
  }

  func remove() { try? FileManager.default.removeItem(atPath: directory) }
}

import NIOCore
import NIOEmbedded
import Primitives
import TLSEngine
import Testing

@testable import Transport

/// Two handlers whose channels are joined by hand.
private struct TLSPair {
  let client: EmbeddedChannel
  let server: EmbeddedChannel
  let clientSeen = Seen()
  let serverSeen = Seen()

  final class Seen: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    var bytes: [UInt8] = []
    var isActive = false
    var isInactive = false
    var peer: TLSPeer?
    var errors: [any Error] = []

    func channelActive(context: ChannelHandlerContext) { isActive = true }
    func channelInactive(context: ChannelHandlerContext) { isInactive = true }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      bytes += Array(unwrapInboundIn(data).readableBytesView)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if let established = event as? TLSEstablished { peer = established.peer }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { errors.append(error) }
  }

  init() throws {
    let files = NodeCertificates.shared
    let clientTLS = try TLSConnection(client: files.nodeClient("node2"), expecting: .anyTrusted)
    let serverTLS = try TLSConnection(server: files.nodeServer("node1"))
    client = EmbeddedChannel()
    server = EmbeddedChannel()
    let timeout: Milliseconds = 5_000
    try client.pipeline.syncOperations.addHandlers([
      TLSHandler(clientTLS, handshakeTimeout: timeout), clientSeen,
    ])
    try server.pipeline.syncOperations.addHandlers([
      TLSHandler(serverTLS, handshakeTimeout: timeout), serverSeen,
    ])
    for channel in [client, server] {
      try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }
  }

  /// Carries what either side wrote to the other, until neither writes.
  func join() throws {
    var isMore = true
    while isMore {
      isMore = false
      for (from, to) in [(client, server), (server, client)] {
        while let bytes = try from.readOutbound(as: ByteBuffer.self) {
          isMore = true
          try to.writeInbound(bytes)
        }
      }
    }
  }

  static func joined() throws -> TLSPair {
    let pair = try TLSPair()
    try pair.join()
    return pair
  }
}

@Suite struct TLSHandlerTests {
  @Test func theChannelIsActiveToTheHandlersAboveAfterTheHandshake() throws {
    let pair = try TLSPair()
    #expect(!pair.clientSeen.isActive)
    try pair.join()
    #expect(pair.clientSeen.isActive)
    #expect(pair.serverSeen.isActive)
    #expect(pair.serverSeen.peer?.dnsNames == ["node2"])
    #expect(pair.clientSeen.peer?.alpn == "h2")
  }

  @Test func manySmallWritesBecomeOneRecord() throws {
    let pair = try TLSPair.joined()
    var expected: [UInt8] = []
    for number in 0..<200 as Range<UInt8> {
      let piece = [UInt8](repeating: number, count: 50)
      expected += piece
      pair.client.write(ByteBuffer(bytes: piece), promise: nil)
    }
    #expect(try pair.client.readOutbound(as: ByteBuffer.self) == nil)
    pair.client.flush()
    let record = try #require(try pair.client.readOutbound(as: ByteBuffer.self))
    #expect(record.readableBytes <= expected.count + TLSLimits.recordOverheadBytesMax)
    #expect(try pair.client.readOutbound(as: ByteBuffer.self) == nil)
    try pair.server.writeInbound(record)
    #expect(pair.serverSeen.bytes == expected)
  }

  @Test(arguments: [
    [1, 16_384, 1], [16_383, 2, 40_000], [100_000], [0, 5, 0], [16_384, 16_384],
  ])
  func writesOfAllSizesArriveInOrderInFullRecords(sizes: [Int]) throws {
    let pair = try TLSPair.joined()
    var expected: [UInt8] = []
    for (number, size) in sizes.enumerated() {
      let piece = [UInt8](repeating: UInt8(number + 1), count: size)
      expected += piece
      pair.client.write(ByteBuffer(bytes: piece), promise: nil)
    }
    pair.client.flush()
    let ciphertext = try #require(try pair.client.readOutbound(as: ByteBuffer.self))
    let bound = TLSConnection.ciphertextBytesMax(plaintextBytes: expected.count)
    #expect(ciphertext.readableBytes <= bound)
    try pair.server.writeInbound(ciphertext)
    #expect(pair.serverSeen.bytes == expected)
  }

  @Test func everyPromiseOfAFlushIsKept() throws {
    let pair = try TLSPair.joined()
    let promises = (0..<3).map { _ in pair.client.eventLoop.makePromise(of: Void.self) }
    for promise in promises { pair.client.write(ByteBuffer(string: "x"), promise: promise) }
    pair.client.flush()
    for promise in promises { try promise.futureResult.wait() }
  }

  @Test func ciphertextMayBeCutAnywhere() throws {
    let pair = try TLSPair.joined()
    pair.client.writeAndFlush(ByteBuffer(string: "hello"), promise: nil)
    let ciphertext = try #require(try pair.client.readOutbound(as: ByteBuffer.self))
    for byte in ciphertext.readableBytesView {
      #expect(pair.serverSeen.bytes.isEmpty)
      try pair.server.writeInbound(ByteBuffer(bytes: [byte]))
    }
    #expect(pair.serverSeen.bytes == Array("hello".utf8))
  }

  @Test func aHandshakeThatDoesNotEndInTimeIsGivenUp() throws {
    let pair = try TLSPair()
    pair.server.embeddedEventLoop.advanceTime(by: .milliseconds(4_999))
    #expect(pair.serverSeen.errors.isEmpty)
    pair.server.embeddedEventLoop.advanceTime(by: .milliseconds(1))
    #expect(pair.serverSeen.errors.first as? TLSHandlerError == .handshakeTimeout)
    #expect(!pair.server.isActive)
  }

  @Test func writingBeforeTheHandshakeFails() throws {
    let pair = try TLSPair()
    let promise = pair.client.eventLoop.makePromise(of: Void.self)
    pair.client.writeAndFlush(ByteBuffer(string: "early"), promise: promise)
    #expect(throws: ChannelError.self) { try promise.futureResult.wait() }
  }

  @Test func anOrderlyEndIsNoErrorAndCarriesWhatWasWritten() throws {
    let pair = try TLSPair.joined()
    pair.client.write(ByteBuffer(string: "last"), promise: nil)
    pair.client.close(promise: nil)
    try pair.join()
    #expect(pair.serverSeen.bytes == Array("last".utf8))
    #expect(pair.serverSeen.errors.isEmpty)
    #expect(pair.serverSeen.isInactive)
  }

  @Test func anEndWithoutNoticeIsAnError() throws {
    let pair = try TLSPair.joined()
    pair.server.pipeline.fireChannelInactive()
    #expect(pair.serverSeen.errors.first as? TLSHandlerError == .truncated)
  }

  @Test func garbageIsAnErrorAndEndsTheChannel() throws {
    let pair = try TLSPair.joined()
    try pair.server.writeInbound(ByteBuffer(repeating: 0x41, count: 100))
    #expect(pair.serverSeen.errors.first is TLSError)
    #expect(!pair.server.isActive)
  }
}

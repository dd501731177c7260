import ChatModel
import ClusterModel
import NIOCore
import NIOPosix
import NodeProtocol
import Primitives
import RawSockets
import TLSEngine
import Testing

@testable import Transport

/// The loops that the tests of this target run on.
let testLoops = MultiThreadedEventLoopGroup(numberOfThreads: 2)

/// What one end of a link saw, and a way to wait for it.
final class LinkEnd: @unchecked Sendable {
  // Safety: touched on `eventLoop` only.

  let eventLoop: any EventLoop
  private(set) var link: LinkConnection?
  private(set) var frames: [LinkFrame] = []
  private(set) var closed: LinkCloseReason?
  private(set) var congestion: [Bool] = []
  private var waiters = Waiters<LinkEnd>()

  init(on eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  func take(_ link: LinkConnection) {
    self.link = link
    link.onFrames = { frames in
      self.frames += frames
      self.check()
    }
    link.onClose = { reason in
      self.closed = reason
      self.check()
    }
    link.onCongestionChanged = { isCongested in
      self.congestion.append(isCongested)
      self.check()
    }
    check()
  }

  func refused(_ reason: LinkCloseReason) {
    closed = reason
    check()
  }

  private func check() { waiters.check(self) }

  func wait(until condition: @escaping @Sendable (LinkEnd) -> Bool) async throws {
    try await eventLoop.flatSubmit {
      self.waiters.wait(
        of: self, on: self.eventLoop,
        seen: { "\($0.frames.count) frames, closed: \($0.closed as Any), \($0.congestion)" },
        until: condition)
    }.get()
  }

  @discardableResult
  func on<Value: Sendable>(_ body: @escaping @Sendable (LinkEnd) throws -> Value) async throws
    -> Value
  {
    try await eventLoop.submit { try body(self) }.get()
  }

  func send(_ frames: [LinkFrame]) async throws {
    try await on { end in for frame in frames { end.link?.send(frame) } }
  }
}

/// A listener, and a dialer's attempt at it.
struct LinkEnds {
  let listener: LinkListener
  let accepted: LinkEnd
  let dialed: LinkEnd
  let failure: LinkDialFailure?

  static func hello(_ node: String, cluster: UInt128 = 7) -> LinkHello {
    LinkHello(
      clusterID: cluster, node: node, role: .shard, store: StoreID(1), boot: BootID(2),
      requestCredits: 10)
  }

  static let localhost = NodeAddress(host: "127.0.0.1", port: 0)

  init(
    serverTLS: TLSContext? = nil, clientTLS: TLSContext? = nil,
    server: LinkHello = hello("node1"), client: LinkHello = hello("node2"),
    configuration: LinkConfiguration = .init()
  ) async throws {
    let accepted = LinkEnd(on: testLoops.next())
    let dialed = LinkEnd(on: testLoops.next())
    self.accepted = accepted
    self.dialed = dialed
    listener = try await LinkListener.bind(
      Self.localhost, tls: serverTLS, hello: server, configuration: configuration,
      on: accepted.eventLoop, onOpen: { accepted.take($0) },
      onRefused: { _, reason in accepted.refused(reason) }
    ).get()
    failure = await Self.dial(
      dialed, listener.address, clientTLS, client, configuration: configuration)
  }

  static func dial(
    _ end: LinkEnd, _ address: NodeAddress, _ tls: TLSContext?, _ hello: LinkHello,
    configuration: LinkConfiguration = .init()
  ) async -> LinkDialFailure? {
    await withCheckedContinuation { continuation in
      LinkDialer.connect(
        to: address, tls: tls, hello: hello, configuration: configuration, on: end.eventLoop
      ) { result in
        switch result {
        case .success(let link):
          end.take(link)
          continuation.resume(returning: nil)
        case .failure(let failure):
          continuation.resume(returning: failure)
        }
      }
    }
  }

  /// Both ends, when both are open.
  static func open(
    isSecure: Bool = false, configuration: LinkConfiguration = .init()
  ) async throws -> LinkEnds {
    let files = NodeCertificates.shared
    let ends = try await LinkEnds(
      serverTLS: isSecure ? files.nodeServer("node1") : nil,
      clientTLS: isSecure ? files.nodeClient("node2") : nil, configuration: configuration)
    try #require(ends.failure == nil)
    try await ends.accepted.wait { $0.link != nil }
    return ends
  }

  func close() async throws {
    try await dialed.on { $0.link?.close() }
    try await accepted.on { $0.link?.close() }
    try await listener.close().get()
  }

  static func heartbeat(_ number: UInt64) -> LinkFrame {
    .heartbeat(Heartbeat(boot: BootID(2), wallTime: WallTime(milliseconds: number)))
  }

  static func request(_ number: UInt64, bytes: Int = 100) -> LinkFrame {
    .request(
      Request(
        id: number, partition: PartitionID(1),
        operation: .command([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: bytes))))
  }

  /// An event of about so many bytes.
  static func event(_ number: UInt64, bytes: Int) -> LinkFrame {
    let event = Event(
      conversation: ConversationID(9), sequence: Sequence(number),
      time: WallTime(milliseconds: number), author: UserID(3), index: LogIndex(number),
      content: .message(text: String(repeating: "x", count: bytes)))
    return .delivery(
      Delivery(partition: PartitionID(1), index: LogIndex(number), content: .event(event)))
  }

  /// A small frame of the delivery class.
  static func delivery(_ number: UInt64) -> LinkFrame {
    .subscribed(
      Subscribed(
        partition: PartitionID(UInt32(truncatingIfNeeded: number)), entity: .conversation(.init(9)),
        from: LogIndex(number), generation: 1))
  }
}

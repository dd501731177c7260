import ClusterModel
import HTTP2Engine
import NIOCore
import NIOPosix
import NodeProtocol
import Primitives
import TLSEngine
import Testing

@testable import Transport

@Suite struct LinkConnectionTests {
  @Test(arguments: [false, true])
  func framesOfEveryClassArriveInOrderInBothDirections(isSecure: Bool) async throws {
    let ends = try await LinkEnds.open(isSecure: isSecure)
    let frames = (1...300).flatMap { number -> [LinkFrame] in
      [LinkEnds.heartbeat(number), LinkEnds.request(number), LinkEnds.delivery(number)]
    }
    try await ends.dialed.send(frames)
    try await ends.accepted.send(frames)
    for end in [ends.dialed, ends.accepted] {
      try await end.wait { $0.frames.count == frames.count }
      let received = try await end.on { $0.frames }
      for priority in LinkFrame.Priority.allCases {
        let expected = frames.filter { $0.priority == priority }
        #expect(received.filter { $0.priority == priority } == expected)
      }
    }
    let peer = try await ends.dialed.on { $0.link?.peer }
    #expect(peer == LinkEnds.hello("node1"))
    let certificate = try await ends.accepted.on { $0.link?.peerCertificate?.dnsNames }
    #expect(certificate == (isSecure ? ["node2"] : nil))
    try await ends.close()
  }

  @Test func aTurnsFramesLeaveWithOneFlush() async throws {
    let ends = try await LinkEnds.open()
    let before = try await ends.dialed.on { $0.link?.counters.flushes ?? 0 }
    try await ends.dialed.send((1...100).map { LinkEnds.request($0) })
    try await ends.accepted.wait { $0.frames.count == 100 }
    let counters = try #require(try await ends.dialed.on { $0.link?.counters })
    #expect(counters.flushes - before == 1)
    #expect(counters.batchesSent == 2)
    #expect(counters.framesSent == 101)
    let received = try #require(try await ends.accepted.on { $0.link?.counters })
    #expect(received.framesReceived == 101)
    #expect(received.bytesReceived == counters.bytesSent)
    try await ends.close()
  }

  @Test(arguments: [false, true])
  func controlFramesOvertakeDeliveriesThatWait(isSecure: Bool) async throws {
    let ends = try await LinkEnds.open(isSecure: isSecure)
    let count = 12_000
    try await ends.dialed.on { end in
      for number in 1...UInt64(count) { end.link?.send(LinkEnds.event(number, bytes: 2_000)) }
      // After the flush of this turn, when as much as possible has been handed over.
      end.eventLoop.execute { end.link?.send(LinkEnds.heartbeat(1)) }
    }
    try await ends.accepted.wait { $0.frames.count == count + 1 }
    let place = try #require(
      try await ends.accepted.on { end in
        end.frames.firstIndex { if case .heartbeat = $0 { true } else { false } }
      })
    #expect(place > 0)
    #expect(place < count / 2)
    try await ends.close()
  }

  @Test func aHundredThousandFramesArriveUnchanged() async throws {
    let ends = try await LinkEnds.open()
    for start in stride(from: 0, to: 100_000, by: 1_000) {
      try await ends.dialed.on { end in
        for number in start..<start + 1_000 { end.link?.send(LinkEnds.request(UInt64(number))) }
      }
    }
    try await ends.accepted.wait { $0.frames.count == 100_000 }
    let isUnchanged = try await ends.accepted.on { end in
      end.frames.enumerated().allSatisfy { offset, frame in
        if case .request(let request) = frame { request.id == offset } else { false }
      }
    }
    #expect(isUnchanged)
    try await ends.close()
  }

  @Test func congestionIsToldOnceAboveTheHighMarkAndOnceBelowTheLowOne() async throws {
    var configuration = LinkConfiguration()
    configuration.deliveryHighBytes = 1 << 20
    configuration.deliveryLowBytes = 256 << 10
    let ends = try await LinkEnds.open(configuration: configuration)
    try await ends.dialed.on { end in
      for number in 1...2_000 as ClosedRange<UInt64> {
        end.link?.send(LinkEnds.event(number, bytes: 2_000))
      }
      #expect(end.congestion == [true])
      #expect(end.link?.isCongested == true)
    }
    try await ends.dialed.wait { $0.congestion == [true, false] }
    try await ends.accepted.wait { $0.frames.count == 2_000 }
    try await ends.close()
  }

  @Test func aPeerThatDoesNotReadIsGivenUpAtTheBound() async throws {
    var configuration = LinkConfiguration()
    configuration.queuedBytesMax = 1 << 20
    let ends = try await LinkEnds.open(configuration: configuration)
    try await ends.dialed.on { end in
      for number in 0..<2_000 as Range<UInt64> {
        end.link?.send(LinkEnds.request(number, bytes: 1_000))
      }
    }
    try await ends.dialed.wait { $0.closed == .overflow }
    try await ends.close()
  }

  // MARK: Ends

  @Test(arguments: [false, true])
  func drainingSendsWhatWaitsOnBothSides(isSecure: Bool) async throws {
    let ends = try await LinkEnds.open(isSecure: isSecure)
    for (drainer, other) in [(ends.accepted, ends.dialed)] {
      try await other.send((1...2_000).map { LinkEnds.request($0) })
      try await drainer.on { end in
        for number in 1...2_000 as ClosedRange<UInt64> { end.link?.send(LinkEnds.request(number)) }
        end.link?.drain()
      }
      try await drainer.wait { $0.closed != nil }
      try await other.wait { $0.closed != nil }
      for end in [drainer, other] {
        let seen = try await end.on { ($0.frames.count, $0.closed) }
        #expect(seen.0 == 2_000)
        #expect(seen.1 == .drained)
      }
    }
    try await ends.listener.close().get()
  }

  @Test func theDialerMayDrainToo() async throws {
    let ends = try await LinkEnds.open()
    try await ends.dialed.on { $0.link?.drain() }
    try await ends.accepted.wait { $0.closed == .drained }
    try await ends.dialed.wait { $0.closed == .drained }
    try await ends.listener.close().get()
  }

  @Test(arguments: [false, true])
  func theEndOfThePeersProcessIsToldOnce(isSecure: Bool) async throws {
    let ends = try await LinkEnds.open(isSecure: isSecure)
    try await ends.accepted.on { $0.link?.close() }
    try await ends.dialed.wait { $0.closed != nil }
    let reason = try await ends.dialed.on { $0.closed }
    guard case .lost = reason else {
      Issue.record("\(String(describing: reason))")
      return
    }
    #expect(try await ends.accepted.on { $0.closed } == .closedHere)
    try await ends.listener.close().get()
  }

  @Test func aPortWithoutAListenerRefusesAndOthersFail() async throws {
    let ends = try await LinkEnds.open()
    try await ends.close()
    let again = LinkEnd(on: testLoops.next())
    let refused = await LinkEnds.dial(again, ends.listener.address, nil, LinkEnds.hello("node2"))
    #expect(refused == .refused)
    let byName = NodeAddress(host: "localhost", port: ends.listener.address.port)
    let refusedByName = await LinkEnds.dial(again, byName, nil, LinkEnds.hello("node2"))
    #expect(refusedByName == .refused)
    // A socket that accepts and says nothing.
    let silent = try await ServerBootstrap(group: testLoops).bind(host: "127.0.0.1", port: 0).get()
    var configuration = LinkConfiguration()
    configuration.helloTimeout = 50
    let port = UInt16(silent.localAddress?.port ?? 0)
    let timedOut = await LinkEnds.dial(
      again, NodeAddress(host: "127.0.0.1", port: port), nil, LinkEnds.hello("node2"),
      configuration: configuration)
    #expect(timedOut == .rejected(.helloMissing))
    try await silent.close()
  }

  // MARK: Whom a link is not made with

  @Test func anotherClusterIsRefusedAndToldWhy() async throws {
    let ends = try await LinkEnds(client: LinkEnds.hello("node2", cluster: 8))
    // Each side finds it out by itself; the first word reaches the other or not.
    let possible: [LinkDialFailure] = [
      .rejected(.clusterDiffers), .rejected(.byPeer(LinkRefusal.clusterDiffers.description)),
    ]
    #expect(ends.failure.map(possible.contains) == true)
    try await ends.accepted.wait { $0.closed != nil }
    #expect(try await ends.accepted.on { $0.link == nil })
    try await ends.listener.close().get()
  }

  @Test func anotherVersionOfTheProtocolIsRefused() async throws {
    var hello = LinkEnds.hello("node2")
    hello.versions = 98...99
    let ends = try await LinkEnds(client: hello)
    #expect(ends.failure != nil)
    try await ends.accepted.wait { $0.closed != nil }
    try await ends.listener.close().get()
  }

  @Test func aNameThatTheCertificateDoesNotCarryIsRefused() async throws {
    let files = NodeCertificates.shared
    let ends = try await LinkEnds(
      serverTLS: files.nodeServer("node1"), clientTLS: files.nodeClient("node2"),
      client: LinkEnds.hello("node3"))
    let refusal = LinkRefusal.nameNotInCertificate("node3")
    try await ends.accepted.wait { $0.closed != nil }
    #expect(try await ends.accepted.on { $0.closed } == .refused(refusal))
    try await ends.listener.close().get()
  }

  @Test func aServerWithAnotherNameIsRefusedByTheDialer() async throws {
    let files = NodeCertificates.shared
    let ends = try await LinkEnds(
      serverTLS: files.nodeServer("node1"), clientTLS: files.nodeClient("node2"),
      server: LinkEnds.hello("node9"))
    #expect(ends.failure == .rejected(.nameNotInCertificate("node9")))
    try await ends.listener.close().get()
  }

  @Test(arguments: [nil, "stranger"])
  func noCertificateAndAStrangersAreRefused(name: String?) async throws {
    let files = NodeCertificates.shared
    let ends = try await LinkEnds(
      serverTLS: files.nodeServer("node1"), clientTLS: files.nodeClient(name),
      client: LinkEnds.hello("node1"))
    guard case .failed = ends.failure else {
      Issue.record("\(String(describing: ends.failure))")
      return
    }
    try await ends.accepted.wait { $0.closed != nil }
    #expect(try await ends.accepted.on { $0.link == nil })
    try await ends.listener.close().get()
  }

  @Test func whatIsNoLinkIsRefused() async throws {
    let ends = try await LinkEnds.open()
    let client = try await GRPCClientConnection.connect(
      to: GRPCClientTarget(address: ends.listener.address), on: testLoops.next()
    ).get()
    await #expect(throws: GRPCCallFailure.self) {
      _ = try await client.unary("/martlet.v1.Node/Other", [], timeout: 1_000)
    }
    await #expect(throws: GRPCCallFailure.self) {
      _ = try await client.unary(LinkConfiguration.path, [0xff, 0xff], timeout: 1_000)
    }
    try await ends.accepted.wait { $0.closed != nil }
    try await ends.close()
  }
}

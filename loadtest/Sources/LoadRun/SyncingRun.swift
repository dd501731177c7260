import Foundation
import LoadDrivers
import LoadModel
import NIOCore
import NIOPosix

/// W10's second half: a user with many conversations comes back, and some of them have something
/// new. What is measured is the time from the connection to when everything new was heard.
struct SyncingRun: Sendable {
  private static let syncTimeout = Duration.seconds(30)

  let context: RunContext
  let syncing: Syncing

  func measure() async throws -> RunResult {
    // The reader and the writer are in all conversations.
    var traffic = Traffic()
    traffic.sessions = 2
    traffic.conversations = syncing.conversations
    traffic.members = 2
    traffic.senders = 1
    traffic.listening = .receivers
    let runID = UInt32.random(in: 1...UInt32.max)
    let prepared = try await context.target.prepare(traffic, runID: runID, tell: context.tell)
    guard let writer = prepared.seats.first(where: { $0.sends }),
      let reader = prepared.seats.first(where: { $0.listens })
    else { throw LoadError("the system has no sessions that listen") }
    var result = context.emptyResult
    var cursor: String?
    var latencies = Latencies()
    var bytes = 0
    var random = SplitMix64(seed: context.run.seed)
    let writing = try await ProbeConnection.open(writer, prepared.names, cursor: nil)
    try await writing.ready()
    let began = ContinuousClock.now
    for round in 0...syncing.times where !context.isInterrupted() {
      let places = round == 0 ? [] : changed(&random)
      for (number, place) in places.enumerated() {
        try await writing.send(
          ref: UInt64(round * syncing.conversations + number + 1), place: UInt32(place),
          run: runID, number: UInt64(round), length: context.run.payloadBytes)
      }
      try await writing.acknowledged(places.count)
      let since = ContinuousClock.now
      let reading = try await ProbeConnection.open(reader, prepared.names, cursor: cursor)
      try await reading.heard(places, within: Self.syncTimeout)
      if round > 0 {
        latencies.record(nanoseconds: Int64((ContinuousClock.now - since) / .nanoseconds(1)))
        bytes += reading.receivedBytes
      }
      cursor = try await reading.nextCursor(within: Self.syncTimeout)
      try await reading.close()
      context.tell("\(round) of \(syncing.times) returns")
    }
    try await writing.close()
    result.seconds = (ContinuousClock.now - began) / .seconds(1)
    result.returns = latencies.summary
    result.curve = latencies.curve
    result.counts.delivered = Int(latencies.count) * syncing.changed
    result.receivedBytesPerReturn =
      latencies.count > 0 ? Double(bytes) / Double(latencies.count) : nil
    return result
  }

  private func changed(_ random: inout SplitMix64) -> [Int] {
    Array((0..<syncing.conversations).shuffled(using: &random).prefix(syncing.changed))
  }
}

/// One connection that is looked at step by step.
final class ProbeConnection: @unchecked Sendable {
  // Safety: what changes is behind the lock.
  private let lock = NSLock()
  private var events: [SessionEvent] = []
  private var machine: any ClientMachine
  private var byteCount = 0
  private var channel: (any Channel)?
  private let session: Int

  private static let pollInterval = Duration.microseconds(200)
  private static let answerTimeout = Duration.seconds(15)

  private init(_ seat: Seat, _ names: PlaceNames) {
    session = seat.session
    machine = makeMachine(seat, names, host: seat.endpoints.first?.description ?? "")
  }

  static func open(
    _ seat: Seat, _ names: PlaceNames, cursor: String?
  ) async throws -> ProbeConnection {
    guard let endpoint = seat.endpoints.first else { throw LoadError("no gateway is named") }
    let probe = ProbeConnection(seat, names)
    do {
      probe.channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(Handler(probe, cursor))
          }
        }
        .connect(host: endpoint.host, port: endpoint.port).get()
    } catch { throw LoadError("\(endpoint) cannot be reached: \(error)") }
    return probe
  }

  var receivedBytes: Int { lock.withLock { byteCount } }

  func close() async throws { try await channel?.close() }

  func ready() async throws {
    try await wait(within: Self.answerTimeout) { $0.contains(.ready) }
  }

  func send(
    ref: UInt64, place: UInt32, run: UInt32, number: UInt64, length: Int
  ) async throws {
    var text: [UInt8] = []
    MessageStamp(run: run, sender: UInt32(session), place: place, number: number, due: 0)
      .append(to: &text, length: length)
    var output = ByteBuffer()
    lock.withLock {
      machine.send(ref: ref, place: place, id: "\(run)-\(place)-\(number)", text: text)
      machine.flush(into: &output)
    }
    try await channel?.writeAndFlush(output)
  }

  /// So many more messages are acknowledged.
  func acknowledged(_ count: Int) async throws {
    try await wait(within: Self.answerTimeout) { events in
      events.count { if case .acknowledged = $0 { true } else { false } } >= count
    }
    lock.withLock { events.removeAll() }
  }

  /// A message in each of these conversations.
  func heard(_ places: [Int], within timeout: Duration) async throws {
    let wanted = Set(places.map { UInt32($0) })
    try await wait(within: timeout) { events in
      var missing = wanted
      for case .delivered(let place, _, .some) in events { missing.remove(place) }
      return missing.isEmpty && (!wanted.isEmpty || events.contains(.ready))
    }
  }

  /// The first cursor after what was heard so far.
  func nextCursor(within timeout: Duration) async throws -> String {
    lock.withLock { events.removeAll { if case .cursor = $0 { false } else { true } } }
    try await wait(within: timeout) { events in
      events.contains { if case .cursor = $0 { true } else { false } }
    }
    return lock.withLock {
      for case .cursor(let text) in events.reversed() { return text }
      return ""
    }
  }

  private func wait(
    within timeout: Duration, until isReached: ([SessionEvent]) -> Bool
  ) async throws {
    let end = ContinuousClock.now + timeout
    while ContinuousClock.now < end {
      let (isDone, failure) = lock.withLock { () -> (Bool, String?) in
        for case .failed(let why) in events { return (false, why) }
        return (isReached(events), nil)
      }
      if let failure { throw LoadError(failure) }
      if isDone { return }
      try await Task.sleep(for: Self.pollInterval)
    }
    throw LoadError("what was awaited did not come within \(timeout)")
  }

  private final class Handler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let probe: ProbeConnection
    private let cursor: String?
    private var input = ByteBuffer()

    init(_ probe: ProbeConnection, _ cursor: String?) {
      self.probe = probe
      self.cursor = cursor
    }

    func channelActive(context: ChannelHandlerContext) {
      var output = ByteBuffer()
      probe.lock.withLock { probe.machine.opened(cursor: cursor, into: &output) }
      context.writeAndFlush(wrapOutboundOut(output), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var bytes = unwrapInboundIn(data)
      var output = ByteBuffer()
      probe.lock.withLock {
        probe.byteCount += bytes.readableBytes
        input.writeBuffer(&bytes)
        probe.machine.received(&input, events: &probe.events, into: &output)
      }
      if output.readableBytes > 0 {
        context.writeAndFlush(wrapOutboundOut(output), promise: nil)
      }
    }
  }
}

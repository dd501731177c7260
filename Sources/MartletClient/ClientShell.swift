import ChatModel
import ClientProtocol
import DequeModule
import NIOCore
import Primitives
import Synchronization
import Wire

/// Runs a `ClientSessionMachine`: its socket, its timer, its tokens, and who waits for what.
///
/// **Isolation**: `eventLoop`, except where a method says otherwise.
final class ClientShell: @unchecked Sendable, WebSocketClientDelegate {
  // Safety: what changes is touched on `eventLoop` only, but for `inbox`, which has its own lock.

  typealias Completion = @Sendable (Result<ServerBody, MartletError>) -> Void

  private struct Submission {
    let operation: PendingOperation
    let completion: Completion
  }

  /// **Units**: bytes of the operations that share a WebSocket message, as estimated.
  private static let batchBytesMax = 65_536

  let eventLoop: any EventLoop
  let events: EventQueue
  private let accounts: AccountCalls
  private let encoding: ClientEncoding
  private let onCredentialsChanged: @Sendable (Credentials) -> Void
  private let inbox = Mutex<[Submission]>([])

  private var machine: ClientSessionMachine
  private(set) var credentials: Credentials
  private var socket: WebSocketClientHandler?
  private var completions: [UInt64: Completion] = [:]
  private var readyWaiters: [EventLoopPromise<Void>] = []
  private var isReady = false
  private var endError: MartletError?
  private var state = ConnectionState.idle
  private var observers: [UInt64: AsyncStream<ConnectionState>.Continuation] = [:]
  private var lastObserver: UInt64 = 0
  private var actions: Deque<ClientAction> = []
  private var isPerforming = false
  private var outgoing: [ClientFrame] = []
  private var timer: Scheduled<Void>?
  private var timerAt = Instant.distantFuture

  init(
    accounts: AccountCalls, credentials: Credentials, machine: ClientSessionMachine,
    resuming cursor: Cursor?, sequences: [WireConversation: ChatModel.Sequence],
    onCredentialsChanged: @escaping @Sendable (Credentials) -> Void
  ) {
    eventLoop = accounts.eventLoop
    self.accounts = accounts
    self.credentials = credentials
    self.machine = machine
    self.onCredentialsChanged = onCredentialsChanged
    encoding = accounts.configuration.encoding == .json ? .json : .protobuf
    let box = WeakShell()
    events = EventQueue(
      resuming: cursor, sequences: sequences,
      toldCount: accounts.configuration.machine(gatewayCount: 1).bufferedEventsMax / 4,
      onConsumed: { box.consumed($0) })
    box.set(self)
  }

  // MARK: From any thread

  /// The order of these calls is the order in which sends of a conversation go out.
  func submit(_ operation: PendingOperation, _ completion: @escaping Completion) {
    let isFirst = inbox.withLock { inbox in
      inbox.append(Submission(operation: operation, completion: completion))
      return inbox.count == 1
    }
    if isFirst { eventLoop.execute { self.takeInbox() } }
  }

  func abandon(_ id: UInt64, _ error: MartletError) {
    eventLoop.execute {
      self.takeInbox()
      guard let completion = self.completions.removeValue(forKey: id) else { return }
      self.step { $0.abandoned(id, now: $1, into: &$2) }
      completion(.failure(error))
    }
  }

  func connect() -> EventLoopFuture<Void> {
    eventLoop.flatSubmit {
      if let error = self.endError { return self.eventLoop.makeFailedFuture(error) }
      if self.isReady { return self.eventLoop.makeSucceededVoidFuture() }
      let promise = self.eventLoop.makePromise(of: Void.self)
      self.readyWaiters.append(promise)
      self.step { $0.connectRequested(now: $1, into: &$2) }
      return promise.futureResult
    }
  }

  func close() {
    eventLoop.execute {
      self.takeInbox()
      self.step { $0.closeRequested(now: $1, into: &$2) }
    }
  }

  func currentCredentials() -> EventLoopFuture<Credentials> {
    eventLoop.submit { self.credentials }
  }

  /// How the session stands, for whoever looks for the reason.
  func summary() -> EventLoopFuture<String> {
    eventLoop.submit { self.machine.summary }
  }

  func states() -> AsyncStream<ConnectionState> {
    AsyncStream(bufferingPolicy: .bufferingNewest(16)) { continuation in
      eventLoop.execute { self.observe(continuation) }
    }
  }

  // MARK: Steps

  private func takeInbox() {
    let taken = inbox.withLock { inbox in
      var taken: [Submission] = []
      swap(&taken, &inbox)
      return taken
    }
    guard !taken.isEmpty else { return }
    step { machine, now, actions in
      for submission in taken {
        completions[submission.operation.id] = submission.completion
        machine.submitted(submission.operation, now: now, into: &actions)
      }
    }
  }

  /// Gives the machine one input and does what it says; inputs that come of that wait for their
  /// turn.
  private func step(
    _ input: (inout ClientSessionMachine, Instant, inout [ClientAction]) -> Void
  ) {
    eventLoop.preconditionInEventLoop()
    var made: [ClientAction] = []
    input(&machine, AccountCalls.now(), &made)
    actions.append(contentsOf: made)
    guard !isPerforming else { return }
    isPerforming = true
    while let action = actions.popFirst() { perform(action) }
    isPerforming = false
    setTimer()
  }

  private func perform(_ action: ClientAction) {
    switch action {
    case .dial(let gateway, let attempt): dial(gateway, attempt)
    case .hangUp:
      socket?.hangUp()
      socket = nil
      outgoing.removeAll()
    case .write(let frames): write(frames)
    case .ping: socket?.ping()
    case .refreshToken(let gateway): refresh(gateway)
    case .setReading(let isReading): socket?.setReading(isReading)
    case .deliver(let deliveries): events.append(deliveries)
    case .complete(let id, let result): completions.removeValue(forKey: id)?(result)
    case .stateChanged(let state): changeState(state)
    case .ready:
      isReady = true
      for waiter in readyWaiters { waiter.succeed() }
      readyWaiters = []
    case .ended(let error): end(error)
    }
  }

  private func end(_ error: MartletError) {
    endError = error
    timer?.cancel()
    timer = nil
    timerAt = .distantFuture
    for waiter in readyWaiters { waiter.fail(error) }
    readyWaiters = []
    for observer in observers.values { observer.finish() }
    observers = [:]
    events.finish(error)
  }

  private func setTimer() {
    let next = machine.nextDeadline
    guard next < timerAt else { return }
    timer?.cancel()
    timerAt = next
    let deadline = NIODeadline.uptimeNanoseconds(next.nanoseconds)
    timer = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
      self.timerAt = .distantFuture
      self.timer = nil
      self.step { $0.timePassed(now: $1, into: &$2) }
    }
  }

  // MARK: Socket

  private func dial(_ gateway: Int, _ attempt: UInt64) {
    let configuration = accounts.configuration
    let address = accounts.gateways[gateway]
    let socket = WebSocketClientHandler(
      attempt: attempt, gateway: address, path: configuration.webSocketPath, encoding: encoding,
      delegate: self)
    self.socket = socket
    outgoing.removeAll()
    let timeout = configuration.machine(gatewayCount: 1).connectTimeout
    socket.dial(
      on: eventLoop, tls: address.isSecure ? accounts.tls : nil,
      serverName: configuration.serverName,
      timeout: .milliseconds(Int64(clamping: timeout.rawValue)))
  }

  func webSocketOpened(_ attempt: UInt64) {
    step { $0.socketOpened(attempt, now: $1, into: &$2) }
  }

  func webSocketReceived(_ attempt: UInt64, _ messages: [[UInt8]]) {
    step { machine, now, actions in
      machine.heard(attempt, now: now)
      for message in messages {
        do throws(ClientCodecError) {
          let frames = try ClientCodec.decodeServerFrames(message[...], as: encoding)
          machine.framesReceived(attempt, frames, now: now, into: &actions)
        } catch {
          actions.append(.hangUp(attempt: attempt))
          machine.socketClosed(
            attempt, .lost("the gateway's frame cannot be read: \(error)"), now: now,
            into: &actions)
        }
      }
    }
  }

  func webSocketClosed(_ attempt: UInt64, _ loss: SocketLoss) {
    step { $0.socketClosed(attempt, loss, now: $1, into: &$2) }
  }

  /// What is written in one turn of the loop goes out together.
  private func write(_ frames: [ClientFrame]) {
    if outgoing.isEmpty { eventLoop.execute { self.flush() } }
    outgoing.append(contentsOf: frames)
  }

  private func flush() {
    let frames = outgoing
    outgoing.removeAll(keepingCapacity: true)
    var batch: [ClientFrame] = []
    var batchBytes = 0
    for frame in frames {
      batch.append(frame)
      batchBytes += Self.bytesEstimate(frame)
      if batch.count == ClientCodec.operationsPerMessageMax || batchBytes >= Self.batchBytesMax {
        socket?.send(ClientCodec.encode(batch, as: encoding))
        batch.removeAll(keepingCapacity: true)
        batchBytes = 0
      }
    }
    if !batch.isEmpty { socket?.send(ClientCodec.encode(batch, as: encoding)) }
  }

  private static func bytesEstimate(_ frame: ClientFrame) -> Int {
    if case .send(_, _, let text) = frame.operation { return 128 + text.utf8.count }
    return 512
  }

  // MARK: Tokens

  private func refresh(_ gateway: Int) {
    accounts.refresh(credentials.refreshToken, at: gateway).whenSuccess { result in
      switch result {
      case .success(let credentials):
        self.credentials = credentials
        self.onCredentialsChanged(credentials)
        let lifetime = Self.lifetime(of: credentials)
        self.step {
          $0.tokenRefreshed(credentials.accessToken, lifetime: lifetime, now: $1, into: &$2)
        }
      case .failure(.passing(let why)):
        self.step { $0.refreshFailed(why: why, now: $1, into: &$2) }
      case .failure(.final(let error)):
        self.step { $0.refreshFailed(final: error, now: $1, into: &$2) }
      }
    }
  }

  static func lifetime(of credentials: Credentials) -> Milliseconds {
    let now = AccountCalls.wallMilliseconds()
    return Milliseconds(credentials.expiresMilliseconds - min(credentials.expiresMilliseconds, now))
  }

  // MARK: Observers

  private func observe(_ continuation: AsyncStream<ConnectionState>.Continuation) {
    continuation.yield(state)
    guard state != .closed else { return continuation.finish() }
    lastObserver += 1
    let id = lastObserver
    observers[id] = continuation
    continuation.onTermination = { [weak self] _ in
      guard let self else { return }
      eventLoop.execute { self.observers[id] = nil }
    }
  }

  private func changeState(_ new: MachineState) {
    state =
      switch new {
      case .connecting(let gateway): .connecting(gateway: accounts.gateways[gateway].text)
      case .connected(let gateway): .connected(gateway: accounts.gateways[gateway].text)
      case .waiting(let pause, let why): .waiting(milliseconds: pause.rawValue, why: why)
      case .closed: .closed
      }
    for observer in observers.values { observer.yield(state) }
  }

  fileprivate func consumed(_ count: Int) {
    step { $0.consumed(count, now: $1, into: &$2) }
  }
}

/// Lets the queue of events tell its shell, which owns it, what was consumed.
private final class WeakShell: Sendable {
  private struct Reference: Sendable { weak var shell: ClientShell? }
  private let reference = Mutex(Reference())

  func set(_ shell: ClientShell) { reference.withLock { $0.shell = shell } }

  func consumed(_ count: Int) {
    guard let shell = reference.withLock({ $0.shell }) else { return }
    shell.eventLoop.execute { shell.consumed(count) }
  }
}

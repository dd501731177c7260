import ChatModel
import ClientProtocol
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import Primitives
import SocketErrors
import TLSEngine
import Wire

/// Accounts and tokens: the calls of the HTTP API, tried at one gateway after the other.
struct AccountCalls: Sendable {
  let gateways: [GatewayAddress]
  let tls: TLSContext?
  let configuration: ClientConfiguration
  let eventLoop: any EventLoop

  /// **Throws**: `MartletError.invalidArgument` for gateways or certificates that cannot be used.
  init(
    gateways: [String], configuration: ClientConfiguration,
    eventLoop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
  ) throws(MartletError) {
    guard !gateways.isEmpty else { throw .invalidArgument("no gateways are given") }
    var addresses: [GatewayAddress] = []
    for gateway in gateways { addresses.append(try GatewayAddress(gateway)) }
    self.gateways = addresses
    self.configuration = configuration
    self.eventLoop = eventLoop
    guard addresses.contains(where: \.isSecure) else {
      tls = nil
      return
    }
    do throws(TLSError) {
      tls = try TLSContext(
        configuration: TLSConfiguration(
          role: .client, trustRootsFile: configuration.trustRootsFile,
          alpnProtocols: ["http/1.1"]))
    } catch {
      throw .invalidArgument("TLS: \(error)")
    }
  }

  // MARK: Calls

  func register(
    handle: String, password: String, displayName: String
  ) async throws(MartletError) -> User {
    let body = JSONText.object([
      ("handle", handle), ("password", password), ("displayName", displayName),
    ])
    let call = HTTPCall(method: .POST, path: "/v1/accounts", body: body)
    let outcome = try await perform(call)
    switch outcome.result {
    case .success(let answer):
      guard case .other(let user)? = JSONText.members(of: answer.body)?["user"],
        let found = Self.user(user)
      else { throw .unreachable("the gateway's answer cannot be read") }
      return found
    case .failure(let error):
      // An attempt whose answer was lost may have made the account: whoever knows the password did.
      guard outcome.mayHaveRun, error.code == .alreadyExists else { throw MartletError(error) }
      let session: Credentials
      do throws(MartletError) {
        session = try await login(handle: handle, password: password, device: "")
      } catch {
        throw .refused(code: "ALREADY_EXISTS", message: "the handle is taken")
      }
      try await logout(accessToken: session.accessToken)
      return session.user
    }
  }

  func login(
    handle: String, password: String, device: String
  ) async throws(MartletError) -> Credentials {
    let body = JSONText.object([
      ("handle", handle), ("password", password), ("device", device),
    ])
    let outcome = try await perform(HTTPCall(method: .POST, path: "/v1/sessions", body: body))
    switch outcome.result {
    case .success(let answer):
      guard let credentials = Self.credentials(answer.body) else {
        throw .unreachable("the gateway's answer cannot be read")
      }
      return credentials
    case .failure(let error):
      throw error.code == .unauthenticated ? .signedOut(error.message) : MartletError(error)
    }
  }

  func logout(accessToken: String) async throws(MartletError) {
    let call = HTTPCall(method: .DELETE, path: "/v1/sessions/current", bearer: accessToken)
    let outcome = try await perform(call)
    if case .failure(let error) = outcome.result, error.code != .unauthenticated {
      throw MartletError(error)
    }
  }

  /// One attempt; the machine decides about others.
  ///
  /// **Returns**: credentials, or a failure that is final when it says so.
  func refresh(
    _ refreshToken: String, at gateway: Int
  ) -> EventLoopFuture<Result<Credentials, RefreshFailure>> {
    let call = HTTPCall(
      method: .POST, path: "/v1/sessions/refresh",
      body: JSONText.object([("refreshToken", refreshToken)]))
    return attempt(
      call, at: gateway, timeout: configuration.machine(gatewayCount: 1).connectTimeout
    )
    .map { answer in
      guard (200..<300).contains(answer.status) else {
        let error = Self.error(answer)
        // Anything else may be a proxy's word, and giving a session up cannot be undone.
        switch error.code {
        case .unauthenticated, .permissionDenied, .invalidArgument:
          return .failure(.final(.signedOut(error.message)))
        default: return .failure(.passing("\(MartletError(error))"))
        }
      }
      return Self.credentials(answer.body).map { .success($0) }
        ?? .failure(.passing("the gateway's answer cannot be read"))
    }
    .recover { .failure(.passing("\(gateways[gateway].text): \(Self.reason($0))")) }
  }

  enum RefreshFailure: Error {
    case passing(String)
    case final(MartletError)
  }

  // MARK: Attempts

  private struct Outcome {
    var result: Result<HTTPAnswer, ServiceError>
    /// An earlier attempt may have been served although its answer did not come.
    var mayHaveRun: Bool
  }

  /// Tries gateways in turn until one gives a final answer.
  ///
  /// **Throws**: `unreachable`, `outcomeUnknown`.
  private func perform(_ call: HTTPCall) async throws(MartletError) -> Outcome {
    let start = Self.now()
    let deadline = start + configuration.callTimeout
    var random = SystemRandomNumberGenerator()
    let first = Int.random(in: 0..<gateways.count, using: &random)
    let limits = configuration.machine(gatewayCount: gateways.count)
    var mayHaveRun = false
    var wasReached = false
    var reason = "no gateway answered"
    var attempts = 0
    while true {
      let left = deadline.milliseconds(since: Self.now())
      guard left > 0 else { break }
      if !wasReached, !(Self.now() < start + limits.unreachableTimeout) { break }
      let gateway = (first + attempts) % gateways.count
      var pause: Milliseconds = 0
      do {
        let answer = try await attempt(call, at: gateway, timeout: left).get()
        wasReached = true
        if (200..<300).contains(answer.status) {
          return Outcome(result: .success(answer), mayHaveRun: mayHaveRun)
        }
        let error = Self.error(answer)
        guard error.retryable else {
          return Outcome(result: .failure(error), mayHaveRun: mayHaveRun)
        }
        // A gateway that gave up waiting does not know whether its shard did it.
        if error.code == .unavailable { mayHaveRun = true }
        pause = Milliseconds(UInt64(error.retryAfterMilliseconds))
        reason = error.message
      } catch {
        if (error as? HTTPFailure)?.mayHaveRun ?? true {
          mayHaveRun = true
          wasReached = true
        }
        // An attempt that the call's own deadline cut off says nothing about its gateway.
        if attempts == 0 || deadline.milliseconds(since: Self.now()) > 0 {
          reason = "\(gateways[gateway].text): \(Self.reason(error))"
        }
      }
      let limit = ClientSessionMachine.doubled(
        limits.backoffBase, attempts / gateways.count, limit: limits.backoffMax)
      let jitter = UInt64.random(in: 0...limit.rawValue, using: &random)
      attempts += 1
      let wait = min(max(Milliseconds(jitter), pause), deadline.milliseconds(since: Self.now()))
      do {
        try await Task.sleep(nanoseconds: wait.rawValue * 1_000_000)
      } catch {
        reason = "cancelled"
        break
      }
    }
    throw mayHaveRun ? .outcomeUnknown(reason) : .unreachable(reason)
  }

  private static func reason(_ error: any Error) -> String {
    (error as? HTTPFailure)?.reason ?? SocketErrors.text(of: error)
  }

  private func attempt(
    _ call: HTTPCall, at gateway: Int, timeout: Milliseconds
  ) -> EventLoopFuture<HTTPAnswer> {
    let address = gateways[gateway]
    let limits = configuration.machine(gatewayCount: 1)
    let connectTimeout = min(timeout, limits.connectTimeout, limits.unreachableTimeout)
    return call.perform(
      at: address, tls: address.isSecure ? tls : nil, serverName: configuration.serverName,
      connectTimeout: .milliseconds(Int64(clamping: connectTimeout.rawValue)),
      timeout: .milliseconds(Int64(clamping: timeout.rawValue)), on: eventLoop)
  }

  // MARK: Reading answers

  static func now() -> Instant { Instant(nanoseconds: NIODeadline.now().uptimeNanoseconds) }

  /// **Units**: milliseconds since 1970-01-01T00:00:00Z.
  static func wallMilliseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(clamping: time.tv_sec) * 1_000 + UInt64(clamping: time.tv_nsec) / 1_000_000
  }

  /// The refusal in an answer that is no success. Its body has the form of an error's frame.
  private static func error(_ answer: HTTPAnswer) -> ServiceError {
    if let frame = try? ClientCodec.decodeServerFrames(answer.body[...], as: .json).first,
      case .error(let error) = frame.body
    {
      return error
    }
    // A proxy in between, or no gateway at all.
    let mayPass = answer.status == 429 || answer.status >= 500 || answer.status == 0
    let code: ServiceErrorCode = mayPass ? .unavailable : .internalError
    return ServiceError(code, "HTTP status \(answer.status)", retryable: mayPass)
  }

  static func credentials(_ body: [UInt8]) -> Credentials? {
    guard let members = JSONText.members(of: body),
      case .string(let access)? = members["accessToken"],
      case .string(let refresh)? = members["refreshToken"],
      case .number(let seconds)? = members["expiresInSeconds"], seconds <= UInt32.max,
      case .string(let device)? = members["device"],
      case .other(let bytes)? = members["user"], let user = user(bytes)
    else { return nil }
    return Credentials(
      accessToken: access, refreshToken: refresh,
      expiresMilliseconds: wallMilliseconds() + seconds * 1_000, user: user, device: device)
  }

  private static func user(_ bytes: ArraySlice<UInt8>) -> User? {
    guard let members = JSONText.members(of: Array(bytes)),
      case .string(let id)? = members["id"], let id = UserID(id),
      case .string(let handle)? = members["handle"]
    else { return nil }
    var name = ""
    if case .string(let given)? = members["displayName"] { name = given }
    return User(id: id, handle: handle, displayName: name)
  }
}

import HistoryChecker

/// One user with one device, who knows all gateways and changes to another one when one fails.
///
/// **Isolation**: one thread.
final class Person {
  /// For one try of one operation.
  static let tryMax: Moment = 2 * Pace.second
  private static let password = "correct-horse-battery"
  /// A token is good for 15 minutes, less what a gateway's clock may be wrong.
  private static let tokenMax: Moment = 240 * Pace.second
  private static let pause: Moment = 30 * Pace.millisecond

  let handle: String
  private let connections: [HTTPConnection]
  private let endpoints: [HTTPEndpoint]
  private(set) var place: Int
  private var token = ""
  private var tokenMadeAt: Moment = 0

  /// - Parameter first: which gateway it begins with.
  /// - Parameter token: one that was made just now, by somebody else.
  init(_ handle: String, gateways: [HTTPEndpoint], first: Int, token: String = "") {
    self.handle = handle
    self.token = token
    tokenMadeAt = token.isEmpty ? 0 : Pace.now()
    endpoints = gateways
    connections = gateways.map { HTTPConnection($0) }
    place = first % gateways.count
  }

  /// One account, however often it is tried.
  func register(until deadline: Moment) throws {
    try insist("an account for \(handle)", until: deadline) {
      connection, limit throws(ChatFailure) in
      do throws(ChatFailure) {
        try ChatAPI.createAccount(handle, password: Self.password, connection, limit)
      } catch .refused(status: 409, _) {
        // An earlier try has made it.
      }
    }
    _ = try insist("a login of \(handle)", until: deadline) { _, limit throws(ChatFailure) in
      try freshToken(limit)
    }
  }

  func changeGateway() {
    connections[place].disconnect()
    place = (place + 1) % connections.count
  }

  var endpoint: HTTPEndpoint { endpoints[place] }

  func freshToken(_ deadline: Moment) throws(ChatFailure) -> String {
    if token.isEmpty || Pace.now() > tokenMadeAt + Self.tokenMax {
      token = try ChatAPI.logIn(handle, password: Self.password, connections[place], deadline)
      tokenMadeAt = Pace.now()
    }
    return token
  }

  func forgetToken() { token = "" }

  /// Tries an operation once, through the present gateway. After a failure the next try goes
  /// through another one.
  func attempt<Value>(
    _ operation: (HTTPConnection, String, Moment) throws(ChatFailure) -> Value
  ) throws(ChatFailure) -> Value {
    let deadline = Pace.now() + Self.tryMax
    do throws(ChatFailure) {
      let token = try freshToken(deadline)
      return try operation(connections[place], token, deadline)
    } catch {
      if case .unauthenticated = error { forgetToken() }
      changeGateway()
      throw error
    }
  }

  /// Tries until it is done.
  ///
  /// **Throws**: `Failure` when it is not done in time or refused.
  func insist<Value>(
    _ what: String, until deadline: Moment,
    _ operation: (HTTPConnection, Moment) throws(ChatFailure) -> Value
  ) throws -> Value {
    while true {
      do throws(ChatFailure) {
        return try operation(connections[place], Pace.now() + Self.tryMax)
      } catch {
        if case .refused = error { throw Failure("\(what): \(error)") }
        guard Pace.now() < deadline else { throw Failure("\(what): \(error)") }
        if case .unauthenticated = error { forgetToken() }
        changeGateway()
        Pace.sleep(Self.pause)
      }
    }
  }
}

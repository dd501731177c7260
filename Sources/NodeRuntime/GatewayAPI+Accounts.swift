import ChatModel
import ClientProtocol
import Credentials
import GatewayCore
import NIOCore
import Primitives
import Transport
import Wire

/// Accounts and sessions.
extension GatewayAPI {
  /// Where the refresh token of a session goes.
  private enum TokenPlace {
    case body
    case cookie(isSecure: Bool)
  }

  func createAccount(
    _ request: HTTPRequest, _ responder: HTTPResponder
  ) throws(ServiceError) {
    let body = try HTTPBodies.decodeCreateAccount(bytes(request)[...])
    guard let hashing = passwords.hash(body.password, on: lane.eventLoop) else { throw busy }
    hashing.assumeIsolated().whenComplete { [self] result in
      guard case .success(let hash) = result else {
        return fail(ServiceError(.internalError, "the password could not be hashed"), responder)
      }
      let call = GatewayCall.createAccount(
        handle: body.handle,
        displayName: body.displayName.isEmpty ? body.handle.text : body.displayName,
        passwordHash: hash, user: UserID(SecureRandom.uint128() | 1))
      lane.call(call) { [self] result in
        switch result {
        case .account(let profile): respond(201, HTTPBodies.account(profile), responder)
        case .failed(let error): fail(error, responder)
        default: fail(ServiceError(.internalError, "another answer was expected"), responder)
        }
      }
    }
  }

  func logIn(_ request: HTTPRequest, _ responder: HTTPResponder) throws(ServiceError) {
    let body = try HTTPBodies.decodeLogin(bytes(request)[...])
    let place = try place(body.cookie, request)
    lane.call(.credentials(body.handle)) { [self] result in
      switch result {
      case .credentials(let credentials): check(body, credentials, place, responder)
      case .failed(let error): fail(error, responder)
      default: fail(ServiceError(.internalError, "another answer was expected"), responder)
      }
    }
  }

  /// Known and unknown accounts take the same time and get the same answer.
  private func check(
    _ body: LoginBody, _ credentials: UserCredentials?, _ place: TokenPlace,
    _ responder: HTTPResponder
  ) {
    let checking = passwords.verify(
      body.password, stored: credentials?.passwordHash, on: lane.eventLoop)
    guard let checking else { return fail(busy, responder) }
    checking.assumeIsolated().whenComplete { [self] result in
      guard case .success(true) = result, let profile = credentials?.profile else {
        return fail(ServiceError(.unauthenticated, "wrong handle or password"), responder)
      }
      openSession(profile, deviceName: body.device, place, responder)
    }
  }

  private func openSession(
    _ profile: UserProfile, deviceName: String, _ place: TokenPlace, _ responder: HTTPResponder
  ) {
    // A device that names itself keeps its idempotency windows across logins.
    let named = StableHash.hash64(profile.user.bytes + Array(deviceName.utf8)) | 1
    let device = DeviceID(deviceName.isEmpty ? SecureRandom.uint64() | 1 : named)
    let identity = Identity(user: profile.user, device: device)
    let token = Self.refreshToken(identity)
    let call = GatewayCall.openSession(
      OpenSession(
        user: identity.user, device: device, deviceName: deviceName, refreshTokenHash: token.hash,
        expires: refreshExpiry()))
    lane.call(call) { [self] result in
      finishSession(201, result, profile, identity, token, place, responder)
    }
  }

  func refresh(_ request: HTTPRequest, _ responder: HTTPResponder) throws(ServiceError) {
    let body = try HTTPBodies.decodeRefresh(bytes(request)[...])
    let place = try place(body == .cookie, request)
    let refused = ServiceError(.unauthenticated, "the refresh token is not valid")
    let text: String
    switch body {
    case .token(let token): text = token
    case .cookie:
      guard let token = RefreshCookie.token(in: request.headers) else { throw refused }
      text = token
    }
    guard let presented = RefreshToken(text: text), let identity = Self.identity(of: presented)
    else { throw refused }
    let token = authority.successor(of: presented)
    let call = GatewayCall.rotateRefreshToken(
      RotateRefreshToken(
        user: identity.user, device: identity.device, presentedHash: presented.hash,
        newHash: token.hash, expires: refreshExpiry()))
    lane.call(call) { [self] result in
      guard case .done = result else {
        return finishSession(200, result, nil, identity, token, place, responder)
      }
      lane.call(.profile(identity.user)) { [self] result in
        guard case .profile(let profile?) = result else { return fail(refused, responder) }
        finishSession(200, .done, profile, identity, token, place, responder)
      }
    }
  }

  private func finishSession(
    _ status: Int, _ result: CallResult, _ profile: UserProfile?, _ identity: Identity,
    _ token: RefreshToken, _ place: TokenPlace, _ responder: HTTPResponder
  ) {
    guard case .done = result, let profile else {
      if case .failed(let error) = result { return fail(error, responder) }
      return fail(ServiceError(.internalError, "another answer was expected"), responder)
    }
    var body = SessionBody(
      accessToken: authority.sign(identity, now: Clock.wall()), refreshToken: token.text,
      expiresInSeconds: authority.times.accessTokenLifetime, user: profile,
      device: identity.device)
    var headers: HTTPFields.List = []
    if case .cookie(let isSecure) = place {
      body.refreshToken = ""
      headers = [
        origins.cookie.setting(
          token.text, isSecure: isSecure, seconds: authority.times.refreshTokenLifetime)
      ]
    }
    respond(status, HTTPBodies.session(body), responder, headers: headers)
  }

  /// A cookie is for the pages that may use this gateway: another page of the same site would send
  /// it as well.
  private func place(_ wantsCookie: Bool, _ request: HTTPRequest) throws(ServiceError) -> TokenPlace
  {
    guard wantsCookie else { return .body }
    guard origins.mayUseCookie(request) else {
      throw ServiceError(
        .permissionDenied, "a cookie is for web pages of this gateway and of allowed origins")
    }
    return .cookie(isSecure: WebOrigins.isSecure(request))
  }

  func logOut(_ request: HTTPRequest, _ responder: HTTPResponder) throws(ServiceError) {
    let identity = try identify(request)
    let clears =
      RefreshCookie.token(in: request.headers) != nil && origins.mayUseCookie(request)
    let headers =
      clears ? [origins.cookie.clearing(isSecure: WebOrigins.isSecure(request))] : []
    let call = GatewayCall.closeSession(
      CloseSession(user: identity.user, device: identity.device))
    lane.call(call) { [self] result in
      if case .failed(let error) = result { return fail(error, responder) }
      forget(identity)
      responder.respond(204, headers: headers)
    }
  }

  private static func refreshToken(_ identity: Identity) -> RefreshToken {
    RefreshToken(
      sessionID: "\(identity.user)-\(identity.device)",
      secret: SecureRandom.bytes(RefreshToken.secretBytes))
  }

  private static func identity(of token: RefreshToken) -> Identity? {
    let parts = token.sessionID.split(separator: "-")
    guard parts.count == 2, let user = UserID(parts[0]), let device = DeviceID(parts[1]) else {
      return nil
    }
    return Identity(user: user, device: device)
  }

  private func refreshExpiry() -> WallTime {
    let lifetime = UInt64(authority.times.refreshTokenLifetime) * 1_000
    return WallTime(milliseconds: Clock.wall().milliseconds + lifetime)
  }

  private var busy: ServiceError { .overloaded("too many logins at a time") }
}

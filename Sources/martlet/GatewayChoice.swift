import ArgumentParser
import Glibc
import MartletClient
import NodeConfiguration

/// Which gateways a client command speaks to.
struct GatewayChoice: ParsableArguments {
  static let gatewaysDefault = ["http://127.0.0.1:8080", "http://127.0.0.1:8081"]

  /// Longer than a gateway takes to start again, and short for a person. **Units**: milliseconds.
  private static let unreachableTimeoutMilliseconds: UInt64 = 3_000

  @Option(
    name: .customLong("gateway"),
    help: ArgumentHelp(
      "A gateway; repeatable. Default: MARTLET_GATEWAY, those of the login, or "
        + "http://127.0.0.1:8080 and :8081.",
      valueName: "url"))
  var gateways: [String] = []
  @Option(
    help: ArgumentHelp(
      "The certificates that the gateways' lead to (default: the system's).", valueName: "pem"))
  var gatewayTrustRoots: String?

  private var source: SettingSource {
    SettingSource(settings: ["gateway-trust-roots": gatewayTrustRoots])
  }

  /// - Parameter login: where the user has logged in, if so.
  func urls(login: AccountFiles.Account? = nil) -> [String] {
    if !gateways.isEmpty { return gateways }
    if let setting = source.optional("gateway") {
      return setting.value.split(separator: ",").map(String.init)
    }
    return login?.gateways ?? Self.gatewaysDefault
  }

  /// **Returns**: a path that is good from every directory, since a login keeps it.
  func trustRoots(login: AccountFiles.Account? = nil) throws -> String? {
    guard let setting = source.optional("gateway-trust-roots") else { return login?.trustRoots }
    let path = try setting.readableFile("certificates of authorities")
    guard let whole = realpath(path, nil) else { return path }
    defer { free(whole) }
    return String(cString: whole)
  }

  func configuration(
    login: AccountFiles.Account? = nil, wantsEvents: Bool = false
  ) throws -> ClientConfiguration {
    var configuration = ClientConfiguration()
    configuration.wantsEvents = wantsEvents
    configuration.unreachableTimeoutMilliseconds = Self.unreachableTimeoutMilliseconds
    configuration.trustRootsFile = try trustRoots(login: login)
    return configuration
  }
}

/// A logged-in user.
struct SignedIn {
  let client: MartletClient
  let files: AccountFiles

  /// **Throws**: `Failure` when nobody of this handle has logged in here.
  init(
    as handle: String, _ choice: GatewayChoice, wantsEvents: Bool = false, locked: Bool = false
  ) throws {
    let files = try AccountFiles(handle: handle)
    if locked { try files.lock() }
    let account = try files.account()
    self.files = files
    client = try MartletClient(
      gateways: choice.urls(login: account), credentials: account.credentials,
      configuration: choice.configuration(login: account, wantsEvents: wantsEvents),
      resumeFrom: wantsEvents ? try files.resumePoint() : nil
    ) { credentials in
      var account = account
      account.credentials = credentials
      do { try files.save(account) } catch {
        Failure(error)?.write()
      }
    }
  }

  /// The direct conversation with somebody, which is made where `makes` says so, or one by its id.
  func conversation(
    with member: String?, id: String?, makes: Bool
  ) async throws -> ConversationID {
    if let member, makes { return try await client.createDirect(with: member).id }
    if let member {
      let handle = member.lowercased()
      let found = try await client.conversations().first {
        $0.kind == .direct
          && $0.members.contains { $0.handle == handle || $0.user.description == member }
          && (handle != files.handle || $0.memberCount == 1)
      }
      guard let found else { throw Failure("there is no conversation with \(member)") }
      return found.id
    }
    guard let id, let conversation = ConversationID(id) else {
      throw Failure("--conversation '\(id ?? "")'; allowed is a conversation's id", code: 64)
    }
    return conversation
  }
}

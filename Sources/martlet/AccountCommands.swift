import ArgumentParser
import Glibc
import MartletClient

struct RegisterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "register", abstract: "Make an account and log in with it.",
    discussion: Self.passwordNote)

  static let passwordNote =
    "The password comes from MARTLET_PASSWORD, from standard input, or is asked for."

  @Argument(help: "The handle: 3 to 32 letters, digits, '_', '-' and '.'.") var handle: String
  @Option(help: ArgumentHelp("The name shown to others.", valueName: "name"))
  var displayName: String?
  @OptionGroup var choice: GatewayChoice

  func run() async throws {
    let files = try AccountFiles(handle: handle)
    let configuration = try choice.configuration()
    let password = try Password.read(for: files.handle, twice: true)
    let user = try await MartletClient.register(
      gateways: choice.urls(), handle: files.handle, password: password,
      displayName: displayName ?? "", configuration: configuration)
    try await LoginCommand.logIn(files, password, choice)
    Output.write("registered \(user.handle) \(user.id)\n")
  }
}

struct LoginCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "login", abstract: "Log in on this machine.",
    discussion: RegisterCommand.passwordNote)

  @Argument(help: "The handle.") var handle: String
  @OptionGroup var choice: GatewayChoice

  func run() async throws {
    let files = try AccountFiles(handle: handle)
    let password = try Password.read(for: files.handle, twice: false)
    let user = try await Self.logIn(files, password, choice)
    Output.write("logged in \(user.handle) \(user.id)\n")
  }

  @discardableResult
  static func logIn(
    _ files: AccountFiles, _ password: String, _ choice: GatewayChoice
  ) async throws -> User {
    var name = [CChar](repeating: 0, count: 65)
    gethostname(&name, name.count - 1)
    let device = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
    let gateways = choice.urls()
    let credentials = try await MartletClient.login(
      gateways: gateways, handle: files.handle, password: password, device: device,
      configuration: choice.configuration())
    files.forgetResumePoint()
    try files.save(
      AccountFiles.Account(
        gateways: gateways, trustRoots: choice.trustRoots(), credentials: credentials))
    do {
      try await saveStart(files, choice)
    } catch {
      let why = Failure(error)?.line ?? "\(error)"
      Failure("the first `listen` will begin when it is started, not here: \(why)").write()
    }
    return credentials.user
  }

  private static let startTimeoutSeconds = 5

  /// `listen` shows everything since the login, however late it is started.
  private static func saveStart(_ files: AccountFiles, _ choice: GatewayChoice) async throws {
    let own = try SignedIn(as: files.handle, choice, wantsEvents: true)
    let client = own.client
    let patience = Task {
      try await Task.sleep(for: .seconds(startTimeoutSeconds))
      client.close()
    }
    defer {
      patience.cancel()
      client.close()
    }
    do { try await client.connect() } catch .closed {
      throw Failure("no gateway gave events within \(startTimeoutSeconds) s")
    }
    try files.save(client.resumePoint)
  }
}

struct LogoutCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logout", abstract: "End the login of this machine.")

  @Option(name: .customLong("as"), help: ArgumentHelp("Who.", valueName: "handle"))
  var user: String
  @OptionGroup var choice: GatewayChoice

  func run() async throws {
    let own = try SignedIn(as: user, choice)
    try await own.client.logout()
    own.files.forget()
  }
}

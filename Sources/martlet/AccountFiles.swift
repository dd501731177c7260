import FoundationEssentials
import Glibc
import LogStorage
import MartletClient

/// What a login leaves on this machine: who is logged in and where, and what `listen` has shown.
///
/// ```
///   ${MARTLET_HOME:-~/.config/martlet}/   0700
///     HANDLE.json                         0600  gateways and credentials
///     HANDLE.cursor.json                  0600  where `listen` stands
///     HANDLE.lock                         0600  held by the one `listen`
/// ```
struct AccountFiles: Sendable {
  struct Account: Codable, Sendable {
    /// Those of the login; used when none are given.
    var gateways: [String]
    var trustRoots: String?
    var credentials: Credentials
  }

  let handle: String
  private let directory: String

  /// **Throws**: `Failure` when there is no home, or a handle that could name another file.
  init(handle: String) throws(Failure) {
    let handle = handle.lowercased()
    let isName =
      !handle.isEmpty && handle.first != "."
      && handle.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "/") }
    guard isName else {
      throw Failure(
        "'\(handle)' is no handle; allowed are 3 to 32 letters, digits, '_', '-' and '.'", code: 64)
    }
    self.handle = handle
    if let home = Self.variable("MARTLET_HOME") {
      directory = home
    } else if let home = Self.variable("HOME") {
      directory = "\(home)/.config/martlet"
    } else {
      throw Failure(
        "MARTLET_HOME is missing; allowed is a directory for credentials, since HOME is not set",
        code: Failure.configurationCode)
    }
  }

  private static func variable(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
  }

  private func path(_ suffix: String) -> String { "\(directory)/\(handle)\(suffix)" }

  // MARK: Contents

  /// **Throws**: `Failure` when nobody of this handle has logged in here.
  func account() throws -> Account {
    guard let account = try read(Account.self, path(".json")) else {
      throw Failure(
        "\(handle) is not logged in here; `martlet login \(handle)` does it",
        code: Failure.signedOutCode)
    }
    return account
  }

  func save(_ account: Account) throws { try write(account, to: path(".json")) }

  func resumePoint() throws -> ResumePoint? { try read(ResumePoint.self, path(".cursor.json")) }
  func save(_ point: ResumePoint) throws { try write(point, to: path(".cursor.json")) }

  /// Forgets the login; what `listen` has shown stays known.
  func forget() {
    unlink(path(".json"))
  }

  /// After a login everything is new.
  func forgetResumePoint() { unlink(path(".cursor.json")) }

  /// Lets one process alone renew the tokens of this login for a long time: a refresh token is good
  /// once. Held until the process ends.
  ///
  /// **Throws**: `Failure` when another one holds it.
  func lock() throws {
    try makeDirectory()
    let file = open(path(".lock"), O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw failure(path(".lock")) }
    guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
      throw Failure("\(handle) listens already in another process; another MARTLET_HOME is apart")
    }
  }

  // MARK: Files

  private func failure(_ path: String) -> Failure {
    Failure("\(path): \(String(cString: strerror(errno)))", code: 74)
  }

  private func makeDirectory() throws(Failure) {
    var made = ""
    for part in directory.split(separator: "/", omittingEmptySubsequences: false) {
      made +=
        made.isEmpty && part.isEmpty ? "/" : made.isEmpty || made == "/" ? "\(part)" : "/\(part)"
      if mkdir(made, 0o700) != 0, errno != EEXIST { throw failure(made) }
    }
  }

  private func read<Value: Decodable>(_ type: Value.Type, _ path: String) throws -> Value? {
    guard let bytes = WholeFile.read(path) else {
      if errno == ENOENT { return nil }
      throw failure(path)
    }
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch {
      throw Failure("\(path) cannot be read; `martlet login \(handle)` makes it anew")
    }
  }

  /// The file has its old or its new content, whenever the process ends.
  private func write(_ value: some Encodable, to path: String) throws {
    try makeDirectory()
    let bytes = [UInt8](try JSONEncoder().encode(value))
    guard WholeFile.write(bytes, to: path) else { throw failure(path) }
  }
}

import ArgumentParser
import Coordination
import Glibc
import LogStorage
import MartletClient
import NodeConfiguration
import NodeRuntime
import TLSEngine

/// Runs a command and turns what it throws into one line and an exit code.
///
/// | code | |
/// |---|---|
/// | 0 | done |
/// | 1 | the command says no: not whole, refused by the service |
/// | 64 | the command line makes no sense |
/// | 65 | what is stored is damaged |
/// | 69 | something that is needed does not answer |
/// | 70 | anything else |
/// | 74 | a file or a disk fails |
/// | 75 | it is not known whether it was done; try again |
/// | 77 | not logged in any more |
/// | 78 | a setting is wrong or missing |
///
/// **Source**: sysexits.h for the codes.
@main
enum Program {
  static func main() async {
    // A client that goes away must not end the process.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try Martlet.parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch {
      guard let failure = Failure(error) else { Martlet.exit(withError: error) }
      failure.write()
      exit(failure.code)
    }
  }
}

/// Why a command ends early.
struct Failure: Error {
  let line: String
  let code: Int32

  static let refusedCode: Int32 = 1
  static let configurationCode: Int32 = 78
  static let unavailableCode: Int32 = 69
  static let signedOutCode: Int32 = 77

  init(_ line: String, code: Int32 = Failure.refusedCode) {
    self.line = line
    self.code = code
  }

  /// **Returns**: `nil` for what the argument parser itself reports.
  init?(_ error: any Error) {
    switch error {
    case let failure as Failure: self = failure
    case let error as SettingError: self.init("\(error)", code: Self.configurationCode)
    case let error as StartError: self.init("\(error)", code: Self.configurationCode)
    case let error as BackupRefusal: self.init("\(error)")
    case let error as OperatorSilence: self.init("\(error)", code: Self.unavailableCode)
    case let error as StorageError: self.init(storage: error)
    case let error as MartletError: self.init(client: error)
    case let error as CoordinationError: self.init(coordination: error)
    case TLSError.configuration(let text): self.init(text, code: Self.configurationCode)
    case is CancellationError: self.init("stopped before it was done", code: Self.unavailableCode)
    case is ExitCode, is CleanExit, is ValidationError: return nil
    default:
      // The parser's own errors are not public; they come from its module.
      guard !String(reflecting: type(of: error)).hasPrefix("ArgumentParser.") else { return nil }
      self.init("\(error)", code: 70)
    }
  }

  private init(storage error: StorageError) {
    switch error {
    case .locked, .otherCluster, .otherNode, .newerVersion, .openFailed:
      self.init(
        "--data-dir: \(error); allowed is a directory of this node alone",
        code: Self.configurationCode)
    case .damaged, .entryMissing: self.init("--data-dir: \(error)", code: 65)
    case .backupFailed: self.init("\(error)", code: 74)
    case .readFailed, .writeFailed, .queueFull, .stopped:
      self.init("--data-dir: \(error)", code: 74)
    }
  }

  private init(coordination error: CoordinationError) {
    switch error {
    case .unavailable(let why), .outcomeUnknown(let why):
      self.init("the coordinator does not answer: \(why)", code: Self.unavailableCode)
    case .wentBackInTime:
      self.init("coordinator: \(error)", code: Self.configurationCode)
    case .refused(let why): self.init("the coordinator refuses: \(why)", code: 70)
    default: self.init("coordinator: \(error)", code: 70)
    }
  }

  private init(client error: MartletError) {
    let code: Int32 =
      switch error {
      case .refused("DEADLINE_EXCEEDED", _): 75
      case .refused("UNAVAILABLE", _): Self.unavailableCode
      case .refused: Self.refusedCode
      case .deadlineExceeded, .unreachable: Self.unavailableCode
      case .outcomeUnknown, .tooManyOperations: 75
      case .signedOut: Self.signedOutCode
      case .invalidArgument: 64
      case .closed: 70
      }
    self.init("\(error)", code: code)
  }

  func write() {
    LineLogHandler.standardError(Array("martlet: \(line)\n".utf8))
  }
}

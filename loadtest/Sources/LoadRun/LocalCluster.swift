import Foundation
package import LoadModel

/// A cluster that `cluster/up` has started on this machine: what runs, where it listens, and how it
/// is broken on purpose.
package struct LocalCluster: Sendable {
  private struct Member: Sendable {
    let name: String
    let pid: Int32
    let program: String
    let arguments: [String]

    /// The word after an option.
    subscript(option: String) -> String? {
      zip(arguments, arguments.dropFirst()).first { $0.0 == option }?.1
    }
  }

  /// Where `cluster/up` keeps it.
  package let state: String
  private let members: [Member]

  /// Where those of its nodes lie, if they speak to each other with TLS.
  package var certificates: String? {
    let place = state + "/certificates"
    let isThere = FileManager.default.fileExists(atPath: place + "/shard1.pem")
    return isThere ? place : nil
  }

  /// - Parameter state: a directory such as `.martlet`.
  /// **Throws**: `LoadError` when nothing of a cluster runs there.
  package init(state: String) throws {
    self.state = URL(fileURLWithPath: state).standardizedFileURL.path
    let run = self.state + "/run"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: run)) ?? []
    members = names.sorted().compactMap { Self.member($0, in: run) }
      .filter { kill($0.pid, 0) == 0 }
    guard !members.isEmpty else {
      throw LoadError("--cluster \(state): no cluster runs there (cluster/up starts one)")
    }
  }

  /// **Shape**: of a file: the pid, the program and the command line, a line each.
  private static func member(_ name: String, in run: String) -> Member? {
    guard !name.hasSuffix(".new"),
      let text = try? String(contentsOfFile: "\(run)/\(name)", encoding: .utf8)
    else { return nil }
    let lines = text.split(separator: "\n").map(String.init)
    guard lines.count >= 3, let pid = Int32(lines[0]) else { return nil }
    return Member(
      name: name, pid: pid, program: lines[1],
      arguments: lines[2].dropFirst(lines[1].count).split(separator: " ").map(String.init))
  }

  private func member(_ name: String) throws -> Member {
    guard let member = Self.member(name, in: state + "/run") else {
      throw LoadError("\(name): there is no such process")
    }
    return member
  }

  private func endpoints(_ option: String, isTLS: Bool) -> [Endpoint] {
    members.compactMap { member in
      guard let address = member[option], let colon = address.lastIndex(of: ":"),
        let port = Int(address[address.index(after: colon)...])
      else { return nil }
      return Endpoint(host: String(address[..<colon]), port: port, isTLS: isTLS)
    }
  }

  package var gateways: [Endpoint] { endpoints("--plain-address", isTLS: false) }
  package var tlsGateways: [Endpoint] { endpoints("--tls-address", isTLS: true) }

  /// All its processes but etcd, which takes no part in a message.
  package var servers: Servers {
    var servers = Servers()
    servers.processes = members.filter { $0.name != "etcd" }
      .map { Servers.Process(name: $0.name, .file("\(state)/run/\($0.name)")) }
    servers.metrics = members.filter { $0.name.hasPrefix("shard") }
      .compactMap { $0["--operator-address"].map { "http://\($0)/metrics" } }
    return servers
  }

  // MARK: Actions

  /// **Throws**: `LoadError` when there is no such process or the command fails.
  package func take(_ action: TimedAction) async throws {
    switch action.kind {
    case .kill(let name): try signal(name, SIGKILL)
    case .stop(let name): try signal(name, SIGSTOP)
    case .go(let name): try signal(name, SIGCONT)
    case .end(let name): try signal(name, SIGTERM)
    case .start(let name): try start(name)
    case .ring(let arguments):
      guard let etcd = members.compactMap({ $0["--etcd"] }).first else {
        throw LoadError("\(action.words): the cluster has no etcd")
      }
      try await run(state + "/bin/martlet", ["ring"] + arguments + ["--etcd", etcd])
    }
  }

  /// **Throws**: `LoadError` for the first that names a process that there is none of.
  package func check(_ actions: [TimedAction]) throws {
    for action in actions {
      switch action.kind {
      case .kill(let name), .stop(let name), .go(let name), .end(let name), .start(let name):
        guard members.contains(where: { $0.name == name }) else {
          let known = members.map(\.name).joined(separator: ", ")
          throw LoadError("\(action.words): allowed is one of \(known)")
        }
      case .ring: break
      }
    }
  }

  private func signal(_ name: String, _ number: Int32) throws {
    let member = try member(name)
    guard kill(member.pid, number) == 0 else { throw LoadError("\(name) does not run any more") }
  }

  /// As it was started before, apart from this terminal; `cluster/down` knows it.
  private func start(_ name: String) throws {
    let member = try member(name)
    let child = try ChildProcess(
      member.program, member.arguments, log: "\(state)/log/\(name).log")
    let line = ([member.program] + member.arguments).joined(separator: " ")
    let file = "\(state)/run/\(name)"
    do {
      try "\(child.pid)\n\(member.program)\n\(line)\n".write(
        toFile: file, atomically: true, encoding: .utf8)
    } catch { throw LoadError("\(file): cannot be written") }
  }

  private func run(_ program: String, _ arguments: [String]) async throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.standardOutput = FileHandle.nullDevice
    let errors = Pipe()
    process.standardError = errors
    let status: Int32 = try await withCheckedThrowingContinuation { waiting in
      process.terminationHandler = { waiting.resume(returning: $0.terminationStatus) }
      do { try process.run() } catch {
        process.terminationHandler = nil
        waiting.resume(throwing: LoadError("\(program) cannot be started: \(error)"))
      }
    }
    guard status == 0 else {
      let text = String(decoding: errors.fileHandleForReading.availableData, as: UTF8.self)
      throw LoadError("\(program) \(arguments.joined(separator: " ")): \(text)")
    }
  }
}

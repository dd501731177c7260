import Foundation
import Testing

extension RealProcesses {
  /// `martlet` as the README shows it to somebody who tries it.
  @Suite struct CommandLineTests {
    /// A person's shell: where logins are kept and which gateways are used.
    private struct Shell {
      let home: TemporaryDirectory
      let layout: ClusterLayout

      init(_ cluster: Cluster) throws {
        home = try TemporaryDirectory()
        layout = cluster.layout
      }

      var environment: [String: String] {
        [
          "MARTLET_HOME": home.file("home"), "MARTLET_PASSWORD": "correct horse",
          "MARTLET_GATEWAY": layout.plainURLs.joined(separator: ","),
        ]
      }

      func run(_ arguments: String...) async throws -> String {
        try await Program.succeed(Program.martlet, arguments, environment: environment)
      }

      /// **Returns**: the exit code of a command that is refused in one line.
      func refused(_ arguments: [String], _ added: [String: String] = [:]) async throws -> Int32 {
        let outcome = try await Program.martlet(
          arguments, environment: environment.merging(added) { $1 })
        try #require(outcome.error.split(separator: "\n").count == 1, "\(outcome)")
        guard case .exited(let code) = outcome.ending else { return -1 }
        return code
      }

      /// Starts `listen` at the second gateway's TLS port and waits until it is connected.
      ///
      /// - Parameter name: of the files for what it writes.
      func listen(as user: String, _ name: String) async throws -> ChildProcess {
        let listening = try ChildProcess(
          Program.martlet,
          [
            "listen", "--as", user, "--gateway", layout.secureURLs[1], "--gateway-trust-roots",
            layout.certificates.authority, "--log-level", "info",
          ],
          environment: Program.environment.merging(environment) { $1 },
          output: home.file("\(name).output"), error: home.file("\(name).error"))
        do {
          try await eventually("the connection of listen", within: .seconds(20)) {
            try Program.text(home.file("\(name).error")).contains("connected(")
          }
        } catch {
          listening.send(SIGKILL)
          throw error
        }
        return listening
      }

      /// The lines that a `listen` has printed, when they are so many.
      func lines(_ name: String, _ count: Int) async throws -> [Substring] {
        try await eventually("\(count) lines of \(name)", within: .seconds(20)) {
          try Program.text(home.file("\(name).output")).split(separator: "\n").count >= count
        }
        return try Program.text(home.file("\(name).output")).split(separator: "\n")
      }

      func end(_ listening: ChildProcess) async throws {
        listening.send(SIGTERM)
        let ending = try await listening.waitUntilEnd(within: .seconds(10))
        try #require(ending == .exited(0))
      }
    }

    /// Alice and Bob in a fresh cluster.
    private func withShell(_ body: (Shell) async throws -> Void) async throws {
      try await Cluster.with { cluster in
        let shell = try Shell(cluster)
        defer { shell.home.remove() }
        let alice = try await shell.run("register", "alice")
        let form = /registered alice u[0-9a-z]{26}\n/
        try #require(try form.wholeMatch(in: alice) != nil, "\(alice)")
        _ = try await shell.run("register", "bob")
        try await body(shell)
      }
    }

    @Test func theReadmesFirstStepsWork() async throws {
      try await withShell { shell in
        let listening = try await shell.listen(as: "bob", "first")
        defer { listening.send(SIGKILL) }
        let sent = try await shell.run("send", "--as", "alice", "--to", "bob", "hello")
        let form = try Regex(
          #"conversation (c[0-9a-z]{26}) seq ([0-9]+) time ([0-9T:.-]+Z)\n"#,
          as: (Substring, Substring, Substring, Substring).self)
        let match = try #require(try form.wholeMatch(in: sent), "\(sent)")
        let (_, conversation, sequence, time) = match.output
        let line = "\(time) \(conversation) \(sequence) alice: hello"

        let heard = try await shell.lines("first", 2)
        try #require(heard.last.map(String.init) == line)
        try #require(heard[0].hasSuffix("alice began a direct conversation"), "\(heard)")
        try await shell.end(listening)

        let history = try await shell.run("history", "--as", "bob", "--with", "alice")
        try #require(history.split(separator: "\n").map(String.init) == heard.map(String.init))
        let list = try await shell.run("conversations", "--as", "bob")
        try #require(list.hasPrefix("\(conversation) direct \(sequence) "), "\(list)")
      }
    }

    @Test func theFirstListenShowsEverythingSinceTheLogin() async throws {
      try await withShell { shell in
        _ = try await shell.run("send", "--as", "alice", "--to", "bob", "before")
        let listening = try await shell.listen(as: "bob", "first")
        defer { listening.send(SIGKILL) }
        _ = try await shell.run("send", "--as", "alice", "--to", "bob", "after")
        let heard = try await shell.lines("first", 3)
        let said = heard.map { $0.split(separator: " ").dropFirst(3).joined(separator: " ") }
        try #require(
          said == ["alice began a direct conversation", "alice: before", "alice: after"],
          "\(heard)")
        try await shell.end(listening)
      }
    }

    @Test func listenGoesOnWhereTheLastOneStopped() async throws {
      try await withShell { shell in
        let first = try await shell.listen(as: "bob", "first")
        defer { first.send(SIGKILL) }
        _ = try await shell.run("send", "--as", "alice", "--to", "bob", "hello")
        _ = try await shell.lines("first", 2)
        try await shell.end(first)

        _ = try await shell.run("send", "--as", "alice", "--to", "bob", "while away")
        let second = try await shell.listen(as: "bob", "second")
        defer { second.send(SIGKILL) }
        _ = try await shell.run("send", "--as", "alice", "--to", "bob", "back again")
        let heard = try await shell.lines("second", 2)
        let said = heard.map { $0.split(separator: " ").dropFirst(3).joined(separator: " ") }
        try #require(said == ["alice: while away", "alice: back again"], "\(heard)")
        try await shell.end(second)
      }
    }

    @Test func whatIsRefusedIsToldInOneLineWithItsExitCode() async throws {
      try await withShell { shell in
        try #require(try await shell.refused(["register", "alice"]) == 1)
        try #require(
          try await shell.refused(["login", "alice"], ["MARTLET_PASSWORD": "wrong horse"]) == 77)
        let noPassword = ["MARTLET_PASSWORD": ""]
        try #require(try await shell.refused(["register", "carol"], noPassword) == 78)
        let send = ["send", "--as", "alice", "--to"]
        try #require(try await shell.refused(send + ["nobody", "hello"]) == 1)
        try #require(try await shell.refused(["history", "--as", "carol", "--with", "bob"]) == 77)
        _ = try await shell.run("logout", "--as", "alice")
        try #require(try await shell.refused(send + ["bob", "hello"]) == 77)
      }
    }
  }
}

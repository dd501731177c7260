import Foundation
import Testing

extension RealProcesses {
  /// `cluster/up` where something is missing, small, or not as it should be.
  @Suite struct ScriptVariantTests {
    @Test func theLeanFormIsOneProcessThatServes() async throws {
      try await ClusterScripts.with { scripts in
        let lean = ["--embedded", "--shards", "1", "--gateways", "1"]
        func up() async throws {
          try await scripts.up(
            lean[0], lean[1], lean[2], lean[3], lean[4],
            saying: "The cluster serves: 16 partitions on 1 shard,")
        }
        try await up()
        let first = try scripts.pids()
        try #require(Array(first.keys) == ["embedded"])
        try await up()
        try #require(try scripts.pids() == first)
        try await talk(scripts)
        let shown = try await scripts.run("status")
        try #require(shown.ending == .exited(0), "\(shown)")
        try #require(shown.output.contains("partitions: 16 whole"), "\(shown)")

        let victim = try #require(first["embedded"])
        try #require(kill(victim, SIGKILL) == 0)
        try await eventually("the end") { !ClusterScripts.isRunning(victim) }
        try #require(try await scripts.run("status").ending == .exited(1))
        // It is embedded and as large as it was made, without being told.
        try await scripts.up(saying: "16 partitions on 1 shard,")
        try #require(try scripts.pids()["embedded"] != victim)
        try await refuse(scripts, ["--shards", "2"], "this cluster has 1 shard; cluster/down")
        try await refuse(
          scripts, ["--gateways", "2"], "this cluster runs with 1 gateway; cluster/down first")

        try #require(try await scripts.run("down").ending == .exited(0))
        let wider = try await scripts.up("--gateways", "2", saying: "16 partitions on 1 shard,")
        try #require(wider.contains("gateway2  http://127.0.0.1:\(8081 + scripts.offset)"))
        let history = try await martlet(scripts, ["history", "--as", "bob", "--with", "alice"])
        try #require(history.contains("hello"))
      }
    }

    /// What `up` says to try next.
    private func talk(_ scripts: ClusterScripts) async throws {
      for handle in ["alice", "bob"] { _ = try await martlet(scripts, ["register", handle]) }
      _ = try await martlet(scripts, ["send", "--as", "alice", "--to", "bob", "hello"])
    }

    private func martlet(_ scripts: ClusterScripts, _ arguments: [String]) async throws -> String {
      try await Program.succeed(
        "\(scripts.state)/bin/martlet",
        arguments + ["--gateway", "http://127.0.0.1:\(8080 + scripts.offset)"],
        environment: [
          "HOME": scripts.parent.path, "XDG_CONFIG_HOME": scripts.parent.path,
          "MARTLET_PASSWORD": "correct horse",
        ])
    }

    private func refuse(
      _ scripts: ClusterScripts, _ arguments: [String], _ words: String, code: Int32 = 1
    ) async throws {
      let outcome = try await scripts.run("up", ["--binary", Program.martlet] + arguments)
      try #require(outcome.ending == .exited(code), "\(outcome)")
      try #require(outcome.error.contains(words), "\(outcome)")
    }

    @Test func withoutEtcdAndAptGetItSaysSoAndIsEmbedded() async throws {
      try await ClusterScripts.with { scripts in
        var scripts = scripts
        scripts.path = try scripts.programs(without: ["etcd", "apt-get"])
        let said = try await scripts.up()
        for line in [
          "cannot install etcd-server: there is no apt-get",
          "etcd cannot be had here: starting everything in one process instead (as with --embedded)",
        ] {
          try #require(said.split(separator: "\n").filter { $0 == line }.count == 1, "\(said)")
        }
        try #require(Array(try scripts.pids().keys) == ["embedded"])
        // Decided once: not a word of it the next time.
        let again = try await scripts.up()
        try #require(!again.contains("etcd"), "\(again)")
      }
    }

    @Test func withoutRootItSaysWhatRootHasToInstall() async throws {
      try await ClusterScripts.with { scripts in
        let programs = try scripts.programs(without: ["etcd", "dpkg-query", "apt-get"])
        // No package is there, and apt-get must not be run.
        for (name, text) in [("dpkg-query", "exit 1"), ("apt-get", "echo ran >&2; exit 1")] {
          let file = "\(programs)/\(name)"
          try "#!/bin/sh\n\(text)\n".write(toFile: file, atomically: true, encoding: .utf8)
          try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file)
        }
        // The repository may lie where nobody may look.
        let copy = scripts.parent.file("cluster")
        try FileManager.default.copyItem(atPath: "\(Program.root)/cluster", toPath: copy)
        try FileManager.default.setAttributes(
          [.posixPermissions: 0o777], ofItemAtPath: scripts.parent.path)

        let libraries = try await runAsNobody("\(copy)/up", [], scripts, programs)
        try #require(libraries.ending == .exited(1), "\(libraries)")
        try #require(
          libraries.output == """
            missing: libnghttp2-dev (HTTP/2), libssl-dev (TLS and signatures), \
            librocksdb-dev (storage), libargon2-dev (password hashes), openssl (certificates)
            to be installed by root: apt-get install libnghttp2-dev libssl-dev librocksdb-dev \
            libargon2-dev openssl

            """, "\(libraries)")
        try #require(libraries.error.isEmpty, "\(libraries)")

        // With openssl there and etcd missing it goes on without.
        try "#!/bin/sh\necho installed\n".write(
          toFile: "\(programs)/dpkg-query", atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes(
          [.posixPermissions: 0o755], ofItemAtPath: "\(programs)/dpkg-query")
        let etcd = try await runAsNobody(
          "\(copy)/up", ["--binary", "\(programs)/false"], scripts, programs)
        try #require(
          etcd.output.hasPrefix(
            """
            missing: etcd-server (agreement on who leads; its system service stays off)
            to be installed by root: apt-get install etcd-server
            etcd cannot be had here: starting everything in one process instead (as with --embedded)

            """), "\(etcd)")
        try #require(etcd.error.contains("embedded has ended"), "\(etcd)")
      }
    }

    private func runAsNobody(
      _ program: String, _ arguments: [String], _ scripts: ClusterScripts, _ path: String
    ) async throws -> Program.Outcome {
      var environment = scripts.environment
      environment["PATH"] = path
      guard geteuid() == 0 else {
        return try await Program.run(program, arguments, environment: environment)
      }
      return try await Program.run(
        "/usr/bin/setpriv",
        ["--reuid=nobody", "--regid=nogroup", "--clear-groups", program] + arguments,
        environment: environment)
    }

    @Test(arguments: [
      (["--shards", "0"], "--shards '0'; allowed is a whole number from 1 to 16"),
      (["--shards", "17"], "--shards '17'; allowed is a whole number from 1 to 16"),
      (["--gateways", "two"], "--gateways 'two'; allowed is a whole number from 1 to 16"),
      (
        ["--partitions", "65537"], "--partitions '65537'; allowed is a whole number from 1 to 65536"
      ),
      (["--partitions", "08"], "--partitions '08'; allowed is"),
      (["--partitions"], "--partitions ''; allowed is"),
      (["--replicas", "3"], "Usage: cluster/up"), (["now"], "Usage: cluster/up"),
    ])
    func sizesThatMakeNoSenseAreRefusedAndNothingIsMade(
      arguments: [String], words: String
    ) async throws {
      try await ClusterScripts.with { scripts in
        try await refuse(scripts, arguments, words, code: 64)
        try #require(!FileManager.default.fileExists(atPath: scripts.state))
      }
    }

    @Test func aBinaryThatIsNoneIsRefused() async throws {
      try await ClusterScripts.with { scripts in
        let outcome = try await scripts.run("up", ["--binary", "/nowhere/martlet"])
        try #require(outcome.ending == .exited(1))
        try #require(outcome.error == "up: --binary '/nowhere/martlet' is no program\n")
      }
    }

    @Test(arguments: [8080, 8443, 7201])
    func aPortThatIsTakenIsNamedAndNothingIsStarted(port: Int) async throws {
      try await ClusterScripts.with { scripts in
        let taken = try Listener(port: UInt16(port + scripts.offset))
        let lean = ["--embedded", "--shards", "1", "--gateways", "1"]
        try await refuse(
          scripts, lean,
          "embedded needs port \(port + scripts.offset), which something else has taken "
            + "(MARTLET_PORT_OFFSET moves all)")
        try #require(!FileManager.default.fileExists(atPath: "\(scripts.state)/run/embedded"))
        taken.close()
      }
    }
  }
}

/// Something else that listens on a port of 127.0.0.1.
private struct Listener {
  private let descriptor: Int32

  init(port: UInt16) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    let isBound = Loopback.withAddress(port) { bind(descriptor, $0, $1) } == 0
    try #require(isBound && listen(descriptor, 8) == 0)
    self.descriptor = descriptor
  }

  func close() { _ = Glibc.close(descriptor) }
}

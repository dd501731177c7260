import CTUN
import Foundation
import Glibc

/// A network namespace of one test alone, with its loopback device up.
///
/// **Isolation**: any thread.
package struct NetworkNamespace: Sendable {
  package let name: String

  /// **Throws**: when `ip` fails; it has said why on standard error.
  package init() throws {
    name = "martlet-\(UInt32.random(in: 0...UInt32.max))"
    try Self.ip(["netns", "add", name])
    try Self.ip(["-netns", name, "link", "set", "lo", "up"])
  }

  package func remove() { try? Self.ip(["netns", "delete", name]) }

  /// Runs `body` within the namespace: sockets that it makes stay there. `body` must not hand its
  /// work to other threads.
  ///
  /// **Throws**: what `body` throws, and when the namespace cannot be entered.
  package func enter<Result>(_ body: () throws -> Result) throws -> Result {
    let here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
    let there = open("/run/netns/\(name)", O_RDONLY | O_CLOEXEC)
    defer { for descriptor in [here, there] where descriptor >= 0 { close(descriptor) } }
    guard here >= 0, there >= 0, setns(there, SHIM_CLONE_NEWNET) == 0 else {
      throw FaultToolError("\(name) cannot be entered: \(String(cString: strerror(errno)))")
    }
    defer {
      let isBack = setns(here, SHIM_CLONE_NEWNET) == 0
      precondition(isBack, "a thread is left in the namespace \(name)")
    }
    return try body()
  }

  private static func ip(_ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["ip"] + arguments
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw FaultToolError("ip \(arguments.joined(separator: " ")) failed")
    }
  }
}

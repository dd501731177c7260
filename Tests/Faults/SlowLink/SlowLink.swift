import ArgumentParser
import ControlSocket
import Glibc

/// A slow, lossy, breakable link between two network namespaces, for tests of what a bad network
/// does to a program. Ends at SIGTERM; its devices vanish with it.
@main
struct SlowLink: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "slow-link",
    abstract: "Joins two network namespaces by a link with delay, loss and cuts.",
    discussion: """
      Needs root and /dev/net/tun. Makes the device of the name that is given in each namespace, \
      with its address and a route to the other one's. IPv4 only, packets up to 1,500 bytes. \
      Prints 'ready' when the link can be used.

      Commands, a line each, over the control socket; each is answered by 'ok' or 'error: REASON'
      and is for packets that come afterwards, except 'cut':

        delay MIN MAX          microseconds, drawn for each packet; packets overtake each other
                               when MAX is greater than MIN
        loss PERMILLE          of packets, either way
        duplicate PERMILLE     of packets, either way; a copy has a delay of its own
        cut left               nothing that the left side sends arrives any more, not even what is
                               on its way; what the right side sends does
        cut right              the contrary
        cut both|none
        seed N                 draws begin anew
        stat                   one line of JSON: for leftToRight and rightToLeft the packets and
                               bytes that were delivered, dropped, duplicated, queued
      """)

  @Option(help: "The network namespace of the left side.")
  var leftNetns: String

  @Option(help: "The IPv4 address of the left side.")
  var leftAddress: String

  @Option(help: "The network namespace of the right side.")
  var rightNetns: String

  @Option(help: "The IPv4 address of the right side.")
  var rightAddress: String

  @Option(help: "The name of the device in both namespaces.")
  var device = "slow0"

  @Option(help: "The unix socket that takes commands.")
  var control: String

  @Option(help: "What all draws follow from.")
  var seed: UInt64 = 1

  func run() throws {
    let ending = EndSignals.pipe()
    let state = LinkState(seed: seed)
    let left = try Tunnel(
      namespace: leftNetns, device: device, address: leftAddress, peer: rightAddress)
    let right = try Tunnel(
      namespace: rightNetns, device: device, address: rightAddress, peer: leftAddress)
    let socket = try ControlSocket(path: control) { (command) throws(CommandRefusal) in
      try state.carryOut(command)
    }
    print("ready")
    fflush(nil)
    LinkLoop(state: state, left: left, right: right, ending: ending).run()
    socket.close()
  }
}

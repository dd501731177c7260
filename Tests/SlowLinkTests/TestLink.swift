import FaultSupport
import Glibc
import Testing

/// A `slow-link` between two namespaces of one test alone, with a datagram socket at each end.
final class TestLink {
  static let isPossible = geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0
  static let reason: Comment = "needs root and /dev/net/tun"

  let tool: FaultTool
  let left: NetworkNamespace
  let right: NetworkNamespace
  let leftSocket: DatagramSocket
  let rightSocket: DatagramSocket

  static let leftAddress = "10.98.0.1"
  static let rightAddress = "10.98.0.2"

  private init(_ left: NetworkNamespace, _ right: NetworkNamespace, control: String) throws {
    self.left = left
    self.right = right
    tool = try FaultTool(
      "slow-link",
      [
        "--left-netns", left.name, "--left-address", Self.leftAddress,
        "--right-netns", right.name, "--right-address", Self.rightAddress,
      ], controlPath: control)
    leftSocket = try left.enter {
      try DatagramSocket(Self.leftAddress, peer: Self.rightAddress)
    }
    rightSocket = try right.enter {
      try DatagramSocket(Self.rightAddress, peer: Self.leftAddress)
    }
  }

  /// Makes everything, runs `body`, removes everything.
  static func run(_ body: (TestLink) throws -> Void) throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let left = try NetworkNamespace()
    defer { left.remove() }
    let right = try NetworkNamespace()
    defer { right.remove() }
    let link = try TestLink(left, right, control: folder.file("control"))
    defer { link.tool.stop() }
    try body(link)
  }
}

/// Sends and receives numbers, one a datagram, at port 7,000 of both ends.
final class DatagramSocket {
  private static let port: UInt16 = 7_000
  private static let bufferBytes: Int32 = 4 << 20

  private let descriptor: Int32

  init(_ address: String, peer: String) throws {
    descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
    var bytes = Self.bufferBytes
    setsockopt(
      descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, socklen_t(MemoryLayout.size(ofValue: bytes)))
    guard SocketAddress.with(address, Self.port, { bind(descriptor, $0, $1) }) == 0,
      SocketAddress.with(peer, Self.port, { connect(descriptor, $0, $1) }) == 0
    else { throw FaultToolError("\(address): \(String(cString: strerror(errno)))") }
  }

  deinit { close(descriptor) }

  func send(_ number: Int) {
    var number = number
    _ = Glibc.send(descriptor, &number, MemoryLayout.size(ofValue: number), 0)
  }

  /// **Returns**: `nil` when nothing comes within that time.
  func receive(milliseconds: Int32) -> Int? {
    var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&polled, 1, milliseconds) == 1 else { return nil }
    var number = 0
    let size = MemoryLayout.size(ofValue: number)
    return recv(descriptor, &number, size, 0) == size ? number : nil
  }

  /// **Returns**: all that comes until nothing does for that time.
  func receiveAll(quietMilliseconds: Int32) -> [Int] {
    var numbers: [Int] = []
    while let number = receive(milliseconds: quietMilliseconds) { numbers.append(number) }
    return numbers
  }
}

enum SocketAddress {
  static func with<Result>(
    _ text: String, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
  ) -> Result {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    inet_pton(AF_INET, text, &address.sin_addr)
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
  }
}

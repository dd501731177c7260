import CTUN
import Glibc

/// Why a device cannot be made.
struct TunnelError: Error, CustomStringConvertible {
  let description: String

  init(_ call: String) { description = "\(call): \(String(cString: strerror(errno)))" }
  init(text: String) { description = text }
}

/// A TUN device within a network namespace: packets that are routed to it can be read here, and
/// what is written here arrives there. It vanishes with this value.
///
/// **Isolation**: any thread.
struct Tunnel: ~Copyable {
  /// **Units**: bytes of a packet with its IP header.
  static let packetBytesMax = 1_500
  private static let ipVersion: UInt8 = 4

  let descriptor: Int32

  /// Makes the device, gives it its address and a route to the one of the other end, and sets it
  /// up. Enters the namespace for that, on this thread alone.
  ///
  /// - Parameter namespace: a name as `ip netns` gives it.
  /// - Parameter device: the device's name, shorter than 16 bytes.
  /// **Throws**: what the system answers.
  init(
    namespace: String, device: String, address: String, peer: String
  ) throws(TunnelError) {
    let here = try NetworkNamespace(path: "/proc/thread-self/ns/net")
    try NetworkNamespace(path: "/run/netns/\(namespace)").enter()
    let made = Result { () throws(TunnelError) in
      try Self.make(device, address: address, peer: peer)
    }
    try here.enter()
    descriptor = try made.get()
  }

  deinit { close(descriptor) }

  /// **Returns**: `nil` when there is none now. Packets of another kind than IPv4 are passed over.
  func read() -> [UInt8]? {
    while true {
      let packet = [UInt8](unsafeUninitializedCapacity: Self.packetBytesMax) { buffer, count in
        count = max(0, Glibc.read(descriptor, buffer.baseAddress, buffer.count))
      }
      if packet.isEmpty { return nil }
      if packet[0] >> 4 == Self.ipVersion { return packet }
    }
  }

  /// What the device cannot take is lost, as on any link.
  func write(_ packet: [UInt8]) { _ = Glibc.write(descriptor, packet, packet.count) }

  private static func make(
    _ device: String, address: String, peer: String
  ) throws(TunnelError) -> Int32 {
    let descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw TunnelError("/dev/net/tun") }
    var request = try self.request(device)
    request.ifr_ifru.ifru_flags = Int16(IFF_TUN | IFF_NO_PI)
    do throws(TunnelError) {
      guard ioctl(descriptor, shim_TUNSETIFF(), &request) == 0 else {
        throw TunnelError("make the device \(device)")
      }
      try configure(device, address: address, peer: peer)
      return descriptor
    } catch {
      close(descriptor)
      throw error
    }
  }

  private static func configure(
    _ device: String, address: String, peer: String
  ) throws(TunnelError) {
    let socket = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard socket >= 0 else { throw TunnelError("socket") }
    defer { close(socket) }

    func set(
      _ what: Int32, _ call: String, _ fill: (inout ifreq) throws(TunnelError) -> Void
    ) throws(TunnelError) {
      var request = try self.request(device)
      try fill(&request)
      guard ioctl(socket, UInt(what), &request) == 0 else {
        throw TunnelError("\(call) of \(device)")
      }
    }
    // The peer's address before the device is up: it becomes the route then.
    try set(SIOCSIFADDR, "address \(address)") { (request) throws(TunnelError) in
      request.ifr_ifru.ifru_addr = try socketAddress(address)
    }
    try set(SIOCSIFDSTADDR, "peer \(peer)") { (request) throws(TunnelError) in
      request.ifr_ifru.ifru_dstaddr = try socketAddress(peer)
    }
    try set(SIOCSIFMTU, "MTU") { $0.ifr_ifru.ifru_mtu = Int32(packetBytesMax) }
    let flags = IFF_UP | IFF_RUNNING | IFF_POINTOPOINT
    try set(SIOCSIFFLAGS, "flags") { $0.ifr_ifru.ifru_flags = Int16(flags) }
  }

  private static func request(_ device: String) throws(TunnelError) -> ifreq {
    var request = ifreq()
    let name = device.utf8
    let capacity = MemoryLayout.size(ofValue: request.ifr_ifrn)
    guard name.count < capacity else { throw TunnelError(text: "\(device) is too long a name") }
    withUnsafeMutableBytes(of: &request.ifr_ifrn) { $0.copyBytes(from: name) }
    return request
  }

  private static func socketAddress(_ text: String) throws(TunnelError) -> sockaddr {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    guard inet_pton(AF_INET, text, &address.sin_addr) == 1 else {
      throw TunnelError(text: "\(text) is no IPv4 address")
    }
    return withUnsafeBytes(of: address) { $0.load(as: sockaddr.self) }
  }
}

/// A network namespace that is held open.
private struct NetworkNamespace: ~Copyable {
  private let descriptor: Int32
  private let path: String

  init(path: String) throws(TunnelError) {
    self.path = path
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw TunnelError(path) }
  }

  deinit { close(descriptor) }

  /// For the calling thread.
  func enter() throws(TunnelError) {
    guard setns(descriptor, SHIM_CLONE_NEWNET) == 0 else { throw TunnelError("enter \(path)") }
  }
}

import Glibc
import NIOCore
import NIOPosix
import SocketErrors
import Testing

@Suite struct SocketErrorsTests {
  private static let group = MultiThreadedEventLoopGroup.singleton

  /// **Returns**: how connecting failed.
  private func failure(host: String, port: Int) async -> (any Error)? {
    do {
      let channel = try await ClientBootstrap(group: Self.group)
        .connectTimeout(.seconds(5)).connect(host: host, port: port).get()
      try await channel.close()
      return nil
    } catch {
      return error
    }
  }

  private func listener(port: Int) async throws -> any Channel {
    try await ServerBootstrap(group: Self.group).bind(host: "127.0.0.1", port: port).get()
  }

  @Test func aClosedPortIsRefusedAndSaidOnce() async throws {
    let closed = try await listener(port: 0)
    let port = try #require(closed.localAddress?.port)
    try await closed.close()
    for host in ["127.0.0.1", "localhost"] {
      let error = try #require(await failure(host: host, port: port))
      #expect(SocketErrors.text(of: error).hasPrefix("connection refused"))
      #expect(!SocketErrors.text(of: error).contains("("))
    }
    let error = try #require(await failure(host: "127.0.0.1", port: port))
    #expect(SocketErrors.text(of: error) == "connection refused")
    #expect(SocketErrors.isRefused(error))
  }

  @Test func aHostThatIsNotKnownIsNamed() async throws {
    let error = try #require(await failure(host: "nobody.invalid", port: 1))
    #expect(SocketErrors.text(of: error) == "the host nobody.invalid is not known")
    #expect(!SocketErrors.isRefused(error))
  }

  @Test func aPortInUseIsSaid() async throws {
    let first = try await listener(port: 0)
    let port = try #require(first.localAddress?.port)
    do {
      _ = try await listener(port: port)
      Issue.record("two listeners on one port")
    } catch {
      #expect(SocketErrors.text(of: error) == "address already in use")
    }
    try await first.close()
  }

  @Test func timesAreInMilliseconds() {
    let error = ChannelError.connectTimeout(.milliseconds(1_500))
    #expect(SocketErrors.text(of: error) == "no connection within 1500 ms")
    #expect(!SocketErrors.isRefused(error))
  }

  @Test func otherErrorsAreLeftAsTheyAre() {
    struct Other: Error, CustomStringConvertible { let description = "something else" }
    #expect(SocketErrors.text(of: Other()) == "something else")
    #expect(SocketErrors.text(of: ChannelError.eof) == "the connection was closed")
  }
}

import NIOCore
import Primitives
import RawSockets
import TLSEngine
import WebSocketEngine

@testable import Transport

extension RawConnection {
  static func open(
    _ port: Int, tls: TLSContext?, reads: Bool = true
  ) async throws -> RawConnection {
    try await open(port, reads: reads) { channel in
      guard let tls else { return }
      let client = try TLSConnection(client: tls, expecting: .anyTrusted)
      try channel.pipeline.syncOperations.addHandler(TLSHandler(client, handshakeTimeout: 2_000))
    }
  }

  static let upgrade = upgradeRequest(
    "/v1/ws", subprotocol: "martlet.v1.json", ["Origin: https://chat.test"])

  /// A client whose WebSocket is open; the answer to the upgrade is forgotten.
  static func webSocket(
    _ port: Int, tls: TLSContext? = nil, reads: Bool = true
  ) async throws -> RawConnection {
    let connection = try await open(port, tls: tls, reads: reads)
    try await connection.reads(true)
    try await connection.send(upgrade)
    _ = try await connection.head()
    if !reads { try await connection.reads(false) }
    return connection
  }

  func sendFrame(_ opcode: WebSocketOpcode, _ payload: [UInt8]) async throws {
    try await send(RawFrame(opcode.rawValue, payload).masked)
  }
}

import Primitives
import Testing

@testable import WebSocketEngine

@Suite struct FrameFuzzTests {
  private let limits = WebSocketLimits(
    frameBytesMax: 2_000, messageBytesMax: 3_000, fragmentsMax: 5, pingInterval: 0)

  /// A stream of random but mostly valid frames.
  private func stream(_ random: inout SeededRandom) -> [UInt8] {
    var bytes: [UInt8] = []
    for _ in 0..<Int.random(in: 1...6, using: &random) {
      let opcodes: [WebSocketOpcode] = [.text, .binary, .continuation, .ping, .pong, .close]
      let opcode = opcodes.randomElement(using: &random) ?? .text
      let most = opcode.isControl ? 125 : 400
      let payload = (0..<Int.random(in: 0...most, using: &random)).map { _ in
        opcode == .binary ? UInt8(truncatingIfNeeded: random.next()) : UInt8(ascii: "x")
      }
      bytes += FrameEncoder.encodeMasked(
        opcode, payload, isFinal: opcode.isControl || Bool.random(using: &random),
        maskingKey: UInt32(truncatingIfNeeded: random.next()))
    }
    return bytes
  }

  @Test func damagedStreamsNeverTrapAndCuttingNeverChangesTheVerdict() {
    let seed: UInt64 = 6_455
    print("FrameFuzzTests seed \(seed)")
    var random = SeededRandom(seed: seed)
    var failureCount = 0
    var eventCount = 0
    for round in 0..<4_000 {
      var bytes = stream(&random)
      for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes.remove(at: place)
        default: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: place)
        }
      }
      let role = round % 8 == 0 ? WebSocketRole.client : .server
      let whole = FrameFixture.decode(bytes, role: role, limits: limits)
      for pieceBytes in [1, Int.random(in: 2...50, using: &random)] {
        let cut = FrameFixture.decode(bytes, role: role, limits: limits, pieceBytes: pieceBytes)
        #expect(cut == whole, "round \(round)")
      }
      failureCount += whole.error == nil ? 0 : 1
      eventCount += whole.events.count
    }
    #expect(failureCount > 1_000 && eventCount > 1_000)
  }

  @Test func noiseNeverTraps() {
    let seed: UInt64 = 1
    print("FrameFuzzTests.noise seed \(seed)")
    var random = SeededRandom(seed: seed)
    let likelyStarts: [[UInt8]] = [[], [0x81], [0x82, 0xfe], [0x01, 0xff], [0x89], [0x88, 0x82]]
    var errors: Set<WebSocketCloseCode> = []
    for _ in 0..<5_000 {
      let noise = (0..<Int.random(in: 0...64, using: &random)).map { _ in
        UInt8(truncatingIfNeeded: random.next())
      }
      let bytes = (likelyStarts.randomElement(using: &random) ?? []) + noise
      if let error = FrameFixture.decode(bytes, limits: limits).error {
        errors.insert(error.closeCode)
      }
    }
    #expect(errors.contains(.protocolError) && errors.contains(.messageTooBig))
  }
}

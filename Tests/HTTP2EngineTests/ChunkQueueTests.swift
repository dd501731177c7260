import Primitives
import Testing

@testable import HTTP2Engine

@Suite struct ChunkQueueTests {
  @Test func `bytes come out in order whatever the cuts`() {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    var queue = ChunkQueue()
    var model: [UInt8] = []
    for round in 0..<2_000 {
      for _ in 0..<Int.random(in: 0...3, using: &random) {
        let piece = (0..<Int.random(in: 0...40, using: &random)).map { _ in
          UInt8.random(in: 0...255, using: &random)
        }
        queue.append(piece)
        model += piece
      }
      // Now and then everything leaves; between, the queue grows past the point where it compacts.
      let capacity = round % 500 == 499 ? 1 << 20 : Int.random(in: 1...60, using: &random)
      var target = [UInt8](repeating: 0, count: capacity)
      let moved = target.withUnsafeMutableBytes { buffer in
        queue.move(to: buffer.baseAddress!, capacity: capacity)
      }
      #expect(moved == min(capacity, model.count))
      #expect(Array(target.prefix(moved)) == Array(model.prefix(moved)))
      model.removeFirst(moved)
      #expect(queue.byteCount == model.count)
    }
  }
}

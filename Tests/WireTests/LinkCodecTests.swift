import ChatModel
import Foundation
import NodeProtocol
import Primitives
import SwiftProtobuf
import Testing
import Wire

@Suite struct LinkCodecTests {
  @Test func everyFrameIsWrittenAsTheSchemaSays() throws {
    try forRandomValues(60) { (values: inout RandomValues) throws in
      for frame in values.everyLinkFrame() {
        var twin = ProtoLinkBatch()
        twin.frames = [ProtoLinkFrame(frame)]
        #expect(LinkCodec.encode([frame]) == (try twin.serializedBytes() as [UInt8]), "\(frame)")
      }
    }
  }

  @Test func everyFrameIsReadBackFromWhatTheTwinWrites() throws {
    try forRandomValues(60) { (values: inout RandomValues) throws in
      let frames = values.everyLinkFrame().shuffled(using: &values.random)
      var twin = ProtoLinkBatch()
      twin.frames = frames.map(ProtoLinkFrame.init)
      #expect(try LinkCodec.decode(try twin.serializedBytes() as [UInt8]) == frames)
      #expect(try LinkCodec.decode(LinkCodec.encode(frames)) == frames)
    }
  }

  @Test func aSliceIsReadLikeAnArray() throws {
    let frames: [LinkFrame] = [.draining, .heartbeat(Heartbeat(boot: BootID(7), wallTime: .zero))]
    let padded = [1, 2, 3] + LinkCodec.encode(frames) + [4]
    #expect(try LinkCodec.decode(padded[3..<padded.count - 1]) == frames)
  }

  @Test func aBatchStaysWithinItsBoundUnlessOneFrameAloneIsLarger() throws {
    try forRandomValues(40) { (values: inout RandomValues) throws in
      let bytesMax = 200 + values.below(1_500)
      var writer = LinkBatchWriter(bytesMax: bytesMax)
      let frames = values.everyLinkFrame().shuffled(using: &values.random)
      var read: [LinkFrame] = []
      for frame in frames {
        let before = writer.bytes
        if !writer.append(frame) {
          #expect(writer.bytes == before, "a refused frame leaves nothing behind")
          read += try LinkCodec.decode(writer.take())
          #expect(writer.isEmpty && writer.bytes == 0)
          let added = writer.append(frame)
          #expect(added, "an empty batch takes any frame")
        }
        #expect(writer.bytes <= bytesMax || writer.frameCount == 1)
      }
      read += try LinkCodec.decode(writer.take())
      #expect(read == frames)
    }
  }

  @Test func aFrameThatJustFitsIsTakenAndOneByteLessRefusesIt() {
    let frame = LinkFrame.request(
      Request(id: 1, partition: PartitionID(2), operation: .command([1, 2, 3])))
    let bytes = LinkCodec.encode([frame]).count
    var exact = LinkBatchWriter(bytesMax: 2 * bytes)
    #expect((0..<3).map { _ in exact.append(frame) } == [true, true, false])
    var short = LinkBatchWriter(bytesMax: 2 * bytes - 1)
    #expect((0..<2).map { _ in short.append(frame) } == [true, false])
  }

  @Test func aCutBatchIsRefusedAtEveryByteThatEndsNoFrame() throws {
    var values = RandomValues(seed: 11)
    let frames = values.everyLinkFrame().filter { LinkCodec.encode([$0]).count < 2_000 }
    for frame in frames {
      let bytes = LinkCodec.encode([frame])
      for length in 1..<bytes.count {
        #expect(throws: LinkCodecError.self, "\(frame) cut at \(length)") {
          try LinkCodec.decode(bytes.prefix(length))
        }
      }
    }
  }

  @Test func changedBytesAreReadOrRefusedButNeverTrap() {
    forRandomValues(10) { values in
      var refusedCount = 0
      for frame in values.everyLinkFrame() {
        for changed in values.damaged(LinkCodec.encode([frame]), mutationCount: 60) {
          if (try? LinkCodec.decode(changed)) == nil { refusedCount += 1 }
        }
      }
      #expect(refusedCount > 100)
    }
  }

  @Test func whatIsReadFromChangedBytesCanBeWrittenAndReadAgain() throws {
    try forRandomValues(10) { (values: inout RandomValues) throws in
      for frame in values.everyLinkFrame() {
        for changed in values.damaged(LinkCodec.encode([frame]), mutationCount: 30) {
          guard let frames = try? LinkCodec.decode(changed), frames.count == 1 else { continue }
          guard Self.isWritable(frames[0]) else { continue }
          #expect(try LinkCodec.decode(LinkCodec.encode(frames)) == frames)
        }
      }
    }
  }

  /// A zero id may be read from 16 zero bytes in places where no absence is told apart.
  private static func isWritable(_ frame: LinkFrame) -> Bool {
    if case .request(let request) = frame, case .query = request.operation { return false }
    return true
  }

  @Test func aFrameWithTwoVariantsOrNoneOrAnUnknownOneIsRefused() {
    let draining: [UInt8] = [0x5a, 0]
    let unknown: [UInt8] = [0x62, 0]
    for body in [draining + draining, [], unknown, draining + unknown] {
      let batch = [0x0a, UInt8(body.count)] + body
      #expect(throws: LinkCodecError.malformed(.unknownVariant)) { try LinkCodec.decode(batch) }
    }
  }

  @Test func tooManyFramesAndTooManyBytesAreRefusedByTheirLimits() {
    let frame: [UInt8] = [0x0a, 2, 0x5a, 0]
    var batch: [UInt8] = []
    for _ in 0..<LinkCodec.framesPerBatchMax { batch += frame }
    #expect((try? LinkCodec.decode(batch))?.count == LinkCodec.framesPerBatchMax)
    #expect(throws: LinkCodecError.tooManyFrames) { try LinkCodec.decode(batch + frame) }
    let large = [UInt8](repeating: 0, count: LinkCodec.batchBytesMax + 1)
    #expect(throws: LinkCodecError.tooManyBytes(large.count)) { try LinkCodec.decode(large) }
  }

  @Test func anEntryWithoutEpochOrIndexIsRefused() {
    var twin = ProtoLinkFrame()
    twin.replica.from.store = 1
    twin.replica.to.store = 2
    twin.replica.append.entries = [.with { $0.index = 1 }]
    let bytes = (try? twin.serializedBytes() as [UInt8]) ?? []
    let batch = [0x0a, UInt8(bytes.count)] + bytes
    #expect(throws: LinkCodecError.malformed(.missingField(1))) { try LinkCodec.decode(batch) }
  }
}

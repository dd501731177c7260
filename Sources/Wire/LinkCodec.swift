import ChatModel
package import NodeProtocol
package import Primitives

/// Why a batch from another node cannot be read. The link is closed.
package enum LinkCodecError: Error, Equatable, Sendable {
  case malformed(ProtobufError)
  /// More than `LinkCodec.batchBytesMax`.
  case tooManyBytes(Int)
  /// More than `LinkCodec.framesPerBatchMax`.
  case tooManyFrames
}

/// What travels between nodes, as bytes: `martlet.v1.LinkBatch`, written and read by hand.
///
/// Back of the envelope, per durable message of 100 bytes on a cluster of three: the gateway
/// encodes a request and decodes a response; the leader does the opposite, encodes two appends and
/// decodes two acknowledgements (shared by the messages of a turn), and encodes a delivery per
/// gateway.
///
/// Measured (release, nanoseconds of CPU per frame, in batches of 64; swift-protobuf in the same
/// run takes four to nine times as long):
///
/// | frame | bytes | encode | decode |
/// |---|---|---|---|
/// | request (send) | 177 | 100 | 115 |
/// | append of one entry | 249 | 255 | 275 |
/// | append of 16 entries | 3,039 | 3,300 | 1,330 |
/// | appended | 61 | 180 | 155 |
/// | response (sent) | 21 | 110 | 85 |
/// | delivery (message) | 170 | 230 | 240 |
///
/// **Invariant**: no input traps; a batch of n bytes takes memory of the order of n.
package enum LinkCodec {
  /// The largest batch that is read. An entry holds at most one turn of a leader's loop, and
  /// `LinkBatchWriter` keeps batches far below this.
  package static let batchBytesMax = 16 * 1_048_576
  /// More are refused as a whole.
  package static let framesPerBatchMax = 65_536

  package static func encode(_ frames: [LinkFrame]) -> [UInt8] {
    var batch = LinkBatchWriter(bytesMax: .max)
    for frame in frames { batch.append(frame) }
    return batch.take()
  }

  /// **Throws**: `LinkCodecError`; nothing of the batch may be acted upon then.
  package static func decode(_ batch: ArraySlice<UInt8>) throws(LinkCodecError) -> [LinkFrame] {
    guard batch.count <= batchBytesMax else { throw .tooManyBytes(batch.count) }
    let frames: [LinkFrame]
    do {
      frames = try ProtobufScanner.read(batch) {
        (reader: inout ProtobufScanner) throws(ProtobufError) in
        var frames: [LinkFrame] = []
        while let field = try reader.next() {
          guard field.number == 1 else { continue }
          frames.append(try LinkFrame(decoding: try field.reader()))
          if frames.count > framesPerBatchMax { break }
        }
        return frames
      }
    } catch {
      throw .malformed(error)
    }
    guard frames.count <= framesPerBatchMax else { throw .tooManyFrames }
    return frames
  }

  /// The same for a whole array.
  package static func decode(_ batch: [UInt8]) throws(LinkCodecError) -> [LinkFrame] {
    try decode(batch[...])
  }
}

/// Builds one batch frame by frame within a bound, so that a link can stop when its stream is full.
package struct LinkBatchWriter: Sendable {
  /// **Units**: bytes of an encoded batch. A single frame may be larger and then goes alone.
  package let bytesMax: Int
  package private(set) var frameCount = 0
  private var writer: FrameWriter
  /// For the inner part of a frame whose length is not known beforehand.
  private var scratch = FrameWriter()

  package init(bytesMax: Int, reservingBytes capacity: Int = 0) {
    self.bytesMax = bytesMax
    writer = FrameWriter(reservingBytes: capacity)
  }

  package var isEmpty: Bool { frameCount == 0 }
  /// Of the batch so far. **Units**: bytes.
  package var bytes: Int { writer.bytes.count }

  /// Adds a frame, unless it would make a batch that is not empty longer than `bytesMax`.
  ///
  /// **Returns**: whether the frame was added.
  @discardableResult
  package mutating func append(_ frame: LinkFrame) -> Bool {
    switch frame {
    case .replica(let message):
      if case .append(let previous, let entries, let commitIndex) = message.body {
        let append = AppendLayout(message, previous, entries, commitIndex)
        guard reserve(append.frameBytes) else { return false }
        append.write(to: &writer)
        return true
      }
    case .request(let request):
      if case .command(let command) = request.operation {
        let bytes = request.bytes(command: command)
        guard reserve(FieldBytes.element(bytes)) else { return false }
        writer.header(LinkFrame.requestField, bytes: bytes)
        request.encode(command: command, into: &writer)
        return true
      }
    case .delivery(let delivery):
      if case .event(let event) = delivery.content, case .message(let text) = event.content {
        let layout = MessageDeliveryLayout(delivery, event, text)
        guard reserve(layout.frameBytes) else { return false }
        layout.write(to: &writer)
        return true
      }
    default: break
    }
    scratch.removeAll()
    frame.encode(into: &scratch)
    return appendEncoded(scratch.bytes)
  }

  /// The batch so far; the writer starts anew.
  package mutating func take() -> [UInt8] {
    let batch = writer.bytes
    writer = FrameWriter()
    frameCount = 0
    return batch
  }

  private mutating func appendEncoded(_ frame: [UInt8]) -> Bool {
    let bytes = frame.count
    guard isEmpty || FieldBytes.element(bytes) <= bytesMax - writer.bytes.count else {
      return false
    }
    frameCount += 1
    writer.element(1, frame)
    return true
  }

  /// Begins a frame of this many bytes.
  private mutating func reserve(_ bytes: Int) -> Bool {
    guard isEmpty || FieldBytes.element(bytes) <= bytesMax - writer.bytes.count else {
      return false
    }
    frameCount += 1
    writer.header(1, bytes: bytes)
    return true
  }
}

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
/// Back of the envelope, per durable message of 100 bytes on a cluster of three: the gateway encodes a
/// request and decodes a response; the leader decodes one, encodes two appends (shared by the messages
/// of a turn), decodes two acknowledgements, encodes a response and a delivery per gateway. So about
/// ten codings, and each has a budget of 0.1 µs.
///
/// **Invariant**: no input traps; a batch of n bytes takes memory of the order of n.
package enum LinkCodec {
  /// The largest batch that is read. An entry holds at most one turn of a leader's loop, and
  /// `LinkBatchWriter` keeps batches far below this.
  package static let batchBytesMax = 16 * 1_048_576
  package static let framesPerBatchMax = 65_536

  package static func encode(_ frames: [LinkFrame]) -> [UInt8] {
    var batch = LinkBatchWriter(bytesMax: .max)
    for frame in frames { batch.append(frame) }
    return batch.take()
  }

  /// **Throws**: `LinkCodecError`; nothing of the batch may be acted upon then.
  package static func decode(_ batch: ArraySlice<UInt8>) throws(LinkCodecError) -> [LinkFrame] {
    guard batch.count <= batchBytesMax else { throw .tooManyBytes(batch.count) }
    var frames: [LinkFrame] = []
    var reader = ProtobufReader(batch)
    do {
      while let field = try reader.next() {
        guard field.number == 1 else { continue }
        frames.append(try LinkFrame(decoding: try field.reader()))
        if frames.count > framesPerBatchMax { break }
      }
    } catch {
      throw .malformed(error)
    }
    guard frames.count <= framesPerBatchMax else { throw .tooManyFrames }
    return frames
  }

  package static func decode(_ batch: [UInt8]) throws(LinkCodecError) -> [LinkFrame] {
    try decode(batch[...])
  }
}

/// Builds one batch frame by frame within a bound, so that a link can stop when its stream is full.
package struct LinkBatchWriter: Sendable {
  /// **Units**: bytes of an encoded batch. A single frame may be larger and then goes alone.
  package let bytesMax: Int
  package private(set) var frameCount = 0
  private var writer: ProtobufWriter
  /// For the inner part of a frame whose length is not known beforehand.
  private var scratch = ProtobufWriter()

  package init(bytesMax: Int, reservingBytes capacity: Int = 0) {
    self.bytesMax = bytesMax
    writer = ProtobufWriter(reservingBytes: capacity)
  }

  package var isEmpty: Bool { frameCount == 0 }
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
        guard reserve(ProtobufSize.element(bytes)) else { return false }
        writer.header(LinkFrame.requestField, bytes: bytes)
        request.encode(command: command, into: &writer)
        return true
      }
    case .delivery(let delivery):
      if case .event(let event) = delivery.content {
        scratch.removeAll()
        event.encode(into: &scratch)
        let bytes = delivery.bytes(event: scratch.bytes)
        guard reserve(ProtobufSize.element(bytes)) else { return false }
        writer.header(LinkFrame.deliveryField, bytes: bytes)
        delivery.encode(event: scratch.bytes, into: &writer)
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
    writer = ProtobufWriter()
    frameCount = 0
    return batch
  }

  private mutating func appendEncoded(_ frame: [UInt8]) -> Bool {
    let bytes = frame.count
    guard isEmpty || ProtobufSize.element(bytes) <= bytesMax - writer.bytes.count else { return false }
    frameCount += 1
    writer.element(1, frame)
    return true
  }

  /// Begins a frame of this many bytes.
  private mutating func reserve(_ bytes: Int) -> Bool {
    guard isEmpty || ProtobufSize.element(bytes) <= bytesMax - writer.bytes.count else { return false }
    frameCount += 1
    writer.header(1, bytes: bytes)
    return true
  }
}

/// Lengths of fields with numbers below 16, as `ProtobufWriter` writes them.
///
/// **Units**: bytes.
enum ProtobufSize {
  static func varint(_ value: UInt64) -> Int { (70 - (value | 1).leadingZeroBitCount) / 7 }
  static func uint(_ value: UInt64) -> Int { value == 0 ? 0 : 1 + varint(value) }
  static func fixed64(_ value: UInt64) -> Int { value == 0 ? 0 : 9 }
  static func element(_ bytes: Int) -> Int { 1 + varint(UInt64(bytes)) + bytes }
}

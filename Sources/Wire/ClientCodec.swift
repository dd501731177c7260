package import ChatModel
package import ClientProtocol
import Primitives

/// How a client wants to be spoken to.
package enum ClientEncoding: Sendable, CaseIterable {
  case json
  case protobuf

  /// The WebSocket subprotocol's name.
  package var subprotocol: String {
    switch self {
    case .json: "martlet.v1.json"
    case .protobuf: "martlet.v1.proto"
    }
  }

  package init?(subprotocol: some StringProtocol) {
    guard let encoding = Self.allCases.first(where: { $0.subprotocol == subprotocol }) else {
      return nil
    }
    self = encoding
  }
}

/// Why nothing in a WebSocket message (or a body) could be read.
package enum ClientCodecError: Error, Equatable, Sendable {
  /// The bytes are not written in their encoding.
  case malformed(String)
  /// More than `ClientCodec.messageBytesMax`.
  case tooManyBytes
  /// More than `ClientCodec.operationsPerMessageMax`; none of them was begun.
  case tooManyOperations

  /// What the client is told, without a `ref`.
  package var serviceError: ServiceError {
    switch self {
    case .malformed(let what): ServiceError(.invalidArgument, "malformed: \(what)")
    case .tooManyBytes:
      ServiceError(
        .invalidArgument, "a message is at most \(ClientCodec.messageBytesMax) bytes")
    case .tooManyOperations:
      ServiceError(
        .invalidArgument,
        "a message carries at most \(ClientCodec.operationsPerMessageMax) operations; none of this "
          + "one's was begun")
    }
  }
}

/// One operation that could not be read, in a message whose other operations may be fine.
package struct RefusedOperation: Error, Equatable, Sendable {
  /// The operation's `ref`, or nothing when that was unreadable.
  package var ref: String
  package var error: ServiceError

  package init(ref: String, error: ServiceError) {
    self.ref = ref
    self.error = error
  }

  /// The answer.
  package var frame: ServerFrame { ServerFrame(ref: ref, body: .error(error)) }
}

/// Frames of client.proto as JSON text and as protobuf, both ways.
///
/// A field's number and name are said once, in `…Fields.swift`; `FieldReader` and `FieldWriter`
/// have two forms each. The tests hold both to swift-protobuf: the same bytes, the same inputs
/// accepted, but for these: a JSON field given twice is refused, as is an operation given twice in
/// one frame (protobuf would merge them), and JSON lists `items`, `events` and a conversation's
/// `members` are written even when empty.
///
/// Measured (release, nanoseconds of CPU, text of 100 bytes; swift-protobuf in the same run: 1,300
/// to read a send from JSON, 2,600 to write an event as JSON):
///
/// | | JSON | protobuf |
/// |---|---|---|
/// | read a send | 540 | 630 |
/// | write its answer | 170 | 190 |
/// | write an event, once for all sessions of a gateway | 240 | 345 |
package enum ClientCodec {
  /// **Units**: bytes of one WebSocket message.
  package static let messageBytesMax = 1_048_576
  /// More are refused as a whole.
  package static let operationsPerMessageMax = 256
  /// Items of one page, of conversations or of events.
  package static let pageMax = ChatLimits.historyPageMax
  /// Items of a page when the client does not say.
  package static let pageDefault = 50
  /// **Units**: bytes of a token's text.
  package static let tokenBytesMax = 4_096
  /// **Units**: bytes of the sentence in an error, as a client reads it.
  package static let errorMessageBytesMax = 4_096

  private static let frames = FieldNames([1: "frames"])
}

// MARK: What clients say

extension ClientCodec {
  /// Reads a WebSocket text message: one operation, or an array of them.
  ///
  /// **Returns**: one result per operation, in their order.
  /// **Throws**: `ClientCodecError` when nothing of the message may be acted upon.
  package static func decode(
    text: ArraySlice<UInt8>
  ) throws(ClientCodecError) -> [Result<ClientFrame, RefusedOperation>] {
    guard text.count <= messageBytesMax else { throw .tooManyBytes }
    do throws(WireFault) {
      return try decodeJSON(text)
    } catch {
      throw error == tooManyOperations ? .tooManyOperations : .malformed(error.reason)
    }
  }

  /// The same for a whole array.
  package static func decode(
    text: [UInt8]
  ) throws(ClientCodecError) -> [Result<ClientFrame, RefusedOperation>] {
    try decode(text: text[...])
  }

  /// Reads a WebSocket binary message: a `martlet.v1.ClientBatch`.
  ///
  /// **Returns**: one result per operation, in their order.
  /// **Throws**: `ClientCodecError` when nothing of the message may be acted upon.
  package static func decode(
    binary: ArraySlice<UInt8>
  ) throws(ClientCodecError) -> [Result<ClientFrame, RefusedOperation>] {
    guard binary.count <= messageBytesMax else { throw .tooManyBytes }
    var results: [Result<ClientFrame, RefusedOperation>] = []
    var batch = ProtobufFieldReader(binary)
    do throws(WireFault) {
      while try batch.next(frames) != nil {
        guard results.count < operationsPerMessageMax else { throw tooManyOperations }
        results.append(decodeFrame(try batch.stringBytes()))
      }
    } catch {
      throw error == tooManyOperations ? .tooManyOperations : .malformed(error.reason)
    }
    return results
  }

  /// The same for a whole array.
  package static func decode(
    binary: [UInt8]
  ) throws(ClientCodecError) -> [Result<ClientFrame, RefusedOperation>] {
    try decode(binary: binary[...])
  }

  private static let tooManyOperations = WireFault.field("frames", allowed: "too many")

  private static func decodeFrame(
    _ bytes: ArraySlice<UInt8>
  ) -> Result<ClientFrame, RefusedOperation> {
    do throws(WireFault) {
      var reader = ProtobufFieldReader(bytes)
      return .success(try ClientFrame(&reader))
    } catch {
      var reader = ProtobufFieldReader(bytes)
      let ref = (try? ClientFrame.ref(&reader)) ?? ""
      return .failure(RefusedOperation(ref: ref, error: error.serviceError))
    }
  }

  private static func decodeJSON(
    _ text: ArraySlice<UInt8>
  ) throws(WireFault) -> [Result<ClientFrame, RefusedOperation>] {
    var reader = JSONFieldReader(text)
    var results: [Result<ClientFrame, RefusedOperation>] = []
    if reader.isAtArray() {
      try reader.elements { (element: inout JSONFieldReader) throws(WireFault) in
        guard results.count < operationsPerMessageMax else { throw tooManyOperations }
        results.append(try decodeFrame(&element))
      }
    } else {
      results.append(try decodeFrame(&reader))
    }
    try reader.finish()
    return results
  }

  /// Reads one operation; if it is well-formed JSON but no good operation, passes it.
  private static func decodeFrame(
    _ reader: inout JSONFieldReader
  ) throws(WireFault) -> Result<ClientFrame, RefusedOperation> {
    let start = reader.mark
    do throws(WireFault) {
      return .success(try reader.message(ClientFrame.init))
    } catch .malformed(let what) {
      throw .malformed(what)
    } catch {
      reader.rewind(to: start)
      try reader.skipValue()
      let end = reader.mark
      reader.rewind(to: start)
      let ref = (try? reader.message(ClientFrame.ref)) ?? ""
      reader.rewind(to: end)
      return .failure(RefusedOperation(ref: ref, error: error.serviceError))
    }
  }

  /// A client's message with these operations.
  package static func encode(_ operations: [ClientFrame], as encoding: ClientEncoding) -> [UInt8] {
    switch encoding {
    case .json: encodeJSON(operations) { $0.write(to: &$1) }
    case .protobuf: encodeProtobuf(operations) { $0.write(to: &$1) }
    }
  }
}

// MARK: What gateways say

extension ClientCodec {
  /// One whole WebSocket message with one frame. What is sent to many sessions is encoded once.
  package static func encode(_ frame: ServerFrame, as encoding: ClientEncoding) -> [UInt8] {
    switch encoding {
    case .json:
      var writer = JSONFieldWriter(reservingBytes: bytesEstimate(frame))
      writer.object { frame.write(to: &$0) }
      return writer.bytes
    case .protobuf:
      var writer = ProtobufWriter(reservingBytes: bytesEstimate(frame))
      writer.message(1) { frame.write(to: &$0) }
      return writer.bytes
    }
  }

  /// One whole WebSocket message with several frames.
  package static func encode(_ frames: [ServerFrame], as encoding: ClientEncoding) -> [UInt8] {
    switch encoding {
    case .json: encodeJSON(frames) { $0.write(to: &$1) }
    case .protobuf: encodeProtobuf(frames) { $0.write(to: &$1) }
    }
  }

  /// Reads what a gateway says. A body of a later version is left out.
  ///
  /// **Throws**: `ClientCodecError.malformed` for anything that no gateway says.
  package static func decodeServerFrames(
    _ message: ArraySlice<UInt8>, as encoding: ClientEncoding
  ) throws(ClientCodecError) -> [ServerFrame] {
    do throws(WireFault) {
      var frames: [ServerFrame] = []
      switch encoding {
      case .json:
        var reader = JSONFieldReader(message)
        if reader.isAtArray() {
          try reader.elements { (element: inout JSONFieldReader) throws(WireFault) in
            if let frame = try element.message(ServerFrame.read) { frames.append(frame) }
          }
        } else if let frame = try reader.message(ServerFrame.read) {
          frames.append(frame)
        }
        try reader.finish()
      case .protobuf:
        var reader = ProtobufFieldReader(message)
        while try reader.next(Self.frames) != nil {
          if let frame = try reader.message(ServerFrame.read) { frames.append(frame) }
        }
      }
      return frames
    } catch {
      throw .malformed(error.reason)
    }
  }

  /// So that the common frames need one allocation.
  private static func bytesEstimate(_ frame: ServerFrame) -> Int {
    guard case .event(let event) = frame.body, case .message(let text) = event.content else {
      return 192
    }
    return 224 + text.utf8.count
  }

  private static func encodeJSON<Frame>(
    _ frames: [Frame], _ write: (Frame, inout JSONFieldWriter) -> Void
  ) -> [UInt8] {
    var writer = JSONFieldWriter(reservingBytes: 192 * frames.count)
    if let frame = frames.first, frames.count == 1 {
      writer.object { write(frame, &$0) }
    } else {
      writer.objects(frames, write)
    }
    return writer.bytes
  }

  private static func encodeProtobuf<Frame>(
    _ frames: [Frame], _ write: (Frame, inout ProtobufWriter) -> Void
  ) -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 128 * frames.count)
    for frame in frames { writer.message(1) { write(frame, &$0) } }
    return writer.bytes
  }
}

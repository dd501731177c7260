package import Primitives

/// What came in: whole messages and control frames, in the order of the wire.
package enum FrameEvent: Hashable, Sendable {
  /// Valid UTF-8.
  case text([UInt8])
  case binary([UInt8])
  case ping([UInt8])
  case pong([UInt8])
  /// `code` is `nil` when the peer gave none.
  case close(code: WebSocketCloseCode?, reason: String)
}

/// Turns a stream of bytes into WebSocket messages, without I/O and without a clock.
///
/// Budget: a masked text frame of 100 bytes costs one allocation (its payload) and 50 ns besides.
/// Nothing is reserved on the word of a length field: memory grows with the bytes that have really
/// come, and an idle decoder keeps none.
///
/// ```
///   header ──(complete)──▶ payload ──(complete)──▶ header
///      │                      │    └─(close frame)──▶ closed   everything after it is ignored
///      └──────(violation)─────┴──────────────────────▶ failed   throws the same error again
/// ```
///
/// **Invariant**: no input traps. Events that were complete before a violation are delivered.
///
/// **Source**: RFC 6455, sections 5 and 8.1.
package struct FrameDecoder: Sendable {
  private enum Phase {
    case header
    case payload
    case closed
    case failed(WebSocketError)
  }

  private let role: WebSocketRole
  private let limits: WebSocketLimits
  private var phase = Phase.header
  private var pings = PingAllowance()

  /// The front of a header that came in pieces; shorter than `FrameHeader.bytesMax`.
  private var partialHeader: [UInt8] = []

  /// The frame whose payload is being read, what is missing of it, and the key for what is next.
  private var opcode = WebSocketOpcode.continuation
  private var isFinal = true
  private var missingBytes = 0
  private var maskingKey: UInt32 = 0
  private var control: [UInt8] = []

  /// The message whose fragments are being collected; `nil` between messages.
  private var messageOpcode: WebSocketOpcode?
  private var message: [UInt8] = []
  private var messageBytes = 0
  private var fragmentCount = 0
  private var utf8 = UTF8Validator()

  package init(role: WebSocketRole, limits: WebSocketLimits = WebSocketLimits()) {
    self.role = role
    self.limits = limits
  }

  /// Reads everything in `bytes`, however it is cut.
  ///
  /// - Parameter now: for the limit on pings.
  /// - Parameter events: what became complete is appended.
  ///
  /// **Throws**: what the peer did wrong; the connection is to be failed with its `closeCode`.
  package mutating func feed(
    _ bytes: UnsafeRawBufferPointer, now: Instant, into events: inout [FrameEvent]
  ) throws(WebSocketError) {
    do {
      try read(bytes, now: now, into: &events)
    } catch {
      phase = .failed(error)
      (partialHeader, control, message) = ([], [], [])
      throw error
    }
  }

  /// The same for bytes in an array.
  package mutating func feed(
    _ bytes: ArraySlice<UInt8>, now: Instant, into events: inout [FrameEvent]
  ) throws(WebSocketError) {
    let result = bytes.withUnsafeBytes { raw -> Result<Void, WebSocketError> in
      Result { () throws(WebSocketError) in try feed(raw, now: now, into: &events) }
    }
    try result.get()
  }

  private mutating func read(
    _ bytes: UnsafeRawBufferPointer, now: Instant, into events: inout [FrameEvent]
  ) throws(WebSocketError) {
    var rest = bytes
    while true {
      switch phase {
      case .header:
        guard !rest.isEmpty, let header = try nextHeader(&rest) else { return }
        try begin(header)
        if rest.count >= header.payloadBytes, header.isFinal, header.opcode.isMessageStart {
          let payload = UnsafeRawBufferPointer(rebasing: rest.prefix(header.payloadBytes))
          rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(header.payloadBytes))
          events.append(try wholeMessage(payload, opcode: header.opcode))
        } else {
          phase = .payload
        }
      case .payload:
        let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(missingBytes))
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(piece.count))
        try collect(piece)
        guard missingBytes == 0 else { return }
        phase = .header
        try endFrame(now: now, into: &events)
      case .closed:
        return
      case .failed(let error):
        throw error
      }
    }
  }

  // MARK: Header

  private mutating func nextHeader(
    _ rest: inout UnsafeRawBufferPointer
  ) throws(WebSocketError) -> FrameHeader? {
    if partialHeader.isEmpty {
      if let header = try parse(rest) {
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(header.headerBytes))
        return header
      }
      partialHeader.append(contentsOf: rest)
      return nil
    }
    // One byte at a time, so that nothing beyond the header is taken from `rest`.
    while let byte = rest.first {
      partialHeader.append(byte)
      rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
      let parsed = partialHeader.withUnsafeBytes { raw -> Result<FrameHeader?, WebSocketError> in
        Result { () throws(WebSocketError) in try parse(raw) }
      }
      if let header = try parsed.get() {
        partialHeader = []
        return header
      }
    }
    return nil
  }

  private func parse(_ bytes: UnsafeRawBufferPointer) throws(WebSocketError) -> FrameHeader? {
    try FrameHeader.parse(
      bytes, role: role, frameBytesMax: limits.frameBytesMax, inMessage: messageOpcode != nil)
  }

  private mutating func begin(_ header: FrameHeader) throws(WebSocketError) {
    opcode = header.opcode
    isFinal = header.isFinal
    missingBytes = header.payloadBytes
    maskingKey = header.maskingKey
    guard !header.opcode.isControl else { return }
    if header.opcode != .continuation {
      messageOpcode = header.opcode
      messageBytes = 0
      fragmentCount = 0
      utf8 = UTF8Validator()
    }
    fragmentCount += 1
    guard fragmentCount <= limits.fragmentsMax else { throw .tooManyFragments }
    guard header.payloadBytes <= limits.messageBytesMax - messageBytes else {
      throw .messageTooLong
    }
    messageBytes += header.payloadBytes
  }

  // MARK: Payload

  /// The common case, a message in one frame that has come whole: unmasked straight into its
  /// array.
  private mutating func wholeMessage(
    _ payload: UnsafeRawBufferPointer, opcode: WebSocketOpcode
  ) throws(WebSocketError) -> FrameEvent {
    let key = maskingKey
    let bytes = [UInt8](unsafeUninitializedCapacity: payload.count) { buffer, count in
      FrameMask.apply(key, from: payload, to: UnsafeMutableRawBufferPointer(buffer))
      count = payload.count
    }
    messageOpcode = nil
    missingBytes = 0
    guard opcode == .text else { return .binary(bytes) }
    var validator = UTF8Validator()
    guard bytes.withUnsafeBytes({ validator.consume($0) }), validator.isComplete else {
      throw .invalidUTF8
    }
    return .text(bytes)
  }

  private mutating func collect(_ piece: UnsafeRawBufferPointer) throws(WebSocketError) {
    missingBytes -= piece.count
    if opcode.isControl {
      Self.append(piece, key: maskingKey, to: &control)
    } else {
      let start = message.count
      Self.append(piece, key: maskingKey, to: &message)
      if messageOpcode == .text {
        let isValid = message.withUnsafeBytes {
          utf8.consume(UnsafeRawBufferPointer(rebasing: $0[start...]))
        }
        guard isValid else { throw .invalidUTF8 }
      }
    }
    maskingKey = FrameMask.advanced(maskingKey, by: piece.count)
  }

  private static func append(
    _ piece: UnsafeRawBufferPointer, key: UInt32, to buffer: inout [UInt8]
  ) {
    let start = buffer.count
    buffer.append(contentsOf: piece)
    guard key != 0 else { return }
    buffer.withUnsafeMutableBytes { raw in
      let tail = UnsafeMutableRawBufferPointer(rebasing: raw[start...])
      FrameMask.apply(key, from: UnsafeRawBufferPointer(tail), to: tail)
    }
  }

  private mutating func endFrame(
    now: Instant, into events: inout [FrameEvent]
  ) throws(WebSocketError) {
    switch opcode {
    case .text, .binary, .continuation:
      guard isFinal else { return }
      let isText = messageOpcode == .text
      guard !isText || utf8.isComplete else { throw .invalidUTF8 }
      let payload = take(&message)
      messageOpcode = nil
      events.append(isText ? .text(payload) : .binary(payload))
    case .ping:
      guard pings.admit(now: now, limits: limits) else { throw .pingsTooFrequent }
      events.append(.ping(take(&control)))
    case .pong:
      events.append(.pong(take(&control)))
    case .close:
      let payload = take(&control)
      events.append(try closeEvent(payload))
      phase = .closed
      (message, messageOpcode) = ([], nil)
    }
  }

  /// Hands the bytes out without a copy and keeps no memory.
  private func take(_ buffer: inout [UInt8]) -> [UInt8] {
    var taken: [UInt8] = []
    swap(&taken, &buffer)
    return taken
  }

  /// **Source**: RFC 6455, sections 5.5.1 and 7.4.
  private func closeEvent(_ payload: [UInt8]) throws(WebSocketError) -> FrameEvent {
    guard !payload.isEmpty else { return .close(code: nil, reason: "") }
    guard payload.count >= 2 else { throw .closePayloadTooShort }
    let code = WebSocketCloseCode(rawValue: UInt16(payload[0]) << 8 | UInt16(payload[1]))
    guard code.maySend else { throw .closeCodeNotAllowed(code.rawValue) }
    guard let reason = String(validating: payload[2...], as: UTF8.self) else { throw .invalidUTF8 }
    return .close(code: code, reason: reason)
  }
}

extension WebSocketOpcode {
  fileprivate var isMessageStart: Bool { self == .text || self == .binary }
}

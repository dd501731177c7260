import HTTP2Engine
import Primitives
import Testing

@Suite struct GRPCDeframerTests {
  /// Reads every message of the bytes, given in pieces.
  private func read(
    _ bytes: [UInt8], pieceBytes: Int, messageBytesMax: Int = 1 << 20
  ) throws -> (messages: [[UInt8]], pendingBytes: Int) {
    var deframer = GRPCDeframer(messageBytesMax: messageBytesMax)
    var messages: [[UInt8]] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      deframer.append(Array(rest.prefix(pieceBytes)))
      rest = rest.dropFirst(pieceBytes)
      while let message = try deframer.next() { messages.append(Array(message)) }
    }
    return (messages, deframer.pendingBytes)
  }

  @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 50, 1_000, Int.max])
  func `messages survive any cut`(pieceBytes: Int) throws {
    let messages = [[], [1], pattern(5), [], pattern(300), pattern(70_000), [], [2]]
    let bytes = messages.flatMap(GRPCFraming.frame)
    let (read, pendingBytes) = try read(bytes, pieceBytes: pieceBytes)
    #expect(read == messages)
    #expect(pendingBytes == 0)
  }

  @Test func `random messages survive random cuts`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    for _ in 0..<300 {
      let messages = (0..<Int.random(in: 0...20, using: &random)).map { _ in
        pattern(Int.random(in: 0...200, using: &random))
      }
      var deframer = GRPCDeframer(messageBytesMax: 200)
      var rest = messages.flatMap(GRPCFraming.frame)[...]
      var read: [[UInt8]] = []
      while !rest.isEmpty {
        let count = Int.random(in: 0...300, using: &random)
        deframer.append(Array(rest.prefix(count)))
        rest = rest.dropFirst(count)
        // A caller may also come back later for what it has not taken.
        if Bool.random(using: &random) {
          while let message = try deframer.next() { read.append(Array(message)) }
        } else if let message = try deframer.next() {
          read.append(Array(message))
        }
      }
      while let message = try deframer.next() { read.append(Array(message)) }
      #expect(read == messages)
      #expect(deframer.pendingBytes == 0)
    }
  }

  @Test func `a message that was cut off shows as pending bytes`() throws {
    let bytes = GRPCFraming.frame(pattern(100))
    for count in 1..<bytes.count {
      let (messages, pendingBytes) = try read(Array(bytes.prefix(count)), pieceBytes: 7)
      #expect(messages.isEmpty)
      #expect(pendingBytes == count)
    }
  }

  @Test(arguments: [1, 5, Int.max])
  func `a message larger than allowed is refused by its prefix`(pieceBytes: Int) throws {
    #expect(throws: GRPCFramingError.messageTooLarge(byteCount: 101)) {
      try read(
        Array(GRPCFraming.frame(pattern(101)).prefix(5)), pieceBytes: pieceBytes,
        messageBytesMax: 100)
    }
    #expect(throws: GRPCFramingError.messageTooLarge(byteCount: 0xffff_ffff)) {
      try read([0, 255, 255, 255, 255], pieceBytes: pieceBytes, messageBytesMax: 100)
    }
    let (messages, _) = try read(
      GRPCFraming.frame(pattern(100)), pieceBytes: pieceBytes, messageBytesMax: 100)
    #expect(messages == [pattern(100)])
  }

  @Test func `a compressed message is refused, and so is everything after it`() throws {
    var deframer = GRPCDeframer(messageBytesMax: 100)
    deframer.append([1, 0, 0, 0, 1, 9] + GRPCFraming.frame([1]))
    for _ in 0..<3 {
      #expect(throws: GRPCFramingError.compressed(flag: 1)) { try deframer.next() }
    }
  }

  @Test func `a message built in place gets its length`() throws {
    var bytes: [UInt8] = [7, 7]
    GRPCFraming.appendMessage(to: &bytes) { $0 += pattern(300) }
    GRPCFraming.append(pattern(4)[1...], to: &bytes)
    #expect(bytes.prefix(7) == [7, 7, 0, 0, 0, 1, 44])
    let (messages, _) = try read(Array(bytes.dropFirst(2)), pieceBytes: .max)
    #expect(messages == [pattern(300), Array(pattern(4)[1...])])
  }
}

@Suite struct GRPCStatusTests {
  @Test(arguments: GRPCCode.allCases)
  func `a status survives its trailers`(code: GRPCCode) {
    let status = GRPCStatus(code, " 100 % „ü“\r\n\u{0} end ")
    #expect(GRPCStatus(fields: status.trailers) == status)
  }

  @Test func `a message is escaped as the protocol asks`() {
    #expect(
      GRPCStatus(.internal, "a%b\nc é").trailers == [
        HTTP2HeaderField("grpc-status", "13"),
        HTTP2HeaderField("grpc-message", "a%25b%0Ac %C3%A9"),
      ])
    #expect(GRPCStatus(.ok).trailers == [HTTP2HeaderField("grpc-status", "0")])
  }

  @Test(arguments: ["%", "%2", "%zz", "a%4", "%%41", "%ff"])
  func `broken escapes do not trap`(text: String) {
    let status = GRPCStatus(fields: [
      HTTP2HeaderField("grpc-status", "5"), HTTP2HeaderField("grpc-message", text),
    ])
    #expect(status?.code == .notFound)
    #expect(status?.message.isEmpty == false)
  }

  @Test func `fields without a valid status`() {
    #expect(GRPCStatus(fields: okFields) == nil)
    for value in ["", "x", "17", "-1", "99999999999999999999"] {
      #expect(GRPCStatus(fields: [HTTP2HeaderField("grpc-status", value)])?.code == .unknown)
    }
  }

  @Test func `other ends of a call become codes`() {
    #expect(GRPCStatus(httpStatus: "503").code == .unavailable)
    #expect(GRPCStatus(httpStatus: "404").code == .unimplemented)
    #expect(GRPCStatus(httpStatus: "302").code == .unknown)
    #expect(GRPCStatus(streamError: .refusedStream).code == .unavailable)
    #expect(GRPCStatus(streamError: .enhanceYourCalm).code == .resourceExhausted)
    #expect(GRPCStatus(streamError: .none).code == .internal)
  }

  @Test func `a call's headers carry its timeout in eight digits`() {
    func timeout(_ milliseconds: UInt64?) -> String? {
      GRPCHeaders.request(
        path: "/a.B/C", authority: "h", isSecure: false, timeoutMilliseconds: milliseconds
      ).value(of: "grpc-timeout")
    }
    #expect(timeout(nil) == nil)
    #expect(timeout(1_500) == "1500m")
    #expect(timeout(99_999_999) == "99999999m")
    #expect(timeout(100_000_000) == "100000S")
    #expect(timeout(.max) == "99999999S")
  }
}

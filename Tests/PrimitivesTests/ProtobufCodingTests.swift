import Primitives
import Testing

@Suite struct ProtobufCodingTests {
  // MARK: Vectors

  /// **Source**: protobuf.dev, "Encoding": the examples of its text.
  @Test func theExamplesOfTheDocumentationAreWrittenAndRead() throws {
    var writer = ProtobufWriter()
    writer.uint(1, UInt64(150))
    #expect(writer.bytes == [0x08, 0x96, 0x01])
    writer.removeAll()
    writer.string(2, "testing")
    #expect(writer.bytes == [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67])
    writer.removeAll()
    writer.message(3) { $0.uint(1, UInt64(150)) }
    #expect(writer.bytes == [0x1a, 0x03, 0x08, 0x96, 0x01])

    var reader = ProtobufReader(writer.bytes)
    let field = try #require(try reader.next())
    #expect(field.number == 3)
    var inner = try field.reader()
    #expect(try inner.next()?.uint64() == 150)
    #expect(try inner.next()?.number == nil)
    #expect(try reader.next()?.number == nil)
  }

  @Test func aNegativeNumberTakesTenBytes() throws {
    var writer = ProtobufWriter()
    writer.int(1, -2)
    #expect(
      writer.bytes == [0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])
    var reader = ProtobufReader(writer.bytes)
    #expect(try reader.next()?.int64() == -2)
  }

  @Test func defaultsAreLeftOutButElementsAreNot() {
    var writer = ProtobufWriter(reservingBytes: 64)
    writer.uint(1, UInt64(0))
    writer.uint(2, UInt32(0))
    writer.int(3, 0)
    writer.bool(4, false)
    writer.fixed64(5, 0)
    writer.string(6, "")
    writer.data(7, [])
    writer.identifier(8, 0)
    #expect(writer.bytes.isEmpty)
    writer.element(9, [UInt8]())
    writer.element(9, [UInt8]()[...])
    #expect(writer.bytes == [0x4a, 0, 0x4a, 0])
  }

  // MARK: Round trips

  private struct Sample: Equatable {
    var number: UInt64 = 0
    var small: UInt32 = 0
    var signed: Int64 = 0
    var flag = false
    var fixed: UInt64 = 0
    var text = ""
    var data: [UInt8] = []
    var identifier: UInt128 = 0
    var inner: [UInt64] = []

    func write(to writer: inout ProtobufWriter) {
      writer.uint(1, number)
      writer.uint(2, small)
      writer.int(3, signed)
      writer.bool(4, flag)
      writer.fixed64(5, fixed)
      writer.string(6, text)
      writer.data(7, data)
      writer.identifier(2_047, identifier)
      for value in inner { writer.message(536_870_911) { $0.uint(1, value) } }
    }

    init() {}

    init(reading bytes: ArraySlice<UInt8>) throws(ProtobufError) {
      var reader = ProtobufReader(bytes)
      while let field = try reader.next() {
        switch field.number {
        case 1: number = try field.uint64()
        case 2: small = try field.uint32()
        case 3: signed = try field.int64()
        case 4: flag = try field.bool()
        case 5: fixed = try field.fixed64()
        case 6: text = try field.string()
        case 7: data = Array(try field.bytes())
        case 2_047: identifier = try field.identifier()
        case 536_870_911:
          var nested = try field.reader()
          inner.append(try nested.next()?.uint64() ?? 0)
        default: break
        }
      }
    }

    static func random(_ random: inout SeededRandom) -> Sample {
      var sample = Sample()
      sample.number = random.next() >> UInt64.random(in: 0...63, using: &random)
      sample.small = UInt32(truncatingIfNeeded: random.next())
      sample.signed = Int64(bitPattern: random.next())
      sample.flag = Bool.random(using: &random)
      sample.fixed = random.next()
      sample.text = String(repeating: "ü€😀a", count: Int.random(in: 0...60, using: &random))
      sample.data = (0..<Int.random(in: 0...300, using: &random)).map {
        UInt8(truncatingIfNeeded: $0)
      }
      sample.identifier = UInt128(random.next()) << 64 | UInt128(random.next())
      sample.inner = (0..<Int.random(in: 0...3, using: &random)).map { _ in random.next() | 1 }
      return sample
    }
  }

  @Test func randomMessagesComeBack() throws {
    let seed: UInt64 = 77
    print("ProtobufCodingTests seed \(seed)")
    var random = SeededRandom(seed: seed)
    for _ in 0..<300 {
      let sample = Sample.random(&random)
      var writer = ProtobufWriter()
      sample.write(to: &writer)
      #expect(try Sample(reading: writer.bytes[...]) == sample)
    }
  }

  @Test func nestedMessagesOfEveryLengthFormComeBack() throws {
    for count in [0, 1, 125, 126, 127, 128, 129, 16_383, 16_384, 70_000] {
      let payload = [UInt8](repeating: 5, count: count)
      var writer = ProtobufWriter()
      writer.uint(1, UInt64(9))
      writer.message(2) { outer in outer.message(3) { $0.data(4, payload) } }
      writer.uint(5, UInt64(7))
      var reader = ProtobufReader(writer.bytes)
      #expect(try reader.next()?.uint64() == 9)
      var outer = try #require(try reader.next()).reader()
      var inner = try #require(try outer.next()).reader()
      #expect(try inner.next().map { Array(try $0.bytes()) } ?? [] == payload)
      #expect(try reader.next()?.uint64() == 7)
      #expect(try reader.next()?.number == nil)
    }
  }

  // MARK: Bad bytes

  @Test func truncationInsideAFieldIsAlwaysNoticed() {
    var random = SeededRandom(seed: 5)
    for _ in 0..<20 {
      let sample = Sample.random(&random)
      var writer = ProtobufWriter()
      var ends: Set<Int> = [0]
      sample.write(to: &writer)
      var reader = ProtobufReader(writer.bytes)
      while (try? reader.next()) ?? nil != nil {
        ends.insert(writer.bytes.count - reader.rest.count)
      }
      #expect(ends.contains(writer.bytes.count))
      for end in 0..<writer.bytes.count where !ends.contains(end) {
        #expect(throws: ProtobufError.truncated) { try Sample(reading: writer.bytes[..<end]) }
      }
    }
  }

  @Test func damagedMessagesNeverTrap() {
    let seed: UInt64 = 78
    print("ProtobufCodingTests.damaged seed \(seed)")
    var random = SeededRandom(seed: seed)
    var refusedCount = 0
    for _ in 0..<3_000 {
      var writer = ProtobufWriter()
      Sample.random(&random).write(to: &writer)
      var bytes = writer.bytes
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8(
          truncatingIfNeeded: random.next())
      }
      if (try? Sample(reading: bytes[...])) == nil { refusedCount += 1 }
    }
    #expect(refusedCount > 100)
  }

  private func first(_ bytes: [UInt8]) -> Result<UInt64?, ProtobufError> {
    Result { () throws(ProtobufError) in
      var reader = ProtobufReader(bytes)
      return try reader.next()?.scalar
    }
  }

  @Test func varintsEndAfterSixtyFourBits() {
    let ones = [UInt8](repeating: 0xff, count: 9)
    #expect(first([0x08] + ones + [0x01]) == .success(.max))
    #expect(first([0x08] + ones + [0x02]) == .failure(.varintTooLong))
    #expect(first([0x08] + ones + [0x81, 0x00]) == .failure(.varintTooLong))
    #expect(first([0x08] + [UInt8](repeating: 0x80, count: 10) + [0]) == .failure(.varintTooLong))
    #expect(first([0x08] + ones) == .failure(.truncated))
    #expect(first([0x08, 0x80, 0x00]) == .success(0))
  }

  @Test func everyVarintComesBackInItsShortestForm() {
    for bit in 0..<64 {
      for value in [UInt64(1) << bit, (UInt64(1) << bit) &- 1, ~((UInt64(1) << bit) &- 1)] {
        var writer = ProtobufWriter()
        writer.varint(value)
        let significant = 64 - value.leadingZeroBitCount
        #expect(writer.bytes.count == max(1, (significant + 6) / 7))
        #expect(first([0x08] + writer.bytes) == .success(value))
      }
    }
  }

  @Test func fieldNumbersAndWireTypesAreChecked() {
    #expect(first([]) == .success(nil))
    #expect(first([0x00, 0x00]) == .failure(.invalidFieldNumber))
    #expect(first([0x80, 0x80, 0x80, 0x80, 0x10, 0x00]) == .failure(.invalidFieldNumber))
    for wireType in [3, 4, 6, 7] as [UInt8] {
      #expect(first([0x08 | wireType, 0x00]) == .failure(.unknownWireType(wireType)))
    }
    #expect(first([0x0d, 1, 2, 3, 4]) == .success(0x0403_0201))
    #expect(first([0x0d, 1, 2, 3]) == .failure(.truncated))
    #expect(first([0x09, 1, 2, 3, 4, 5, 6, 7]) == .failure(.truncated))
    #expect(
      first([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]) == .failure(.truncated)
    )
  }

  @Test func valuesOfAnotherKindAreRefused() throws {
    func field(_ bytes: [UInt8]) throws -> ProtobufReader.Field {
      var reader = ProtobufReader(bytes)
      return try #require(try reader.next())
    }
    let number = try field([0x08, 0x01])
    let data = try field([0x0a, 0x02, 0xc0, 0x80])
    let large = try field([0x08, 0x80, 0x80, 0x80, 0x80, 0x10])
    #expect(throws: ProtobufError.wrongWireType(field: 1)) { try number.bytes() }
    #expect(throws: ProtobufError.wrongWireType(field: 1)) { try number.fixed64() }
    #expect(throws: ProtobufError.wrongWireType(field: 1)) { try data.uint64() }
    #expect(throws: ProtobufError.invalidUTF8(field: 1)) { try data.string() }
    #expect(throws: ProtobufError.wrongLength(field: 1)) { try data.identifier() }
    #expect(throws: ProtobufError.outOfRange(field: 1)) { try large.uint32() }
  }
}

import Primitives
import Testing

@Suite struct CRC32CTests {
  /// **Source**: RFC 3720, appendix B.4 (whose CRCs are printed byte by byte, least significant
  /// first), and the usual check value of the catalogue of CRCs.
  @Test func thePublishedVectorsAreMet() {
    let readCommand: [UInt8] = [
      0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
      0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ]
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xe306_9283)
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
    #expect(CRC32C.checksum([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
    #expect(CRC32C.checksum(Array(0..<32)) == 0x46dd_794e)
    #expect(CRC32C.checksum(Array((0..<32).reversed())) == 0x113f_db5c)
    #expect(CRC32C.checksum(readCommand) == 0xd996_3a56)
    #expect(CRC32C.checksum([]) == 0)
  }

  @Test func aChecksumMayBeContinuedAtAnyByte() {
    let bytes = (0..<100).map { UInt8(truncatingIfNeeded: $0 * 37) }
    let whole = CRC32C.checksum(bytes)
    bytes.withUnsafeBytes { raw in
      for cut in 0...raw.count {
        let first = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: raw[..<cut]))
        let rest = UnsafeRawBufferPointer(rebasing: raw[cut...])
        #expect(CRC32C.checksum(rest, continuing: first) == whole)
      }
    }
  }

  @Test func everySingleFlippedBitIsNoticed() {
    let bytes = (0..<40).map { UInt8($0) }
    let whole = CRC32C.checksum(bytes)
    for bit in 0..<(bytes.count * 8) {
      var damaged = bytes
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(CRC32C.checksum(damaged) != whole)
    }
  }

  @Test func whatIsSealedIsOpenedUnlessItWasChanged() {
    let body = Array("what a file holds".utf8)
    let sealed = CRC32C.sealing(body)
    #expect(CRC32C.opening(sealed) == body)
    for position in sealed.indices {
      var changed = sealed
      changed[position] ^= 1
      #expect(CRC32C.opening(changed) == nil, "byte \(position)")
      #expect(CRC32C.opening(Array(sealed[..<position])) == nil, "\(position) bytes")
    }
    #expect(CRC32C.sealing(Array("123456789".utf8)).suffix(4) == [0xe3, 0x06, 0x92, 0x83])
  }
}

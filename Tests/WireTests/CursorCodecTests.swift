import ChatModel
import ClientProtocol
import Foundation
import Primitives
import SwiftProtobuf
import Testing

@testable import Wire

@Suite struct CursorCodecTests {
  private static func bytes(_ text: String) -> Data? {
    let padding = String(repeating: "=", count: (4 - text.count % 4) % 4)
    let standard = text.replacingOccurrences(of: "-", with: "+")
      .replacingOccurrences(of: "_", with: "/")
    return Data(base64Encoded: standard + padding)
  }

  @Test func aCursorIsReadBackAndIsWhatTheSchemaSays() throws {
    try forRandomValues(500) { (values: inout RandomValues) throws in
      let cursor = values.cursor()
      let text = CursorCodec.encode(cursor)
      #expect(CursorCodec.decode(text) == cursor)
      var twin = ProtoCursor()
      twin.version = 1
      twin.user = .with {
        $0.partition = cursor.user.partition.rawValue
        $0.generation = cursor.user.generation
        $0.index = cursor.user.index.rawValue
      }
      var next: UInt32 = 0
      for position in cursor.positions {
        twin.partitionSteps.append(position.partition.rawValue + 1 - next)
        next = position.partition.rawValue + 1
      }
      twin.generations = cursor.positions.map(\.generation)
      twin.indexes = cursor.positions.map(\.index.rawValue)
      #expect(try twin.serializedBytes() as Data == Self.bytes(text))
    }
  }

  @Test func aCursorOfEveryPartitionOfTheDefaultRingFitsWhateverItsNumbers() {
    let positions = (0..<UInt32(256)).map {
      Cursor.Position(partition: PartitionID($0), generation: .max, index: LogIndex(.max))
    }
    let text = CursorCodec.encode(Cursor(user: positions[0], positions: positions))
    #expect(text.utf8.count <= CursorCodec.textBytesMax)
    #expect(CursorCodec.decode(text)?.positions == positions)
  }

  @Test func aLongerTextIsRefused() {
    #expect(CursorCodec.decode(String(repeating: "A", count: CursorCodec.textBytesMax + 4)) == nil)
  }

  @Test func otherTextsAreRefused() throws {
    let position = Cursor.Position(partition: PartitionID(1), generation: 0, index: LogIndex(2))
    let text = CursorCodec.encode(Cursor(user: position, positions: [position]))
    #expect(CursorCodec.decode(text) != nil)
    for other in ["", "A", "====", text + "=", text + " ", text + "A", "é", "\u{0}", "+/+/"] {
      #expect(CursorCodec.decode(other) == nil, "\(other)")
    }
    var steps = ProtoCursor()
    steps.version = 1
    steps.user = ProtoCursorPosition()
    steps.generations = [0, 0]
    steps.indexes = [1, 1]
    for (partitionSteps, accepted) in [
      ([1, 1], true), ([1, 0], false), ([0, 1], false), ([1], false), ([.max, .max], false),
    ] as [([UInt32], Bool)] {
      steps.partitionSteps = partitionSteps
      let text = Base64URL.encode(try steps.serializedBytes() as [UInt8])
      #expect((CursorCodec.decode(text) != nil) == accepted, "\(partitionSteps)")
    }
    steps.partitionSteps = [1, 1]
    steps.version = 2
    #expect(CursorCodec.decode(Base64URL.encode(try steps.serializedBytes() as [UInt8])) == nil)
  }

  @Test func changedTextsAreReadOrRefusedButNeverTrap() {
    forRandomValues(100) { values in
      var refusedCount = 0
      let text = Array(CursorCodec.encode(values.cursor()).utf8)
      for changed in values.damaged(text, mutationCount: 50) {
        if CursorCodec.decode(changed[...]) == nil { refusedCount += 1 }
      }
      #expect(refusedCount > 0)
    }
  }

  @Test func base64IsThatOfTheRFC() throws {
    try forRandomValues(200) { (values: inout RandomValues) throws in
      let bytes = values.bytes(values.below(40))
      let text = Base64URL.encode(bytes)
      #expect(Self.bytes(text) == Data(bytes))
      #expect(try #require(Base64URL.decode(Array(text.utf8)[...])) == bytes)
    }
    #expect(Base64URL.decode(Array("AB".utf8)[...]) == nil, "bits are set after the last byte")
  }
}

@Suite struct IdentifierTextTests {
  @Test func idsAreWrittenAndReadAsTheirTypesDo() throws {
    forRandomValues(500) { values in
      let value = values.flag() ? values.id128() : values.id128() >> UInt128(values.below(128))
      let text = ConversationID(value).description
      var bytes: [UInt8] = []
      IdentifierText.append(value, prefix: IdentifierText.conversation, to: &bytes)
      #expect(bytes == Array(text.utf8))
      let read = IdentifierText.decode128(bytes[...], prefix: IdentifierText.conversation)
      #expect(read == ConversationID(text)?.rawValue && read == (value == 0 ? nil : value))
      #expect(IdentifierText.decode128(bytes[...], prefix: IdentifierText.user) == nil)
    }
  }

  @Test func everyByteInEveryPlaceIsJudgedAsTheTypesJudgeIt() {
    let text = Array(UserID(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef).description.utf8)
    for position in text.indices {
      for byte in UInt8.min...UInt8.max where byte < 0x80 {
        var changed = text
        changed[position] = byte
        let expected = UserID(String(decoding: changed, as: UTF8.self))
        #expect(
          IdentifierText.decode128(changed[...], prefix: IdentifierText.user) == expected?.rawValue)
      }
    }
    #expect(IdentifierText.decode128(text.dropLast(), prefix: IdentifierText.user) == nil)
    #expect(IdentifierText.decode128((text + [48])[...], prefix: IdentifierText.user) == nil)
    #expect(IdentifierText.decode128([], prefix: IdentifierText.user) == nil)
  }
}

import ChatModel
import ClusterModel
import Primitives
import Testing

@testable import Wire

@Suite struct ProtobufScannerTests {
  /// What one field holds, in the terms that both readers have.
  private enum Seen: Equatable {
    case field(Int, varint: UInt64?, fixed: UInt64?, bytes: [UInt8]?, text: String?, id: UInt128?)
    case failed(ProtobufError)
  }

  private static func seenByOwner(_ bytes: [UInt8]) -> [Seen] {
    var reader = ProtobufReader(bytes)
    var seen: [Seen] = []
    do {
      while let field = try reader.next() {
        seen.append(
          .field(
            field.number, varint: try? field.uint64(), fixed: try? field.fixed64(),
            bytes: (try? field.bytes()).map { Array($0) }, text: try? field.string(),
            id: try? field.identifier()))
      }
    } catch {
      seen.append(.failed(error))
    }
    return seen
  }

  private static func seenByBorrower(_ bytes: ArraySlice<UInt8>) -> [Seen] {
    var seen: [Seen] = []
    do {
      try ProtobufScanner.read(bytes) { (reader: inout ProtobufScanner) throws(ProtobufError) in
        while let field = try reader.next() {
          seen.append(
            .field(
              field.number, varint: try? field.uint64(), fixed: try? field.fixed64(),
              bytes: try? field.bytes(), text: try? field.string(), id: try? field.identifier()))
        }
      }
    } catch {
      seen.append(.failed(error))
    }
    return seen
  }

  @Test func itReadsWhateverBytesExactlyAsTheReaderThatOwnsThem() {
    forRandomValues(2_000) { values in
      let sample =
        switch values.below(3) {
        case 0: values.bytes(values.below(30))
        case 1: values.event().encoded()
        default: values.partitionRecord().encoded()
        }
      for bytes in values.damaged(sample, mutationCount: 5) {
        #expect(Self.seenByBorrower(bytes[...]) == Self.seenByOwner(bytes))
        #expect(Self.seenByBorrower(([7] + bytes)[1...]) == Self.seenByOwner(bytes))
      }
    }
  }

  @Test func noBytesAreNoFields() {
    #expect(Self.seenByBorrower([]).isEmpty)
  }
}

import ChatModel
import ClusterModel
import Foundation
import Primitives
import SwiftProtobuf
import Testing

/// Runs a property on values from a seed that is printed, so that a failure can be repeated.
func forRandomValues(
  _ rounds: Int, function: String = #function, _ check: (inout RandomValues) throws -> Void
) rethrows {
  let seed = UInt64.random(in: 0...UInt64.max)
  print("\(function): seed \(seed)")
  var values = RandomValues(seed: seed)
  for _ in 0..<rounds { try check(&values) }
}

@Suite struct StoredFormatTests {
  @Test func everyCommandIsWrittenAsTheSchemaSays() throws {
    try forRandomValues(100) { (values: inout RandomValues) throws in
      for variant in 0..<RandomValues.commandVariantCount {
        let command = values.command(variant)
        let twin = try ProtoCommand(command).serializedBytes() as [UInt8]
        #expect(command.encoded() == twin, "\(command)")
        #expect(try Command(decoding: twin[...]) == command)
      }
    }
  }

  @Test func everyEventIsWrittenAsTheSchemaSays() throws {
    try forRandomValues(200) { (values: inout RandomValues) throws in
      for variant in 0..<RandomValues.eventVariantCount {
        let event = values.event(variant)
        let twin = try ProtoEvent(event).serializedBytes() as [UInt8]
        #expect(event.encoded() == twin, "\(event)")
        #expect(try Event(decoding: twin[...]) == event)
      }
    }
  }

  @Test func entryPayloadsAreWrittenAsTheSchemaSays() throws {
    try forRandomValues(200) { (values: inout RandomValues) throws in
      let commands = values.list(4) { $0.command($0.below(RandomValues.commandVariantCount)) }
      let payload = EntryPayload(time: values.time(), commands: commands.map { $0.encoded()[...] })
      var twin = ProtoEntryPayload()
      twin.version = 1
      twin.time = payload.time.milliseconds
      twin.commands = commands.map(ProtoCommand.init)
      let bytes = try twin.serializedBytes() as [UInt8]
      #expect(payload.encoded() == bytes)
      #expect(try EntryPayload(decoding: bytes) == payload)
    }
  }

  @Test func recordsAreWrittenAsTheSchemaSays() throws {
    try forRandomValues(200) { (values: inout RandomValues) throws in
      let partition = values.partitionRecord()
      let partitionTwin = try ProtoPartitionRecord(partition).serializedBytes() as [UInt8]
      #expect(partition.encoded() == partitionTwin)
      #expect(try PartitionRecord(decoding: partitionTwin) == partition)

      let node = values.nodeRecord()
      let nodeTwin = try ProtoNodeRecord(node).serializedBytes() as [UInt8]
      #expect(node.encoded() == nodeTwin)
      #expect(try NodeRecord(decoding: nodeTwin) == node)

      let ring = values.ringRecord()
      let ringTwin = try ProtoRingRecord(ring).serializedBytes() as [UInt8]
      #expect(ring.encoded() == ringTwin)
      #expect(try RingRecord(decoding: ringTwin) == ring)

      let cluster = values.clusterRecord()
      let clusterTwin = try ProtoClusterRecord(cluster).serializedBytes() as [UInt8]
      #expect(cluster.encoded() == clusterTwin)
      #expect(try ClusterRecord(decoding: clusterTwin) == cluster)
    }
  }

  @Test func cutAndChangedBytesAreReadOrRefusedButNeverTrap() {
    forRandomValues(20) { values in
      var samples = [
        values.partitionRecord().encoded(), values.nodeRecord().encoded(),
        values.ringRecord().encoded(),
      ]
      for variant in 0..<RandomValues.commandVariantCount {
        samples.append(values.command(variant).encoded())
      }
      var refusedCount = 0
      for sample in samples {
        for changed in values.damaged(sample, mutationCount: 30) {
          if (try? Command(decoding: changed[...])) == nil { refusedCount += 1 }
          if (try? PartitionRecord(decoding: changed)) == nil { refusedCount += 1 }
          if (try? NodeRecord(decoding: changed)) == nil { refusedCount += 1 }
          if (try? RingRecord(decoding: changed)) == nil { refusedCount += 1 }
          if (try? EntryPayload(decoding: changed)) == nil { refusedCount += 1 }
        }
      }
      #expect(refusedCount > samples.count)
    }
  }
}

extension RandomValues {
  /// The bytes cut at every place (every few places when there are many), and with random changes.
  mutating func damaged(_ bytes: [UInt8], mutationCount: Int) -> [[UInt8]] {
    var results: [[UInt8]] = []
    for length in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 400)) {
      results.append(Array(bytes.prefix(length)))
    }
    guard !bytes.isEmpty else { return results }
    for _ in 0..<mutationCount {
      var changed = bytes
      for _ in 0...below(3) {
        let position = below(changed.count)
        switch below(4) {
        case 0: changed[position] = UInt8(truncatingIfNeeded: random.next())
        case 1: changed[position] ^= 1 << UInt8(below(8))
        case 2: changed.insert(pick([0, 0x7f, 0x80, 0xff]), at: position)
        default: if changed.count > 1 { changed.remove(at: position) }
        }
      }
      results.append(changed)
    }
    return results
  }
}

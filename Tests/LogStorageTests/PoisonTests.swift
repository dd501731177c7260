import Foundation
import Primitives
import Testing

@testable import LogStorage

/// Real failures of the WAL's file: its descriptor is replaced under the engine's feet.
@Suite struct PoisonTests {
  private let directory = TestDirectory()

  private func walDescriptor() throws -> Int32 {
    for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
      let path = "/proc/self/fd/\(name)"
      let link = try? FileManager.default.destinationOfSymbolicLink(atPath: path)
      if let link, link.hasPrefix(directory.path + "/"), link.hasSuffix(".log"),
        let descriptor = Int32(name)
      {
        return descriptor
      }
    }
    throw StorageError.readFailed("no WAL is open")
  }

  private func isWriteFailure(_ error: StorageError?) -> Bool {
    if case .writeFailed = error { true } else { false }
  }

  /// Lets `descriptor` name something else, and gives back the file that it named.
  private func replace(_ descriptor: Int32, by other: Int32) -> Int32 {
    let kept = dup(descriptor)
    dup2(other, descriptor)
    return kept
  }

  @Test func aFailedWriteFailsEverythingThatWaitsAndEverythingLater() throws {
    let sink = RecordingSink()
    do {
      let store = try directory.open()
      let committer = try Committer(store: store)
      #expect(committer.commit(appends(1, 1...5)) == nil)
      let holding = HoldingSink()
      holding.hold(committer)
      let full = open("/dev/full", O_WRONLY)
      let wal = try walDescriptor()
      let kept = replace(wal, by: full)
      _ = committer.submit(appends(1, 6...6), ticket: StorageTicket(6), sink: sink)
      var checkpoint = StorageBatch(needsSync: false)
      checkpoint.setState(1, [1], [1])
      _ = committer.submit(checkpoint, ticket: StorageTicket(7), sink: sink)
      holding.release()
      #expect(sink.wait(forCount: 2))
      #expect(isWriteFailure(sink.failure(6)) && isWriteFailure(sink.failure(7)))

      dup2(kept, wal)
      #expect(isWriteFailure(committer.commit(appends(1, 6...6))))
      #expect(isWriteFailure(committer.poison))
      #expect(committer.metrics.syncedWrites.count == 2)
      #expect(try store.allEntries(1).count == 5)
      committer.stop()
      close(full)
      close(kept)
    }
    #expect(try directory.open().allEntries(1).count == 5)
  }

  /// A pipe takes the write and refuses the fsync.
  @Test func aFailedFsyncIsNeverTriedAgain() throws {
    let store = try directory.open()
    let committer = try Committer(store: store)
    #expect(committer.commit(appends(1, 1...5)) == nil)
    var ends: [Int32] = [0, 0]
    #expect(pipe(&ends) == 0)
    let wal = try walDescriptor()
    let kept = replace(wal, by: ends[1])
    #expect(isWriteFailure(committer.commit(appends(1, 6...6))))
    dup2(kept, wal)
    #expect(isWriteFailure(committer.commit(appends(1, 6...6))))
    #expect(isWriteFailure(committer.poison))
    #expect(throws: StorageError.self) { try store.bindCluster(8) }
    committer.stop()
    for descriptor in ends + [kept] { close(descriptor) }
  }
}

import Coordination
import Primitives
import Testing

/// What every `Coordinator` promises about watches, and what `Mirror` makes of them.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct WatchConformanceTests {
  @Test(arguments: Implementation.allCases)
  func `A watch delivers 1,000 changes in order, each once`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      let stream = try await coordinator.watch("w/", after: nil)
      async let seen = stream.changes(1_000)
      var written: [Revision] = []
      for index in 0..<1_000 {
        written.append(try await coordinator.put("w/\(index % 7)", [UInt8(index % 251)]))
      }
      let changes = try await seen
      #expect(changes.map(\.revision) == written)
      #expect(changes.compactMap(\.changedKey) == (0..<1_000).map { "w/\($0 % 7)" })
    }
  }

  @Test(arguments: Implementation.allCases)
  func `Only the prefix's changes are delivered`(_ implementation: Implementation) async throws {
    try await withService(implementation) { _, coordinator in
      try await coordinator.put("w/before", [])
      let stream = try await coordinator.watch("w/", after: nil)
      for key in ["v/a", "w/a", "w", "w0", "w/b"] { try await coordinator.put(key, []) }
      try await coordinator.delete("w/a")
      try await coordinator.delete("w/never")
      try await coordinator.put("w/last", [])
      let keys = try await stream.changes(4).compactMap(\.changedKey)
      #expect(keys == ["w/a", "w/b", "w/a", "w/last"])
    }
  }

  @Test(arguments: Implementation.allCases)
  func `The changes of a transaction come together, then its progress`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      let first = try await coordinator.put("w/c", [9])
      let stream = try await coordinator.watch("w/", after: first)
      let result = try await coordinator.transact(
        Transaction(
          conditions: [],
          success: [
            .put(key: "w/b", value: [1], lease: nil), .delete("w/c"),
            .put(key: "x/a", value: [1], lease: nil), .put(key: "w/a", value: [2], lease: nil),
          ]))
      let events = try await stream.take { $0.count >= 4 }
      func put(_ key: String, _ value: UInt8) -> WatchEvent {
        .put(KeyValue(key: key, value: [value], modRevision: result.revision, lease: nil))
      }
      #expect(
        events == [
          put("w/b", 1), .delete(key: "w/c", revision: result.revision), put("w/a", 2),
          .progress(result.revision),
        ])
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A watch that begins in the past delivers what was missed`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      try await coordinator.put("w/a", [0])
      let listing = try await coordinator.list("w/")
      var written: [Revision] = []
      for index in 0..<100 { written.append(try await coordinator.put("w/a", [UInt8(index)])) }
      let stream = try await coordinator.watch("w/", after: listing.revision)
      for index in 0..<100 { written.append(try await coordinator.put("w/a", [UInt8(index)])) }
      #expect(try await stream.changes(200).map(\.revision) == written)
      let late = try await coordinator.watch("w/", after: written[149])
      #expect(try await late.changes(50).map(\.revision) == Array(written[150...]))
    }
  }

  @Test(arguments: Implementation.allCases)
  func `Many watches share a service, and one that ends leaves the others`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { _, coordinator in
      var streams: [WatchStream] = []
      for index in 0..<20 { streams.append(try await coordinator.watch("w/\(index)/", after: nil)) }
      for index in 0..<20 { try await coordinator.put("w/\(index)/k", [1]) }
      for (index, stream) in streams.enumerated() {
        #expect(try await stream.changes(1).compactMap(\.changedKey) == ["w/\(index)/k"])
      }
      streams.removeFirst(15)
      for index in 0..<20 { try await coordinator.put("w/\(index)/k", [2]) }
      for (index, stream) in streams.enumerated() {
        #expect(try await stream.changes(1).compactMap(\.changedKey) == ["w/\(index + 15)/k"])
      }
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A cancelled reader ends its watch`(_ implementation: Implementation) async throws {
    try await withService(implementation) { _, coordinator in
      let stream = try await coordinator.watch("w/", after: nil)
      #expect(try await stream.take(within: .milliseconds(50)) { _ in false }.isEmpty)
      try await coordinator.put("w/a", [])
      #expect(try await stream.take(within: .seconds(5)) { !$0.isEmpty }.isEmpty)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A watch from a compacted revision says so and ends`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { service, coordinator in
      let first = try await coordinator.put("w/a", [0])
      var last = first
      for index in 0..<20 { last = try await coordinator.put("w/a", [UInt8(index)]) }
      try await service.compact(at: last, coordinator)
      let events = try await coordinator.watch("w/", after: first).take { _ in false }
      guard case .compacted(let at)? = events.last, events.count == 1 else {
        Issue.record("got \(events)")
        return
      }
      #expect(at >= last)
      // Listing and watching anew works at once.
      let listing = try await coordinator.list("w/")
      let stream = try await coordinator.watch("w/", after: listing.revision)
      let next = try await coordinator.put("w/a", [99])
      #expect(try await stream.changes(1).map(\.revision) == [next])
    }
  }

  @Test(arguments: Implementation.allCases)
  func `Compaction does not disturb a watch that keeps up`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { service, coordinator in
      let stream = try await coordinator.watch("w/", after: nil)
      async let seen = stream.changes(300)
      var written: [Revision] = []
      for index in 0..<300 {
        written.append(try await coordinator.put("w/a", [UInt8(index % 251)]))
        if index % 100 == 50 {
          let here = written[index]
          // Compacting what the watch has had, while it goes on.
          try await service.compact(at: here, coordinator)
        }
      }
      #expect(try await seen.map(\.revision) == written)
    }
  }

  @Test(arguments: Implementation.allCases)
  func `A mirror under concurrent writes ends in the service's state`(
    _ implementation: Implementation
  ) async throws {
    try await withService(implementation) { service, coordinator in
      for index in 0..<20 { try await coordinator.put("m/\(index)", [0]) }
      let writers = 8
      try await withThrowingTaskGroup(of: Void.self) { group in
        for writer in 0..<writers {
          group.addTask {
            var random = SeededRandom(seed: UInt64(writer))
            for _ in 0..<100 {
              let key = "m/\(Int.random(in: 0..<40, using: &random))"
              if Bool.random(using: &random) {
                try await coordinator.put(key, [UInt8.random(in: 0...255, using: &random)])
              } else {
                try await coordinator.delete(key)
              }
            }
            try await coordinator.put("m/done/\(writer)", [])
          }
        }
        var mirror = Mirror(of: "m/", in: coordinator)
        // A twin that believes only the updates.
        var twin: [String: KeyValue] = [:]
        var revision = Revision.zero
        while twin.keys.count(where: { $0.hasPrefix("m/done/") }) < writers {
          let update = try #require(try await mirror.next())
          #expect(update.revision > revision)
          revision = update.revision
          for change in update.changes {
            switch change {
            case .put(let item): twin[item.key] = item
            case .delete(let key, _):
              #expect(twin.removeValue(forKey: key) != nil)
            }
          }
          #expect(twin == mirror.items)
        }
        try await group.waitForAll()
        let listing = try await coordinator.list("m/")
        #expect(twin == Dictionary(uniqueKeysWithValues: listing.items.map { ($0.key, $0) }))
      }
    }
  }
}

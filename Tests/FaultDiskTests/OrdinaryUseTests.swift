import FaultSupport
import Glibc
import Testing

/// Without faults it is a file system like another.
@Suite(.enabled(if: MountedDisk.isPossible, MountedDisk.reason))
struct OrdinaryUseTests {
  @Test(arguments: 0..<4)
  func randomOperationsDoWhatAPlainDirectoryDoes(_ round: Int) throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("random operations, round \(round): seed \(seed)")
    try MountedDisk.run { disk in
      let plain = disk.file("plain")
      mkdir(plain, 0o755)
      var walk = FileWalk(seed: seed)
      for step in 0..<600 {
        let operation = walk.next()
        let (seen, expected) = (operation.perform(in: disk.path), operation.perform(in: plain))
        #expect(seen == expected, "seed \(seed), step \(step): \(operation)")
        if step % 100 == 99 {
          #expect(try Files.tree(disk.path) == Files.tree(plain), "seed \(seed), step \(step)")
        }
      }
      try disk.tool.tell("sync")
      #expect(try Files.tree(disk.backing) == Files.tree(plain), "seed \(seed)")
    }
  }

  @Test(arguments: 0..<4)
  func aLossLeadsBackToTheLastSync(_ round: Int) throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("random losses, round \(round): seed \(seed)")
    try MountedDisk.run { disk in
      var walk = FileWalk(seed: seed, syncs: false)
      for turn in 0..<10 {
        for _ in 0..<40 { _ = walk.next().perform(in: disk.path) }
        try disk.tool.tell("sync")
        let synced = try Files.tree(disk.path)
        for _ in 0..<40 { _ = walk.next().perform(in: disk.path) }
        #expect(try Files.tree(disk.backing) == synced, "seed \(seed), turn \(turn)")
        try disk.tool.tell("lose")
        #expect(try Files.tree(disk.path) == synced, "seed \(seed), turn \(turn)")
        let statistics = try disk.tool.statistics()
        #expect(statistics["unsyncedFiles"] == 0 && statistics["unsyncedNames"] == 0)
        // A file may have two names.
        let (files, names) = (statistics["files"] ?? -1, synced.values.count { $0 != nil })
        #expect(files <= names && files >= min(names, 1))
      }
    }
  }

  @Test func aTornDiskCanBeUsedOn() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("random tears: seed \(seed)")
    try MountedDisk.run { disk in
      var walk = FileWalk(seed: seed)
      for turn in 0..<20 {
        for _ in 0..<40 { _ = walk.next().perform(in: disk.path) }
        try disk.tool.tell("tear \(turn)")
        #expect(
          try Files.tree(disk.path) == Files.tree(disk.backing), "seed \(seed), turn \(turn)")
      }
    }
  }

  /// What a storage engine does: a log that grows and is synced, a pointer file replaced by rename.
  @Test func aLogAndAPointerFileSurvive() throws {
    try MountedDisk.run { disk in
      let log = try OpenFile("\(disk.path)/000001.log", O_WRONLY | O_CREAT | O_APPEND)
      for round in 0..<50 {
        try log.write([UInt8](repeating: UInt8(round), count: 100))
        try log.syncData()
        if round == 0 { try Files.sync(disk.path) }
      }
      for version in 1...3 {
        let temporary = try OpenFile("\(disk.path)/CURRENT.tmp")
        try temporary.write(Array("MANIFEST-\(version)".utf8))
        try temporary.sync()
        #expect(rename("\(disk.path)/CURRENT.tmp", "\(disk.path)/CURRENT") == 0)
        if version < 3 { try Files.sync(disk.path) }
      }
      try log.write([99])
      try disk.tool.tell("lose")
      #expect(try Files.names(disk.path) == ["000001.log", "CURRENT"])
      #expect(try Files.text("\(disk.path)/CURRENT") == "MANIFEST-2")
      let expected = (0..<50).flatMap { [UInt8](repeating: UInt8($0), count: 100) }
      #expect(try Files.bytes("\(disk.path)/000001.log") == expected)
    }
  }

  @Test func openFilesOutliveTheirNames() throws {
    try MountedDisk.run { disk in
      let file = try OpenFile("\(disk.path)/file")
      try file.write([1, 2, 3])
      unlink("\(disk.path)/file")
      try file.write([4], at: 3)
      try file.sync()
      var bytes = [UInt8](repeating: 0, count: 8)
      #expect(pread(file.descriptor, &bytes, 8, 0) == 4)
      #expect(bytes == [1, 2, 3, 4, 0, 0, 0, 0])
      #expect(try Files.names(disk.path) == [])
    }
  }

  @Test func aFileCanBeMappedPrivatelyAndLocked() throws {
    try MountedDisk.run { disk in
      let file = try OpenFile("\(disk.path)/file")
      try file.write([UInt8](repeating: 7, count: 5_000))
      let memory = mmap(nil, 5_000, PROT_READ, MAP_PRIVATE, file.descriptor, 0)
      try #require(memory != MAP_FAILED)
      #expect(memory?.load(fromByteOffset: 4_999, as: UInt8.self) == 7)
      munmap(memory, 5_000)
      #expect(lockf(file.descriptor, F_TLOCK, 0) == 0)
    }
  }
}

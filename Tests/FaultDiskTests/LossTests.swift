import FaultSupport
import Glibc
import Testing

/// What is unsynced, and what becomes of it.
@Suite(.enabled(if: MountedDisk.isPossible, MountedDisk.reason))
struct LossTests {
  @Test func unsyncedBytesAreSeenAndLost() throws {
    try MountedDisk.run { disk in
      let path = "\(disk.path)/file"
      let file = try OpenFile(path)
      try file.write(Array("synced".utf8))
      try file.sync()
      try Files.sync(disk.path)
      try file.write(Array("lost".utf8))
      #expect(try Files.text(path) == "syncedlost")
      #expect(try Files.text("\(disk.backing)/file") == "synced")
      #expect(try disk.tool.statistics()["unsyncedBytes"] == 4)
      try disk.tool.tell("lose")
      #expect(try Files.text(path) == "synced")
      #expect(try disk.tool.statistics()["unsyncedBytes"] == 0)
    }
  }

  @Test func aTruncationIsLostToo() throws {
    try MountedDisk.run { disk in
      let path = "\(disk.path)/file"
      try Files.write("abcdef", to: path)
      try disk.tool.tell("sync")
      let file = try OpenFile(path)
      try file.resize(to: 2)
      try file.resize(to: 4)
      #expect(try Files.bytes(path) == [0x61, 0x62, 0, 0])
      try disk.tool.tell("lose")
      #expect(try Files.text(path) == "abcdef")
    }
  }

  @Test func namesLastOnlyWhenTheirDirectoryIsSynced() throws {
    try MountedDisk.run { disk in
      let file = try OpenFile("\(disk.path)/new")
      try file.write([1])
      try file.sync()
      try disk.tool.tell("lose")
      #expect(try Files.names(disk.path) == [])

      try Files.write("1", to: "\(disk.path)/kept")
      try Files.sync("\(disk.path)/kept")
      try Files.sync(disk.path)
      rename("\(disk.path)/kept", "\(disk.path)/renamed")
      mkdir("\(disk.path)/folder", 0o755)
      #expect(try Files.names(disk.path) == ["folder", "renamed"])
      #expect(try Files.names(disk.backing) == ["kept"])
      try disk.tool.tell("lose")
      #expect(try Files.tree(disk.path) == ["kept": Array("1".utf8)])
      unlink("\(disk.path)/kept")
      try disk.tool.tell("lose")
      #expect(try Files.text("\(disk.path)/kept") == "1")
    }
  }

  @Test func whatIsSyncedOutlivesTheMount() throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let (stored, seen) = (folder.file("stored"), folder.file("seen"))
    for path in [stored, seen] { mkdir(path, 0o755) }
    for round in 1...2 {
      let tool = try FaultTool("fault-disk", [stored, seen], controlPath: folder.file("control"))
      defer { tool.stop() }
      let names = try Files.names(seen)
      #expect(names == (round == 1 ? [] : ["synced"]))
      for name in ["synced", "unsynced"] { try Files.write("1", to: "\(seen)/\(name)") }
      unlink("\(seen)/unsynced")
      try Files.sync("\(seen)/synced")
      try Files.sync(seen)
      try Files.write("2", to: "\(seen)/synced")
    }
    #expect(try Files.tree(stored) == ["synced": Array("1".utf8)])
    #expect(try Files.names(seen) == [])
  }

  @Test func tearingKeepsSomeSectorsAndTouchesNoSyncedOne() throws {
    let (sector, count) = (512, 64)
    try MountedDisk.run { disk in
      let path = "\(disk.path)/file"
      let old = [UInt8](repeating: 0xaa, count: sector * count)
      let new = [UInt8](repeating: 0xbb, count: sector)
      let file = try OpenFile(path)
      try file.write(old)
      try disk.tool.tell("sync")

      func torn(_ seed: Int) throws -> [UInt8] {
        for index in stride(from: 0, to: count, by: 2) {
          try file.write(new, at: index * sector)
        }
        try disk.tool.tell("tear \(seed)")
        let bytes = try Files.bytes(path)
        #expect(try Files.bytes("\(disk.backing)/file") == bytes)
        try file.write(old, at: 0)
        try file.sync()
        return bytes
      }
      let first = try torn(7)
      var kept = 0
      for index in 0..<count {
        let bytes = Array(first[(index * sector)..<((index + 1) * sector)])
        if bytes == new { kept += 1 } else { #expect(bytes == Array(old[..<sector])) }
        if index % 2 == 1 { #expect(bytes != new) }
      }
      #expect((1..<(count / 2)).contains(kept))
      #expect(try torn(7) == first)
      #expect(try torn(8) != first)
    }
  }

  @Test func tearingAnAppendLeavesAPrefixOrHoles() throws {
    try MountedDisk.run { disk in
      let path = "\(disk.path)/file"
      let file = try OpenFile(path)
      try file.write([UInt8](repeating: 1, count: 700))
      try disk.tool.tell("sync")
      var sizes: Set<Int> = []
      for seed in 0..<20 {
        try file.write([UInt8](repeating: 2, count: 3_000), at: 700)
        try disk.tool.tell("tear \(seed)")
        let bytes = try Files.bytes(path)
        sizes.insert(bytes.count)
        #expect((700...3_700).contains(bytes.count))
        #expect(bytes[..<700].allSatisfy { $0 == 1 })
        #expect(bytes[700...].allSatisfy { $0 == 2 || $0 == 0 })
        try file.resize(to: 700)
        try file.sync()
      }
      #expect(sizes.count > 2)
    }
  }

  @Test func aFlipChangesExactlyOneBit() throws {
    try MountedDisk.run { disk in
      mkdir("\(disk.path)/folder", 0o755)
      let path = "\(disk.path)/folder/file"
      let bytes = (0..<1_000).map { UInt8(truncatingIfNeeded: $0) }
      try OpenFile(path).write(bytes)
      try disk.tool.tell("sync")
      try disk.tool.tell("flip folder/file 700 3")
      var expected = bytes
      expected[700] ^= 8
      #expect(try Files.bytes(path) == expected)
      #expect(try Files.bytes("\(disk.backing)/folder/file") == expected)
      for command in ["flip folder/file 1000 0", "flip folder 0 0", "flip none 0 0", "flip a 0 8"] {
        #expect(try disk.tool.ask(command).hasPrefix("error: "))
      }
    }
  }
}

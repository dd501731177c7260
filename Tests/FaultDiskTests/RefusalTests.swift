import FaultSupport
import Foundation
import Glibc
import Testing

/// Disks that refuse.
@Suite(.enabled(if: MountedDisk.isPossible, MountedDisk.reason))
struct RefusalTests {
  @Test func aFailedFsyncLosesWhatItShouldHaveStored() throws {
    try MountedDisk.run { disk in
      let path = "\(disk.path)/file"
      let file = try OpenFile(path)
      try file.write(Array("synced".utf8))
      try disk.tool.tell("sync")
      try file.write(Array("LOST".utf8), at: 0)
      try file.write(Array("more".utf8), at: 6)
      try disk.tool.tell("fsync fail")
      #expect(throws: CallError(code: EIO)) { try file.sync() }
      #expect(throws: CallError(code: EIO)) { try Files.sync(disk.path) }
      try disk.tool.tell("fsync ok")
      // The second fsync succeeds, and the data is gone all the same.
      try file.sync()
      #expect(try Files.text(path) == "synced\0\0\0\0")
      #expect(try Files.text("\(disk.backing)/file") == "synced\0\0\0\0")
    }
  }

  @Test func aStalledFsyncTakesAsLongAsTold() throws {
    try MountedDisk.run { disk in
      let file = try OpenFile("\(disk.path)/file")
      try file.write([1])
      try disk.tool.tell("sync")
      try disk.tool.tell("fsync stall 300")
      for sync in [file.sync, file.syncData, { try Files.sync(disk.path) }] {
        try file.write([2])
        let time = try ContinuousClock().measure { try sync() }
        #expect(time >= .milliseconds(300) && time < .milliseconds(1_500))
      }
      #expect(try Files.bytes("\(disk.backing)/file") == [1, 2, 2])
      try disk.tool.tell("fsync ok")
      #expect(try ContinuousClock().measure { try file.sync() } < .milliseconds(300))
    }
  }

  @Test func aStallEndsWhenTheDiskIsTold() throws {
    try MountedDisk.run { disk in
      let file = try OpenFile("\(disk.path)/file")
      try disk.tool.tell("fsync stall 600000")
      let syncing = Thread { try? file.sync() }
      syncing.start()
      usleep(50_000)
      try disk.tool.tell("fsync ok")
      while !syncing.isFinished { usleep(1_000) }
      #expect(try disk.tool.statistics()["fsyncs"] == 1)
    }
  }

  @Test func aFullDiskTakesNoWritesAndNoFiles() throws {
    try MountedDisk.run { disk in
      let path = "\(disk.path)/file"
      let file = try OpenFile(path)
      try file.write([1])
      try disk.tool.tell("enospc on")
      let full = CallError(code: ENOSPC)
      #expect(throws: full) { try file.write([2]) }
      #expect(throws: full) { try OpenFile("\(disk.path)/other") }
      #expect(mkdir("\(disk.path)/folder", 0o755) == -1 && errno == ENOSPC)
      #expect(posix_fallocate(file.descriptor, 0, 100) == ENOSPC)
      try file.sync()
      #expect(try Files.bytes(path) == [1])
      try disk.tool.tell("enospc off")
      try file.write([2])
      #expect(try Files.bytes(path) == [1, 2])
    }
  }

  @Test func aDeadDiskReadsAndWritesNothing() throws {
    try MountedDisk.run { disk in
      let path = "\(disk.path)/file"
      let file = try OpenFile(path)
      try file.write([1])
      try disk.tool.tell("eio on")
      let dead = CallError(code: EIO)
      #expect(throws: dead) { try file.write([2]) }
      #expect(throws: dead) { try Files.bytes(path) }
      #expect(throws: dead) { try file.sync() }
      try disk.tool.tell("eio off")
      #expect(try Files.bytes(path) == [1])
    }
  }

  @Test func nonsenseIsRefused() throws {
    try MountedDisk.run { disk in
      for command in [
        "", "loose", "lose it", "tear", "tear -1", "eio", "eio maybe", "fsync", "fsync stall",
        "fsync stall x", "flip", "flip a b c",
      ] {
        #expect(try disk.tool.ask(command).hasPrefix("error: "), "\(command)")
      }
      try disk.tool.tell("sync")
    }
  }

  @Test func severalTestersAreAnswered() throws {
    try MountedDisk.run { disk in
      let others = try (0..<10).map { _ in try ControlClient(path: disk.file("control")) }
      for other in others + others { #expect(try other.ask("lose") == "ok") }
      try disk.tool.tell("lose")
    }
  }
}

import FaultSupport
import Foundation
import Glibc
import Testing

@Suite(.enabled(if: TestLink.isPossible, TestLink.reason))
struct SlowLinkTests {
  /// Long enough for a packet without delay on a busy machine.
  private let quietMilliseconds: Int32 = 300

  @Test func packetsPassBothWays() throws {
    try TestLink.run { link in
      link.leftSocket.send(1)
      link.rightSocket.send(2)
      #expect(link.rightSocket.receive(milliseconds: 5_000) == 1)
      #expect(link.leftSocket.receive(milliseconds: 5_000) == 2)
      let statistics = try link.tool.statistics()
      for direction in ["leftToRight", "rightToLeft"] {
        #expect(statistics["\(direction).packets"] == 1)
        // An IP header, a UDP header, a number.
        #expect(statistics["\(direction).bytes"] == 20 + 8 + 8)
      }
    }
  }

  @Test func packetsTakeTheDelay() throws {
    try TestLink.run { link in
      try link.tool.tell("delay 50000 60000")
      for (sender, receiver) in [
        (link.leftSocket, link.rightSocket), (link.rightSocket, link.leftSocket),
      ] {
        let time = ContinuousClock().measure {
          sender.send(1)
          #expect(receiver.receive(milliseconds: 5_000) == 1)
        }
        #expect(time >= .milliseconds(50) && time < .milliseconds(1_000))
      }
    }
  }

  @Test func packetsKeepTheirOrderUnlessDelaysDiffer() throws {
    try TestLink.run { link in
      let numbers = Array(0..<200)
      func received() -> [Int] {
        for number in numbers { link.leftSocket.send(number) }
        return link.rightSocket.receiveAll(quietMilliseconds: quietMilliseconds)
      }
      try link.tool.tell("delay 5000 5000")
      #expect(received() == numbers)
      try link.tool.tell("delay 0 20000")
      let mixed = received()
      #expect(mixed != numbers)
      #expect(mixed.sorted() == numbers)
    }
  }

  @Test func nothingPassesACut() throws {
    try TestLink.run { link in
      func passes() -> [Bool] {
        link.leftSocket.send(1)
        link.rightSocket.send(2)
        return [
          link.rightSocket.receive(milliseconds: quietMilliseconds) == 1,
          link.leftSocket.receive(milliseconds: quietMilliseconds) == 2,
        ]
      }
      #expect(passes() == [true, true])
      try link.tool.tell("cut left")
      #expect(passes() == [false, true])
      try link.tool.tell("cut right")
      #expect(passes() == [true, false])
      try link.tool.tell("cut both")
      #expect(passes() == [false, false])
      try link.tool.tell("cut none")
      #expect(passes() == [true, true])
      let statistics = try link.tool.statistics()
      #expect(statistics["leftToRight.dropped"] == 2 && statistics["rightToLeft.dropped"] == 2)
    }
  }

  @Test func aCutTakesWhatIsOnItsWay() throws {
    try TestLink.run { link in
      try link.tool.tell("delay 200000 200000")
      link.leftSocket.send(1)
      while try link.tool.statistics()["leftToRight.queued"] == 0 { usleep(1_000) }
      try link.tool.tell("cut left")
      #expect(link.rightSocket.receive(milliseconds: 500) == nil)
      #expect(try link.tool.statistics()["leftToRight.dropped"] == 1)
    }
  }

  @Test func lossTakesItsShareAndFollowsTheSeed() throws {
    try TestLink.run { link in
      func received() throws -> [Int] {
        try link.tool.tell("seed 7")
        for number in 0..<400 { link.leftSocket.send(number) }
        return link.rightSocket.receiveAll(quietMilliseconds: quietMilliseconds)
      }
      try link.tool.tell("loss 500")
      let first = try received()
      // Five standard deviations from the half.
      #expect((150...250).contains(first.count))
      #expect(try received() == first)
      try link.tool.tell("loss 1000")
      #expect(try received() == [])
    }
  }

  @Test func duplicatesArriveTwice() throws {
    try TestLink.run { link in
      try link.tool.tell("duplicate 1000")
      for number in 0..<50 { link.leftSocket.send(number) }
      let received = link.rightSocket.receiveAll(quietMilliseconds: quietMilliseconds)
      #expect(received == (0..<50).flatMap { [$0, $0] })
      #expect(try link.tool.statistics()["leftToRight.duplicated"] == 50)
    }
  }

  @Test func theQueueIsBounded() throws {
    let queuedPacketsMax = 16_384
    try TestLink.run { link in
      try link.tool.tell("delay 60000000 60000000")
      for turn in 0..<1_000 {
        for number in 0..<200 { link.leftSocket.send(turn * 200 + number) }
        // The device itself holds few packets.
        let statistics = try link.tool.statistics()
        if statistics["leftToRight.dropped", default: 0] > 0 { break }
      }
      let statistics = try link.tool.statistics()
      #expect(statistics["leftToRight.queued"] == queuedPacketsMax)
      #expect(statistics["leftToRight.dropped", default: 0] > 0)
      try link.tool.tell("delay 0 0")
      link.rightSocket.send(1)
      #expect(link.leftSocket.receive(milliseconds: 5_000) == 1)
    }
  }

  @Test func aStreamSurvivesABadLink() throws {
    try TestLink.run { link in
      try link.tool.tell("delay 500 3000")
      try link.tool.tell("loss 10")
      try link.tool.tell("duplicate 10")
      let bytes = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
      #expect(try Streams.carry(bytes, from: link.left, to: link.right) == bytes)
      let statistics = try link.tool.statistics()
      #expect(statistics["leftToRight.dropped", default: 0] > 0)
      #expect(statistics["leftToRight.duplicated", default: 0] > 0)
    }
  }

  @Test func devicesVanishWithTheProgram() throws {
    try TestLink.run { link in
      func devices() throws -> [Bool] {
        try [link.left, link.right].map { side in
          try side.enter { if_nametoindex("slow0") } != 0
        }
      }
      let before = try devices()
      #expect(before == [true, true])
      #expect(link.tool.stop())
      #expect(try devices() == [false, false])
    }
  }

  @Test func nonsenseIsRefused() throws {
    try TestLink.run { link in
      for command in [
        "", "slow", "delay 1", "delay 2 1", "delay -1 1", "delay 0 60000001", "loss 1001",
        "loss", "duplicate x", "cut", "cut off", "seed", "seed x", "stat all",
      ] {
        #expect(try link.tool.ask(command).hasPrefix("error: "), "\(command)")
      }
      try link.tool.tell("cut none")
    }
  }
}

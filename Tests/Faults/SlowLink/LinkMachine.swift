import Primitives

/// Which way a packet goes.
enum Direction: Int, CaseIterable, Sendable {
  case leftToRight
  case rightToLeft
}

/// What a link does to packets.
struct LinkSettings: Sendable {
  /// Each packet is delayed by a time drawn from here, so packets overtake each other unless both
  /// ends are the same.
  var delayMicroseconds = 0...0
  var lossPermille = 0
  var duplicatePermille = 0
  /// Directions in which nothing passes.
  var cut: Set<Direction> = []
}

/// What went one way.
struct LinkCounters: Sendable {
  /// Packets and bytes that were delivered, copies included.
  var packets = 0
  var bytes = 0
  /// Lost by chance, by a cut, or because the queue was full.
  var dropped = 0
  /// Copies that were made.
  var duplicated = 0
  /// Packets that wait for their time.
  var queued = 0
}

/// A link with delay, loss, duplicates and cuts, without its wires: packets in, packets out, the
/// time is an argument.
///
/// **Invariant**: no direction holds more than `queuedPacketsMax` packets.
struct LinkMachine: Sendable {
  /// In each direction: 100 ms of a link that carries 160,000 packets a second.
  static let queuedPacketsMax = 16_384
  private static let permille: UInt64 = 1_000

  var settings = LinkSettings()
  private var chance: SeededRandom
  private var queue = DeadlineHeap()
  private var counters = [LinkCounters](
    repeating: LinkCounters(), count: Direction.allCases.count)

  init(seed: UInt64) { chance = SeededRandom(seed: seed) }

  func counters(_ direction: Direction) -> LinkCounters { counters[direction.rawValue] }

  /// When `nextDue` should be asked again, at the latest.
  var deadline: UInt64? { queue.first?.deadline }

  mutating func reseed(_ seed: UInt64) { chance = SeededRandom(seed: seed) }

  /// - Parameter now: nanoseconds.
  mutating func packetArrived(_ packet: [UInt8], _ direction: Direction, now: UInt64) {
    let isLost = draws(settings.lossPermille)
    let isDuplicated = draws(settings.duplicatePermille)
    guard !isLost, !settings.cut.contains(direction) else {
      counters[direction.rawValue].dropped += 1
      return
    }
    enqueue(packet, direction, now)
    if isDuplicated {
      counters[direction.rawValue].duplicated += 1
      enqueue(packet, direction, now)
    }
  }

  /// The next packet whose time has come. One whose direction was cut meanwhile is dropped: after
  /// a cut nothing arrives any more.
  mutating func nextDue(now: UInt64) -> (direction: Direction, packet: [UInt8])? {
    while let first = queue.first, first.deadline <= now, let item = queue.removeFirst() {
      let index = item.direction.rawValue
      counters[index].queued -= 1
      guard !settings.cut.contains(item.direction) else {
        counters[index].dropped += 1
        continue
      }
      counters[index].packets += 1
      counters[index].bytes += item.packet.count
      return (item.direction, item.packet)
    }
    return nil
  }

  private mutating func enqueue(_ packet: [UInt8], _ direction: Direction, _ now: UInt64) {
    let index = direction.rawValue
    guard counters[index].queued < Self.queuedPacketsMax else {
      counters[index].dropped += 1
      return
    }
    let range = settings.delayMicroseconds
    let microseconds = UInt64(Int.random(in: range, using: &chance))
    queue.insert(packet, direction, deadline: now + microseconds * 1_000)
    counters[index].queued += 1
  }

  private mutating func draws(_ permille: Int) -> Bool {
    chance.next(upperBound: Self.permille) < UInt64(permille)
  }
}

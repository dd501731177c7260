import LoadModel

/// Who of a conversation's listeners has heard which message: to tell the first, the half of them
/// and the last.
struct Crowd {
  enum Place {
    case first
    case median
    case last
    case other
  }

  var listeners = 0
  /// By sender and number; gone when all have heard it.
  private var counts: [UInt64: Int] = [:]

  mutating func heard(_ stamp: MessageStamp) -> Place? {
    guard listeners > 1 else { return nil }
    let key = UInt64(stamp.sender) << 40 | stamp.number
    let count = counts[key, default: 0] + 1
    counts[key] = count == listeners ? nil : count
    if count == listeners { return .last }
    if count == 1 { return .first }
    return count == (listeners + 1) / 2 ? .median : .other
  }
}

/// What happened in a slice so far.
struct SliceCount {
  private(set) var began: UInt64 = 0
  var acknowledged = 0
  var delivered = 0
  var refused = 0
  var latencies = Latencies()

  init() {}

  init(since now: UInt64) { began = now }

  func finished(at now: UInt64, from begin: UInt64) -> Slice {
    var slice = Slice(
      at: Double(began - begin) / 1e9, seconds: Double(now - began) / 1e9)
    slice.acknowledged = acknowledged
    slice.delivered = delivered
    slice.refused = refused
    slice.p50 = latencies.milliseconds(at: 50)
    slice.p99 = latencies.milliseconds(at: 99)
    slice.max = Double(latencies.longest) / 1_000
    return slice
  }

  mutating func restart(at now: UInt64) {
    began = now
    acknowledged = 0
    delivered = 0
    refused = 0
    latencies.reset()
  }
}

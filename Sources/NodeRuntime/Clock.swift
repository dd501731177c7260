import Glibc
import NIOCore
import Primitives

/// The two clocks of a process. Logic gets their values as arguments.
enum Clock {
  static func now() -> Instant { Instant(nanoseconds: NIODeadline.now().uptimeNanoseconds) }

  static func wall() -> WallTime {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return WallTime(
      milliseconds: UInt64(clamping: time.tv_sec) * 1_000 + UInt64(clamping: time.tv_nsec)
        / 1_000_000)
  }
}

extension Milliseconds {
  var timeAmount: TimeAmount { .milliseconds(Int64(clamping: rawValue)) }
}

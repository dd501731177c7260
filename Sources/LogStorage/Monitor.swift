import Glibc

/// A mutex with one condition, for the one thread that waits on it.
final class Monitor: @unchecked Sendable {
  // Safety: the pointers never change after `init`, and POSIX mutexes and conditions are made to
  // be used by several threads at their fixed address.
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>

  init() {
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    condition = .allocate(capacity: 1)
    condition.initialize(to: pthread_cond_t())
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    defer { pthread_condattr_destroy(&attributes) }
    let failed =
      pthread_mutex_init(mutex, nil) != 0 || pthread_cond_init(condition, &attributes) != 0
    precondition(!failed, "no memory for a mutex")
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  func withLock<Result>(_ body: () -> Result) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body()
  }

  /// Gives the lock away until `signal`; only inside of `withLock`. May return early.
  func wait() { pthread_cond_wait(condition, mutex) }

  /// The same, but no longer than so.
  func wait(milliseconds: UInt32) {
    wait(until: MonotonicClock.nanoseconds() + UInt64(milliseconds) * 1_000_000)
  }

  /// The same, but no longer than until that time of the monotonic clock, in nanoseconds.
  func wait(until nanoseconds: UInt64) {
    var until = timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    pthread_cond_timedwait(condition, mutex, &until)
  }

  func signal() { pthread_cond_signal(condition) }
}

enum MonotonicClock {
  static func nanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}

import Glibc

/// A thread that does one thing and ends.
///
/// **Isolation**: any thread.
struct PosixThread: @unchecked Sendable {
  // Safety: the handle is constant, and POSIX threads are made to be named by any other.
  private let handle: pthread_t

  private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  init(_ body: @escaping @Sendable () -> Void) {
    var handle = pthread_t()
    let result = pthread_create(
      &handle, nil,
      { argument in
        guard let argument else { return nil }
        Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
        return nil
      }, Unmanaged.passRetained(Body(body)).toOpaque())
    precondition(result == 0, "pthread_create: \(result)")
    self.handle = handle
  }

  var isCurrent: Bool { pthread_equal(pthread_self(), handle) != 0 }

  /// Waits until it has ended. Once.
  func join() { pthread_join(handle, nil) }
}

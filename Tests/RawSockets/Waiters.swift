package import NIOCore

/// Something that was waited for in vain.
package struct RawTimeout: Error, CustomStringConvertible {
  package let description: String
}

/// Those who wait until something holds of a subject. Nobody waits for ever: a test that would
/// never end fails instead.
///
/// **Isolation**: the subject's event loop.
package struct Waiters<Subject: AnyObject> {
  private static var patience: TimeAmount { .seconds(30) }

  private var list: [(condition: (Subject) -> Bool, promise: EventLoopPromise<Void>)] = []

  package init() {}

  /// To be called whenever the subject has changed.
  package mutating func check(_ subject: Subject) {
    list.removeAll { waiter in
      guard waiter.condition(subject) else { return false }
      waiter.promise.succeed()
      return true
    }
  }

  /// - Parameter seen: what is told of the subject when it was waited for in vain.
  /// **Returns**: when the condition holds, perhaps at once; fails with `RawTimeout`.
  package mutating func wait(
    of subject: Subject, on eventLoop: any EventLoop,
    seen: @escaping @Sendable (Subject) -> String,
    until condition: @escaping (Subject) -> Bool
  ) -> EventLoopFuture<Void> {
    let promise = eventLoop.makePromise(of: Void.self)
    list.append((condition, promise))
    check(subject)
    let timeout = eventLoop.assumeIsolated().scheduleTask(in: Self.patience) {
      promise.fail(RawTimeout(description: "waited in vain; seen: \(seen(subject))"))
    }
    return promise.futureResult.always { _ in timeout.cancel() }
  }
}

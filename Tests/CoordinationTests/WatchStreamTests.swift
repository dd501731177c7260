@testable import Coordination
import Primitives
import Testing

@Suite(.timeLimit(.minutes(1)))
struct WatchStreamTests {
  private func change(_ revision: Int64) -> WatchEvent {
    .delete(key: "k", revision: Revision(revision))
  }

  @Test func `Events come in order, and then the end`() async throws {
    let source = WatchSource()
    let stream = WatchStream(source)
    #expect(source.push([change(1), change(1)], revision: Revision(1)))
    #expect(source.push([change(2)], revision: Revision(2)))
    source.finish()
    #expect(!source.push([change(3)], revision: Revision(3)))
    let events = try await stream.take { _ in false }
    #expect(
      events == [
        change(1), change(1), .progress(Revision(1)), change(2), .progress(Revision(2)),
      ])
  }

  @Test func `A reader that is too slow is told to list anew`() async throws {
    let source = WatchSource(eventsMax: 5)
    let stream = WatchStream(source)
    #expect(source.push([change(1)], revision: Revision(1)))
    #expect(source.push([change(2)], revision: Revision(2)))
    #expect(!source.push([change(3)], revision: Revision(3)))
    #expect(!source.push([change(4)], revision: Revision(4)))
    let events = try await stream.take { _ in false }
    #expect(
      events == [
        change(1), .progress(Revision(1)), change(2), .progress(Revision(2)),
        .compacted(at: Revision(3)),
      ])
  }

  @Test func `An error comes after what was delivered before it`() async throws {
    let source = WatchSource()
    let stream = WatchStream(source)
    _ = source.push([change(1)], revision: Revision(1))
    source.finish(.failure(.leaseNotFound))
    var iterator = stream.makeAsyncIterator()
    #expect(try await iterator.next() == change(1))
    #expect(try await iterator.next() == .progress(Revision(1)))
    await #expect(throws: CoordinationError.leaseNotFound) { try await iterator.next() }
  }

  @Test func `Letting go of the stream ends the watch`() async throws {
    let source = WatchSource()
    var stream: WatchStream? = WatchStream(source)
    var iterator = stream?.makeAsyncIterator()
    await confirmation { abandoned in
      source.onAbandon { abandoned() }
      stream = nil
      #expect(source.push([change(1)], revision: Revision(1)))
      #expect(iterator != nil)
      iterator = nil
    }
    #expect(!source.push([change(2)], revision: Revision(2)))
  }

  @Test func `An event wakes a waiting reader`() async throws {
    let source = WatchSource()
    let stream = WatchStream(source)
    async let seen = stream.changes(100)
    for revision in 1...Int64(100) {
      await Task.yield()
      #expect(source.push([change(revision)], revision: Revision(revision)))
    }
    #expect(try await seen == (1...100).map { change($0) })
  }
}

import HTTP2Engine
import NIOCore
import Primitives
import Transport

/// The watches of one client, which share one stream, and go on from where they were on a new one.
///
/// **Invariant**: `Watch.next` is the first revision that was not delivered, so nothing is missed
/// or repeated over any number of connections.
struct EtcdWatchTable {
  struct Watch {
    let prefix: [UInt8]
    let source: WatchSource
    var next: Revision
    /// Parts of an answer whose last part has not come.
    var parts: [(revision: Revision, event: WatchEvent)] = []
  }

  var entries: [Int64: Watch] = [:]
  var lastID: Int64 = 0
  var stream: GRPCClientStream?
  /// Tells events of this stream from late ones of the one before.
  var streamNumber: UInt64 = 0
}

extension EtcdClient {
  /// Without it a member that is cut off from its leader would keep the stream, silent.
  private static let requireLeader = [HTTP2HeaderField("hasleader", "true")]

  /// Begins a watch, now or when there is a connection.
  func addWatch(_ prefix: String, after revision: Revision, _ source: WatchSource) {
    eventLoop.preconditionInEventLoop()
    guard !isShutDown else { return source.finish() }
    watches.lastID += 1
    let id = watches.lastID
    let watch = EtcdWatchTable.Watch(
      prefix: Array(prefix.utf8), source: source, next: Revision(revision.rawValue + 1))
    watches.entries[id] = watch
    source.onAbandon { self.eventLoop.execute { self.removeWatch(id) } }
    guard let connection else { return }
    if let stream = watches.stream {
      create(id, watch, stream)
    } else {
      openWatchStream(connection)
    }
  }

  func removeWatch(_ id: Int64) {
    guard watches.entries.removeValue(forKey: id) != nil, let stream = watches.stream else {
      return
    }
    if watches.entries.isEmpty {
      stream.cancel()
      loseWatchStream()
    } else {
      stream.send(EtcdRequest.cancelWatch(id: id))
    }
  }

  func openWatchStream(_ connection: GRPCClientConnection) {
    guard !watches.entries.isEmpty else { return }
    watches.streamNumber += 1
    let number = watches.streamNumber
    do throws(GRPCCallFailure) {
      let stream = try connection.openStream(EtcdMethod.watch, metadata: Self.requireLeader) {
        guard self.watches.streamNumber == number else { return }
        self.watchStreamEvent($0, connection)
      }
      watches.stream = stream
      for (id, watch) in watches.entries.sorted(by: { $0.key < $1.key }) {
        create(id, watch, stream)
      }
    } catch {
      drop(connection, EtcdFailure.error(error, isRepeatable: true))
    }
  }

  private func create(_ id: Int64, _ watch: EtcdWatchTable.Watch, _ stream: GRPCClientStream) {
    let request = EtcdRequest.createWatch(
      id: id, key: watch.prefix, rangeEnd: EtcdRequest.rangeEnd(ofPrefix: watch.prefix),
      startRevision: watch.next)
    if stream.send(request) == .full {
      drop(stream.connection, .unavailable("the watch stream takes nothing"))
    }
  }

  func loseWatchStream() {
    watches.stream = nil
    watches.streamNumber += 1
    for id in watches.entries.keys { watches.entries[id]?.parts = [] }
  }

  func endWatches(_ result: Result<Void, CoordinationError>) {
    watches.stream?.cancel()
    loseWatchStream()
    let entries = watches.entries.values
    watches.entries = [:]
    for watch in entries { watch.source.finish(result) }
  }

  // MARK: From the stream

  private func watchStreamEvent(_ event: GRPCClientStreamEvent, _ connection: GRPCClientConnection)
  {
    switch event {
    case .message(let bytes):
      do {
        try watchAnswered(try EtcdWatchResponse(decoding: bytes))
      } catch let error as CoordinationError {
        drop(connection, error)
      } catch {
        drop(connection, .unavailable("unreadable watch answer: \(error)"))
      }
    case .ended(let failure):
      loseWatchStream()
      if EtcdFailure.isFinal(failure.status) {
        endWatches(.failure(.refused("\(failure.status)")))
      } else {
        drop(connection, .unavailable("watch stream ended: \(failure.status)"))
      }
    }
  }

  private func watchAnswered(_ response: EtcdWatchResponse) throws(CoordinationError) {
    try checkIdentity(response.header)
    let id = response.watchID
    guard var watch = watches.entries[id] else { return }
    if response.isCanceled {
      watches.entries[id] = nil
      if response.compactRevision > .zero {
        watch.source.compact(at: response.compactRevision)
      } else {
        watch.source.finish(.failure(.refused("watch canceled: \(response.cancelReason)")))
      }
      return
    }
    if let last = response.events.last {
      // What somebody has only watched must not be forgotten either.
      saw(CoordinationPosition(serviceID: response.header.clusterID, revision: last.revision))
    }
    watch.parts += response.events.filter { !($0.revision < watch.next) }
    guard watch.parts.count <= CoordinationLimits.watchEventsMax else {
      removeWatch(id)
      return watch.source.compact(at: response.header.revision)
    }
    if !response.isFragment, !deliver(&watch) { return removeWatch(id) }
    watches.entries[id] = watch
  }

  /// Gives complete revisions to the reader.
  ///
  /// **Returns**: whether the reader wants more.
  private func deliver(_ watch: inout EtcdWatchTable.Watch) -> Bool {
    let events = watch.parts
    watch.parts = []
    var index = 0
    while index < events.count {
      let revision = events[index].revision
      var changes: [WatchEvent] = []
      while index < events.count, events[index].revision == revision {
        changes.append(events[index].event)
        index += 1
      }
      watch.next = Revision(revision.rawValue + 1)
      guard watch.source.push(changes, revision: revision) else { return false }
    }
    return true
  }
}

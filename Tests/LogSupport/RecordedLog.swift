package import Logging
import Synchronization

/// Keeps what is logged, in order, for a test to look at.
package final class RecordedLog: LogHandler {
  private let recorded = Mutex<[LogEvent]>([])

  package init() {}

  package var events: [LogEvent] { recorded.withLock { $0 } }

  package var logLevel: Logger.Level {
    get { .info }
    set {}
  }
  package var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  package func log(event: LogEvent) {
    recorded.withLock { $0.append(event) }
  }
}

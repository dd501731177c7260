package import HTTP2Engine
import NIOCore
package import Primitives

/// What happens on a bidirectional stream.
package enum GRPCClientStreamEvent: Sendable {
  case message(ArraySlice<UInt8>)
  /// The last event; `ok` too is an end.
  case ended(GRPCCallFailure)
}

/// This side's end of a bidirectional stream.
///
/// **Isolation**: the connection's event loop.
package struct GRPCClientStream {
  package let connection: GRPCClientConnection
  package let id: StreamID

  /// **Returns**: `full` when nothing was taken because too much waits; `closed` after the end.
  @discardableResult
  package func send(_ message: [UInt8]) -> HTTP2SendOutcome {
    connection.eventLoop.preconditionInEventLoop()
    defer { connection.scheduleFlush() }
    return connection.http2.send(id, GRPCFraming.frame(message))
  }

  /// Ends the stream without waiting for the server. No event follows.
  package func cancel() {
    connection.eventLoop.preconditionInEventLoop()
    connection.forget(id)
    connection.cancel(id)
  }
}

/// One call that has been sent and is not over.
final class GRPCClientCall {
  enum Kind {
    case unary((Result<[UInt8], GRPCCallFailure>) -> Void)
    case stream((GRPCClientStreamEvent) -> Void)
  }

  let id: StreamID
  private let kind: Kind
  var deadline: Scheduled<Void>?
  private var deframer: GRPCDeframer
  private var answer: [UInt8]?
  /// What the server said last of all.
  var status: GRPCStatus?

  init(id: StreamID, kind: Kind, messageBytesMax: Int) {
    self.id = id
    self.kind = kind
    deframer = GRPCDeframer(messageBytesMax: messageBytesMax)
  }

  var isStream: Bool { if case .stream = kind { true } else { false } }

  /// **Returns**: what is wrong with the server's bytes, if anything.
  func received(_ bytes: [UInt8]) -> GRPCStatus? {
    deframer.append(bytes)
    do throws(GRPCFramingError) {
      while let message = try deframer.next() {
        switch kind {
        case .stream(let onEvent):
          onEvent(.message(message))
        case .unary:
          guard answer == nil else { return GRPCStatus(.internal, "second answer") }
          answer = Array(message)
        }
      }
    } catch {
      return GRPCStatus(.internal, "message frame: \(error)")
    }
    return nil
  }

  /// The result when the server has said how the call ended.
  func result(_ status: GRPCStatus) -> Result<[UInt8], GRPCCallFailure> {
    guard status.code == .ok else {
      return .failure(GRPCCallFailure(status, mayHaveRun: true))
    }
    guard deframer.pendingBytes == 0 else {
      return .failure(GRPCCallFailure(GRPCStatus(.internal, "cut message"), mayHaveRun: true))
    }
    if isStream { return .success([]) }
    guard let answer else {
      return .failure(GRPCCallFailure(GRPCStatus(.internal, "no answer"), mayHaveRun: true))
    }
    return .success(answer)
  }

  func end(_ result: Result<[UInt8], GRPCCallFailure>) {
    deadline?.cancel()
    deadline = nil
    switch (kind, result) {
    case (.unary(let completion), _): completion(result)
    case (.stream(let onEvent), .failure(let failure)): onEvent(.ended(failure))
    case (.stream(let onEvent), .success):
      onEvent(.ended(GRPCCallFailure(GRPCStatus(.ok), mayHaveRun: true)))
    }
  }
}

// MARK: - Calls

extension GRPCClientConnection {
  /// Calls a unary method. The server learns of the timeout too.
  ///
  /// **Returns** (by `completion`, once, on the event loop): the answer's message. When the time is
  /// up `deadlineExceeded`, and the call is cancelled.
  package func call(
    _ path: String, _ message: [UInt8], timeout: Milliseconds, metadata: [HTTP2HeaderField] = [],
    _ completion: @escaping (Result<[UInt8], GRPCCallFailure>) -> Void
  ) {
    eventLoop.preconditionInEventLoop()
    let call: GRPCClientCall
    do throws(GRPCCallFailure) {
      call = try begin(path, .unary(completion), timeout: timeout, metadata: metadata)
    } catch {
      return completion(.failure(error))
    }
    guard http2.send(call.id, GRPCFraming.frame(message), endStream: true) == .queued else {
      forget(call.id)
      cancel(call.id)
      let status = GRPCStatus(.resourceExhausted, "too much waits to be sent")
      return call.end(.failure(GRPCCallFailure(status, mayHaveRun: false)))
    }
    let milliseconds = TimeAmount.milliseconds(Int64(clamping: timeout.rawValue))
    let id = call.id
    call.deadline = eventLoop.scheduleTask(in: milliseconds) { self.deadlineReached(id) }
  }

  /// As `call`, for a task.
  package func unary(
    _ path: String, _ message: [UInt8], timeout: Milliseconds, metadata: [HTTP2HeaderField] = []
  ) async throws(GRPCCallFailure) -> [UInt8] {
    let result: Result<[UInt8], GRPCCallFailure> = await withCheckedContinuation { continuation in
      eventLoop.execute {
        self.call(path, message, timeout: timeout, metadata: metadata) {
          continuation.resume(returning: $0)
        }
      }
    }
    return try result.get()
  }

  /// Opens a bidirectional stream. It has no deadline: the owner watches over it.
  package func openStream(
    _ path: String, metadata: [HTTP2HeaderField] = [],
    _ onEvent: @escaping (GRPCClientStreamEvent) -> Void
  ) throws(GRPCCallFailure) -> GRPCClientStream {
    eventLoop.preconditionInEventLoop()
    let call = try begin(path, .stream(onEvent), timeout: nil, metadata: metadata)
    return GRPCClientStream(connection: self, id: call.id)
  }

  private func begin(
    _ path: String, _ kind: GRPCClientCall.Kind, timeout: Milliseconds?,
    metadata: [HTTP2HeaderField]
  ) throws(GRPCCallFailure) -> GRPCClientCall {
    guard isUsable else {
      throw GRPCCallFailure(GRPCStatus(.unavailable, "connection is closing"), mayHaveRun: false)
    }
    guard calls.count < configuration.callsMax else {
      throw GRPCCallFailure(GRPCStatus(.resourceExhausted, "too many calls"), mayHaveRun: false)
    }
    let headers = GRPCHeaders.request(
      path: path, authority: authority, isSecure: target.tls != nil,
      timeoutMilliseconds: timeout?.rawValue, metadata: metadata)
    let id: StreamID
    do throws(HTTP2Error) {
      id = try http2.submitRequest(headers, endStream: false)
    } catch {
      let code: GRPCCode = error == .notAccepting ? .unavailable : .internal
      throw GRPCCallFailure(GRPCStatus(code, "\(error)"), mayHaveRun: false)
    }
    let call = GRPCClientCall(
      id: id, kind: kind, messageBytesMax: configuration.messageBytesMax)
    calls[id] = call
    scheduleFlush()
    return call
  }

  private func deadlineReached(_ id: StreamID) {
    guard let call = calls[id] else { return }
    finish(call, .failure(GRPCCallFailure(GRPCStatus(.deadlineExceeded), mayHaveRun: true)))
  }

  /// No event of this stream is of interest any more.
  func forget(_ id: StreamID) {
    calls.removeValue(forKey: id)?.deadline?.cancel()
  }

  /// Resets the stream, when it is still open.
  func cancel(_ id: StreamID) {
    http2.resetStream(id, .cancel)
    scheduleFlush()
  }

  private func finish(_ call: GRPCClientCall, _ result: Result<[UInt8], GRPCCallFailure>) {
    forget(call.id)
    cancel(call.id)
    call.end(result)
  }

  // MARK: Events

  func handleCallEvent(_ event: HTTP2Event) {
    switch event {
    case .headers(let id, let fields, let endStream):
      guard let call = calls[id] else { return }
      received(headers: fields, endStream: endStream, call)
    case .data(let id, let bytes, let endStream):
      guard let call = calls[id] else { return }
      if let wrong = call.received(bytes) {
        finish(call, .failure(GRPCCallFailure(wrong, mayHaveRun: true)))
      } else if endStream, calls[id] != nil {
        let status = GRPCStatus(.internal, "stream ended without a status")
        finish(call, .failure(GRPCCallFailure(status, mayHaveRun: true)))
      }
    case .trailers(let id, let fields):
      guard let call = calls[id] else { return }
      finish(call, call.result(GRPCStatus(fields: fields) ?? GRPCStatus(.internal, "no status")))
    case .streamClosed(let id, let code):
      guard let call = calls[id] else { return }
      // When the connection ends, every stream is closed with CANCEL. A refused stream was not
      // looked at (RFC 9113, section 8.7), nor was one beyond a GOAWAY, which nghttp2 closes with
      // the same code.
      let status = http2.failure == nil ? GRPCStatus(streamError: code) : endStatus()
      forget(id)
      call.end(.failure(GRPCCallFailure(status, mayHaveRun: code != .refusedStream)))
    case .informational, .writable, .settingsAcknowledged, .pingAcknowledged, .peerSettings,
      .goAway:
      break
    }
  }

  private func received(
    headers fields: [HTTP2HeaderField], endStream: Bool, _ call: GRPCClientCall
  ) {
    let httpStatus = fields.value(of: ":status") ?? ""
    guard httpStatus == "200" else {
      let status = GRPCStatus(fields: fields) ?? GRPCStatus(httpStatus: httpStatus)
      return finish(call, .failure(GRPCCallFailure(status, mayHaveRun: true)))
    }
    guard endStream else { return }
    finish(call, call.result(GRPCStatus(fields: fields) ?? GRPCStatus(.internal, "no status")))
  }
}

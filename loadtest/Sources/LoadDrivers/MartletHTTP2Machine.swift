import CLoadHTTP2
import Foundation
import LoadModel
import NIOCore

/// The HTTP API on one HTTP/2 connection: a request for each message, as many at a time as are
/// unanswered. It hears no events.
struct MartletHTTP2Machine: ClientMachine {
  private let client: HTTP2Client
  private let credential: String
  private let names: PlaceNames
  private let host: String

  init(_ seat: Seat, _ names: PlaceNames, host: String) {
    credential = seat.credential
    self.names = names
    self.host = host
    client = HTTP2Client()
  }

  mutating func opened(cursor: String?, into output: inout ByteBuffer) {
    client.write(into: &output)
  }

  mutating func received(
    _ input: inout ByteBuffer, events: inout [SessionEvent], into output: inout ByteBuffer
  ) {
    client.read(&input)
    for outcome in client.takeOutcomes() {
      switch outcome {
      case .ready: events.append(.ready)
      case .failed(let why): events.append(.failed(why))
      case .leaving: events.append(.leaving)
      case .answered(let request, let status, let body):
        events.append(answer(request, status, body))
      }
    }
    client.write(into: &output)
  }

  mutating func send(ref: UInt64, place: UInt32, id: String, text: [UInt8]) {
    let text = String(decoding: text, as: UTF8.self)
    client.submit(
      HTTP2Client.Request(ref: ref, isPage: false, place: place),
      headers: headers("POST", "/v1/conversations/\(names.names[Int(place)])/messages"),
      body: Array(#"{"id":"\#(id)","text":"\#(text)"}"#.utf8))
  }

  mutating func read(_ page: PageRequest) {
    let before = page.before.map { "&before=\($0)" } ?? ""
    client.submit(
      HTTP2Client.Request(ref: page.ref, isPage: true, place: page.place),
      headers: headers(
        "GET",
        "/v1/conversations/\(names.names[Int(page.place)])/messages?limit=\(page.limit)\(before)"),
      body: [])
  }

  mutating func flush(into output: inout ByteBuffer) { client.write(into: &output) }

  private func headers(_ method: String, _ path: String) -> [(String, String)] {
    [
      (":method", method), (":scheme", "http"), (":authority", host), (":path", path),
      ("authorization", "Bearer \(credential)"), ("content-type", "application/json"),
    ]
  }

  private func answer(
    _ request: HTTP2Client.Request, _ status: Int, _ body: [UInt8]
  ) -> SessionEvent {
    let data = Data(body)
    guard (200..<300).contains(status) else {
      struct Envelope: Decodable { let error: JSONFrame.Failure }
      let failure = try? JSONDecoder().decode(Envelope.self, from: data).error
      return .refused(
        ref: request.ref, code: failure?.code ?? "status \(status)",
        mayPass: failure?.retryable ?? (status == 503 || status == 429))
    }
    if request.isPage {
      guard let history = try? JSONDecoder().decode(JSONFrame.History.self, from: data) else {
        return .failed("a page that cannot be read")
      }
      return history.page(request.ref, names)
    }
    guard let sent = try? JSONDecoder().decode(JSONFrame.Sent.self, from: data) else {
      return .failed("an answer that cannot be read")
    }
    return .acknowledged(ref: request.ref, sequence: sent.sequence)
  }
}

/// nghttp2's client session, without a socket.
///
/// **Isolation**: one owner; its callbacks run inside of its own calls.
final class HTTP2Client {
  struct Request {
    let ref: UInt64
    let isPage: Bool
    let place: UInt32
  }

  enum Outcome {
    case ready
    case answered(Request, status: Int, body: [UInt8])
    case leaving
    case failed(String)
  }

  private final class Exchange {
    let request: Request
    var rest: ArraySlice<UInt8>
    var status = 0
    var answer: [UInt8] = []

    init(_ request: Request, _ body: [UInt8]) {
      self.request = request
      rest = body[...]
    }
  }

  /// **Units**: bytes that the server may send before it is told to go on.
  private static let windowBytes: UInt32 = 8 << 20

  private var session: OpaquePointer?
  private var exchanges: [Int32: Exchange] = [:]
  private var outcomes: [Outcome] = []
  private var isReady = false

  init() {
    var callbacks: OpaquePointer?
    nghttp2_session_callbacks_new(&callbacks)
    defer { nghttp2_session_callbacks_del(callbacks) }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) {
      _, frame, name, nameCount, value, valueCount, _, data in
      guard let frame, let name, let value, nameCount == 7,
        String(decoding: UnsafeBufferPointer(start: name, count: nameCount), as: UTF8.self)
          == ":status"
      else { return 0 }
      let text = String(
        decoding: UnsafeBufferPointer(start: value, count: valueCount), as: UTF8.self)
      HTTP2Client.of(data).exchanges[frame.pointee.hd.stream_id]?.status = Int(text) ?? 0
      return 0
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) {
      _, _, stream, bytes, count, data in
      let chunk = UnsafeBufferPointer(start: bytes, count: count)
      HTTP2Client.of(data).exchanges[stream]?.answer.append(contentsOf: chunk)
      return 0
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, code, data in
      HTTP2Client.of(data).closed(stream, code)
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, data in
      guard let frame else { return 0 }
      HTTP2Client.of(data).received(frame.pointee.hd)
      return 0
    }
    nghttp2_session_client_new(&session, callbacks, Unmanaged.passUnretained(self).toOpaque())
    var settings = [
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue),
        value: Self.windowBytes),
      nghttp2_settings_entry(
        settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0),
    ]
    nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), &settings, settings.count)
    nghttp2_session_set_local_window_size(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, Int32(Self.windowBytes))
  }

  deinit { nghttp2_session_del(session) }

  /// The callbacks' `user_data` is the client that calls into nghttp2 at the time.
  private static func of(_ data: UnsafeMutableRawPointer?) -> HTTP2Client {
    guard let data else { preconditionFailure("a session without its client") }
    return Unmanaged<HTTP2Client>.fromOpaque(data).takeUnretainedValue()
  }

  func takeOutcomes() -> [Outcome] {
    defer { outcomes.removeAll(keepingCapacity: true) }
    return outcomes
  }

  func read(_ input: inout ByteBuffer) {
    let result = input.readWithUnsafeReadableBytes { bytes in
      let count = bytes.count
      let start = bytes.bindMemory(to: UInt8.self).baseAddress
      return (count, count == 0 ? 0 : nghttp2_session_mem_recv(session, start, count))
    }
    if result < 0 { outcomes.append(.failed(String(cString: nghttp2_strerror(Int32(result))))) }
  }

  func write(into output: inout ByteBuffer) {
    while true {
      var start: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(session, &start)
      guard count > 0, let start else { return }
      output.writeBytes(UnsafeBufferPointer(start: start, count: count))
    }
  }

  func submit(_ request: Request, headers: [(String, String)], body: [UInt8]) {
    let exchange = Exchange(request, body)
    var source = nghttp2_data_provider()
    source.source.ptr = Unmanaged.passUnretained(exchange).toOpaque()
    source.read_callback = { _, _, buffer, length, flags, source, _ in
      guard let pointer = source?.pointee.ptr, let buffer else { return 0 }
      let exchange = Unmanaged<Exchange>.fromOpaque(pointer).takeUnretainedValue()
      let part = exchange.rest.prefix(length)
      UnsafeMutableBufferPointer(start: buffer, count: length).update(fromContentsOf: part)
      exchange.rest = exchange.rest.dropFirst(part.count)
      if exchange.rest.isEmpty { flags?.pointee |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue) }
      return part.count
    }
    let stream = Self.withNativeHeaders(headers) { native in
      body.isEmpty
        ? nghttp2_submit_request(session, nil, native.baseAddress, native.count, nil, nil)
        : nghttp2_submit_request(session, nil, native.baseAddress, native.count, &source, nil)
    }
    guard stream > 0 else {
      return outcomes.append(.failed(String(cString: nghttp2_strerror(stream))))
    }
    // Until the stream is closed nghttp2 may ask for the body.
    exchanges[stream] = exchange
  }

  private static func withNativeHeaders(
    _ headers: [(String, String)], _ body: (UnsafeMutableBufferPointer<nghttp2_nv>) -> Int32
  ) -> Int32 {
    var bytes: [UInt8] = []
    for (name, value) in headers { bytes += Array(name.utf8) + Array(value.utf8) }
    return bytes.withUnsafeMutableBufferPointer { buffer in
      var place = 0
      var native: [nghttp2_nv] = []
      for (name, value) in headers {
        let (nameCount, valueCount) = (name.utf8.count, value.utf8.count)
        let start = buffer.baseAddress.map { $0 + place }
        native.append(
          nghttp2_nv(
            name: start, value: start.map { $0 + nameCount }, namelen: nameCount,
            valuelen: valueCount, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
        place += nameCount + valueCount
      }
      return native.withUnsafeMutableBufferPointer { body($0) }
    }
  }

  private func closed(_ stream: Int32, _ code: UInt32) {
    guard let exchange = exchanges.removeValue(forKey: stream) else { return }
    guard code == 0, exchange.status > 0 else {
      return outcomes.append(.failed("a stream was reset with \(code)"))
    }
    outcomes.append(
      .answered(exchange.request, status: exchange.status, body: exchange.answer))
  }

  private func received(_ head: nghttp2_frame_hd) {
    let type = UInt32(head.type)
    if type == NGHTTP2_SETTINGS.rawValue, !isReady {
      isReady = true
      outcomes.append(.ready)
    }
    if type == NGHTTP2_GOAWAY.rawValue { outcomes.append(.leaving) }
  }
}

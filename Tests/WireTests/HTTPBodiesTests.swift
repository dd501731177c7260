import ChatModel
import ClientProtocol
import Foundation
import Primitives
import SwiftProtobuf
import Testing
import Wire

@Suite struct HTTPBodiesTests {
  private static func bytes(_ json: String) -> ArraySlice<UInt8> { Array(json.utf8)[...] }

  private static func refusal(_ body: () throws -> Void) -> String? {
    do {
      try body()
      return nil
    } catch let error as ServiceError {
      return error.code == .invalidArgument ? error.message : "another code: \(error)"
    } catch {
      return "another error: \(error)"
    }
  }

  @Test func requestsAreReadFromWhatTheTwinWrites() throws {
    try forRandomValues(100) { (values: inout RandomValues) throws in
      let handle = values.handle()
      let account = CreateAccountBody(
        handle: handle, password: "secret \"\\ 漢", displayName: values.text(20))
      var accountTwin = ProtoCreateAccountRequest()
      accountTwin.handle = handle.text.uppercased()
      accountTwin.password = account.password
      accountTwin.displayName = account.displayName
      let accountJSON = try accountTwin.jsonUTF8Bytes() as [UInt8]
      #expect(try HTTPBodies.decodeCreateAccount(accountJSON[...]) == account)

      var loginTwin = ProtoLoginRequest()
      loginTwin.handle = handle.text
      loginTwin.password = "x"
      loginTwin.device = "phone"
      let loginJSON = try loginTwin.jsonUTF8Bytes() as [UInt8]
      #expect(
        try HTTPBodies.decodeLogin(loginJSON[...])
          == LoginBody(handle: handle, password: "x", device: "phone"))

      let id = values.clientID()
      let sendTwin = ProtoSendRequest.with {
        $0.id = id.text
        $0.text = "hé"
      }
      let sendJSON = try sendTwin.jsonUTF8Bytes() as [UInt8]
      #expect(try HTTPBodies.decodeSend(sendJSON[...]) == SendBody(id: id, text: "hé"))
    }
    let refresh = try ProtoRefreshRequest.with { $0.refreshToken = "r" }.jsonUTF8Bytes() as [UInt8]
    #expect(try HTTPBodies.decodeRefresh(refresh[...]) == .token("r"))
    let cookie = try ProtoRefreshRequest.with { $0.cookie = true }.jsonUTF8Bytes() as [UInt8]
    #expect(try HTTPBodies.decodeRefresh(cookie[...]) == .cookie)
  }

  @Test func membersAreNamedByIdOrHandle() throws {
    let user = UserID(77)
    let handle = try #require(Handle("alice"))
    let json = Self.bytes(#"{"kind":"group","members":["\#(user)","Alice"],"title":"Tea"}"#)
    #expect(
      try HTTPBodies.decodeCreateConversation(json)
        == CreateConversationRequest(
          kind: .group, members: [.user(user), .handle(handle)], title: "Tea"))
    let change = Self.bytes(#"{"add":["alice"],"remove":["\#(user)"],"conversation":"ignored"}"#)
    #expect(
      try HTTPBodies.decodeChangeMembers(change)
        == ChangeMembersBody(add: [.handle(handle)], remove: [.user(user)]))
  }

  @Test func refusalsNameTheFieldAndWhatIsAllowed() {
    let long = String(repeating: "x", count: 1_025)
    let cases: [(String, String)] = [
      (#"{"password":"12345678"}"#, "handle: is required"),
      (#"{"handle":"a b","password":"12345678"}"#, "handle: must be a handle"),
      (#"{"handle":"alice","password":"1234567"}"#, "password: must be 8 to 1024 bytes"),
      (#"{"handle":"alice","password":"\#(long)"}"#, "password: must be at most 1024 bytes"),
      (#"{"handle":"alice","password":12345678}"#, "password: must be a string"),
      (#"{"handle":"alice","password":"12345678"}}"#, "malformed: expected the end"),
      (#"["handle"]"#, "message: must be an object"), ("null", "message: must be an object"),
      ("", "malformed: expected a value at byte 0"),
      ("nonsense", "malformed: expected null"),
      (#"{"handle":"#, "malformed: expected a value at byte 10"),
      (#"{"handle":}"#, "malformed: expected a value at byte 10"),
      (#"{"handle":["alice"#, "malformed: expected the end of a string"),
      (#"{"handle":"alice","password":"12345678","handle":"bob"}"#, "handle: must be given once"),
      (
        #"{"handle":"alice","password":"12345678","displayName":"a","display_name":"b"}"#,
        "displayName: must be given once"
      ),
      (#"{"handle":"alice","password":"12345678","displayName":"\ud800"}"#, "displayName: must be"),
    ]
    for (json, message) in cases {
      let refusal = Self.refusal { _ = try HTTPBodies.decodeCreateAccount(Self.bytes(json)) }
      #expect(refusal?.hasPrefix(message) == true, "\(json): \(refusal ?? "read")")
    }
    #expect(
      Self.refusal { _ = try HTTPBodies.decodeLogin(Self.bytes(#"{"handle":"alice"}"#)) }
        == "password: is required")
    #expect(
      Self.refusal { _ = try HTTPBodies.decodeSend(Self.bytes(#"{"text":"x"}"#)) }
        == "id: is required")
    #expect(
      Self.refusal { _ = try HTTPBodies.decodeRefresh(Self.bytes("{}")) }
        == "refreshToken: is required")
    let members = (0..<257).map { "\"user\($0)\"" }.joined(separator: ",")
    #expect(
      Self.refusal { _ = try HTTPBodies.decodeChangeMembers(Self.bytes("{\"add\":[\(members)]}")) }
        == "add: must be at most 256 people")
    let large = Self.bytes(String(repeating: " ", count: HTTPBodies.bodyBytesMax) + "{}")
    #expect(Self.refusal { _ = try HTTPBodies.decodeSend(large) }?.hasPrefix("a body is") == true)
  }

  @Test func answersAreWhatTheTwinReads() throws {
    try forRandomValues(100) { (values: inout RandomValues) throws in
      let profile = values.profile()
      #expect(
        try ProtoAccount(jsonUTF8Bytes: HTTPBodies.account(profile)).user == ProtoUser(profile))

      let session = SessionBody(
        accessToken: values.text(), refreshToken: values.text(),
        expiresInSeconds: values.number32(), user: profile, device: values.device())
      let sessionTwin = ProtoSession.with {
        $0.accessToken = session.accessToken
        $0.refreshToken = session.refreshToken
        $0.expiresInSeconds = session.expiresInSeconds
        $0.user = ProtoUser(profile)
        $0.device = session.device.description
      }
      #expect(try ProtoSession(jsonUTF8Bytes: HTTPBodies.session(session)) == sessionTwin)

      let summary = values.clientSummary()
      var conversation = ProtoConversation(summary)
      #expect(
        try ProtoConversation(jsonUTF8Bytes: HTTPBodies.conversation(summary, existed: false))
          == conversation)
      conversation.existed = true
      #expect(
        try ProtoConversation(jsonUTF8Bytes: HTTPBodies.conversation(summary, existed: true))
          == conversation)

      let page = HistoryPage(
        events: values.list(3) { $0.clientEvent() }, head: Sequence(values.number()))
      let history = ProtoHistory.with {
        $0.events = page.events.map(ProtoClientEvent.init)
        $0.head = page.head.rawValue
      }
      #expect(try ProtoHistory(jsonUTF8Bytes: HTTPBodies.history(page)) == history)

      let error = values.serviceError()
      #expect(
        try ProtoErrorEnvelope(jsonUTF8Bytes: HTTPBodies.error(error)).error
          == ProtoServiceError(error))
    }
  }

  @Test func smallAnswersAreWrittenToTheByte() {
    let id = ConversationID(1)
    let sent = HTTPBodies.sent(
      conversation: id, sequence: Sequence(3), time: WallTime(milliseconds: 4), repeated: true)
    #expect(
      String(decoding: sent, as: UTF8.self)
        == #"{"conversation":"\#(id)","seq":"3","time":"4","repeated":true}"#)
    let changed = HTTPBodies.membersChanged(conversation: id, sequence: Sequence(5))
    #expect(String(decoding: changed, as: UTF8.self) == #"{"conversation":"\#(id)","seq":"5"}"#)
    #expect(
      String(decoding: HTTPBodies.conversations([], next: nil), as: UTF8.self) == #"{"items":[]}"#)
    let history = HTTPBodies.history(HistoryPage(events: [], head: .zero))
    #expect(String(decoding: history, as: UTF8.self) == #"{"events":[],"head":"0"}"#)
  }

  @Test func aCursorIsAServerSentEventsId() throws {
    var values = RandomValues(seed: 5)
    let cursor = values.cursor()
    let text = CursorCodec.encode(cursor)
    let event = values.clientEvent(0)
    let block = try #require(HTTPBodies.serverSentEvent(.event(event)))
    let lines = String(decoding: block, as: UTF8.self).components(separatedBy: "\n")
    #expect(lines.count == 4 && lines[2].isEmpty && lines[3].isEmpty)
    #expect(lines[0] == "event: message")
    let data = String(lines[1].dropFirst("data: ".count))
    #expect(try ProtoClientEvent(jsonString: data) == ProtoClientEvent(event))

    let alone = HTTPBodies.serverSentEvent(.cursor(cursor)).map {
      String(decoding: $0, as: UTF8.self)
    }
    #expect(alone == "id: \(text)\n\n")
    let behind = HTTPBodies.serverSentEvent(.behind).map { String(decoding: $0, as: UTF8.self) }
    #expect(behind == "event: behind\ndata: {}\n\n")
    #expect(HTTPBodies.serverSentEvent(.pong) == nil)
  }
}

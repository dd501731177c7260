import ChatModel
import ClientProtocol
import Foundation
import Primitives
import SwiftProtobuf
import Testing
import Wire

@Suite struct ClientCodecTests {
  private static let ignoringUnknown: JSONDecodingOptions = {
    var options = JSONDecodingOptions()
    options.ignoreUnknownFields = true
    return options
  }()

  private static func frames(
    _ results: [Result<ClientFrame, RefusedOperation>]
  ) throws -> [ClientFrame] {
    try results.map { try $0.get() }
  }

  // MARK: What clients say

  @Test func operationsAreWrittenAsTheTwinWritesThem() throws {
    try forRandomValues(100) { (values: inout RandomValues) throws in
      for frame in values.everyClientFrame() {
        let twin = ProtoClientFrame(frame)
        var batch = ProtoClientBatch()
        batch.frames = [twin]
        #expect(
          ClientCodec.encode([frame], as: .protobuf) == (try batch.serializedBytes() as [UInt8]))
        #expect(
          String(decoding: ClientCodec.encode([frame], as: .json), as: UTF8.self)
            == (try twin.jsonString()))
      }
    }
  }

  @Test func operationsAreReadBackInBothEncodingsAloneAndTogether() throws {
    try forRandomValues(100) { (values: inout RandomValues) throws in
      let frames = values.everyClientFrame()
      let json = ClientCodec.encode(frames, as: .json)
      #expect(try Self.frames(ClientCodec.decode(text: json)) == frames)
      let binary = ClientCodec.encode(frames, as: .protobuf)
      #expect(try Self.frames(ClientCodec.decode(binary: binary)) == frames)
      for frame in frames {
        let alone = ClientCodec.encode([frame], as: .json)
        #expect(try Self.frames(ClientCodec.decode(text: alone)) == [frame])
      }
    }
  }

  @Test func jsonThatIsWrittenDifferentlyIsReadTheSame() throws {
    let conversation = ConversationID(0x1234_5678_9abc_def0)
    let id = try #require(ClientMessageID("a-1"))
    let expected = ClientFrame(
      ref: "7", operation: .send(conversation: conversation, id: id, text: "hi"))
    for text in [
      #"{"ref":"7","send":{"conversation":"ID","id":"a-1","text":"hi"}}"#,
      #" { "send" : { "text" : "hi" , "id" : "a-1" , "conversation" : "ID" } , "ref" : "7" } "#,
      "\t{\"ref\":\r\n\"7\",\"send\":{\"conversation\":\"ID\",\"id\":\"a-1\",\"text\":\"hi\"}}\n",
      #"{"ref":"7","hello":null,"send":{"conversation":"ID","id":"a-1","text":"hi"},"#
        + #""x":[{},[1e9]]}"#,
      #"{"\u0072ef":"7","send":{"conversation":"ID","id":"a\u002d1","#
        + #""text":"\u0068i","t":"\ud800"}}"#,
    ] {
      let json = text.replacingOccurrences(of: "ID", with: conversation.description)
      #expect(try Self.frames(ClientCodec.decode(text: Array(json.utf8))) == [expected], "\(json)")
      let twin = try ProtoClientFrame(jsonString: json, options: Self.ignoringUnknown)
      #expect(twin == ProtoClientFrame(expected), "the twin reads it otherwise: \(json)")
    }
  }

  @Test func jsonFieldsThatAreGivenTwiceAreRefused() throws {
    let send = #""send":{"conversation":"\#(ConversationID(1))","id":"a-1","text":"hi"}"#
    for (json, ref, message) in [
      (#"{"ref":"1","ref":"7",\#(send)}"#, "", "ref: must be given once"),
      (#"{"ref":"1",\#(send),\#(send)}"#, "1", "send: must be given once"),
      (#"{"ref":"1","send":null,\#(send)}"#, "1", "send: must be given once"),
      (
        #"{"ref":"1","send":{"id":"a","id":"b","text":"x"}}"#, "1", "id: must be given once"
      ),
    ] {
      let results = try ClientCodec.decode(text: Array(json.utf8))
      #expect(results.count == 1)
      guard case .failure(let refused)? = results.first else {
        Issue.record("\(json) was read")
        continue
      }
      #expect(refused.error.message == message, "\(json)")
      #expect(refused.ref == ref, "\(json)")
    }
    // What nobody reads may be anything.
    let unknown = #"{"ref":"1","x":1,"x":2,"ping":{"y":0,"y":0}}"#
    #expect(try Self.frames(ClientCodec.decode(text: Array(unknown.utf8))).count == 1)
  }

  @Test func fieldNamesOfTheSchemaAreReadAsWell() throws {
    let json = #"{"list_conversations":{"limit":"7"}}"#
    let expected = ClientFrame(ref: "", operation: .listConversations(after: nil, limit: 7))
    #expect(try Self.frames(ClientCodec.decode(text: Array(json.utf8))) == [expected])
    #expect(try ProtoClientFrame(jsonString: json) == ProtoClientFrame(expected))
  }

  @Test func escapesAreReadAsTheTwinReadsThem() throws {
    let texts = [
      #""\" \\ \/ \b \f \n \r \t""#, #""\u0000""#, #""\u00e9\u6F22\uD83d\ude00""#, #""é漢😀""#,
      #""\ud800""#, #""\ude00\ud83d""#, #""\ud83dx""#, #""\ud83d\n""#, #""\ud83d\u0041""#,
    ]
    for text in texts {
      let conversation = ConversationID(5)
      let json = #"{"send":{"conversation":"\#(conversation)","id":"1","text":\#(text)}}"#
      let twin = try? ProtoClientFrame(jsonString: json)
      let result = try ClientCodec.decode(text: Array(json.utf8)).first
      guard case .success(let frame)? = result, case .send(_, _, let read) = frame.operation else {
        #expect(twin == nil, "refused, but the twin reads \(text)")
        continue
      }
      #expect(read == twin?.send.text, "\(text)")
    }
  }

  @Test func numbersAreReadAsTheTwinReadsThem() throws {
    let conversation = ConversationID(5)
    let numbers = [
      "0", "12", "18446744073709551615", "18446744073709551616", "99999999999999999999", "-1", "-0",
      "007", "1.0", "1.5", "12e0", "1.2e1", "1.2E+1", "120e-1", "12e-1", "1e19", "1e20", "0e9",
      "0.0",
      "1e400", "", " 1", "1 ", "0x10", "1_0", "+1", ".5", "1.", "1e", "true", "[]", "{}", "one",
    ]
    for number in numbers {
      for text in [number, "\"\(number)\""] {
        let json = #"{"history":{"conversation":"\#(conversation)","after":\#(text)}}"#
        let twin = try? ProtoClientFrame(jsonString: json)
        let results = try? ClientCodec.decode(text: Array(json.utf8))
        guard case .success(let frame)? = results?.first,
          case .history(_, .after(let sequence), _) = frame.operation
        else {
          #expect(twin == nil, "refused, but the twin reads \(text)")
          continue
        }
        #expect(sequence.rawValue == twin?.history.after, "\(text)")
      }
    }
  }

  @Test func randomTextsAreAcceptedByBothOrByNeither() throws {
    try forRandomValues(30) { (values: inout RandomValues) throws in
      for frame in values.everyClientFrame() {
        let json = ClientCodec.encode([frame], as: .json)
        for changed in values.damaged(Array(json.prefix(600)), mutationCount: 40) {
          let results = (try? ClientCodec.decode(text: changed)) ?? []
          guard case .success(let frame)? = results.first, changed.first != UInt8(ascii: "[") else {
            continue
          }
          var options = Self.ignoringUnknown
          options.messageDepthLimit = 100
          let twin = try ProtoClientFrame(jsonUTF8Bytes: changed, options: options)
          #expect(twin.ref == frame.ref)
        }
      }
    }
  }

  @Test func changedBinaryMessagesAreReadOrRefusedButNeverTrap() {
    forRandomValues(30) { values in
      var refusedCount = 0
      for frame in values.everyClientFrame() {
        let bytes = ClientCodec.encode([frame], as: .protobuf)
        for changed in values.damaged(bytes, mutationCount: 60) {
          switch try? ClientCodec.decode(binary: changed).first {
          case .success?: break
          default: refusedCount += 1
          }
        }
      }
      #expect(refusedCount > 50)
    }
  }

  @Test func anUnreadableOperationIsRefusedUnderItsRefAndTheOthersAreServed() throws {
    let conversation = ConversationID(9)
    let json = """
      [{"ref":"1","ping":{}},
       {"send":{"conversation":5,"id":"x","text":"hi"},"ref":"2"},
       {"ref":"3","send":{"conversation":"\(conversation)","id":"","text":"hi"}},
       {"ref":"4","send":{"conversation":"cXYZ","id":"x","text":"hi"}},
       {"ref":"5","send":{"conversation":"\(conversation)","id":"x","text":{"a":[1,2]}}},
       {"ref":6,"ping":{}},
       7,
       {"ref":"8"},
       {"ref":"9","ping":{},"send":{}},
       {"ref":"10","history":{"conversation":"\(conversation)","limit":201}},
       {"ref":"11","createConversation":{"kind":"channel"}},
       {"ref":"12","ping":{}}]
      """
    let results = try ClientCodec.decode(text: Array(json.utf8))
    #expect(results.count == 12)
    #expect(results.first == .success(ClientFrame(ref: "1", operation: .ping)))
    #expect(results.last == .success(ClientFrame(ref: "12", operation: .ping)))
    let refused = results.compactMap { result -> RefusedOperation? in
      if case .failure(let refused) = result { refused } else { nil }
    }
    #expect(refused.map(\.ref) == ["2", "3", "4", "5", "", "", "8", "9", "10", "11"])
    #expect(refused.allSatisfy { $0.error.code == .invalidArgument && !$0.error.retryable })
    let fields = ["conversation", "id", "conversation", "text", "ref", "message", "operation"]
    for (refusal, field) in zip(refused, fields + ["send", "limit", "kind"]) {
      #expect(refusal.error.message.hasPrefix(field + ": "), "\(refusal.error.message)")
    }
    #expect(refused[0].frame == ServerFrame(ref: "2", body: .error(refused[0].error)))
  }

  @Test func anUnreadableBinaryOperationIsRefusedUnderItsRefAndTheOthersAreServed() throws {
    let good = ClientFrame(ref: "1", operation: .ping)
    var bad = ProtoClientFrame()
    bad.ref = "2"
    bad.send = .with { $0.conversation = "c" }
    var batch = ProtoClientBatch()
    batch.frames = [ProtoClientFrame(good), bad, ProtoClientFrame(good)]
    let results = try ClientCodec.decode(binary: try batch.serializedBytes() as [UInt8])
    #expect(results.count == 3)
    #expect(results[0] == .success(good) && results[2] == .success(good))
    guard case .failure(let refused) = results[1] else {
      Issue.record("\(results[1])")
      return
    }
    #expect(refused.ref == "2" && refused.error.message.hasPrefix("conversation: "))
  }

  @Test func malformedJSONRefusesTheWholeMessage() {
    let deep = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
    for json in [
      "", " ", "{", "[", "{]", "[{}", "{}x", "{} {}", "[{},]", "{\"a\":1,}", "{a:1}", "{'a':1}",
      "{\"ref\"}", "{\"ref\":}", "{\"ref\":\"\u{1}\"}", "{\"ref\":\"a}", "{\"ref\":\"\\x\"}",
      "{\"x\":\"\\u12g4\"}", "{\"x\":01}", "{\"x\":1.}", "{\"x\":-}", "{\"x\":tru}", "{\"x\":nul}",
      "{\"ping\":{},\"x\":\(deep)}", "[{\"ref\":\"1\",\"ping\":{}},{\"x\":]", "\u{feff}{}",
      "nothing",
    ] {
      #expect(throws: ClientCodecError.self, "\(json)") {
        try ClientCodec.decode(text: Array(json.utf8))
      }
    }
  }

  @Test func nestingUpToTheBoundIsSkipped() throws {
    let deep = String(repeating: "[", count: 31) + String(repeating: "]", count: 31)
    let json = "{\"x\":\(deep),\"ref\":\"1\",\"ping\":{\"y\":null}}"
    #expect(
      try Self.frames(ClientCodec.decode(text: Array(json.utf8)))
        == [ClientFrame(ref: "1", operation: .ping)])
  }

  @Test func aTextOfTheGreatestLengthIsReadAndOneByteMoreIsRefusedByName() throws {
    let id = try #require(ClientMessageID("1"))
    for (count, accepted) in [
      (ChatLimits.messageTextBytesMax, true), (ChatLimits.messageTextBytesMax + 1, false),
    ] {
      for character in ["x", "\u{0}"] {
        let frame = ClientFrame(
          ref: "7",
          operation: .send(
            conversation: ConversationID(3), id: id,
            text: String(repeating: character, count: count)))
        for encoding in ClientEncoding.allCases {
          let bytes = ClientCodec.encode([frame], as: encoding)
          let results =
            switch encoding {
            case .json: try ClientCodec.decode(text: bytes)
            case .protobuf: try ClientCodec.decode(binary: bytes)
            }
          if accepted {
            #expect(results == [.success(frame)])
          } else if case .failure(let refused)? = results.first {
            #expect(refused.ref == "7")
            #expect(refused.error.message == "text: must be at most 65536 bytes")
          } else {
            Issue.record("a text of \(count) bytes was read")
          }
        }
      }
    }
  }

  @Test func aMessageOfTooManyOperationsOrBytesIsRefusedAsAWhole() throws {
    let frames = [ClientFrame](
      repeating: ClientFrame(ref: "", operation: .ping),
      count: ClientCodec.operationsPerMessageMax)
    #expect(try ClientCodec.decode(text: ClientCodec.encode(frames, as: .json)).count == 256)
    #expect(try ClientCodec.decode(binary: ClientCodec.encode(frames, as: .protobuf)).count == 256)
    let more = frames + frames.prefix(1)
    #expect(throws: ClientCodecError.tooManyOperations) {
      try ClientCodec.decode(text: ClientCodec.encode(more, as: .json))
    }
    #expect(throws: ClientCodecError.tooManyOperations) {
      try ClientCodec.decode(binary: ClientCodec.encode(more, as: .protobuf))
    }
    let large = [UInt8](repeating: UInt8(ascii: " "), count: ClientCodec.messageBytesMax + 1)
    #expect(throws: ClientCodecError.tooManyBytes) { try ClientCodec.decode(text: large) }
    #expect(throws: ClientCodecError.tooManyBytes) { try ClientCodec.decode(binary: large) }
    #expect(ClientCodecError.tooManyBytes.serviceError.code == .invalidArgument)
  }

  @Test func moreMembersThanOneCommandMayNameAreRefused() throws {
    let members = (1...UInt128(200)).map { MemberReference.user(UserID($0)) }
    let both = ClientFrame(
      ref: "1",
      operation: .changeMembers(conversation: ConversationID(1), add: members, remove: members))
    for (encoding, results) in [
      ("JSON", try ClientCodec.decode(text: ClientCodec.encode([both], as: .json))),
      ("protobuf", try ClientCodec.decode(binary: ClientCodec.encode([both], as: .protobuf))),
    ] {
      guard case .failure(let refused)? = results.first else {
        Issue.record("400 people were read from \(encoding)")
        continue
      }
      #expect(refused.error.message == "remove: must be at most 256 people")
    }
  }

  @Test func eventsAreWantedUnlessTheHelloSaysNo() throws {
    for (json, wanted) in [
      (#"{"hello":{}}"#, true), (#"{"hello":{"events":true}}"#, true),
      (#"{"hello":{"events":false}}"#, false),
    ] {
      let frame = try #require(try Self.frames(ClientCodec.decode(text: Array(json.utf8))).first)
      #expect(frame.operation == .hello(Hello(token: "", cursor: nil, events: wanted)))
    }
  }
}

import ChatModel
import ClientProtocol
import Foundation
import Primitives
import SwiftProtobuf
import Testing
import Wire

@Suite struct ServerFrameTests {
  /// The lists that are written in JSON although they are empty.
  private static func hasEmptyList(_ body: ServerBody) -> Bool {
    switch body {
    case .conversation(let summary, _): summary.members.isEmpty
    case .conversations(let items, _): items.isEmpty || items.contains { $0.members.isEmpty }
    case .history(_, let page): page.events.isEmpty
    default: false
    }
  }

  @Test func framesAreWrittenAsTheTwinWritesThem() throws {
    try forRandomValues(100) { (values: inout RandomValues) throws in
      for frame in values.everyServerFrame() {
        let twin = ProtoServerFrame(frame)
        var batch = ProtoServerBatch()
        batch.frames = [twin]
        #expect(
          ClientCodec.encode(frame, as: .protobuf) == (try batch.serializedBytes() as [UInt8]))
        let json = String(decoding: ClientCodec.encode(frame, as: .json), as: UTF8.self)
        #expect(try ProtoServerFrame(jsonString: json) == twin)
        if !Self.hasEmptyList(frame.body) { #expect(json == (try twin.jsonString())) }
      }
    }
  }

  @Test func framesAreReadBackInBothEncodingsAloneAndTogether() throws {
    try forRandomValues(100) { (values: inout RandomValues) throws in
      let frames = values.everyServerFrame()
      for encoding in ClientEncoding.allCases {
        let together = ClientCodec.encode(frames, as: encoding)
        #expect(try ClientCodec.decodeServerFrames(together[...], as: encoding) == frames)
        for frame in frames {
          let alone = ClientCodec.encode(frame, as: encoding)
          #expect(try ClientCodec.decodeServerFrames(alone[...], as: encoding) == [frame])
        }
      }
    }
  }

  @Test func binaryFramesOfSeveralMessagesJoinToOneMessage() throws {
    var values = RandomValues(seed: 3)
    let frames = values.everyServerFrame()
    let joined = frames.flatMap { ClientCodec.encode($0, as: .protobuf) }
    #expect(joined == ClientCodec.encode(frames, as: .protobuf))
  }

  @Test func theFormsInTheDocumentationAreWhatIsWritten() throws {
    let conversation = ConversationID(0xabc)
    let author = UserID(0xdef)
    let event = Event(
      conversation: conversation, sequence: Sequence(12),
      time: WallTime(milliseconds: 1_763_000_000_000),
      author: author, index: LogIndex(99), content: .message(text: "hello"))
    let error = ServiceError(.permissionDenied, "not a member")
    let cases: [(ServerFrame, String)] = [
      (
        ServerFrame(
          ref: "7",
          body: .sent(
            conversation: conversation, sequence: Sequence(12), time: WallTime(milliseconds: 5),
            repeated: false)),
        #"{"ref":"7","sent":{"conversation":"\#(conversation)","seq":"12","time":"5"}}"#
      ),
      (
        ServerFrame(ref: "7", body: .error(error)),
        #"{"ref":"7","error":{"code":"PERMISSION_DENIED","message":"not a member","#
          + #""retryable":false,"retryAfterMilliseconds":0}}"#
      ),
      (
        ServerFrame(ref: "", body: .event(event)),
        #"{"event":{"conversation":"\#(conversation)","seq":"12","time":"1763000000000","#
          + #""author":"\#(author)","message":{"text":"hello"}}}"#
      ),
      (ServerFrame(ref: "", body: .pong), #"{"pong":{}}"#),
      (
        ServerFrame(
          ref: "1",
          body: .history(conversation: conversation, HistoryPage(events: [], head: .zero))),
        #"{"ref":"1","history":{"conversation":"\#(conversation)","events":[],"head":"0"}}"#
      ),
    ]
    for (frame, json) in cases {
      #expect(String(decoding: ClientCodec.encode(frame, as: .json), as: UTF8.self) == json)
    }
  }

  @Test func aBodyOfALaterVersionIsLeftOut() throws {
    let json = Array(#"[{"ref":"1","receipt":{"upTo":"3"}},{"pong":{}}]"#.utf8)
    #expect(
      try ClientCodec.decodeServerFrames(json[...], as: .json)
        == [ServerFrame(ref: "", body: .pong)])
    let binary: [UInt8] = [0x0a, 4, 0xf2, 0x07, 1, 0, 0x0a, 2, 0x42, 0]
    #expect(
      try ClientCodec.decodeServerFrames(binary[...], as: .protobuf)
        == [ServerFrame(ref: "", body: .pong)])
  }

  @Test func cutAndChangedFramesAreReadOrRefusedButNeverTrap() {
    forRandomValues(10) { values in
      var refusedCount = 0
      for frame in values.everyServerFrame() {
        for encoding in ClientEncoding.allCases {
          let bytes = ClientCodec.encode(frame, as: encoding)
          for changed in values.damaged(bytes, mutationCount: 40) {
            if (try? ClientCodec.decodeServerFrames(changed[...], as: encoding)) == nil {
              refusedCount += 1
            }
          }
        }
      }
      #expect(refusedCount > 100)
    }
  }

  @Test func theSubprotocolNamesTheEncoding() {
    #expect(ClientEncoding(subprotocol: "martlet.v1.json") == .json)
    #expect(ClientEncoding(subprotocol: "martlet.v1.proto") == .protobuf)
    #expect(ClientEncoding(subprotocol: "martlet.v2.json") == nil)
  }
}

import ChatModel
import ClusterModel
import NodeProtocol
import Primitives

/// `martlet.v1.Request`
extension Request {
  func encode(into writer: inout FrameWriter) {
    switch operation {
    case .command(let command): encode(command: command, into: &writer)
    case .query(let query):
      writer.uint(1, id)
      writer.uint(2, partition.rawValue)
      writer.message(4) { query.encode(into: &$0) }
    }
  }

  func encode(command: [UInt8], into writer: inout FrameWriter) {
    writer.uint(1, id)
    writer.uint(2, partition.rawValue)
    writer.element(3, command)
  }

  /// **Units**: bytes of the message that a request with this command becomes.
  func bytes(command: [UInt8]) -> Int {
    FieldBytes.uint(id) + FieldBytes.uint(UInt64(partition.rawValue))
      + FieldBytes.element(command.count)
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var id: UInt64 = 0
    var partition = PartitionID(0)
    var operation: Operation?
    while let field = try reader.next() {
      switch field.number {
      case 1: id = try field.uint64()
      case 2: partition = PartitionID(try field.uint32())
      case 3: operation = .command(try field.bytes())
      case 4: operation = .query(try Query(decoding: try field.reader()))
      default: break
      }
    }
    guard let operation else { throw .unknownVariant }
    self.init(id: id, partition: partition, operation: operation)
  }
}

/// `martlet.v1.Response`
extension Response {
  func encode(into writer: inout FrameWriter) {
    writer.uint(1, id)
    switch outcome {
    case .applied(let result): writer.message(2) { result.encode(into: &$0) }
    case .answered(let answer): writer.message(3) { answer.encode(into: &$0) }
    case .notLeader(let leader, let revision):
      writer.message(4) {
        if let leader { $0.message(1) { leader.encode(into: &$0) } }
        $0.int(2, revision.rawValue)
      }
    case .failed(let error): writer.message(5) { error.encode(into: &$0) }
    }
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var id: UInt64 = 0
    var outcome: Outcome?
    while let field = try reader.next() {
      switch field.number {
      case 1: id = try field.uint64()
      case 2: outcome = .applied(try CommandResult(decoding: try field.reader()))
      case 3: outcome = .answered(try QueryAnswer(decoding: try field.reader()))
      case 4: outcome = try Outcome(notLeader: try field.reader())
      case 5: outcome = .failed(try ServiceError(decoding: try field.reader()))
      default: break
      }
    }
    guard let outcome else { throw .unknownVariant }
    self.init(id: id, outcome: outcome)
  }
}

extension Response.Outcome {
  fileprivate init(notLeader reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var leader: ReplicaID?
    var revision = Revision.zero
    while let field = try reader.next() {
      switch field.number {
      case 1: leader = try ReplicaID(decoding: try field.reader())
      case 2: revision = Revision(try field.int64())
      default: break
      }
    }
    self = .notLeader(leader: leader, revision: revision)
  }
}

/// `martlet.v1.Refusal`
extension ServiceError {
  func encode(into writer: inout FrameWriter) {
    writer.uint(1, code.rawValue)
    writer.string(2, message)
    writer.bool(3, retryable)
    writer.uint(4, retryAfterMilliseconds)
  }

  init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    var found: ServiceErrorCode?
    var message = ""
    var retryable = false
    var retryAfterMilliseconds: UInt32 = 0
    while let field = try reader.next() {
      switch field.number {
      case 1: found = ServiceErrorCode(rawValue: try field.uint32())
      case 2: message = try field.string()
      case 3: retryable = try field.bool()
      case 4: retryAfterMilliseconds = try field.uint32()
      default: break
      }
    }
    guard let found else { throw .outOfRange(field: 1) }
    self.init(
      found, message, retryable: retryable, retryAfterMilliseconds: retryAfterMilliseconds)
  }
}

/// `martlet.v1.CommandResult`
extension CommandResult {
  fileprivate func encode(into writer: inout FrameWriter) {
    switch self {
    case .conversationCreated(let conversation, let existed):
      writer.message(1) {
        $0.identifier(1, conversation.rawValue)
        $0.bool(2, existed)
      }
    case .messageSent(let sequence, let time, let repeated):
      writer.message(2) {
        $0.uint(1, sequence.rawValue)
        $0.uint(2, time.milliseconds)
        $0.bool(3, repeated)
      }
    case .membersChanged(let sequence): writer.message(3) { $0.uint(1, sequence.rawValue) }
    case .userPending: writer.message(4) { _ in }
    case .userActive(let user): writer.message(5) { $0.identifier(1, user.rawValue) }
    case .sessionOpened: writer.message(6) { _ in }
    case .refreshTokenRotated: writer.message(7) { _ in }
    case .sessionClosed: writer.message(8) { _ in }
    case .done: writer.message(9) { _ in }
    case .refused(let error): writer.message(10) { error.encode(into: &$0) }
    }
  }

  fileprivate init(decoding reader: ProtobufScanner) throws(ProtobufError) {
    var reader = reader
    guard let field = try reader.next() else { throw .unknownVariant }
    let body = try field.reader()
    switch field.number {
    case 1...3, 5: self = try Self.withFields(body, variant: field.number)
    case 4: self = .userPending
    case 6: self = .sessionOpened
    case 7: self = .refreshTokenRotated
    case 8: self = .sessionClosed
    case 9: self = .done
    case 10: self = .refused(try ServiceError(decoding: body))
    default: throw .unknownVariant
    }
    guard reader.isAtEnd else { throw .unknownVariant }
  }

  private static func withFields(
    _ reader: ProtobufScanner, variant: Int
  ) throws(ProtobufError) -> CommandResult {
    var reader = reader
    var identifier: UInt128 = 0
    var sequence = Sequence.zero
    var time = WallTime.zero
    var flag = false
    while let field = try reader.next() {
      switch (variant, field.number) {
      case (1, 1), (5, 1): identifier = try field.identifier()
      case (2, 1), (3, 1): sequence = Sequence(try field.uint64())
      case (2, 2): time = WallTime(milliseconds: try field.uint64())
      case (1, 2), (2, 3): flag = try field.bool()
      default: break
      }
    }
    switch variant {
    case 2: return .messageSent(sequence: sequence, time: time, repeated: flag)
    case 3: return .membersChanged(sequence: sequence)
    default:
      guard identifier != 0 else { throw .missingField(1) }
      return variant == 1
        ? .conversationCreated(conversation: ConversationID(identifier), existed: flag)
        : .userActive(UserID(identifier))
    }
  }
}

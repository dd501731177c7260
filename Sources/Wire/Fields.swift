import ChatModel
import ClientProtocol
import Primitives

/// What is wrong with bytes from a client or a server.
enum WireFault: Error, Equatable {
  /// They are not written in their encoding at all; nothing after this place can be believed.
  case malformed(String)
  /// One field's value is not what may stand there. The rest can be read.
  case field(String, allowed: String)

  var reason: String {
    switch self {
    case .malformed(let what): what
    case .field(let name, let allowed): "\(name): \(allowed)"
    }
  }

  /// What the other side is told.
  var serviceError: ServiceError {
    switch self {
    case .malformed: ServiceError(.invalidArgument, "malformed: \(reason)")
    case .field: ServiceError(.invalidArgument, reason)
    }
  }
}

/// The fields of one message of client.proto: the numbers of one encoding, the names of the other.
struct FieldNames: Sendable {
  struct Entry: Sendable {
    let number: Int
    let name: StaticString
  }

  let entries: [Entry]

  init(_ entries: KeyValuePairs<Int, StaticString>) {
    precondition(entries.allSatisfy { $0.key < UInt64.bitWidth }, "a field's number is below 64")
    self.entries = entries.map { Entry(number: $0.key, name: $0.value) }
  }

  func entry(number: Int) -> Entry? {
    for entry in entries where entry.number == number { return entry }
    return nil
  }

  /// Finds a key of a JSON object: the name itself, or its spelling in the schema (`display_name`).
  func entry(key: ArraySlice<UInt8>) -> Entry? {
    for entry in entries {
      let name = UnsafeBufferPointer(
        start: entry.name.utf8Start, count: entry.name.utf8CodeUnitCount)
      if Self.isEqual(key, name) || Self.isSchemaSpelling(key, of: name) { return entry }
    }
    return nil
  }

  private static func isEqual(
    _ key: ArraySlice<UInt8>, _ name: UnsafeBufferPointer<UInt8>
  ) -> Bool {
    guard key.count == name.count else { return false }
    for position in 0..<name.count where key[key.startIndex + position] != name[position] {
      return false
    }
    return true
  }

  private static func isSchemaSpelling(
    _ key: ArraySlice<UInt8>, of name: UnsafeBufferPointer<UInt8>
  ) -> Bool {
    guard key.count > name.count else { return false }
    var position = key.startIndex
    for byte in name {
      let isCapital = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
      if isCapital {
        guard position < key.endIndex, key[position] == UInt8(ascii: "_") else { return false }
        position += 1
      }
      guard position < key.endIndex, key[position] == (isCapital ? byte | 0x20 : byte) else {
        return false
      }
      position += 1
    }
    return position == key.endIndex
  }
}

/// Reads the fields of messages of client.proto, whichever encoding they come in. What a message
/// consists of is then said once.
///
/// Use: inside of `message`, call `next` until it returns `nil`, and after each number exactly one
/// of the reading functions.
///
/// **Invariant**: no input traps, and nesting is bounded.
protocol FieldReader: SendableMetatype {
  /// The name of the field that `next` returned last.
  var field: StaticString { get }

  /// **Returns**: the number of the next field that is known and not null; `nil` at the end of the
  /// message.
  mutating func next(_ names: FieldNames) throws(WireFault) -> Int?

  /// The UTF-8 of a string; not yet validated.
  mutating func stringBytes() throws(WireFault) -> ArraySlice<UInt8>
  mutating func uint64() throws(WireFault) -> UInt64
  mutating func bool() throws(WireFault) -> Bool

  mutating func message<Value>(
    _ read: (inout Self) throws(WireFault) -> Value
  ) throws(WireFault) -> Value

  /// Reads elements of a repeated field: all of an array in JSON, one in protobuf.
  mutating func elements(_ read: (inout Self) throws(WireFault) -> Void) throws(WireFault)
}

extension FieldReader {
  func fault(_ allowed: String) -> WireFault { .field(field.description, allowed: allowed) }

  mutating func string(bytesMax: Int) throws(WireFault) -> String {
    let bytes = try stringBytes()
    guard bytes.count <= bytesMax else { throw fault("must be at most \(bytesMax) bytes") }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw fault("must be valid Unicode")
    }
    return text
  }

  mutating func uint32() throws(WireFault) -> UInt32 {
    guard let value = UInt32(exactly: try uint64()) else {
      throw fault("must be at most \(UInt32.max)")
    }
    return value
  }

  mutating func conversation() throws(WireFault) -> ConversationID {
    guard
      let value = IdentifierText.decode128(try stringBytes(), prefix: IdentifierText.conversation)
    else { throw fault("must be a conversation's id: c and 26 characters") }
    return ConversationID(value)
  }

  mutating func user() throws(WireFault) -> UserID {
    guard let value = IdentifierText.decode128(try stringBytes(), prefix: IdentifierText.user)
    else {
      throw fault("must be a user's id: u and 26 characters")
    }
    return UserID(value)
  }

  mutating func device() throws(WireFault) -> DeviceID {
    guard let device = DeviceID(String(decoding: try stringBytes(), as: UTF8.self)) else {
      throw fault("must be a device's id: d and 13 characters")
    }
    return device
  }

  mutating func handle() throws(WireFault) -> Handle {
    let bytes = try stringBytes()
    guard bytes.count <= Handle.lengthRange.upperBound,
      let handle = Handle(String(decoding: bytes, as: UTF8.self))
    else { throw fault("must be a handle: 3 to 32 letters, digits, and single _ - . between them") }
    return handle
  }

  mutating func clientMessageID() throws(WireFault) -> ClientMessageID {
    let bytes = try stringBytes()
    guard bytes.count <= ClientMessageID.bytesMax,
      let id = ClientMessageID(String(decoding: bytes, as: UTF8.self))
    else {
      throw fault(
        "must be 1 to \(ClientMessageID.bytesMax) bytes of printable ASCII without spaces")
    }
    return id
  }

  mutating func kind() throws(WireFault) -> ConversationKind {
    let bytes = try stringBytes()
    if bytes.elementsEqual("direct".utf8) { return .direct }
    if bytes.elementsEqual("group".utf8) { return .group }
    throw fault("must be \"direct\" or \"group\"")
  }

  /// Appends the members that one command may name.
  mutating func references(
    into members: inout [MemberReference], countMax: Int
  ) throws(WireFault) {
    var found = members
    members = []
    try elements { (reader: inout Self) throws(WireFault) in
      guard found.count < countMax else {
        throw reader.fault("must be at most \(ChatLimits.membersPerCommandMax) people")
      }
      let bytes = try reader.stringBytes()
      guard bytes.count <= Handle.lengthRange.upperBound,
        let member = MemberReference(String(decoding: bytes, as: UTF8.self))
      else { throw reader.fault("must be user ids or handles") }
      found.append(member)
    }
    members = found
  }

  /// A page's size.
  mutating func limit() throws(WireFault) -> Int {
    let value = try uint64()
    guard (1...UInt64(ClientCodec.pageMax)).contains(value) else {
      throw fault("must be 1 to \(ClientCodec.pageMax)")
    }
    return Int(value)
  }
}

/// Writes the fields of messages of client.proto in one of its encodings. A default value is left
/// out unless the function's name begins with `present`.
protocol FieldWriter: SendableMetatype {
  mutating func string(_ number: Int, _ name: StaticString, _ value: String)
  mutating func strings(_ number: Int, _ name: StaticString, _ values: [String])
  mutating func uint64(_ number: Int, _ name: StaticString, _ value: UInt64)
  mutating func presentUInt64(_ number: Int, _ name: StaticString, _ value: UInt64)
  mutating func uint32(_ number: Int, _ name: StaticString, _ value: UInt32)
  mutating func presentUInt32(_ number: Int, _ name: StaticString, _ value: UInt32)
  mutating func bool(_ number: Int, _ name: StaticString, _ value: Bool)
  mutating func presentBool(_ number: Int, _ name: StaticString, _ value: Bool)
  /// An id of 128 bits in its text form.
  mutating func identifier(
    _ number: Int, _ name: StaticString, _ value: UInt128, prefix: UInt8)
  mutating func message(
    _ number: Int, _ name: StaticString, _ write: (inout Self) -> Void)
  /// In JSON the list is written even when it is empty if `present` is true.
  mutating func messages<Value>(
    _ number: Int, _ name: StaticString, _ values: [Value], present: Bool,
    _ write: (Value, inout Self) -> Void)
}

extension FieldWriter {
  mutating func conversation(_ number: Int, _ name: StaticString, _ value: ConversationID) {
    identifier(number, name, value.rawValue, prefix: IdentifierText.conversation)
  }

  mutating func user(_ number: Int, _ name: StaticString, _ value: UserID) {
    identifier(number, name, value.rawValue, prefix: IdentifierText.user)
  }
}

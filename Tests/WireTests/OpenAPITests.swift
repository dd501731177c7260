import ChatModel
import Foundation
import Testing
import Wire

@Suite struct OpenAPITests {
  private struct Field: Hashable {
    let name: String
    let type: String
    let isList: Bool
  }

  private typealias Object = [String: Any]

  private static func document() throws -> Object {
    let json = try JSONSerialization.jsonObject(with: Data(OpenAPI.document.utf8))
    return try #require(json as? Object)
  }

  private static func object(_ parent: Object, _ path: String...) throws -> Object {
    try path.reduce(parent) { try #require($0[$1] as? Object, "\(path)") }
  }

  /// The messages of client.proto: names (`Outer.Inner` for nested ones) and fields.
  private static func messages() throws -> [String: [Field]] {
    let file = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../Sources/Wire/Proto/martlet/v1/client.proto")
    var messages: [String: [Field]] = [:]
    var scope: [String] = []
    let field =
      /^(repeated |optional )?([A-Za-z0-9]+) ([a-z_]+) = [0-9]+;$/
    for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.hasPrefix("message ") {
        scope.append(String(line.split(separator: " ")[1]))
        messages[scope.joined(separator: ".")] = []
        if line.hasSuffix("{}") { scope.removeLast() }
      } else if line.hasPrefix("oneof ") {
        scope.append("")
      } else if line == "}" {
        scope.removeLast()
      } else if let match = line.firstMatch(of: field) {
        let words = match.3.split(separator: "_")
        let name = words[0] + words.dropFirst().map(\.capitalized).joined()
        messages[scope.filter { !$0.isEmpty }.joined(separator: "."), default: []].append(
          Field(name: String(name), type: String(match.2), isList: match.1 == "repeated "))
      }
    }
    return messages
  }

  /// The message that each schema describes, and its fields that HTTP says elsewhere (in the path).
  private static let described: [String: (message: String, elsewhere: Set<String>)] = [
    "CreateAccountRequest": ("CreateAccountRequest", []), "Account": ("Account", []),
    "LoginRequest": ("LoginRequest", []), "RefreshRequest": ("RefreshRequest", []),
    "WebConfiguration": ("WebConfiguration", []),
    "Session": ("Session", []), "User": ("User", []),
    "CreateConversationRequest": ("CreateConversationRequest", []),
    "ChangeMembersRequest": ("ChangeMembersRequest", ["conversation"]),
    "Conversation": ("Conversation", []), "Member": ("ClientMember", []),
    "ConversationPage": ("ConversationPage", []), "MembersChanged": ("MembersChanged", []),
    "SendRequest": ("SendRequest", []), "Sent": ("Sent", []),
    "History": ("History", ["conversation"]), "Event": ("ClientEvent", []),
    "ServiceError": ("ServiceError", []), "ErrorEnvelope": ("ErrorEnvelope", []),
  ]

  private static let scalars: Set<String> = [
    "UInt64", "UInt32", "UserID", "ConversationID", "DeviceID", "Handle", "ClientMessageID",
  ]

  /// What a property is in the terms of the schema files.
  private static func field(_ name: String, _ property: Object) throws -> Field {
    if let reference = property["$ref"] as? String {
      let target = try #require(reference.split(separator: "/").last.map(String.init))
      switch target {
      case "UInt64": return Field(name: name, type: "uint64", isList: false)
      case "UInt32": return Field(name: name, type: "uint32", isList: false)
      case _ where scalars.contains(target):
        return Field(name: name, type: "string", isList: false)
      default:
        let message = try #require(described[target]?.message, "\(target)")
        return Field(name: name, type: message, isList: false)
      }
    }
    switch try #require(property["type"] as? String) {
    case "array":
      let item = try field(name, try object(property, "items"))
      return Field(name: name, type: item.type, isList: true)
    case "boolean": return Field(name: name, type: "bool", isList: false)
    case "object":
      let type = name.prefix(1).uppercased() + name.dropFirst()
      return Field(name: name, type: type, isList: false)
    case let type: return Field(name: name, type: type, isList: false)
    }
  }

  @Test func everySchemaHasTheFieldsOfItsMessage() throws {
    let schemas = try Self.object(try Self.document(), "components", "schemas")
    let messages = try Self.messages()
    #expect(Set(schemas.keys) == Set(Self.described.keys).union(Self.scalars))
    for (name, (message, elsewhere)) in Self.described {
      let schema = try Self.object(schemas, name)
      try Self.compare(schema, with: message, elsewhere: elsewhere, messages)
    }
  }

  private static func compare(
    _ schema: Object, with message: String, elsewhere: Set<String>, _ messages: [String: [Field]]
  ) throws {
    let properties = try object(schema, "properties")
    let fields = try #require(messages[message], "\(message)")
    let expected = Set(fields.filter { !elsewhere.contains($0.name) })
    #expect(Set(try properties.keys.map { try field($0, object(properties, $0)) }) == expected)
    let required = schema["required"] as? [String] ?? []
    #expect(Set(required).isSubset(of: properties.keys), "\(message)")
    for (name, property) in properties {
      guard let nested = property as? Object, nested["properties"] != nil else { continue }
      let type = name.prefix(1).uppercased() + name.dropFirst()
      try compare(nested, with: "\(message).\(type)", elsewhere: [], messages)
    }
  }

  @Test func everyReferenceLeadsSomewhere() throws {
    let document = try Self.document()
    var references: Set<String> = []
    func collect(_ value: Any) {
      if let object = value as? Object {
        if let reference = object["$ref"] as? String { references.insert(reference) }
        object.values.forEach(collect)
      } else if let list = value as? [Any] {
        list.forEach(collect)
      }
    }
    collect(document)
    #expect(references.count > 20)
    for reference in references {
      let path = reference.split(separator: "/").dropFirst()
      _ = try path.reduce(document) { try #require($0[String($1)] as? Object, "\(reference)") }
    }
  }

  @Test func thePathsAreThoseOfTheAPI() throws {
    let paths = try Self.object(try Self.document(), "paths")
    var operations: Set<String> = []
    for (path, item) in paths {
      for (method, operation) in try #require(item as? Object) {
        operations.insert("\(method.uppercased()) \(path)")
        let operation = try #require(operation as? Object)
        let answers = try Self.object(operation, "responses")
        let good = path == "/v1/ws" ? "101" : "2"
        #expect(answers.keys.contains { $0.hasPrefix(good) }, "\(path)")
        #expect(path == "/v1/openapi.json" || answers["default"] != nil, "\(path)")
      }
    }
    #expect(
      operations == [
        "POST /v1/accounts", "POST /v1/sessions", "POST /v1/sessions/refresh",
        "DELETE /v1/sessions/current", "GET /v1/conversations", "POST /v1/conversations",
        "POST /v1/conversations/{conversation}/members",
        "POST /v1/conversations/{conversation}/messages",
        "GET /v1/conversations/{conversation}/messages", "GET /v1/events", "GET /v1/openapi.json",
        "GET /v1/ws", "GET /web/config.json",
      ])
  }

  @Test func theErrorCodesAreThoseOfTheProgram() throws {
    let error = try Self.object(try Self.document(), "components", "schemas", "ServiceError")
    let code = try Self.object(error, "properties", "code")
    #expect(Set(code["enum"] as? [String] ?? []) == Set(ServiceErrorCode.allCases.map(\.name)))
  }

  @Test func aPageIsAsLongAsTheProgramMakesIt() throws {
    let limit = try Self.object(try Self.document(), "components", "parameters", "Limit", "schema")
    #expect(limit["minimum"] as? Int == 1)
    #expect(limit["maximum"] as? Int == ClientCodec.pageMax)
    #expect(limit["default"] as? Int == ClientCodec.pageDefault)
  }
}

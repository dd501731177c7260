import Foundation

/// The OpenAPI document as a gateway serves it, and what of it an answer must keep.
struct Contract: Sendable {
  let document: JSON

  /// Methods (in capitals) and path templates.
  var operations: [(method: String, path: String)] {
    document["paths"].members.flatMap { path, item in
      item.members.keys.map { (method: $0.uppercased(), path: path) }
    }.sorted { ($0.path, $0.method) < ($1.path, $1.method) }
  }

  /// What the document does not say of this answer; empty when it says all of it. Answers to paths
  /// and methods that the document does not have are not looked at.
  func problems(_ method: String, _ target: String, _ answer: Answer) -> [String] {
    guard let operation = operation(method, target) else { return [] }
    let documented = operation["responses"][String(answer.status)]
    guard documented != .null else {
      return ["\(method) \(target): the status \(answer.status) is not documented"]
    }
    let response = resolve(documented)
    let content = response["content"].members
    guard !content.isEmpty else { return answer.body.isEmpty ? [] : ["a body is not documented"] }
    guard let type = answer.headers["content-type"], let media = content[type] else {
      return ["\(answer.headers["content-type"] ?? "no type") is not documented"]
    }
    guard type == "application/json" else { return [] }
    guard let value = try? answer.json() else { return ["the body is no JSON: \(answer)"] }
    return problems(value, media["schema"], at: "body")
  }

  private func operation(_ method: String, _ target: String) -> JSON? {
    let path = target.prefix { $0 != "?" }.dropFirst().split(
      separator: "/", omittingEmptySubsequences: false)
    for (template, item) in document["paths"].members {
      let parts = template.split(separator: "/")
      guard parts.count == path.count,
        zip(parts, path).allSatisfy({ $0.hasPrefix("{") || $0 == $1 })
      else { continue }
      let operation = item[method.lowercased()]
      return operation == .null ? nil : operation
    }
    return nil
  }

  func resolve(_ value: JSON) -> JSON {
    guard let reference = value["$ref"].string else { return value }
    return resolve(reference.split(separator: "/").dropFirst().reduce(document) { $0[String($1)] })
  }

  // MARK: Schemas

  /// **Source**: JSON Schema 2020-12, as far as the document uses it. Members that a schema does
  /// not name are a problem here, although they are none there.
  private func problems(_ value: JSON, _ schema: JSON, at place: String) -> [String] {
    let schema = resolve(schema)
    var found = typeProblems(value, schema, at: place)
    if case .list(let allowed) = schema["enum"], !allowed.contains(value) {
      found.append("\(place): \(value.text) is not one of \(schema["enum"].text)")
    }
    if let pattern = schema["pattern"].string, let text = value.string,
      text.range(of: pattern, options: .regularExpression) == nil
    {
      found.append("\(place): \(text) is not \(pattern)")
    }
    for name in schema["required"].items.compactMap(\.string) where value.members[name] == nil {
      found.append("\(place): \(name) is missing")
    }
    let properties = schema["properties"].members
    for (name, member) in value.members where !properties.isEmpty {
      if let property = properties[name] {
        found += problems(member, property, at: "\(place).\(name)")
      } else {
        found.append("\(place): \(name) is not documented")
      }
    }
    if schema["items"] != .null {
      for item in value.items { found += problems(item, schema["items"], at: "\(place)[]") }
    }
    let variants = schema["oneOf"].items
    let fitting = variants.filter { problems(value, $0, at: place).isEmpty }
    if !variants.isEmpty, fitting.count != 1 {
      found.append("\(place): fits \(fitting.count) of \(variants.count) variants")
    }
    return found
  }

  private func typeProblems(_ value: JSON, _ schema: JSON, at place: String) -> [String] {
    let fits =
      switch (schema["type"].string, value) {
      case (nil, _), ("object", .object), ("array", .list), ("string", .string),
        ("boolean", .bool):
        true
      case ("integer", .number(let number)):
        number == number.rounded() && number >= schema["minimum"].number ?? -.infinity
          && number <= schema["maximum"].number ?? .infinity
      default: false
      }
    return fits ? [] : ["\(place): \(value.text) is no \(schema["type"].text)"]
  }
}

package import Primitives

/// Conditions, and what to do when all hold and when one does not. Done as a whole, at one
/// revision.
package struct Transaction: Hashable, Sendable {
  /// Something that must hold when the transaction is done.
  package enum Condition: Hashable, Sendable {
    /// The key was last changed at this revision; `.zero`: it does not exist.
    case modRevision(of: String, equals: Revision)
    case exists(String)
    /// The key exists with this value.
    case value(of: String, equals: [UInt8])
  }

  /// Later operations of a branch see what earlier ones did.
  package enum Operation: Hashable, Sendable {
    case get(String)
    /// Without a lease the key leaves the lease that it had.
    case put(key: String, value: [UInt8], lease: LeaseID?)
    case delete(String)
  }

  package var conditions: [Condition]
  /// Done when all conditions hold.
  package var success: [Operation]
  /// Done otherwise.
  package var failure: [Operation]

  package init(conditions: [Condition], success: [Operation], failure: [Operation] = []) {
    self.conditions = conditions
    self.success = success
    self.failure = failure
  }

  /// Writes `key` if nobody has changed it since `revision`; otherwise answers what it is now.
  package static func compareAndSet(
    _ key: String, at revision: Revision, to value: [UInt8], lease: LeaseID? = nil
  ) -> Transaction {
    Transaction(
      conditions: [.modRevision(of: key, equals: revision)],
      success: [.put(key: key, value: value, lease: lease)], failure: [.get(key)])
  }
}

/// What a transaction did.
package struct TransactionResult: Hashable, Sendable {
  /// What one operation gave.
  package enum Response: Hashable, Sendable {
    case get(KeyValue?)
    case put
    case delete(didExist: Bool)
  }

  /// Whether all conditions held, so that the success branch ran.
  package let succeeded: Bool
  /// The service's revision after it; the revision of the keys that it changed.
  package let revision: Revision
  /// One for each operation of the branch that ran, in order.
  package let responses: [Response]

  package init(succeeded: Bool, revision: Revision, responses: [Response]) {
    self.succeeded = succeeded
    self.revision = revision
    self.responses = responses
  }
}

extension Transaction.Condition {
  /// The key that is looked at.
  package var key: String {
    switch self {
    case .modRevision(let key, _), .exists(let key), .value(let key, _): key
    }
  }

  var byteCount: Int {
    if case .value(_, let value) = self { key.utf8.count + value.count } else { key.utf8.count }
  }
}

extension Transaction.Operation {
  /// The key that is read or changed.
  package var key: String {
    switch self {
    case .get(let key), .put(let key, _, _), .delete(let key): key
    }
  }

  var isChange: Bool { if case .get = self { false } else { true } }

  var byteCount: Int {
    if case .put(_, let value, _) = self { key.utf8.count + value.count } else { key.utf8.count }
  }
}

// MARK: - Checks before sending

extension Transaction {
  /// Whether neither branch can change anything, so that an unknown outcome does not matter.
  var isReadOnly: Bool { !(success + failure).contains(where: \.isChange) }

  /// **Throws**: `invalidRequest`.
  func validate() throws(CoordinationError) {
    for count in [conditions.count, success.count, failure.count]
    where count > CoordinationLimits.operationsPerTransactionMax {
      throw .invalidRequest(.tooManyOperations(count))
    }
    var bytes = 0
    for condition in conditions {
      try KeyRule.check(condition.key)
      bytes += condition.byteCount
    }
    for branch in [success, failure] {
      var changed: Set<String> = []
      for operation in branch {
        try KeyRule.check(operation.key)
        bytes += operation.byteCount
        guard operation.isChange else { continue }
        guard changed.insert(operation.key).inserted else {
          throw .invalidRequest(.duplicateKey(operation.key))
        }
      }
    }
    guard bytes <= CoordinationLimits.requestBytesMax else {
      throw .invalidRequest(.tooLarge(bytes: bytes))
    }
  }
}

/// What a key may be.
enum KeyRule {
  static func isValid(_ bytes: some Collection<UInt8>) -> Bool {
    !bytes.isEmpty && bytes.count <= CoordinationLimits.keyBytesMax
      && bytes.allSatisfy { (0x20...0x7e).contains($0) }
  }

  static func check(_ key: String) throws(CoordinationError) {
    guard isValid(key.utf8) else { throw .invalidRequest(.key(key)) }
  }
}

@testable import Coordination
import Primitives
import Testing

/// The embedded service's state against a naive twin that keeps every version of everything.
@Suite struct EmbeddedStateTests {
  /// Whole states by revision; leases as lists of keys.
  private struct Twin {
    var states: [Int64: [String: KeyValue]] = [1: [:]]
    var revision: Int64 = 1
    var current: [String: KeyValue] { states[revision] ?? [:] }

    mutating func transact(_ transaction: Transaction) -> TransactionResult {
      var items = current
      let next = Revision(revision + 1)
      let succeeded = transaction.conditions.allSatisfy { condition in
        switch condition {
        case .modRevision(let key, let revision): (items[key]?.modRevision ?? .zero) == revision
        case .exists(let key): items.keys.contains(key)
        case .value(let key, let value): items[key].map { $0.value == value } ?? false
        }
      }
      var isChanged = false
      var responses: [TransactionResult.Response] = []
      for operation in succeeded ? transaction.success : transaction.failure {
        switch operation {
        case .get(let key): responses.append(.get(items[key]))
        case .put(let key, let value, let lease):
          items[key] = KeyValue(key: key, value: value, modRevision: next, lease: lease)
          isChanged = true
          responses.append(.put)
        case .delete(let key):
          let didExist = items.removeValue(forKey: key) != nil
          isChanged = isChanged || didExist
          responses.append(.delete(didExist: didExist))
        }
      }
      if isChanged { advance(items) }
      return TransactionResult(
        succeeded: succeeded, revision: Revision(revision), responses: responses)
    }

    mutating func revoke(_ lease: LeaseID) {
      let items = current.filter { $0.value.lease != lease }
      if items.count < current.count { advance(items) }
    }

    private mutating func advance(_ items: [String: KeyValue]) {
      revision += 1
      states[revision] = items
    }
  }

  @Test func `Random transactions, leases and restarts do as the twin does`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    print("seed \(seed)")
    var random = SeededRandom(seed: seed)
    for _ in 0..<40 {
      var state = EmbeddedState(serviceID: 3, historyEventsMax: 64)
      var twin = Twin()
      var disk: [[UInt8]: [UInt8]] = [:]
      var leases: [LeaseID] = []
      save(state.initialWrites(), &disk)
      for _ in 0..<200 {
        switch Int.random(in: 0..<20, using: &random) {
        case 0:
          let (id, commit) = state.grant(ttlSeconds: 5, now: .zero)
          save(commit?.writes ?? [], &disk)
          leases.append(id)
        case 1:
          guard let lease = leases.randomElement(using: &random) else { continue }
          leases.removeAll { $0 == lease }
          save(state.revoke(lease)?.writes ?? [], &disk)
          twin.revoke(lease)
        case 2:
          let stored = disk.map { (key: $0.key, value: $0.value) }
          let loaded = try #require(
            try EmbeddedState(loading: stored, now: .zero, historyEventsMax: 64))
          #expect(loaded.items == state.items)
          #expect(loaded.leases == state.leases)
          state = loaded
        default:
          let transaction = self.transaction(twin, leases, &random)
          let (result, commit) = try state.transact(transaction)
          #expect(result == twin.transact(transaction))
          save(commit?.writes ?? [], &disk)
        }
        let items = twin.current.values.sorted { $0.key < $1.key }
        #expect(state.listing("k").items == items)
        #expect(state.revision.rawValue == twin.revision)
        checkHistory(state, twin, &random)
      }
    }
  }

  private func save(_ writes: [(key: [UInt8], value: [UInt8]?)], _ disk: inout [[UInt8]: [UInt8]]) {
    for (key, value) in writes { disk[key] = value }
  }

  private func transaction(
    _ twin: Twin, _ leases: [LeaseID], _ random: inout SeededRandom
  ) -> Transaction {
    var keys = (0..<6).map { "k\($0)" }.shuffled(using: &random)
    let known = keys[0]
    let conditions: [Transaction.Condition] =
      switch Int.random(in: 0..<5, using: &random) {
      case 0: [.exists(known)]
      case 1: [.modRevision(of: known, equals: twin.current[known]?.modRevision ?? .zero)]
      case 2: [.modRevision(of: known, equals: Revision(Int64.random(in: 0..<20, using: &random)))]
      case 3: [.value(of: known, equals: [1])]
      default: []
      }
    func operations() -> [Transaction.Operation] {
      (0..<Int.random(in: 0..<4, using: &random)).map { _ in
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return .get(known)
        case 1: return .delete(keys.removeLast())
        default:
          let lease = Bool.random(using: &random) ? leases.randomElement(using: &random) : nil
          let value = [UInt8.random(in: 0..<3, using: &random)]
          return .put(key: keys.removeLast(), value: value, lease: lease)
        }
      }
    }
    let success = operations()
    keys = (0..<6).map { "k\($0)" }.shuffled(using: &random)
    return Transaction(conditions: conditions, success: success, failure: operations())
  }

  /// Playing the history back over an old state gives the present one.
  private func checkHistory(_ state: EmbeddedState, _ twin: Twin, _ random: inout SeededRandom) {
    let start = Int64.random(in: 1...twin.revision, using: &random)
    guard let batches = state.changes(after: Revision(start), prefix: "k") else {
      #expect(start < state.compactedRevision.rawValue)
      return
    }
    #expect(start >= state.compactedRevision.rawValue)
    var items = twin.states[start] ?? [:]
    for batch in batches {
      for change in batch.changes {
        switch change {
        case .put(let item): items[item.key] = item
        case .delete(let key, _): items[key] = nil
        case .progress, .compacted: Issue.record("\(change) in the history")
        }
      }
      #expect(items == twin.states[batch.revision.rawValue])
    }
    #expect(items == twin.current)
  }
}

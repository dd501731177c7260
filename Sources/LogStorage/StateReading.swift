import Primitives

/// One key of the state family, without its prefix.
package struct StateRecord: Hashable, Sendable {
  package let key: [UInt8]
  package let value: [UInt8]
}

/// Which keys of one prefix's state a scan walks over.
package struct StateRange: Hashable, Sendable {
  /// Inclusive.
  package let lower: [UInt8]
  /// Exclusive; `nil` for the end of the prefix.
  package let upper: [UInt8]?

  package init(from lower: [UInt8] = [], upTo upper: [UInt8]? = nil) {
    self.lower = lower
    self.upper = upper
  }

  /// All keys that start with `bytes`.
  package static func startingWith(_ bytes: [UInt8]) -> StateRange {
    StateRange(from: bytes, upTo: KeyLayout.successor(ofPrefix: bytes))
  }
}

/// Some records of a scan.
package struct StatePage: Hashable, Sendable {
  /// **Shape**: ascending by key, or descending when the scan was reversed.
  package let records: [StateRecord]
  /// False when a limit ended the page: go on after the last key (`key + [0]`), or, reversed,
  /// below it.
  package let isComplete: Bool
}

extension Store {
  /// **Throws**: `damaged`, `readFailed`.
  package func get(
    _ prefix: UInt32, _ key: [UInt8], at snapshot: StoreSnapshot? = nil
  ) throws(StorageError) -> [UInt8]? {
    do {
      return try database.get(
        database.state(of: prefix), KeyLayout.stateKey(prefix, key), at: snapshot)
    } catch { throw error.reading(.prefix(prefix)) }
  }

  /// Walks over state in key order, or against it.
  ///
  /// A scan that stays within one entity (the first `stateFilterPrefixBytes` of all keys are
  /// equal) skips the files that do not hold it.
  ///
  /// - Parameters:
  ///   - bytesMax: of keys and values; the first record is returned even when it alone is larger.
  ///   - fillCache: false for long walks that would push everything else out of the cache.
  ///
  /// **Throws**: `damaged`, `readFailed`.
  package func scan(
    _ prefix: UInt32, _ range: StateRange, reversed: Bool = false, countMax: Int, bytesMax: Int,
    at snapshot: StoreSnapshot? = nil, fillCache: Bool = true
  ) throws(StorageError) -> StatePage {
    let lower = KeyLayout.stateKey(prefix, range.lower)
    let upper = range.upper.map { KeyLayout.stateKey(prefix, $0) } ?? KeyLayout.prefixEnd(prefix)
    if let upper, !lower.lexicographicallyPrecedes(upper) {
      return StatePage(records: [], isComplete: true)
    }
    let iterator = KeyIterator(
      database, database.state(of: prefix), from: lower, to: upper, at: snapshot,
      sharesFilterPrefix: !reversed && sharesFilterPrefix(lower, upper), fillCache: fillCache)
    var records: [StateRecord] = []
    var bytes = 0
    if reversed { iterator.seekToLast() } else { iterator.seek(lower) }
    while iterator.isValid {
      let (key, value) = (iterator.key, iterator.value)
      bytes += key.count + value.count
      if records.count >= countMax || (bytes > bytesMax && !records.isEmpty) {
        return StatePage(records: records, isComplete: false)
      }
      let own = key.dropFirst(KeyLayout.prefixBytes)
      records.append(StateRecord(key: Array(own), value: Array(value)))
      if reversed { iterator.previous() } else { iterator.next() }
    }
    do { try iterator.check() } catch { throw error.reading(.prefix(prefix)) }
    return StatePage(records: records, isComplete: true)
  }

  /// Whether every key of `lower ..< upper` starts with the same filter prefix.
  private func sharesFilterPrefix(_ lower: [UInt8], _ upper: [UInt8]?) -> Bool {
    let count = options.stateFilterPrefixBytes
    guard let upper, lower.count >= count else { return false }
    let shared = Array(lower.prefix(count))
    return upper.starts(with: shared) || upper == KeyLayout.successor(ofPrefix: shared)
  }
}

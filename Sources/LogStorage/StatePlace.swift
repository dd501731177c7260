package import Primitives

/// Where the state of a replica lies: under its own prefix, unless its partition was cut in two.
///
/// Then the entities stay where they are and each half has its own range of them; what is of the
/// partition itself, and the log, lie under prefixes of their own. So to cut costs the same however
/// much there is.
///
/// ```
///  before   prefix 7 │ own │ entities of p                                  │
///  after    prefix 7 │ own │ entities of p        │ entities of the half    │
///           prefix 9 │ own │
/// ```
///
/// **Invariant**: every key of an entity begins with its token, big-endian, and is not below
/// `ownEnd`.
package struct StatePlace: Hashable, Sendable {
  /// Where entities lie that are not under the replica's own prefix alone.
  package struct Shared: Hashable, Sendable {
    package let prefix: UInt32
    /// Those that are the replica's.
    package let tokens: ClosedRange<Token>

    package init(prefix: UInt32, tokens: ClosedRange<Token>) {
      self.prefix = prefix
      self.tokens = tokens
    }

    var piece: Piece {
      Piece(
        prefix: prefix, lower: StatePlace.firstKey(tokens.lowerBound),
        upper: StatePlace.endKey(tokens.upperBound))
    }
  }

  /// A stretch of keys of one prefix; the keys are without it.
  struct Piece: Equatable {
    let prefix: UInt32
    let lower: [UInt8]
    /// Exclusive; `nil` for the end of the prefix.
    let upper: [UInt8]?
  }

  /// Keys below are of the partition itself.
  static let ownEnd: [UInt8] = [UInt8](repeating: 0, count: 8) + [1]

  package let prefix: UInt32
  package let shared: Shared?

  package init(prefix: UInt32, shared: Shared? = nil) {
    self.prefix = prefix
    self.shared = shared
  }

  /// The half of this place that holds these tokens, for a replica with a prefix of its own.
  package func half(_ tokens: ClosedRange<Token>, prefix: UInt32) -> StatePlace {
    StatePlace(
      prefix: prefix, shared: Shared(prefix: shared?.prefix ?? self.prefix, tokens: tokens))
  }

  /// All that it covers, in the order of keys.
  var pieces: [Piece] {
    guard let shared else { return [Piece(prefix: prefix, lower: [], upper: nil)] }
    return [
      Piece(prefix: prefix, lower: [], upper: Self.ownEnd), shared.piece,
    ]
  }

  /// Under which prefix a key lies; `nil` when it is not of this replica.
  func prefix(of key: [UInt8]) -> UInt32? {
    guard let shared else { return prefix }
    if key.lexicographicallyPrecedes(Self.ownEnd) { return prefix }
    let token = Token(key.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
    return shared.tokens.contains(token) ? shared.prefix : nil
  }

  fileprivate static func firstKey(_ token: Token) -> [UInt8] {
    let key = withUnsafeBytes(of: token.rawValue.bigEndian) { Array($0) }
    return token.rawValue == 0 ? ownEnd : key
  }

  fileprivate static func endKey(_ token: Token) -> [UInt8]? {
    token.rawValue == .max ? nil : firstKey(Token(token.rawValue + 1))
  }
}

extension Store {
  /// **Throws**: `damaged`, `readFailed`.
  package func get(_ place: StatePlace, _ key: [UInt8]) throws(StorageError) -> [UInt8]? {
    guard let prefix = place.prefix(of: key) else { return nil }
    return try get(prefix, key)
  }

  /// As the scan of one prefix.
  ///
  /// **Throws**: `damaged`, `readFailed`.
  package func scan(
    _ place: StatePlace, _ range: StateRange, reversed: Bool = false, countMax: Int, bytesMax: Int,
    at snapshot: StoreSnapshot? = nil, fillCache: Bool = true
  ) throws(StorageError) -> StatePage {
    guard place.shared != nil else {
      return try scan(
        place.prefix, range, reversed: reversed, countMax: countMax, bytesMax: bytesMax,
        at: snapshot, fillCache: fillCache)
    }
    var records: [StateRecord] = []
    var bytes = 0
    for piece in reversed ? place.pieces.reversed() : place.pieces {
      guard let part = range.intersected(with: piece) else { continue }
      guard records.count < countMax, bytes < bytesMax || records.isEmpty else {
        return StatePage(records: records, isComplete: false)
      }
      let page = try scan(
        piece.prefix, part, reversed: reversed, countMax: countMax - records.count,
        bytesMax: max(bytesMax - bytes, 0), at: snapshot, fillCache: fillCache)
      records += page.records
      bytes += page.records.reduce(0) { $0 + $1.key.count + $1.value.count }
      guard page.isComplete else { return StatePage(records: records, isComplete: false) }
    }
    return StatePage(records: records, isComplete: true)
  }

  /// About how much disk a replica takes, without what is still in memory.
  ///
  /// **Units**: bytes.
  package func approximateBytes(_ place: StatePlace) throws(StorageError) -> UInt64 {
    var bytes = try approximateLogBytes(place.prefix)
    for piece in place.pieces {
      bytes += try approximateStateBytes(piece.prefix, from: piece.lower, upTo: piece.upper)
    }
    return bytes
  }
}

extension StateRange {
  /// **Returns**: `nil` when nothing is common.
  fileprivate func intersected(with piece: StatePlace.Piece) -> StateRange? {
    let lower = self.lower.lexicographicallyPrecedes(piece.lower) ? piece.lower : self.lower
    var upper = self.upper
    if let end = piece.upper, upper.map({ end.lexicographicallyPrecedes($0) }) ?? true {
      upper = end
    }
    if let upper, !lower.lexicographicallyPrecedes(upper) { return nil }
    return StateRange(from: lower, upTo: upper)
  }
}

package import Primitives

/// Whose data directory it is, readable even when its database is not.
///
/// **Shape** (file `STORE`): protobuf of `store` 1 fixed64, `clusterID` 2 bytes, `nodeName` 3,
/// `coordinatorID` 4 fixed64, `highestRevision` 5, then CRC-32C of these, 4 bytes, big-endian.
package struct StoreIdentity: Hashable, Sendable {
  package let store: StoreID
  package let clusterID: UInt128
  package let nodeName: String
  package let coordinatorID: UInt64
  package let highestRevision: Int64

  init(of record: StoreRecord) {
    store = record.store
    clusterID = record.clusterID
    nodeName = record.nodeName
    coordinatorID = record.coordinatorID
    highestRevision = record.highestRevision
  }

  /// **Returns**: `nil` when the directory has none, or one that is damaged too.
  package init?(inDirectory path: String) {
    guard let bytes = StoreDirectory(path: path).readIdentity() else { return nil }
    self.init(decoding: bytes)
  }

  init?(decoding bytes: [UInt8]) {
    guard let body = CRC32C.opening(bytes) else { return nil }
    var store: UInt64 = 0
    var clusterID: UInt128 = 0
    var nodeName = ""
    var coordinatorID: UInt64 = 0
    var highestRevision: Int64 = 0
    do throws(ProtobufError) {
      var reader = ProtobufReader(body)
      while let field = try reader.next() {
        switch field.number {
        case 1: store = try field.fixed64()
        case 2: clusterID = try field.identifier()
        case 3: nodeName = try field.string()
        case 4: coordinatorID = try field.fixed64()
        case 5: highestRevision = try field.int64()
        default: break
        }
      }
    } catch {
      return nil
    }
    guard store != 0 else { return nil }
    self.store = StoreID(store)
    self.clusterID = clusterID
    self.nodeName = nodeName
    self.coordinatorID = coordinatorID
    self.highestRevision = highestRevision
  }

  func encoded() -> [UInt8] {
    var writer = ProtobufWriter(reservingBytes: 96)
    writer.fixed64(1, store.rawValue)
    writer.identifier(2, clusterID)
    writer.string(3, nodeName)
    writer.fixed64(4, coordinatorID)
    writer.int(5, highestRevision)
    return CRC32C.sealing(writer.bytes)
  }
}

extension Store {
  /// Sets a database that cannot be read aside and makes an empty one for the same store, which
  /// knows that it has lost what it held.
  ///
  /// **Throws**: what `open` throws; `damaged` when the directory does not say whose it is.
  package static func remake(
    directory path: String, expecting expectation: StoreExpectation,
    options: StoreOptions = StoreOptions()
  ) throws(StorageError) -> Store {
    guard let identity = StoreIdentity(inDirectory: path) else {
      throw .damaged(
        Damage(.store, "and the file \(StoreDirectory.identityName) in \(path) does not say whose"))
    }
    try verify(identity, expectation, path)
    try StoreDirectory(path: path).setAside()
    return try open(
      directory: path, expecting: expectation, newStoreID: identity.store, options: options,
      successorOf: identity)
  }

  /// Makes a restored database the one of a node, which knows neither cluster nor coordinator yet.
  static func adopt(
    directory path: String, nodeName: String
  ) throws(StorageError) -> StoreIdentity {
    let database: Database
    do {
      database = try Database(directory: path, options: StoreOptions(), creating: false)
    } catch { throw error.opening(path) }
    guard let found = try readRecord(database) else {
      throw .damaged(Damage(.storeRecord, "it is missing"))
    }
    guard found.storageVersion <= StoreRecord.knownStorageVersion else {
      throw .newerVersion(
        directory: path, found: found.storageVersion, known: StoreRecord.knownStorageVersion)
    }
    // The restored cluster is another one: whoever belongs to the old one is refused.
    let record = StoreRecord(
      store: found.store, clusterID: 0, nodeName: nodeName,
      storageVersion: found.storageVersion, nextPrefix: found.nextPrefix,
      wasMadeAnew: found.wasMadeAnew)
    try writeRecord(record, database)
    let identity = StoreIdentity(of: record)
    try StoreDirectory(path: path).writeIdentity(identity.encoded())
    return identity
  }

  static func verify(
    _ identity: StoreIdentity, _ expectation: StoreExpectation, _ path: String
  ) throws(StorageError) {
    if let expected = expectation.clusterID, identity.clusterID != 0,
      identity.clusterID != expected
    {
      throw .otherCluster(directory: path, found: identity.clusterID, expected: expected)
    }
    guard identity.nodeName == expectation.nodeName else {
      throw .otherNode(directory: path, found: identity.nodeName, expected: expectation.nodeName)
    }
  }
}

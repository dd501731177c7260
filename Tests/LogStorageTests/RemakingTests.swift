import Foundation
import Primitives
import Testing

@testable import LogStorage

/// What becomes of a data directory whose database cannot be read.
@Suite struct RemakingTests {
  private let directory = TestDirectory()
  private let expectation = StoreExpectation(clusterID: 7, nodeName: "shard-1")

  private func path(_ name: String) -> String { "\(directory.path)/\(name)" }

  private func make() throws {
    let store = try directory.open(storeID: 41)
    #expect(try store.bindCoordinator(99, revision: 5))
  }

  private func loseTheDatabase() throws {
    try FileManager.default.removeItem(atPath: path("CURRENT"))
  }

  private func remake(nodeName: String = "shard-1") throws(StorageError) -> Store {
    try Store.remake(
      directory: directory.path,
      expecting: StoreExpectation(clusterID: 7, nodeName: nodeName))
  }

  @Test func aDamagedDatabaseIsSetAsideAndTheStoreKeepsItsName() throws {
    try make()
    try loseTheDatabase()
    #expect(throws: StorageError.self) { try directory.open() }
    do {
      let store = try remake()
      #expect(store.id == StoreID(41))
      #expect(store.record.wasMadeAnew)
      #expect(store.record.clusterID == 7)
      #expect(try store.partitions().isEmpty)
    }
    #expect(!FileManager.default.fileExists(atPath: path("INITIALISING")))
    let aside = try FileManager.default.contentsOfDirectory(atPath: path("damaged-1"))
    #expect(aside.contains { $0.hasPrefix("MANIFEST-") })
    // It stays a store that has lost what it held.
    let again = try directory.open(storeID: 42)
    #expect(again.id == StoreID(41))
    #expect(again.record.wasMadeAnew)
  }

  @Test func aListOfFilesThatWasCutShortIsDamage() throws {
    try make()
    let files = FileManager.default
    let name = try #require(
      try files.contentsOfDirectory(atPath: directory.path).first { $0.hasPrefix("MANIFEST-") })
    let whole = try #require(files.contents(atPath: path(name)))
    var damaged = 0
    for length in 0..<whole.count {
      let copy = TestDirectory()
      try files.copyItem(atPath: directory.path, toPath: copy.path)
      try whole.prefix(length).write(to: URL(fileURLWithPath: "\(copy.path)/\(name)"))
      switch Result(catching: { try copy.open(storeID: 42).id }) {
      case .success(let id): #expect(id == StoreID(41), "\(length) bytes")
      case .failure(let error as StorageError) where error.isDamage: damaged += 1
      case .failure(let error): Issue.record("\(length) bytes: \(error)")
      }
    }
    #expect(damaged > whole.count / 2)
  }

  @Test func aFlippedBitInTheListOfFilesIsDamage() throws {
    try make()
    let files = FileManager.default
    let name = try #require(
      try files.contentsOfDirectory(atPath: directory.path).first { $0.hasPrefix("MANIFEST-") })
    let whole = try #require(files.contents(atPath: path(name)))
    for place in stride(from: 0, to: whole.count, by: 7) {
      let copy = TestDirectory()
      try files.copyItem(atPath: directory.path, toPath: copy.path)
      var bytes = whole
      bytes[bytes.startIndex + place] ^= 0x10
      try bytes.write(to: URL(fileURLWithPath: "\(copy.path)/\(name)"))
      let error = #expect(throws: StorageError.self) { try copy.open(storeID: 42) }
      #expect(error?.isDamage == true, "byte \(place) of \(whole.count)")
    }
  }

  @Test func remakingGoesOnWhereItWasInterrupted() throws {
    try make()
    try loseTheDatabase()
    // It had just begun: the marker is there, one file was moved.
    try FileManager.default.createDirectory(
      atPath: path("damaged-1"), withIntermediateDirectories: false)
    _ = FileManager.default.createFile(atPath: path("INITIALISING"), contents: nil)
    try FileManager.default.moveItem(atPath: path("IDENTITY"), toPath: path("damaged-1/IDENTITY"))
    let store = try remake()
    #expect(store.id == StoreID(41))
    #expect(!FileManager.default.fileExists(atPath: path("damaged-2")))
  }

  @Test func noMoreThanThreeLieAside() throws {
    try make()
    for _ in 1...3 {
      try loseTheDatabase()
      _ = try remake()
    }
    try loseTheDatabase()
    let error = #expect(throws: StorageError.self) { try remake() }
    #expect("\(String(describing: error))".contains("damaged-"))
  }

  @Test func aDirectoryThatDoesNotSayWhoseItIsIsLeftAlone() throws {
    try make()
    try loseTheDatabase()
    var bytes = try Data(contentsOf: URL(filePath: path("STORE")))
    bytes[3] ^= 1
    try bytes.write(to: URL(filePath: path("STORE")))
    #expect(StoreIdentity(inDirectory: directory.path) == nil)
    #expect(throws: StorageError.self) { try remake() }
    #expect(!FileManager.default.fileExists(atPath: path("damaged-1")))
  }

  @Test func anotherNodesDirectoryIsNotRemade() throws {
    try make()
    try loseTheDatabase()
    #expect(
      throws: StorageError.otherNode(
        directory: directory.path, found: "shard-1", expected: "shard-2")
    ) { try remake(nodeName: "shard-2") }
    #expect(!FileManager.default.fileExists(atPath: path("damaged-1")))
  }

  @Test func damageThatIsMetIsRememberedUntilTheNextStart() throws {
    do { try directory.open().markDamaged() }
    let error = #expect(throws: StorageError.self) { try directory.open() }
    #expect(error?.isDamage == true)
    do { _ = try remake() }
    _ = try directory.open()
  }

  @Test func aCoordinatorThatWentBackInTimeIsNotFollowed() throws {
    do {
      let store = try directory.open()
      #expect(try store.bindCoordinator(99, revision: 10))
      let committer = try Committer(store: store)
      defer { committer.stop() }
      var batch = StorageBatch(needsSync: true)
      batch.raiseRevision(to: 50)
      #expect(committer.commit(batch) == nil)
    }
    let store = try directory.open()
    #expect(try !store.bindCoordinator(99, revision: 49), "an old backup")
    #expect(try !store.bindCoordinator(98, revision: 60), "another one")
    #expect(try store.bindCoordinator(99, revision: 50))
    #expect(StoreIdentity(inDirectory: directory.path)?.store == store.id)
  }

  @Test func anIdentityIsReadAsItWasWrittenOrNotAtAll() throws {
    let record = StoreRecord(
      store: StoreID(3), clusterID: 9, nodeName: "shard-1", highestRevision: 77,
      coordinatorID: 5)
    let bytes = StoreIdentity(of: record).encoded()
    #expect(StoreIdentity(decoding: bytes) == StoreIdentity(of: record))
    for count in 0..<bytes.count {
      #expect(StoreIdentity(decoding: Array(bytes.prefix(count))) == nil)
    }
    for place in bytes.indices {
      var changed = bytes
      changed[place] ^= 0x10
      #expect(StoreIdentity(decoding: changed) == nil)
    }
  }
}

import Foundation
import Primitives
import Testing

@testable import LogStorage

@Suite struct FileRemoverTests {
  private let directory = TestDirectory()
  private let piece = SecondNames.pieceBytes

  private var removed: String { "\(directory.path)/\(SecondNames.directoryName)" }

  private func make(_ name: String, bytes: Int) throws {
    try Data(repeating: 7, count: bytes).write(to: URL(filePath: "\(directory.path)/\(name)"))
  }

  private func sizes(in path: String) -> [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return names.compactMap {
      try? FileManager.default.attributesOfItem(atPath: "\(path)/\($0)")[.size] as? Int
    }
  }

  /// Asks until it is so, for half a minute at most.
  private func eventually(_ isSo: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: 30)
    while try !isSo() {
      try #require(Date() < deadline)
      usleep(1_000)
    }
  }

  private func delete(_ name: String) throws {
    try FileManager.default.removeItem(atPath: "\(directory.path)/\(name)")
  }

  @Test func aDeletedFileIsGivenBackPieceByPiece() throws {
    try StoreDirectory(path: directory.path).create()
    try make("000007.log", bytes: 3 * piece + 5)
    var names = SecondNames(of: directory.path)
    names.look()
    try delete("000007.log")
    names.look()
    #expect(names.waitingPieces == 4)
    #expect(sizes(in: removed) == [3 * piece + 5])
    var isMoreLeft = [names.shorten()]
    #expect(sizes(in: removed) == [2 * piece + 5])
    for _ in 0..<3 { isMoreLeft.append(names.shorten()) }
    #expect(isMoreLeft == [true, true, true, false])
    #expect(sizes(in: removed).isEmpty)
    #expect(names.waitingPieces == 0)
  }

  @Test func whatTheEngineHasANameForIsNeverShortened() throws {
    try StoreDirectory(path: directory.path).create()
    try make("000007.sst", bytes: 2 * piece)
    try make("CURRENT", bytes: 16)
    var names = SecondNames(of: directory.path)
    names.look()
    // As a table is taken into another place: the second name is not the last one.
    try FileManager.default.linkItem(
      atPath: "\(directory.path)/000007.sst", toPath: "\(directory.path)/elsewhere")
    try delete("000007.sst")
    for _ in 0..<4 {
      names.look()
      let isMoreLeft = names.shorten()
      #expect(!isMoreLeft)
    }
    #expect(sizes(in: removed) == [2 * piece])
    #expect(sizes(in: directory.path).contains(16))
  }

  @Test func numbersThatComeAgainAreOtherFiles() throws {
    try StoreDirectory(path: directory.path).create()
    try make("000007.log", bytes: piece)
    var names = SecondNames(of: directory.path)
    names.look()
    try delete("000007.log")
    names.look()
    try make("000007.log", bytes: 2 * piece)
    names.look()
    while names.shorten() {}
    #expect(sizes(in: removed) == [2 * piece])
    try delete("000007.log")
    names.look()
    while names.shorten() {}
    #expect(sizes(in: removed).isEmpty)
  }

  @Test func whatAnEarlierProcessLeftGoesOn() throws {
    try StoreDirectory(path: directory.path).create()
    try make("000007.log", bytes: 2 * piece)
    try make("000008.log", bytes: 2 * piece)
    var earlier = SecondNames(of: directory.path)
    earlier.look()
    // The process ends, and the engine of the next one deletes before anybody looks.
    try delete("000007.log")
    var names = SecondNames(of: directory.path)
    names.look()
    #expect(names.waitingPieces == 3)
    while names.shorten() {}
    #expect(sizes(in: removed) == [2 * piece])
    try delete("000008.log")
    names.look()
    while names.shorten() {}
    #expect(sizes(in: removed).isEmpty)
  }

  @Test func aDirectoryAtRestHoldsEveryFileOnce() throws {
    try StoreDirectory(path: directory.path).create()
    try make("000007.log", bytes: piece)
    var names = SecondNames(of: directory.path)
    names.look()
    names.withdraw()
    #expect(!FileManager.default.fileExists(atPath: removed))
    #expect(sizes(in: directory.path) == [piece])
  }

  @Test func aStoreGivesItsOldFilesBackAndOpensAgain() throws {
    var options = StoreOptions()
    options.logMemtableBytes = 64 << 10
    options.walBytesMax = 256 << 10
    let store = try directory.open(options: options)
    let committer = try Committer(store: store)
    let inode = { (name: String) in
      try FileManager.default.attributesOfItem(atPath: "\(directory.path)/\(name)")[
        .systemFileNumber] as? UInt64
    }
    let first = try #require(try directory.files(withSuffix: ".log").first)
    let name = String(first.split(separator: "/").last ?? "")
    let number = try #require(try inode(name))
    let second = "\(removed)/\(number)"
    try eventually { FileManager.default.fileExists(atPath: second) }
    var index: UInt64 = 0
    try eventually {
      index += 1
      #expect(committer.commit(appends(1, index...index, payloadBytes: 32 << 10)) == nil)
      return !FileManager.default.fileExists(atPath: first)
    }
    try eventually { !FileManager.default.fileExists(atPath: second) }
    committer.stop()
    #expect(!FileManager.default.fileExists(atPath: removed))
  }
}

import Primitives
import Glibc

/// Operations on a few files in three directories, the same ones for the same seed.
struct FileWalk {
  private static let names = ["a", "b", "c", "d"]
  private static let folders = ["", "x/", "y/"]
  private static let positionMax: UInt64 = 20_000
  private static let countMax: UInt64 = 6_000

  private var chance: SeededRandom
  private let syncs: Bool

  /// - Parameter syncs: whether files and directories are synced now and then.
  init(seed: UInt64, syncs: Bool = true) {
    chance = SeededRandom(seed: seed)
    self.syncs = syncs
  }

  mutating func next() -> FileOperation {
    switch chance.next(upperBound: UInt64(syncs ? 20 : 17)) {
    case 0..<4: .write(path(), at: number(Self.positionMax), bytes())
    case 4..<7: .append(path(), bytes())
    case 7..<9: .resize(path(), number(Self.positionMax))
    case 9: .replace(path(), bytes())
    case 10, 11: .rename(path(), path())
    case 12: .unlink(path())
    case 13: .link(path(), path())
    case 14, 15: .makeDirectory(folder())
    case 16: .removeDirectory(folder())
    case 17, 18: .sync(path())
    default: .sync(folder())
    }
  }

  private mutating func number(_ max: UInt64) -> Int { Int(chance.next(upperBound: max)) }
  private mutating func path() -> String {
    folder() + Self.names[number(UInt64(Self.names.count))]
  }
  private mutating func folder() -> String { Self.folders[number(UInt64(Self.folders.count))] }
  private mutating func bytes() -> [UInt8] {
    let byte = UInt8(truncatingIfNeeded: chance.next())
    return (0..<number(Self.countMax)).map { byte &+ UInt8(truncatingIfNeeded: $0) }
  }
}

enum FileOperation: CustomStringConvertible {
  case write(String, at: Int, [UInt8])
  case append(String, [UInt8])
  case resize(String, Int)
  case replace(String, [UInt8])
  case rename(String, String)
  case unlink(String)
  case link(String, String)
  case makeDirectory(String)
  case removeDirectory(String)
  case sync(String)

  var description: String {
    switch self {
    case .write(let path, let start, let bytes): "write \(bytes.count) bytes at \(start) of \(path)"
    case .append(let path, let bytes): "append \(bytes.count) bytes to \(path)"
    case .resize(let path, let bytes): "resize \(path) to \(bytes)"
    case .replace(let path, let bytes): "replace \(path) by \(bytes.count) bytes"
    case .rename(let old, let new): "rename \(old) to \(new)"
    case .unlink(let path): "unlink \(path)"
    case .link(let old, let new): "link \(old) as \(new)"
    case .makeDirectory(let path): "make directory \(path)"
    case .removeDirectory(let path): "remove directory \(path)"
    case .sync(let path): "sync \(path)"
    }
  }

  /// **Returns**: 0 or what the system answers.
  func perform(in root: String) -> Int32 {
    func result(_ code: Int32) -> Int32 { code == 0 ? 0 : errno }
    do {
      switch self {
      case .write(let path, let start, let bytes):
        try OpenFile("\(root)/\(path)").write(bytes, at: start)
      case .append(let path, let bytes):
        try OpenFile("\(root)/\(path)", O_WRONLY | O_CREAT | O_APPEND).write(bytes)
      case .resize(let path, let bytes): return result(truncate("\(root)/\(path)", bytes))
      case .replace(let path, let bytes):
        try OpenFile("\(root)/\(path)", O_WRONLY | O_CREAT | O_TRUNC).write(bytes)
      case .rename(let old, let new):
        return result(Glibc.rename("\(root)/\(old)", "\(root)/\(new)"))
      case .unlink(let path): return result(Glibc.unlink("\(root)/\(path)"))
      case .link(let old, let new):
        return result(Glibc.link("\(root)/\(old)", "\(root)/\(new)"))
      case .makeDirectory(let path): return result(mkdir("\(root)/\(path)", 0o755))
      case .removeDirectory(let path): return path.isEmpty ? 0 : result(rmdir("\(root)/\(path)"))
      case .sync(let path): try Files.sync("\(root)/\(path)")
      }
      return 0
    } catch {
      return (error as? CallError)?.code ?? -1
    }
  }
}

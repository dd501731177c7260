import Glibc

/// One change of a directory that was made and may not be stored yet.
///
/// Changes are stored in the order in which they were made, as a journal of metadata does it.
enum NameChange: Sendable {
  case fileLinked(FileNode, DirectoryNode, String)
  case fileUnlinked(DirectoryNode, String)
  case directoryMade(DirectoryNode, DirectoryNode, String)
  case directoryRemoved(DirectoryNode, String)
  case renamed(DirectoryNode, String, DirectoryNode, String)

  /// Does to the backing directory what was done before the eyes of the programs.
  ///
  /// **Throws**: what the system answers; `EIO` when the backing directory is not as it was left.
  /// **Returns**: the directories that have to be synced.
  func store() throws(DiskError) -> [BackingFile] {
    switch self {
    case .fileLinked(let file, let directory, let name):
      let backing = try directory.storedBacking()
      try file.backing.link(in: backing, as: name)
      directory.storedNames[name] = file
      return [backing]
    case .fileUnlinked(let directory, let name):
      let backing = try directory.storedBacking()
      guard unlinkat(backing.descriptor, name, 0) == 0 else { throw .last }
      directory.storedNames[name] = nil
      return [backing]
    case .directoryMade(let made, let directory, let name):
      let backing = try directory.storedBacking()
      guard mkdirat(backing.descriptor, name, made.attributes.mode & 0o7777) == 0 else {
        throw .last
      }
      made.backing = try BackingFile.open(name, in: backing, flags: O_RDONLY | O_DIRECTORY)
      let (user, group) = (made.attributes.userID, made.attributes.groupID)
      try made.backing?.setOwner(Owner(user: user, group: group))
      directory.storedNames[name] = made
      return [backing]
    case .directoryRemoved(let directory, let name):
      let backing = try directory.storedBacking()
      guard unlinkat(backing.descriptor, name, AT_REMOVEDIR) == 0 else { throw .last }
      directory.storedNames[name] = nil
      return [backing]
    case .renamed(let from, let oldName, let to, let newName):
      let (old, new) = (try from.storedBacking(), try to.storedBacking())
      guard renameat(old.descriptor, oldName, new.descriptor, newName) == 0 else { throw .last }
      let node = from.storedNames.removeValue(forKey: oldName)
      to.storedNames[newName] = node
      return [old, new]
    }
  }
}

extension DirectoryNode {
  /// A directory is stored before the names in it, because it was made before them.
  fileprivate func storedBacking() throws(DiskError) -> BackingFile {
    guard let backing else { throw DiskError(EIO) }
    return backing
  }
}

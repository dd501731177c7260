import Glibc

/// Names: looking up, making, removing.
extension Volume {
  static let nameBytesMax = 255

  /// **Returns**: the node, which the kernel knows from now on.
  mutating func lookup(_ parent: UInt64, _ name: String) throws(DiskError) -> Node {
    guard let node = try directory(parent).names[name] else { throw DiskError(ENOENT) }
    return known(node)
  }

  mutating func create(
    _ parent: UInt64, _ name: String, mode: mode_t, owner: Owner, isExclusive: Bool
  ) throws(DiskError) -> Node {
    let directory = try directory(parent)
    if let node = directory.names[name] {
      if isExclusive { throw DiskError(EEXIST) }
      return known(node)
    }
    try expectRoom(name)
    let file = FileNode(
      number: newNumber(),
      attributes: Attributes(
        mode: S_IFREG | mode & 0o7777, userID: owner.user, groupID: owner.group),
      backing: try BackingFile.nameless(in: backing, mode: mode & 0o7777), storedBytes: 0)
    try file.backing.setOwner(owner)
    insert(file, into: directory, name)
    return known(file)
  }

  mutating func makeDirectory(
    _ parent: UInt64, _ name: String, mode: mode_t, owner: Owner
  ) throws(DiskError) -> Node {
    let directory = try directory(parent)
    guard directory.names[name] == nil else { throw DiskError(EEXIST) }
    try expectRoom(name)
    let made = DirectoryNode(
      number: newNumber(),
      attributes: Attributes(
        mode: S_IFDIR | mode & 0o7777, userID: owner.user, groupID: owner.group),
      backing: nil)
    directory.names[name] = made
    directory.attributes.touch()
    add(.directoryMade(made, directory, name))
    return known(made)
  }

  mutating func link(
    _ number: UInt64, _ parent: UInt64, _ name: String
  ) throws(DiskError) -> Node {
    let (file, directory) = (try file(number), try directory(parent))
    guard directory.names[name] == nil else { throw DiskError(EEXIST) }
    guard file.linkCount > 0 else { throw DiskError(ENOENT) }
    try expectRoom(name)
    insert(file, into: directory, name)
    return known(file)
  }

  mutating func unlink(_ parent: UInt64, _ name: String) throws(DiskError) {
    let directory = try directory(parent)
    guard let node = directory.names[name] else { throw DiskError(ENOENT) }
    guard let file = node as? FileNode else { throw DiskError(EISDIR) }
    directory.names[name] = nil
    directory.attributes.touch()
    add(.fileUnlinked(directory, name))
    unlinked(file)
  }

  mutating func removeDirectory(_ parent: UInt64, _ name: String) throws(DiskError) {
    let directory = try directory(parent)
    guard let node = directory.names[name] else { throw DiskError(ENOENT) }
    guard let removed = node as? DirectoryNode else { throw DiskError(ENOTDIR) }
    guard removed.names.isEmpty else { throw DiskError(ENOTEMPTY) }
    directory.names[name] = nil
    directory.attributes.touch()
    add(.directoryRemoved(directory, name))
  }

  /// - Parameter replaces: whether what has the new name already goes.
  mutating func rename(
    _ parent: UInt64, _ name: String, to newParent: UInt64, _ newName: String, replaces: Bool
  ) throws(DiskError) {
    let (from, to) = (try directory(parent), try directory(newParent))
    guard let node = from.names[name] else { throw DiskError(ENOENT) }
    guard newName.utf8.count <= Self.nameBytesMax else { throw DiskError(ENAMETOOLONG) }
    let old = to.names[newName]
    if let old {
      guard replaces else { throw DiskError(EEXIST) }
      // Two names of one file: POSIX leaves both.
      if old === node { return }
      try Self.expectReplaceable(old, by: node)
    }
    from.names[name] = nil
    to.names[newName] = node
    from.attributes.touch()
    to.attributes.touch()
    add(.renamed(from, name, to, newName))
    if let file = old as? FileNode { unlinked(file) }
  }

  /// The file or directory at a path below the root, as programs see it.
  func node(at path: String) throws(DiskError) -> Node {
    var node: Node = root
    for name in path.split(separator: "/") where name != "." {
      guard let directory = node as? DirectoryNode else { throw DiskError(ENOTDIR) }
      guard let next = directory.names[String(name)] else { throw DiskError(ENOENT) }
      node = next
    }
    return node
  }

  private mutating func known(_ node: Node) -> Node {
    node.lookupCount += 1
    nodes[node.number] = node
    return node
  }

  private func expectRoom(_ name: String) throws(DiskError) {
    if faults.isFull { throw DiskError(ENOSPC) }
    guard name.utf8.count <= Self.nameBytesMax else { throw DiskError(ENAMETOOLONG) }
  }

  private mutating func insert(_ file: FileNode, into directory: DirectoryNode, _ name: String) {
    directory.names[name] = file
    directory.attributes.touch()
    file.linkCount += 1
    file.attributes.changed = timespec.now
    add(.fileLinked(file, directory, name))
  }

  private mutating func unlinked(_ file: FileNode) {
    file.linkCount -= 1
    file.attributes.changed = timespec.now
    dropIfUnreachable(file)
  }

  private static func expectReplaceable(_ old: Node, by node: Node) throws(DiskError) {
    switch (node is DirectoryNode, old as? DirectoryNode) {
    case (true, nil): throw DiskError(ENOTDIR)
    case (false, .some): throw DiskError(EISDIR)
    case (true, .some(let directory)) where !directory.names.isEmpty: throw DiskError(ENOTEMPTY)
    default: return
    }
  }
}

/// Who makes a file.
struct Owner: Sendable {
  let user: uid_t
  let group: gid_t
}

extension BackingFile {
  func setOwner(_ owner: Owner) throws(DiskError) {
    guard fchown(descriptor, owner.user, owner.group) == 0 else { throw .last }
  }
}

import COpenSSL

/// Randomness for secrets and identifiers. Failure traps: nothing may go on with guessable keys.
///
/// **Isolation**: any thread.
package enum SecureRandom {
  /// **Returns**: `count` bytes that nobody can guess.
  package static func bytes(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      if let base = buffer.baseAddress, count > 0 {
        precondition(RAND_bytes(base, Int32(count)) == 1, "the random generator failed")
      }
      filled = count
    }
  }

  /// 64 bits that nobody can guess.
  package static func uint64() -> UInt64 { UInt64(truncatingIfNeeded: uint128()) }

  /// 128 bits that nobody can guess.
  package static func uint128() -> UInt128 {
    var value: UInt128 = 0
    withUnsafeMutableBytes(of: &value) { buffer in
      guard let base = buffer.bindMemory(to: UInt8.self).baseAddress else { return }
      precondition(RAND_bytes(base, Int32(buffer.count)) == 1, "the random generator failed")
    }
    return value
  }
}

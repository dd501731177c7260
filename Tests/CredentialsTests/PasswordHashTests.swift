import Credentials
import Testing

@Suite struct PasswordHashTests {
  private static let cheap = PasswordHash.Parameters(memoryKiB: 64, passes: 1, lanes: 1)
  private static let salt = (0..<16).map { UInt8($0) }

  /// From the test programme of the reference implementation of Argon2.
  private static let vectors = [
    "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
  ]

  @Test("The published hashes of `password` are recognised", arguments: vectors)
  func published(encoded: String) throws {
    #expect(try PasswordHash.verify("password", encoded))
    #expect(try !PasswordHash.verify("Password", encoded))
  }

  @Test("A hash verifies its own password and no other")
  func roundTrip() throws {
    let encoded = try PasswordHash.hash("grüße 🔑", salt: Self.salt, parameters: Self.cheap)
    #expect(encoded.hasPrefix("$argon2id$v=19$m=64,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$"))
    #expect(try PasswordHash.verify("grüße 🔑", encoded))
    #expect(try !PasswordHash.verify("grüße", encoded))
    #expect(try !PasswordHash.verify("", encoded))
  }

  @Test("The recommended cost is 19 MiB and two passes")
  func recommended() throws {
    let encoded = try PasswordHash.hash("secret", salt: Self.salt)
    #expect(encoded.hasPrefix("$argon2id$v=19$m=19456,t=2,p=1$"))
    #expect(try PasswordHash.verify("secret", encoded))
    #expect(!PasswordHash.isOutdated(encoded))
    #expect(PasswordHash.isOutdated(encoded, parameters: Self.cheap))
    #expect(PasswordHash.isOutdated("nonsense"))
  }

  @Test("Another salt makes another hash")
  func salts() throws {
    let other = [UInt8](repeating: 1, count: 16)
    let first = try PasswordHash.hash("secret", salt: Self.salt, parameters: Self.cheap)
    #expect(try PasswordHash.hash("secret", salt: other, parameters: Self.cheap) != first)
  }

  @Test("The length of a password is bounded in bytes")
  func length() throws {
    let longest = String(repeating: "é", count: PasswordHash.passwordBytesMax / 2)
    let encoded = try PasswordHash.hash(longest, salt: Self.salt, parameters: Self.cheap)
    #expect(try PasswordHash.verify(longest, encoded))
    #expect(try !PasswordHash.verify(longest + "x", encoded))
    #expect(throws: PasswordError.tooLong) {
      try PasswordHash.hash(longest + "x", salt: Self.salt, parameters: Self.cheap)
    }
    #expect(throws: PasswordError.empty) { try PasswordHash.hash("", salt: Self.salt) }
  }

  @Test("A password with a NUL is compared to its end")
  func nul() throws {
    let encoded = try PasswordHash.hash("a\u{0}b", salt: Self.salt, parameters: Self.cheap)
    #expect(try !PasswordHash.verify("a\u{0}c", encoded))
    #expect(try !PasswordHash.verify("a", encoded))
  }

  @Test(
    "Malformed hashes are refused",
    arguments: [
      "", "$", "$$$$$", "plain", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=16$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=99999999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=256,t=1000,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=256,t=2,p=4294967295$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=7,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=+256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=256,t=2$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$t=2,m=256,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=256,t=2,p=1$c29tZXN$nf65EOgLrQMR/uIPnA4rEg",
      "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAA",
      "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg$",
    ])
  func malformed(encoded: String) {
    #expect(throws: PasswordError.malformed) { try PasswordHash.verify("password", encoded) }
  }

  @Test("Every truncation of a hash is refused or does not match")
  func truncation() throws {
    let encoded = try PasswordHash.hash("secret", salt: Self.salt, parameters: Self.cheap)
    for count in 0..<encoded.utf8.count {
      let matches = (try? PasswordHash.verify("secret", String(encoded.prefix(count)))) ?? false
      #expect(!matches, "cut at \(count)")
    }
  }

  @Test("An unknown account costs about as much as a known one")
  func dummy() throws {
    let parameters = PasswordHash.Parameters(memoryKiB: 4_096, passes: 2, lanes: 1)
    let encoded = try PasswordHash.hash("secret", salt: Self.salt, parameters: parameters)
    let clock = ContinuousClock()
    // The least of several runs is what the work takes without the machine's other business.
    var known = Duration.seconds(60)
    var unknown = Duration.seconds(60)
    for _ in 0..<9 {
      let first = try clock.measure { _ = try PasswordHash.verify("wrong", encoded) }
      let second = try clock.measure {
        try PasswordHash.verifyDummy("wrong", parameters: parameters)
      }
      known = min(known, first)
      unknown = min(unknown, second)
    }
    #expect((0.3...3).contains(unknown / known), "\(unknown) against \(known)")
  }
}

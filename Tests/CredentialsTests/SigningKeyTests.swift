import Credentials
import Testing

@Suite struct SigningKeyTests {
  private static func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }

  /// RFC 8032, section 7.1: tests 1, 2 and 3.
  private static let vectors = [
    (
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      """
      e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155
      5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b
      """
    ),
    (
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      """
      92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
      085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00
      """
    ),
    (
      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      """
      6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac
      18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a
      """
    ),
  ]

  @Test("The vectors of RFC 8032 hold", arguments: vectors)
  func published(seed: String, publicKey: String, message: String, signature: String) throws {
    let key = try #require(SigningKey(seed: Self.bytes(seed)))
    #expect(key.verificationKey.bytes == Self.bytes(publicKey))
    #expect(key.sign(Self.bytes(message)) == Self.bytes(signature))
    let verification = try #require(VerificationKey(Self.bytes(publicKey)))
    #expect(verification.isValid(signature: Self.bytes(signature), over: Self.bytes(message)))
    #expect(!verification.isValid(signature: Self.bytes(signature), over: [1, 2, 3]))
  }

  @Test("Signatures that are cut, longer or changed are refused, and so are other keys")
  func refused() throws {
    let key = try #require(SigningKey(seed: [UInt8](repeating: 7, count: 32)))
    let other = try #require(SigningKey(seed: [UInt8](repeating: 8, count: 32)))
    let message: [UInt8] = [1, 2, 3]
    let signature = key.sign(message)
    for count in 0..<signature.count {
      let cut = Array(signature.prefix(count))
      #expect(!key.verificationKey.isValid(signature: cut, over: message))
    }
    #expect(!key.verificationKey.isValid(signature: signature + [0], over: message))
    for bit in 0..<512 {
      var changed = signature
      changed[bit / 8] ^= 1 << (bit % 8)
      #expect(!key.verificationKey.isValid(signature: changed, over: message))
    }
    #expect(!other.verificationKey.isValid(signature: signature, over: message))
  }

  @Test("Keys of another length are none")
  func lengths() {
    for count in [0, 1, 31, 33, 64] {
      #expect(SigningKey(seed: [UInt8](repeating: 1, count: count)) == nil)
      #expect(VerificationKey([UInt8](repeating: 1, count: count)) == nil)
    }
  }

  @Test("A key's id is its thumbprint (RFC 8037, appendix A.3)")
  func thumbprint() throws {
    let text = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    let bytes = try #require(Base64.decode(text.utf8))
    let key = try #require(VerificationKey(bytes))
    #expect(key.keyID == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
  }

  @Test("A private key does not print its seed")
  func printing() throws {
    let key = try #require(SigningKey(seed: [UInt8](repeating: 77, count: 32)))
    var dumped = ""
    dump(key, to: &dumped)
    #expect(!dumped.contains("77") && !"\(key)".contains("77, 77"))
    #expect(dumped.contains(key.keyID))
  }

  @Test("Random bytes have the asked length and differ")
  func random() {
    #expect(SecureRandom.bytes(0).isEmpty)
    #expect(SecureRandom.bytes(33).count == 33)
    let ids = Set((0..<1_000).map { _ in SecureRandom.uint64() })
    #expect(ids.count == 1_000)
    let wide = Set((0..<1_000).map { _ in SecureRandom.uint128() >> 64 })
    #expect(wide.count == 1_000)
  }

  @Test("SHA-256 gives the published digest of `abc`")
  func sha256() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    #expect(Digest.sha256("abc".utf8) == Self.bytes(digest))
    #expect(Digest.equal([1, 2], [1, 2]) && !Digest.equal([1, 2], [1, 3]))
    #expect(!Digest.equal([1, 2], [1]) && Digest.equal([], []))
  }
}

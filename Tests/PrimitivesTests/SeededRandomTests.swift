import Primitives
import Testing

@Suite struct SeededRandomTests {
  /// **Source**: the published outputs of SplitMix64 for the seed 1234567 (Vigna's reference code,
  /// as reproduced by Rosetta Code) and for the seed 0.
  @Test func thePublishedFirstNumbersAreMet() {
    var random = SeededRandom(seed: 1_234_567)
    let numbers = (0..<5).map { _ in random.next() }
    #expect(
      numbers == [
        6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
        4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
      ])
    var zero = SeededRandom(seed: 0)
    #expect(zero.next() == 0xe220_a839_7b1d_cdaf)
  }

  @Test func copiesGoOnIndependently() {
    var random = SeededRandom(seed: 9)
    var copy = random
    let first = random.next()
    #expect(copy.next() == first)
    #expect(copy.next() != first)
  }
}

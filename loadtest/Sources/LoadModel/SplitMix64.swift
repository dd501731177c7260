/// A generator of a run's own: the same seed draws the same.
///
/// **Source**: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
package struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return finalized(state)
  }

  /// More than 0, at most 1.
  package var fraction: Double {
    mutating get { Double((next() >> 11) + 1) * 0x1p-53 }
  }
}

/// The finalizer of SplitMix64: every bit of the value changes half of the result's.
private func finalized(_ value: UInt64) -> UInt64 {
  var mixed = value
  mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
  mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
  return mixed ^ mixed >> 31
}

/// A number whose bits all depend on all of the value's.
func mixed(_ value: UInt64) -> UInt64 {
  var generator = SplitMix64(seed: value)
  return generator.next()
}

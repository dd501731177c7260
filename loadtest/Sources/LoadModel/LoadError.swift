/// A run that cannot begin or did not go well: one line for the engineer.
package struct LoadError: Error, CustomStringConvertible, Equatable {
  package let description: String

  package init(_ description: String) { self.description = description }
}

import Glibc

/// Where a password comes from: MARTLET_PASSWORD, the first line of standard input, or the terminal
/// without echo.
enum Password {
  /// **Throws**: `Failure` when there is none.
  static func read(for handle: String, twice: Bool) throws(Failure) -> String {
    if let variable = getenv("MARTLET_PASSWORD") {
      let text = String(cString: variable)
      if !text.isEmpty { return text }
    }
    guard isatty(STDIN_FILENO) != 0 else {
      if let line = readLine(), !line.isEmpty { return line }
      throw Failure(
        "MARTLET_PASSWORD is missing; allowed is a password there or on standard input",
        code: Failure.configurationCode)
    }
    let password = try ask("Password for \(handle): ")
    if twice {
      guard try ask("The same again: ") == password else { throw Failure("the two differ") }
    }
    return password
  }

  private static func ask(_ prompt: String) throws(Failure) -> String {
    var settings = termios()
    guard tcgetattr(STDIN_FILENO, &settings) == 0 else { throw Failure("no terminal") }
    var silent = settings
    silent.c_lflag &= ~tcflag_t(ECHO)
    write(prompt)
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
    let line = readLine()
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
    write("\n")
    guard let line, !line.isEmpty else { throw Failure("no password was given") }
    return line
  }

  /// On standard error, where a prompt is seen also when the output goes elsewhere.
  private static func write(_ text: String) {
    let bytes = Array(text.utf8)
    _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
  }
}

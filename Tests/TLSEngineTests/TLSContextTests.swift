import TLSEngine
import Testing

@Suite struct TLSContextTests {
  private func refusal(_ change: (inout TLSConfiguration) -> Void) -> String? {
    var configuration = TLSConfiguration.server()
    change(&configuration)
    do {
      _ = try TLSContext(configuration: configuration)
      return nil
    } catch .configuration(let text) {
      return text
    } catch {
      return "another error: \(error)"
    }
  }

  @Test("A missing file is named")
  func missingFiles() {
    #expect(refusal { $0.certificateChainFile = "/nowhere.pem" }?.contains("/nowhere.pem") == true)
    #expect(refusal { $0.privateKeyFile = "/nowhere.key" }?.contains("/nowhere.key") == true)
    #expect(refusal { $0.trustRootsFile = "/nowhere.ca" }?.contains("/nowhere.ca") == true)
    #expect(refusal { $0.revocationListFile = "/nowhere.crl" }?.contains("/nowhere.crl") == true)
  }

  @Test("A key that is another's, locked or absent is refused")
  func keys() {
    let files = TestCertificates.shared
    #expect(refusal { $0.privateKeyFile = files.key(.client) }?.contains("mismatch") == true)
    #expect(refusal { $0.privateKeyFile = files.file("locked.key") } != nil)
    #expect(refusal { $0.privateKeyFile = nil } == "a certificate and its private key go together")
    let neither = refusal {
      $0.privateKeyFile = nil
      $0.certificateChainFile = nil
    }
    #expect(neither == "a server needs a certificate")
  }

  @Test("Settings that make no sense are refused")
  func settings() {
    #expect(refusal { $0.alpnProtocols = [""] } != nil)
    #expect(refusal { $0.alpnProtocols = [String(repeating: "x", count: 256)] } != nil)
    #expect(refusal { ($0.minimumVersion, $0.maximumVersion) = (.tls13, .tls12) } != nil)
    #expect(refusal { $0.sessionTicketKeys = [1, 2, 3] } == "session ticket keys are 80 bytes")
    #expect(
      refusal { $0.clientCertificate = .required }
        == "a server that looks at client certificates needs trust roots")
    #expect(refusal { _ in } == nil)
  }

  @Test("A name or address that is none is refused before anything is sent")
  func names() throws {
    let context = try TLSContext(configuration: .client())
    for name in [TLSPeerName.name(""), .name("a\u{0}b"), .address("node1.test"), .address("")] {
      #expect(throws: TLSError.self) {
        _ = try TLSConnection(client: context, expecting: name)
      }
    }
  }

  @Test("Connections outlive the context they were made from")
  func lifetime() throws {
    // `TLSLink` makes its contexts as temporaries: only the connections hold them here.
    var link = try TLSLink(.client(alpn: ["h2"]), .server(alpn: ["h2"]))
    link.settle()
    #expect(link.client.peer?.alpn == "h2")
  }
}

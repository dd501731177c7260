"""Keyboards, screen readers, small screens, dark ones, and what the first page costs."""

from rig import PASSWORD, Person, equal, true

FIRST_PAGE_BYTES_MAX = 150 * 1024
INTERACTIVE_MILLISECONDS_MAX = 1_000
CONTRAST_MIN = 4.5

FOCUSED = """() => {
  const node = document.activeElement;
  return node.id || node.dataset.conversation || node.textContent.trim() || node.tagName;
}"""

# The colours that are seen: what is half transparent lies over what is behind it. A canvas turns
# every notation of a colour into bytes.
CONTRASTS = """(selectors) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const bytes = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (front, back) => front.slice(0, 3).map(
    (value, index) => value * front[3] / 255 + back[index] * (1 - front[3] / 255));
  const background = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.push(bytes(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 255) break;
    }
    return layers.reverse().reduce((back, front) => over(front, back), [255, 255, 255]);
  };
  const luminance = (colour) => colour.map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  return Object.fromEntries(selectors.map((selector) => {
    const node = document.querySelector(selector);
    if (!node) return [selector, 0];
    const back = background(node);
    const front = over(bytes(getComputedStyle(node).color), back);
    const [low, high] = [luminance(front), luminance(back)].sort((one, other) => one - other);
    return [selector, (high + 0.05) / (low + 0.05)];
  }));
}"""


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def focused(person, wanted):
    person.until(lambda: person.page.evaluate(FOCUSED) == wanted,
                 lambda: f"the focus on {wanted}; it is on {person.page.evaluate(FOCUSED)}")


def test_everything_goes_by_keyboard(cluster, browser):
    bob = browser.person("bob", gateway=1)
    account = browser.account("ada")
    ada = Person(browser, account.handle)
    page = ada.page
    page.goto(ada.origin)
    focused(ada, "handle")
    page.keyboard.type(account.handle)
    press(page, "Tab")
    focused(ada, "password")
    page.keyboard.type(PASSWORD)
    press(page, "Tab")
    focused(ada, "login")
    press(page, "Enter")
    ada.until_online()
    focused(ada, "app-title")
    press(page, "Tab")
    focused(ada, "new-direct")
    press(page, "Enter")
    focused(ada, "direct-handle")
    press(page, "Escape")
    page.wait_for_selector("#direct-dialog", state="hidden")
    focused(ada, "new-direct")
    press(page, "Tab")
    focused(ada, "new-group")
    press(page, "Enter")
    focused(ada, "group-title")
    press(page, "Escape")
    focused(ada, "new-group")
    press(page, "Shift+Tab")
    focused(ada, "new-direct")
    press(page, "Enter")
    focused(ada, "direct-handle")
    page.keyboard.type(bob.handle)
    press(page, "Enter")
    page.wait_for_selector("#composer")
    focused(ada, "text")
    page.keyboard.type("typed without a mouse")
    press(page, "Enter")
    ada.until_shows("typed without a mouse")
    focused(ada, "text")
    press(page, "Escape")
    focused(ada, ada.conversation)
    press(page, "Enter")
    focused(ada, "text")
    # The order of the fields in the conversation, backwards from the text.
    order = []
    for _ in range(3):
        press(page, "Shift+Tab")
        order.append(page.evaluate(FOCUSED))
    equal(order, ["messages", "show-details", "logout"], "the order of focus")


def test_names_roles_and_announcements(cluster, browser):
    ada = browser.person("ada")
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    bob.open(chat)
    bob.say("can you hear this?")
    ada.until_shows("can you hear this?")
    page = ada.page
    for role, name in (
            ("textbox", "Message"), ("button", "Send"), ("button", "New chat"),
            ("button", "New group"), ("button", "Log out"), ("button", "Members"),
            ("navigation", "Conversations"), ("log", bob.handle), ("main", None),
            ("searchbox", "Filter conversations"), ("heading", bob.handle)):
        options = {"name": name} if name else {}
        equal(page.get_by_role(role, **options).count(), 1, f"{role} {name}")
    said = page.get_by_role("article", name="can you hear this?")
    true(bob.handle in said.aria_snapshot(), "the article names its author")
    ada.until(lambda: "can you hear this?" in page.inner_text("#announcer"),
              lambda: f"the announcement: {page.inner_text('#announcer')!r}")
    equal(page.get_attribute("#announcer", "aria-live"), "polite", "how it is announced")
    page.click("#new-direct")
    page.wait_for_selector("#direct-dialog")
    equal(page.get_by_role("dialog", name="New chat").count(), 1, "the dialog's name")
    page.fill("#direct-handle", "x")
    page.click("#create-direct")
    page.wait_for_selector("#direct-handle[aria-invalid=true]")
    press(page, "Escape")


def test_a_phone_shows_one_thing_at_a_time(cluster, browser):
    bob = browser.person("bob", gateway=1)
    ada = browser.person(
        "ada", viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    page = ada.page

    def fits():
        width = page.evaluate("""() => Math.max(document.documentElement.scrollWidth,
          document.getElementById("messages").scrollWidth)""")
        true(width <= 360, f"nothing is wider than the screen: {width}")

    chat = ada.chat_with(bob.handle)
    bob.open(chat)
    bob.say("a-very-long-word-" * 40)
    bob.say("https://example.org/" + "x" * 400)
    ada.until_shows("a-very-long-word-" * 40, "https://example.org/" + "x" * 400)
    true(page.is_visible("#composer") and not page.is_visible("#list"), "the conversation alone")
    fits()
    browser.picture(page, "phone-conversation")
    page.click("#back")
    page.wait_for_selector("#list", state="visible")
    true(not page.is_visible("#composer"), "the list alone")
    fits()
    browser.picture(page, "phone-list")
    page.tap(f'[data-conversation="{chat}"]')
    page.wait_for_selector("#composer")
    page.go_back()
    page.wait_for_selector("#list", state="visible")
    page.go_forward()
    page.wait_for_selector("#composer")
    true(not page.is_visible("#list"), "forward again")


def test_both_schemes_can_be_read(cluster, browser):
    looks = {}
    for scheme in ("light", "dark"):
        account = browser.account("ada")
        ada = Person(browser, account.handle, color_scheme=scheme)
        ada.page.goto(ada.origin)
        ada.page.wait_for_selector("#login")
        checked = {**ada.page.evaluate(CONTRASTS, ["#account h1", "#login", "#switch-mode"])}
        ada.login()
        bob = browser.person("bob", gateway=1)
        chat = ada.chat_with(bob.handle)
        bob.open(chat)
        for number in range(6):
            ada.say(f"question {number}: https://example.org/")
            bob.say(f"answer {number}: https://example.org/")
        ada.until(lambda: len(ada.shown()) == 12, "12 messages")
        ada.page.mouse.move(0, 0)
        checked |= ada.page.evaluate(CONTRASTS, [
            "article[data-state=sent] .text", "article[data-state=received] .text",
            "article[data-state=sent] .meta", "article[data-state=received] .meta",
            "article[data-state=sent] a", "article[data-state=received] a", "article.notice span",
            ".day span", "#open-title", "#open-members", "#text", "#own-name", "#own-handle",
            "#gateway", "#conversations .title", "#conversations .preview", "#conversations time",
        ])
        dim = {name: round(value, 2) for name, value in checked.items() if value < CONTRAST_MIN}
        true(not dim, f"{scheme}: contrast is below {CONTRAST_MIN}: {dim}")
        looks[scheme] = ada.page.evaluate("""() => ["body", "#sidebar", "#messages"].map((one) =>
          getComputedStyle(document.querySelector(one)).backgroundColor).join()""")
        browser.picture(ada.page, f"chat-{scheme}")
    true(looks["light"] != looks["dark"], f"two schemes: {looks}")


class Transfer:
    """Counts what a page's first load transfers: bodies and headers as they come, and frames."""

    def __init__(self, person):
        self.bytes = 0
        self.session = person.context.new_cdp_session(person.page)
        self.session.send("Network.enable")
        # A cache would hide what a first visitor transfers.
        self.session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        self.session.on("Network.loadingFinished", lambda event: self.add(
            event["encodedDataLength"]))
        self.session.on("Network.webSocketFrameReceived", lambda event: self.add(
            len(event["response"]["payloadData"])))

    def add(self, count):
        self.bytes += int(count)


def settled(person):
    """Waits until everything that the page asked for is there."""
    person.page.wait_for_load_state("networkidle")


def test_the_first_page_is_small(cluster, browser):
    account = browser.account("ada")
    ada = Person(browser, account.handle)
    signed_out = Transfer(ada)
    ada.page.goto(ada.origin)
    ada.page.wait_for_selector("#login")
    settled(ada)
    signed_out.session.detach()
    ada.login()
    ada.chat_with(browser.account("bob").handle)
    ada.say("hello")
    ada.until_shows("hello")
    signed_in = Transfer(ada)
    ada.page.reload()
    ada.until_online()
    ada.until_shows("hello")
    settled(ada)
    found = {"signed out": signed_out.bytes, "signed in": signed_in.bytes}
    print(f"       {found} bytes, at most {FIRST_PAGE_BYTES_MAX}")
    for name, count in found.items():
        true(5_000 < count <= FIRST_PAGE_BYTES_MAX, f"{name}: {count} bytes")


def test_the_login_can_be_used_within_a_second(cluster, browser):
    # Others share this machine: the best of three tells what the page itself needs.
    taken = []
    for _ in range(3):
        visitor = Person(browser, "")
        visitor.context.add_init_script("""
            const look = () => {
              if (document.activeElement?.id === "handle") window.usableAt = performance.now();
              else requestAnimationFrame(look);
            };
            look();
        """)
        visitor.page.goto(visitor.origin)
        visitor.until(lambda: visitor.page.evaluate("() => window.usableAt ?? 0"), "a login")
        true(visitor.page.is_enabled("#handle"), "the field can be used")
        taken.append(visitor.page.evaluate("() => window.usableAt"))
        visitor.context.close()
    print(f"       usable after {[round(one) for one in taken]} ms")
    true(min(taken) < INTERACTIVE_MILLISECONDS_MAX, f"usable after {min(taken):.0f} ms")

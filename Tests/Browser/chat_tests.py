"""Accounts, chats of two, groups, tabs and sessions."""

from rig import PASSWORD, Person, equal, true

# Everything that a script of the page can read.
STORED = """async () => {
  const found = [document.cookie];
  for (const storage of [localStorage, sessionStorage]) found.push(JSON.stringify(storage));
  for (const { name } of await indexedDB.databases()) {
    const database = await new Promise((resolve, reject) => {
      const request = indexedDB.open(name);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    for (const store of database.objectStoreNames) {
      const rows = await new Promise((resolve) => {
        const request = database.transaction(store).objectStore(store).getAll();
        request.onsuccess = () => resolve(request.result);
      });
      found.push(JSON.stringify(rows));
    }
    database.close();
  }
  return found.join("\\n");
}"""


def test_an_account_is_made_left_and_entered_again(cluster, browser):
    handle = browser.handle("ada")
    ada = Person(browser, handle)
    tokens = []

    def noted(response):
        is_session = response.url.endswith(("/v1/sessions", "/v1/sessions/refresh"))
        if is_session and response.request.method == "POST" and response.ok:
            tokens.append(response)

    ada.page.on("response", noted)
    ada.page.goto(ada.origin)
    ada.page.wait_for_selector("#login")
    browser.picture(ada.page, "login")
    ada.page.click("#switch-mode")
    ada.page.fill("#handle", handle)
    ada.page.fill("#display-name", "Ada Lovelace")
    ada.page.fill("#password", PASSWORD)
    browser.picture(ada.page, "register")
    ada.page.click("#register")
    ada.until_online()
    equal(ada.page.inner_text("#own-name"), "Ada Lovelace", "the name")
    ada.page.click("#logout")
    ada.page.wait_for_selector("#login")
    ada.until(lambda: not ada.context.cookies(), "the cookie is gone")
    ada.page.reload()
    ada.page.wait_for_selector("#login")

    ada.login()
    stored = ada.page.evaluate(STORED)
    true(handle in stored, "the database was read")
    cookies = ada.context.cookies()
    true(cookies and all(one["httpOnly"] and one["sameSite"] == "Strict" for one in cookies),
         f"cookies that scripts cannot read: {cookies}")
    equal(len(tokens), 2, "tokens that were given out")
    # The other one's text went with the page that got it.
    for secret in [tokens[-1].json()["accessToken"], *(one["value"] for one in cookies)]:
        true(secret not in stored, "a token lies where scripts can read it")
    ada.reload()
    equal(ada.page.inner_text("#own-handle"), f"@{handle}", "who is signed in after a reload")


def test_wrong_passwords_and_taken_handles_are_told_in_plain_words(cluster, browser):
    account = browser.account("bob")
    bob = Person(browser, account.handle)
    bob.page.goto(bob.origin)
    bob.page.fill("#handle", account.handle)
    bob.page.fill("#password", "not the password")
    bob.page.click("#login")
    bob.page.wait_for_selector("#account-error:has-text('Wrong handle or password.')")
    bob.page.fill("#handle", browser.handle("nobody"))
    bob.page.click("#login")
    bob.page.wait_for_selector("#login:not([aria-disabled])")
    bob.page.wait_for_selector("#account-error:has-text('Wrong handle or password.')")
    bob.page.click("#switch-mode")
    bob.page.fill("#handle", account.handle)
    bob.page.fill("#password", PASSWORD)
    bob.page.click("#register")
    bob.page.wait_for_selector("#handle-error:has-text('This handle is taken')")
    bob.page.fill("#handle", "a b")
    bob.page.click("#register")
    bob.page.wait_for_selector("#handle-error:has-text('A handle has only')")
    bob.page.fill("#handle", browser.handle("short"))
    bob.page.fill("#password", "short")
    bob.page.click("#register")
    bob.page.wait_for_selector("#password-error:has-text('at least 8 characters')")


def test_two_people_on_two_gateways_talk(cluster, browser):
    ada = browser.person("ada", gateway=0)
    bob = browser.person("bob", gateway=1)
    true(ada.page.inner_text("#gateway") != bob.page.inner_text("#gateway"), "two gateways")
    ada.page.click("#new-direct")
    ada.page.fill("#direct-handle", browser.handle("nobody"))
    ada.page.click("#create-direct")
    ada.page.wait_for_selector("#direct-handle-error:has-text('Nobody has this handle.')")
    ada.page.click("#direct-dialog [data-close]")
    chat = ada.chat_with(bob.handle)
    texts = ["one", "two", "three"]
    for text in texts:
        ada.say(text)
    ada.until_shows(*texts)
    equal([one["state"] for one in ada.shown()], ["sent"] * 3, "states")
    entry = f'[data-conversation="{chat}"]'
    bob.page.wait_for_selector(f'{entry}[data-unread="3"]')
    bob.until(lambda: bob.page.title() == "(3) Martlet", lambda: bob.page.title())
    equal(bob.page.inner_text(f"{entry} .title"), ada.handle, "the title")
    equal(bob.page.inner_text(f"{entry} .preview"), "three", "the preview")
    true(bob.page.inner_text(f"{entry} time").count(":") == 1, "the last one's time")
    bob.open(chat)
    bob.until_shows(*texts)
    equal([one["state"] for one in bob.shown()], ["received"] * 3, "states")
    bob.page.wait_for_selector(f'{entry}[data-unread="0"]')
    bob.until(lambda: bob.page.title() == "Martlet", lambda: bob.page.title())
    bob.say("back")
    ada.until_shows(*texts, "back")
    bob.page.wait_for_selector(f"{entry} .preview:text-is('You: back')")
    equal(ada.page.inner_text(".day"), "Today", "the day above the first")
    equal(ada.page.locator(".day").count(), 1, "days")
    rows = ada.page.eval_on_selector_all(
        "#messages .row:has(article.message)", "(rows) => rows.map((row) => row.className)")
    shapes = [set(row.split()) & {"own", "first", "last"} for row in rows]
    equal(shapes, [{"own", "first"}, {"own"}, {"own", "last"}, {"first", "last"}], "groups")


def test_line_breaks_links_and_states(cluster, browser):
    ada = browser.person("ada", gateway=0)
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    bob.open(chat)
    # The gateway's answer is held back: what is on its way must be seen as that.
    held = HeldAnswers()
    ada.page.route_web_socket("**/v1/ws", held.route)
    ada.reload()
    ada.page.wait_for_selector("#composer")
    ada.page.type("#text", "first")
    ada.page.press("#text", "Shift+Enter")
    ada.page.type("#text", "second")
    ada.page.press("#text", "Enter")
    ada.page.wait_for_selector("article[data-state=sending] [aria-label=Sending]")
    ada.until(lambda: held.frames, "the answer comes")
    bob.until_shows("first\nsecond")
    equal([one["state"] for one in ada.shown()], ["sending"], "before the answer")
    held.release()
    ada.page.wait_for_selector("article[data-state=sent] [aria-label=Sent]")
    ada.until_shows("first\nsecond")
    height = "(node) => node.getBoundingClientRect().height"
    ada.say("one line")
    ada.until_shows("one line")
    heights = [node.evaluate(height) for node in ada.page.locator("#messages .text").all()]
    true(heights[0] > heights[1] * 1.7, f"two lines are higher than one: {heights}")
    bob.say("see https://example.org/a_(b). And javascript:alert(1), www.example.org")
    ada.page.wait_for_selector("#messages a")
    links = ada.page.eval_on_selector_all(
        "#messages a", "(all) => all.map((link) => [link.href, link.rel, link.target])")
    equal(links, [["https://example.org/a_(b)", "noopener noreferrer", "_blank"]], "links")


class HeldAnswers:
    """Between a page and its gateway: keeps back the answer to a send and what follows it."""

    def __init__(self):
        self.frames = []
        self.is_holding = True

    def route(self, socket):
        server = socket.connect_to_server()
        self.socket = socket
        socket.on_message(server.send)
        server.on_message(self.came)

    def came(self, message):
        if self.is_holding and (self.frames or '"sent"' in message):
            self.frames.append(message)
        else:
            self.socket.send(message)

    def release(self):
        self.is_holding = False
        for message in self.frames:
            self.socket.send(message)


def test_a_group_of_five(cluster, browser):
    names = ("ada", "bob", "cyd", "dan", "eve")
    people = [browser.person(name, gateway=n % 2) for n, name in enumerate(names)]
    ada, bob, cyd, dan, eve = people
    fay = browser.account("fay").login()
    ada.page.click("#new-group")
    ada.page.fill("#group-title", "Engines")
    ada.page.fill("#group-handles", " ".join(f"@{one.handle}" for one in people[1:]))
    ada.page.click("#create-group")
    ada.page.wait_for_selector("#composer")
    group = ada.conversation
    for person in people[1:]:
        person.open(group)
    for person in people:
        equal(person.page.inner_text("#open-title"), "Engines", "the title")
        equal(person.page.inner_text("#open-members"), "5 members", "the members")
        person.page.wait_for_selector("article[data-kind=created]:has-text('Engines')")
    # Each says some without waiting for the others.
    for number in range(3):
        for person in people:
            person.say(f"{person.handle} {number}")
    texts = ada.until_has(group, 15)
    for person in people:
        person.until(lambda: person.settled_texts()[-15:] == texts,
                     lambda: f"{person.handle} sees {person.shown()}, stored are {texts}")
        own = [text for text in texts if text.startswith(person.handle)]
        equal(own, [f"{person.handle} {n}" for n in range(3)], "the order of one writer")
    browser.picture(bob.page, "group")

    ada.page.click("#show-details")
    ada.until(lambda: ada.page.locator("#members li").count() == 5, "five members are listed")
    ada.page.fill("#add-handles", fay.handle)
    ada.page.click("#add-members")
    ada.page.wait_for_selector(f"#members li:has-text('{fay.handle}')")
    ada.page.click(f"#members li:has-text('{eve.handle}') button")
    ada.page.wait_for_selector(f"#members li:has-text('{eve.handle}')", state="detached")
    browser.picture(ada.page, "members")
    ada.page.keyboard.press("Escape")
    for person in (bob, cyd, dan):
        for words in (f"{ada.handle} added {fay.handle}", f"{ada.handle} removed {eve.handle}"):
            person.page.wait_for_selector(f"article.notice:has-text('{words}')")
    ada.page.wait_for_selector(f"article.notice:has-text('You removed {eve.handle}')")
    eve.page.wait_for_selector(f'[data-conversation="{group}"]', state="detached")
    eve.page.wait_for_selector("#composer", state="hidden")
    body = {"id": "late", "text": "am I still here?"}
    status, _ = eve.api().call("POST", f"/v1/conversations/{group}/messages", body)
    true(status in (403, 404), f"a removed one's message is refused: {status}")
    fay.send(group, "hello", "hello from fay")
    bob.until_shows("hello from fay")
    true("hello from fay" not in eve.page.content(), "a removed one hears nothing")


def test_two_tabs_of_one_account_show_everything_once(cluster, browser):
    ada = browser.person("ada")
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    tab = ada.another_tab()
    tab.open(chat)
    bob.open(chat)
    for number in range(5):
        ada.say(f"first tab {number}")
        tab.say(f"second tab {number}")
        bob.say(f"bob {number}")
    texts = ada.until_has(chat, 15)
    for page in (ada, tab, bob):
        page.until(lambda: page.settled_texts() == texts,
                   lambda: f"a page shows {page.shown()}, stored are {texts}")
    ada.page.close()
    tab.say("on my own")
    bob.until_shows("on my own")
    tab.until_shows("on my own")


def test_a_session_that_ended_asks_for_a_login_and_goes_on(cluster, browser):
    ada = browser.person("ada")
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    ada.say("before")
    ada.until_shows("before")
    ada.page.fill("#text", "a draft that waits")
    # Closed as if on another computer: the page itself does nothing.
    ada.page.evaluate("""async () => {
      const body = JSON.stringify({ cookie: true });
      const headers = { "Content-Type": "application/json" };
      const refreshed = await fetch("/v1/sessions/refresh", { method: "POST", headers, body });
      const { accessToken } = await refreshed.json();
      const closed = await fetch("/v1/sessions/current", {
        method: "DELETE", headers: { Authorization: `Bearer ${accessToken}` } });
      if (closed.status !== 204) throw new Error(`${closed.status}`);
    }""")
    ada.page.wait_for_selector("#account-error:has-text('You were logged out. Log in again.')")
    true(not ada.page.is_visible("#app"), "nothing of the chat is shown")
    browser.picture(ada.page, "logged-out")
    bob.open(chat)
    bob.say("meanwhile")
    ada.login()
    ada.open(chat)
    ada.until_shows("before", "meanwhile")
    ada.until(lambda: ada.page.input_value("#text") == "a draft that waits",
              lambda: f"the draft: {ada.page.input_value('#text')!r}")
    ada.page.press("#text", "Enter")
    bob.until_shows("before", "meanwhile", "a draft that waits")

    # A cookie that was taken away is missed at the next start.
    ada.context.clear_cookies()
    ada.page.reload()
    ada.page.wait_for_selector("#account-error:has-text('You were logged out. Log in again.')")
    ada.login()
    ada.open(chat)
    ada.until_shows("before", "meanwhile", "a draft that waits")

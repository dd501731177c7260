"""Without a network, without gateways, and messages that are refused."""

import json
import signal

from rig import Person, equal, true

# Of the page's own database: what waits to be sent.
WAITING = """async () => {
  const database = await new Promise((resolve, reject) => {
    const request = indexedDB.open("martlet");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const request = database.transaction("outgoing").objectStore("outgoing").getAll();
  await new Promise((resolve) => { request.onsuccess = resolve; });
  database.close();
  return request.result.sort((one, other) => one.order - other.order).map(({ text }) => text);
}"""


def reconnecting(person):
    person.page.wait_for_selector('#connection[data-state="reconnecting"]', state="attached")
    true("Reconnecting" in person.page.inner_text("#connection"), "the page says so")


def states(person):
    return [one["state"] for one in person.shown()]


def test_what_is_written_offline_arrives_once_and_in_order(cluster, browser):
    ada = browser.person("ada", gateway=0)
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    bob.open(chat)
    ada.say("before")
    bob.until_shows("before")
    ada.context.set_offline(True)
    reconnecting(ada)
    written = [f"offline {number}" for number in range(8)]
    for text in written:
        ada.say(text)
    bob.say("meanwhile")
    bob.until_shows("before", "meanwhile")
    equal(states(ada), ["sent"] + ["sending"] * len(written), "states while offline")
    browser.picture(ada.page, "offline")
    ada.context.set_offline(False)
    ada.until_online()
    wanted = ["before", "meanwhile", *written]
    for person in (ada, bob):
        person.until_shows(*wanted)
        equal(len(person.shown()), len(wanted), "nothing is there twice")
    equal(list(bob.api().texts(chat).values()), wanted, "what is stored")
    equal(states(ada), ["sent", "received"] + ["sent"] * len(written), "states at the end")


def test_without_gateways_nothing_is_lost_and_drafts_stay(cluster, browser):
    ada = browser.person("ada", gateway=0)
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    bob.open(chat)
    bob.say("before")
    ada.until_shows("before")
    for gateway in ("gateway1", "gateway2"):
        cluster.kill(gateway)
    reconnecting(ada)
    reconnecting(bob)
    for number in range(3):
        ada.say(f"ada {number}")
        bob.say(f"bob {number}")
    ada.page.fill("#text", "a draft")
    equal(states(ada), ["received"] + ["sending"] * 3, "states without gateways")
    waiting = [f"ada {number}" for number in range(3)]
    ada.until(lambda: ada.page.evaluate(WAITING) == waiting, "what waits is written down")
    # The page is gone before its gateway is back: only what it has written down is left.
    ada.page.goto("about:blank")
    cluster.up()
    bob.until_online()
    bob.until(lambda: len(bob.settled_texts()) == 4, lambda: f"bob's three: {bob.shown()}")
    ada.page.goto(f"{ada.origin}/#c/{chat}")
    ada.until_online()
    stored = ada.until_has(chat, 7)
    for name in ("ada", "bob"):
        own = [text for text in stored if text.startswith(name)]
        equal(own, [f"{name} {number}" for number in range(3)], f"what {name} wrote")
    for person in (ada, bob):
        person.until_shows(*stored)
        equal(len(person.shown()), 7, "nothing is there twice")
    equal(ada.page.input_value("#text"), "a draft", "the draft")


def test_a_sleeping_gateway_is_left_for_the_other(cluster, browser):
    """One that says nothing is as good as gone; the browser tells when to ask it."""
    ada = browser.person("ada", gateway=0)
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    bob.open(chat)
    cluster.send_signal("gateway1", signal.SIGSTOP)
    try:
        ada.say("is anybody there?")
        ada.page.evaluate("() => window.dispatchEvent(new Event('online'))")
        bob.until_shows("is anybody there?")
        ada.until_shows("is anybody there?")
    finally:
        cluster.send_signal("gateway1", signal.SIGCONT)


def test_a_refused_message_can_be_tried_again_or_dropped(cluster, browser):
    ada = browser.person("ada", gateway=0)
    account = browser.account("bob")
    group = ada.api().create("group", [account.handle], "A small one")
    bob = Person(browser, account.handle)
    removal = Removal(group)
    bob.page.route_web_socket("**/v1/ws", removal.route)
    bob.enter()
    bob.open(group)
    bob.say("as a member")
    bob.until_shows("as a member")
    # The notice of the removal is on its way while the next one is written.
    removal.is_holding = True
    ada.api().done("POST", f"/v1/conversations/{group}/members", {"remove": [account.handle]})
    bob.until(lambda: removal.held, "the notice comes")
    bob.say("one too many")
    bob.page.wait_for_selector("article[data-state=failed]")
    true("You are no member of this conversation." in bob.page.inner_text(".failure"), "why")
    browser.picture(bob.page, "failed")
    bob.page.click("[data-action=retry]")
    bob.until(lambda: len(ids(removal.sent, "one too many")) == 2, "it is sent again")
    equal(len(set(ids(removal.sent, "one too many"))), 1, "ids of the same message")
    bob.page.wait_for_selector("article[data-state=failed]")
    bob.page.click("[data-action=discard]")
    bob.page.wait_for_selector("article[data-state=failed]", state="detached")
    equal(bob.texts(), ["as a member"], "what is left")
    removal.is_holding = False
    bob.reload()
    bob.page.wait_for_selector(f'[data-conversation="{group}"]', state="detached")
    equal(list(ada.api().texts(group).values()), ["as a member"], "what is stored")


class Removal:
    """Between a page and its gateway: keeps back what would tell that one was removed."""

    def __init__(self, group):
        self.group = group
        self.is_holding = False
        self.held = []
        self.sent = []

    def route(self, socket):
        server = socket.connect_to_server()

        def came(message):
            frames = json.loads(message)
            frames = frames if isinstance(frames, list) else [frames]
            kept = [frame for frame in frames if not self.is_telling(frame)]
            if kept:
                socket.send(json.dumps(kept))

        def goes(message):
            self.sent.append(message)
            server.send(message)

        socket.on_message(goes)
        server.on_message(came)

    def is_telling(self, frame):
        """Whether a frame is held back."""
        if not self.is_holding:
            return False
        event = frame.get("event", {})
        # A list of conversations without this one would tell it, too.
        if "membersChanged" in event or "left" in frame or "conversations" in frame:
            self.held.append(frame)
            return True
        return False


def ids(frames, text):
    """Of the sends of a text."""
    found = []
    for frame in frames:
        parts = json.loads(frame)
        for part in parts if isinstance(parts, list) else [parts]:
            if part.get("send", {}).get("text") == text:
                found.append(part["send"]["id"])
    return found

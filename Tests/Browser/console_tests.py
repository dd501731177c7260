"""The operators' console: a whole ring, killed nodes, an etcd that is away, load and a move."""

import signal

from rig import equal, true, until

NODES = ("gateway1", "gateway2", "shard1", "shard2", "shard3")
# The page asks every 2 s; a node that died is registered for some seconds more.
NOTICE_SECONDS = 45
MOVE_SECONDS = 90


class Watcher:
    """Somebody in front of a console."""

    def __init__(self, browser, node):
        self.page = browser.page(browser.context(viewport={"width": 1300, "height": 900}))
        self.methods = set()
        self.sockets = []
        self.page.on("request", lambda request: self.methods.add(request.method))
        self.page.on("websocket", lambda socket: self.sockets.append(socket.url))
        self.page.goto(f"http://{browser.cluster.operator(node)}/console")

    def until(self, selector, seconds=NOTICE_SECONDS):
        self.page.wait_for_selector(selector, state="attached", timeout=seconds * 1_000)

    def until_well(self):
        self.until('#whole[data-whole="true"]')
        for node in NODES:
            self.until(f'[data-node="{node}"][data-state="up"]')
        self.until('#problems[data-count="0"]')
        self.until("#problems:has-text('Nothing is wrong')")

    def until_problem(self, kind, *words):
        selector = f'[data-problem="{kind}"]'
        self.until(selector + "".join(f":has-text('{one}')" for one in words))
        return self.page.inner_text(f"{selector} >> nth=0")

    def figure(self, node, name):
        """A number on a node's card; None while there is none."""
        text = self.page.eval_on_selector(f'[data-node="{node}"]', """(card, name) => {
          const term = [...card.querySelectorAll("dt")].find((one) => one.textContent === name);
          return term?.nextElementSibling.textContent ?? null;
        }""", name)
        digits = "".join(one for one in (text or "").split("/")[0] if one in "0123456789.")
        return float(digits) if digits else None

    def only_looks(self):
        equal(self.methods, {"GET"}, "methods that the page used")
        equal(self.sockets, [], "sockets that the page opened")


def test_the_console_shows_a_ring_that_is_whole(cluster, browser):
    for node in ("shard2", "gateway1"):
        watcher = Watcher(browser, node)
        watcher.until_well()
        page = watcher.page
        equal(page.title(), "Martlet console", "the title")
        equal(page.locator("#nodes > [data-node]").count(), len(NODES), "cards")
        equal(page.locator("[data-partition]:not([data-state=whole])").count(), 0, "not whole")
        leads = [watcher.figure(f"shard{n}", "Leads") for n in (1, 2, 3)]
        equal(sum(leads), 16, f"partitions that are led: {leads}")
        true("16" in page.inner_text("#ring-text"), page.inner_text("#ring-text"))
        watcher.until("#moves:has-text('Nothing moves')")
        browser.picture(page, f"console-whole-{node}", full_page=True)
        watcher.only_looks()


def test_the_console_shows_load(cluster, browser):
    ada = browser.account("ada").login()
    bob = browser.person("bob", gateway=1)
    chat = ada.create("direct", [bob.handle])
    watcher = Watcher(browser, "gateway2")
    watcher.until_well()
    number = 0

    def has_figures():
        nonlocal number
        for _ in range(20):
            number += 1
            ada.send(chat, f"load{number}", "load")
        sends = watcher.figure("gateway1", "Sends")
        led = sum(watcher.figure(f"shard{n}", "Commands") or 0 for n in (1, 2, 3))
        latency = watcher.figure("gateway1", "Send p50")
        return (sends or 0) > 5 and led > 5 and latency and watcher.figure("gateway2", "Sessions")

    bob.until(has_figures, "sends, commands, latency and sessions", NOTICE_SECONDS)
    equal(watcher.figure("gateway2", "Sessions"), 1, "sessions at bob's gateway")
    watcher.until("#plot-rate svg")
    labels = watcher.page.eval_on_selector_all(
        "#plot-sessions .grid text", "(all) => all.map((one) => one.textContent)")
    sessions = [label for label in labels if ":" not in label]
    true(sessions and len(set(sessions)) == len(sessions), f"whole numbers of sessions: {labels}")
    browser.picture(watcher.page, "console-load", full_page=True)
    watcher.only_looks()


def test_the_console_names_a_killed_shard_and_what_helps(cluster, browser):
    watchers = [Watcher(browser, node) for node in ("shard1", "gateway2")]
    for watcher in watchers:
        watcher.until_well()
    cluster.kill("shard3")
    for watcher in watchers:
        text = watcher.until_problem("member-gone", "shard3 is gone")
        true("martlet shard --name shard3 --data-dir" in text, f"the command that helps: {text}")
        watcher.until('[data-problem="incomplete"]:has-text("shard3"), '
                      '[data-problem="leaderless"], [data-problem="learning"]')
        watcher.until('[data-node="shard3"][data-up="false"]')
        watcher.until('#whole[data-whole="false"]')
        watcher.until('[data-partition][data-state="incomplete"]')
        true(watcher.page.title().startswith("("), f"the title: {watcher.page.title()}")
        true("shard3 is gone" in watcher.page.inner_text("#alert"), "it is said aloud")
    browser.picture(watchers[0].page, "console-killed", full_page=True)
    cluster.up()
    for watcher in watchers:
        watcher.until_well()
        equal(watcher.page.title(), "Martlet console", "the title")
        watcher.only_looks()


def test_the_console_goes_on_without_the_node_that_serves_it(cluster, browser):
    watcher = Watcher(browser, "gateway1")
    watcher.until_well()
    cluster.kill("gateway1")
    watcher.until("#banner:not([hidden]):has-text('does not answer')")
    watcher.until('[data-problem="console"]')
    watcher.until('#whole[data-whole="unknown"]')
    cluster.up()
    watcher.until_well()


def test_the_console_tells_that_etcd_is_away(cluster, browser):
    watcher = Watcher(browser, "shard1")
    watcher.until_well()
    cluster.send_signal("etcd", signal.SIGSTOP)
    try:
        watcher.until("#banner:not([hidden]):has-text('The coordinator cannot be asked')")
        watcher.until_problem("coordinator", "The coordinator cannot be asked", "etcdctl")
        watcher.until('#whole[data-whole="unknown"]')
        # What nodes say of themselves does not pass through it, and goes on.
        asked = []
        watcher.page.on("requestfinished", lambda request: "/nodes/shard2/metrics" in request.url
                        and asked.append(request.response().status))
        until(watcher.page, lambda: asked.count(200) >= 2, lambda: f"new figures: {asked}")
        equal(watcher.page.get_attribute('[data-node="shard2"]', "data-state"), "up", "shard2")
        browser.picture(watcher.page, "console-etcd", full_page=True)
    finally:
        cluster.send_signal("etcd", signal.SIGCONT)
    watcher.until_well()
    watcher.only_looks()


def test_the_console_shows_how_far_a_move_is(cluster, browser):
    """The last one: the cluster has a shard more afterwards."""
    watcher = Watcher(browser, "shard1")
    watcher.until_well()
    # Slow enough to be seen.
    cluster.martlet("ring", "limit", "--moves-max", "1", "--bytes-per-second", "1048576")
    cluster.shape[1] = "4"
    cluster.up()
    text = watcher.until_problem("outside", "shard4 holds nothing")
    true("martlet ring add shard4" in text, f"the command that helps: {text}")
    watcher.page.evaluate("""() => {
      const moves = document.getElementById("moves");
      window.progress = [];
      new MutationObserver(() => {
        const bar = moves.querySelector("progress");
        if (moves.dataset.moving === "true") window.progress.push([bar.value, bar.max]);
      }).observe(moves, { subtree: true, attributes: true, childList: true });
    }""")
    cluster.martlet("ring", "add", "shard4")
    watcher.until("#moves:has-text('Nothing moves. Adding shard4 ended')", MOVE_SECONDS)
    progress = watcher.page.evaluate("() => window.progress")
    true(progress, "a move was shown")
    done = [value for value, _ in progress]
    equal(done, sorted(done), "a move goes forward")
    true(all(0 <= value <= total and total > 1 for value, total in progress),
         f"how far it is: {progress}")
    watcher.until_well()
    equal(watcher.page.get_attribute('[data-node="shard4"]', "data-state"), "up", "shard4")
    true(watcher.figure("shard4", "Holds") > 0, "shard4 has its share")
    browser.picture(watcher.page, "console-moved", full_page=True)
    watcher.only_looks()

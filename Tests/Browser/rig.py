"""What the tests stand on: a cluster of real processes, a browser, and people who use it."""

import http.client
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT_OFFSET = int(os.environ.get("MARTLET_PORT_OFFSET", "4700"))
SHARDS = 3
GATEWAYS = 2
PARTITIONS = 16
PASSWORD = "correct horse battery"
WAIT_SECONDS = 30
POLL_MILLISECONDS = 25
# Of a value in the words of a failure.
WORDS_MAX = 1_000

# Chromium's own words on what the tests take away. Everything else on the console is a fault.
EXPECTED_ERRORS = ("Failed to load resource", "WebSocket connection to", "net::ERR_")


class Cluster:
    """What cluster/up makes, in a directory of its own."""

    def __init__(self, place, binary):
        self.state = place / "cluster"
        self.environment = os.environ | {
            "MARTLET_STATE": str(self.state), "MARTLET_PORT_OFFSET": str(PORT_OFFSET),
        }
        self.shape = [
            "--shards", str(SHARDS), "--gateways", str(GATEWAYS),
            "--partitions", str(PARTITIONS), "--binary", str(binary),
        ]
        self.origins = [f"http://127.0.0.1:{8080 + PORT_OFFSET + n}" for n in range(GATEWAYS)]
        self.etcd = f"http://127.0.0.1:{23790 + PORT_OFFSET}"
        self.up()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        down = [ROOT / "cluster/down", "--purge"]
        subprocess.run(down, env=self.environment, stdout=subprocess.DEVNULL, check=True)

    def up(self):
        """Starts what does not run, and waits until the ring is whole."""
        made = subprocess.run(
            [ROOT / "cluster/up", *self.shape], env=self.environment, capture_output=True,
            text=True, timeout=240)
        if made.returncode != 0:
            self.end()
            sys.exit(f"no cluster: {made.stdout}{made.stderr}")

    def pid(self, name):
        return int((self.state / "run" / name).read_text().split()[0])

    def names(self):
        return [file.name for file in sorted((self.state / "run").iterdir())]

    def send_signal(self, name, number):
        os.kill(self.pid(name), number)

    def kill(self, name):
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        while pathlib.Path(f"/proc/{pid}/exe").exists() and is_running(pid):
            time.sleep(0.01)

    def mend(self):
        for name in self.names():
            try:
                self.send_signal(name, signal.SIGCONT)
            except ProcessLookupError:
                pass
        self.up()

    def operator(self, name):
        role, number = name.rstrip("0123456789"), int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))
        first = {"shard": 7201, "gateway": 7301}[role]
        return f"127.0.0.1:{first + PORT_OFFSET + number - 1}"

    def api(self, handle, gateway=0):
        """By HTTP, at this gateway first."""
        origins = self.origins[gateway:] + self.origins[:gateway]
        return API(origins, handle)

    def operator_page(self, name, path):
        connection = http.client.HTTPConnection(self.operator(name), timeout=10)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def martlet(self, *words):
        program = self.state / "bin/martlet"
        done = subprocess.run(
            [program, *words, "--etcd", self.etcd, "--log-level", "error"],
            capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise AssertionError(f"martlet {' '.join(words)}: {done.stderr}{done.stdout}")
        return done.stdout


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class API:
    """One account's session by HTTP, of a device of its own. Goes on at the next gateway."""

    def __init__(self, origins, handle):
        self.connections = [
            http.client.HTTPConnection(origin.removeprefix("http://"), timeout=30)
            for origin in origins]
        self.handle = handle
        self.token = None

    def call(self, method, path, body=None):
        """Returns the status and the answer; what is refused for now is asked again."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            connection = self.connections[0]
            try:
                connection.request(method, path, body and json.dumps(body), headers)
                response = connection.getresponse()
                answer = json.loads(response.read() or b"{}")
            except (OSError, http.client.HTTPException):
                connection.close()
                if time.monotonic() > deadline:
                    raise
                self.connections.append(self.connections.pop(0))
                time.sleep(0.05)
                continue
            retryable = response.status >= 400 and answer.get("error", {}).get("retryable")
            if not retryable or time.monotonic() > deadline:
                return response.status, answer
            time.sleep(0.05)

    def done(self, method, path, body=None):
        status, answer = self.call(method, path, body)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {answer}")
        return answer

    def register(self, display_name=""):
        self.done("POST", "/v1/accounts", {
            "handle": self.handle, "password": PASSWORD, "displayName": display_name})
        return self

    def login(self):
        body = {"handle": self.handle, "password": PASSWORD, "device": "test"}
        self.token = self.done("POST", "/v1/sessions", body)["accessToken"]
        return self

    def create(self, kind, members, title=""):
        body = {"kind": kind, "members": members, "title": title}
        return self.done("POST", "/v1/conversations", body)["id"]

    def send(self, conversation, identifier, text):
        body = {"id": identifier, "text": text}
        return self.done("POST", f"/v1/conversations/{conversation}/messages", body)

    def history(self, conversation):
        """All events, from the first."""
        events, after = [], 0
        while True:
            page = self.done(
                "GET", f"/v1/conversations/{conversation}/messages?after={after}&limit=200")
            found = page.get("events", [])
            events += found
            if not found or int(found[-1]["seq"]) >= int(page["head"]):
                return events
            after = int(found[-1]["seq"])

    def texts(self, conversation):
        """Of all messages, by sequence number."""
        return {
            int(event["seq"]): event["message"]["text"] for event in self.history(conversation)
            if "message" in event}


class Browser:
    """Chromium, and what went wrong in its pages during a test."""

    def __init__(self, playwright, cluster, pictures):
        self.chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        self.cluster = cluster
        self.pictures = pictures
        self.numbers = itertools.count(int(time.time()) % 100_000 * 100)
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)

    def close(self):
        self.chromium.close()

    def begin(self):
        self.contexts = []
        self.faults = []

    def end(self):
        for context in self.contexts:
            context.close()

    def check_faults(self):
        if self.faults:
            raise AssertionError("the pages complain: " + "; ".join(self.faults))

    def context(self, **options):
        options = {"viewport": {"width": 1100, "height": 750}, "locale": "en-GB"} | options
        context = self.chromium.new_context(**options)
        # Everything that waits in Playwright has one bound.
        context.set_default_timeout(WAIT_SECONDS * 1_000)
        context.add_init_script("""
            document.addEventListener("securitypolicyviolation", (event) => console.error(
              `CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
        """)
        self.contexts.append(context)
        return context

    def page(self, context):
        """A new one. What it complains about fails the test."""
        page = context.new_page()
        page.on("console", self.heard)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (
            self.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", self.asked)
        return page

    def heard(self, message):
        if message.type not in ("error", "warning"):
            return
        if not any(words in message.text for words in EXPECTED_ERRORS):
            self.faults.append(f"console: {message.text[:300]}")

    def asked(self, request):
        # All is on this machine; whatever leads elsewhere came out of a message.
        if not request.url.startswith("http://127.0.0.1:"):
            self.faults.append(f"request: {request.url[:200]}")

    def picture(self, page, name, **options):
        if self.pictures:
            page.screenshot(path=self.pictures / f"{name}.png", **options)

    def keep_picture(self, name):
        for number, context in enumerate(self.contexts):
            for page in context.pages:
                try:
                    self.picture(page, f"{name[:60]} {number}", timeout=5_000)
                except Exception:  # The page may be what is broken.
                    pass

    def handle(self, name):
        return f"{name}{next(self.numbers)}"

    def account(self, name, gateway=0, display_name=""):
        """A new one, made by HTTP."""
        return self.cluster.api(self.handle(name), gateway).register(display_name)

    def person(self, name, gateway=0, display_name="", **options):
        """Somebody with an account, signed in with a browser of their own."""
        account = self.account(name, gateway, display_name)
        return Person(self, account.handle, gateway, **options).enter()


class Person:
    """Somebody in front of a chat page."""

    def __init__(self, browser, handle, gateway=0, context=None, **options):
        self.browser = browser
        self.handle = handle
        self.origin = browser.cluster.origins[gateway]
        self.context = context or browser.context(**options)
        self.page = browser.page(self.context)

    def enter(self):
        self.page.goto(self.origin)
        self.login()
        return self

    def login(self):
        self.page.fill("#handle", self.handle)
        self.page.fill("#password", PASSWORD)
        self.page.click("#login")
        self.until_online()

    def until_online(self):
        self.page.wait_for_selector('#connection[data-state="online"]', state="attached")
        self.page.wait_for_selector("#app:not([hidden])", state="attached")

    def another_tab(self, gateway=0):
        tab = Person(self.browser, self.handle, gateway, context=self.context)
        tab.page.goto(tab.origin)
        tab.until_online()
        return tab

    def api(self, gateway=0):
        return self.browser.cluster.api(self.handle, gateway).login()

    def chat_with(self, handle):
        """Opens the direct chat; returns its id."""
        self.page.click("#new-direct")
        self.page.fill("#direct-handle", handle)
        self.page.click("#create-direct")
        self.page.wait_for_selector("#composer")
        self.page.wait_for_selector("#direct-dialog", state="hidden")
        return self.conversation

    @property
    def conversation(self):
        return self.page.evaluate("() => decodeURIComponent(location.hash.slice(3))")

    def open(self, conversation):
        self.page.click(f'[data-conversation="{conversation}"]')
        self.page.wait_for_selector("#composer")
        self.page.wait_for_selector('#messages[aria-busy="false"]', state="attached")

    def say(self, text):
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")

    def reload(self):
        self.page.reload()
        self.until_online()

    def shown(self):
        """The messages in the document now: state, text, and place."""
        return self.page.evaluate("""() => [...document.querySelectorAll(
          "#messages article.message")].map((node) => ({
            state: node.dataset.state, text: node.querySelector(".text").textContent,
            seq: Number(node.dataset.seq ?? 0), id: node.dataset.id ?? null,
          }))""")

    def texts(self):
        return [message["text"] for message in self.shown()]

    def settled_texts(self):
        """Of the messages that have their place."""
        return [message["text"] for message in self.shown() if message["seq"]]

    def until_has(self, conversation, count, seconds=WAIT_SECONDS):
        """Waits until so many messages are stored; returns their texts in order."""
        api = self.api()
        self.until(lambda: len(api.texts(conversation)) >= count,
                   lambda: f"{count} messages; {len(api.texts(conversation))} are stored", seconds)
        return list(api.texts(conversation).values())

    def until_shows(self, *texts):
        """Waits until these are the last messages, in this order and sent."""
        wanted = list(texts)

        def is_there():
            last = self.shown()[-len(wanted):]
            return [one["text"] for one in last] == wanted and all(
                one["seq"] for one in last)
        self.until(is_there, lambda: f"{wanted} last; there is {self.shown()[-8:]}")

    def until(self, condition, what, seconds=WAIT_SECONDS):
        until(self.page, condition, what, seconds)

    def watch_connection(self):
        """From now on notes what the banner shows; `connection_words` gives it."""
        self.page.evaluate("""() => {
          const banner = document.getElementById("connection");
          window.bannerWords = [];
          new MutationObserver(() => window.bannerWords.push(banner.textContent)).observe(
            banner, { childList: true, characterData: true, subtree: true, attributes: true });
        }""")

    def connection_words(self):
        return self.page.evaluate("() => window.bannerWords")


def until(page, condition, what, seconds=WAIT_SECONDS):
    """Waits for a condition, with the page's events delivered meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            words = what() if callable(what) else what
            raise AssertionError(f"not within {seconds} s: {words}")
        page.wait_for_timeout(POLL_MILLISECONDS)


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: found {short(found)}, wanted {short(wanted)}")


def short(value):
    words = repr(value)
    return words if len(words) <= WORDS_MAX else f"{words[:WORDS_MAX]}… ({len(words)} characters)"


def true(value, what):
    if not value:
        raise AssertionError(what)

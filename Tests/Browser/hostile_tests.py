"""What people write is text, whatever it looks like."""

import json
import pathlib

from rig import PASSWORD, Person, equal, true

STRINGS = json.loads(pathlib.Path(__file__).with_name("strings.json").read_text())
STRINGS_MIN = 100
TITLE_BYTES_MAX = 256
DISPLAY_NAME_BYTES_MAX = 128
BATCH = 20
TITLES = 24
DISPLAY_NAMES = 3

# What the page itself is made of. Whatever else is there was made from what people wrote. The
# dialogs' own forms are in the document from the beginning and are left out.
MADE = """() => {
  const own = new Set(["DIV", "ARTICLE", "SPAN", "TIME", "svg", "path", "BDI", "BUTTON", "LI",
    "H2"]);
  const found = [];
  for (const root of ["#messages", "#conversations", "#open > header .names", "#own-name",
    "#members", "#announcer"]) {
    for (const node of document.querySelector(root).querySelectorAll("*")) {
      const isLink = node.tagName === "A" && (node.dataset.conversation !== undefined
        || ["http:", "https:"].includes(node.protocol));
      // Those two are placed by the page's script.
      const isPlaced = node.matches("#messages > .canvas, #messages > .canvas > .window");
      const hasMore = [...node.attributes].some(({ name }) =>
        /^(on|src|is$)/.test(name) || (name === "style" && !isPlaced));
      if (hasMore || !(own.has(node.tagName) || isLink)) found.push(node.outerHTML.slice(0, 300));
    }
  }
  const frames = document.querySelectorAll("iframe, object, embed, base, form[action], style");
  return [...found, ...[...frames].map((node) => node.outerHTML.slice(0, 300))];
}"""


# As if typed: through the field and the form, without a journey from here for each.
TYPE = """(texts) => {
  const field = document.getElementById("text");
  for (const text of texts) {
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    document.getElementById("composer").requestSubmit();
  }
}"""


def short(strings, bytes_max):
    """Those that a title or name may be, as it is kept: without space around it."""
    return [one for one in strings if 0 < len(one.encode()) <= bytes_max and one == one.strip()]


def as_typed(text):
    """What a text field makes of it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def test_strings_that_want_to_be_markup_are_shown_as_they_are(cluster, browser):
    true(len(set(STRINGS)) >= STRINGS_MIN, f"{len(STRINGS)} strings")
    ada = browser.person("ada", gateway=0)
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    bob.open(chat)
    sent = [as_typed(string) for string in STRINGS if string.strip()]
    for place in range(0, len(sent), BATCH):
        # Each is looked at while it is in the document.
        batch = sent[place:place + BATCH]
        ada.page.evaluate(TYPE, batch)
        for person in (ada, bob):
            check_batch(person, batch)
    equal(list(ada.api().texts(chat).values()), sent, "what is stored")
    browser.picture(bob.page, "strings")


def check_batch(person, wanted):
    def has_come():
        return person.settled_texts()[-1:] == [shown(wanted[-1])]

    person.until(has_come, lambda: f"{wanted[-1][:200]!r}; {person.shown()[-2:]}")
    # Long ones above may be outside of what is drawn.
    found = person.settled_texts()[-len(wanted):]
    equal(found, [shown(text) for text in wanted][-len(found):], "what is shown")
    equal(person.page.evaluate(MADE), [], "elements made of what was written")


def shown(text):
    """Of long ones the page shows the beginning."""
    return text[:4_000]


def test_titles_and_names_are_text_too(cluster, browser):
    account = browser.account("ada").login()
    titles = short(STRINGS, TITLE_BYTES_MAX)
    # Spread over the whole list.
    titles = titles[::len(titles) // TITLES]
    kept = {}
    for title in titles:
        status, answer = account.call("POST", "/v1/conversations", {
            "kind": "group", "members": [], "title": title})
        if status < 300:
            kept[answer["id"]] = title
        else:
            equal(status, 400, f"the title {title!r} is refused")
    true(len(kept) > TITLES / 2, f"{len(kept)} titles are taken")
    ada = Person(browser, account.handle).enter()
    for group, title in kept.items():
        entry = f'[data-conversation="{group}"]'
        ada.page.wait_for_selector(entry)
        equal(ada.page.text_content(f"{entry} .title"), title, "the title in the list")
    for group, title in list(kept.items())[::6]:
        ada.open(group)
        equal(ada.page.text_content("#open-title"), title, "the title above the conversation")
        notice = ada.page.text_content("#messages article.notice")
        equal(notice, f"You created the group “{title}”", "the notice")
        ada.page.click("#show-details")
        ada.page.wait_for_selector("#details-dialog")
        equal(ada.page.text_content("#details-title"), title, "the title of the members")
        ada.page.keyboard.press("Escape")
        equal(ada.page.evaluate(MADE), [], "elements made of a title")


def test_display_names_are_text_and_handles_are_plain(cluster, browser):
    names = [name for name in short(STRINGS, DISPLAY_NAME_BYTES_MAX) if name.startswith("<")]
    for name in names[:DISPLAY_NAMES]:
        account = browser.account("mal", display_name=name)
        mal = Person(browser, account.handle).enter()
        equal(mal.page.text_content("#own-name"), name, "the own name")
        equal(mal.page.evaluate(MADE), [], "elements made of a name")
    script = cluster.api("")
    wrong = [one for one in STRINGS if any(c in one for c in "<>&\"' ")][::12]
    for handle in wrong:
        status, answer = script.call("POST", "/v1/accounts", {
            "handle": handle, "password": PASSWORD})
        equal((status, answer["error"]["code"]), (400, "INVALID_ARGUMENT"), f"handle {handle!r}")

"""Processes are killed while people write: nothing is lost or repeated, and all see one order."""

import re

from rig import equal, true

COUNT = 60
KILL_AT = 15
RECOVERY_SECONDS = 60

# Scrolls from the end up, and gives every message that was in the document, by its place.
ALL_SHOWN = """async () => {
  const box = document.getElementById("messages");
  const frame = () => new Promise(requestAnimationFrame);
  const found = {};
  box.scrollTop = box.scrollHeight;
  for (let count = 0; count < 500; count += 1) {
    await frame();
    await frame();
    let first = null;
    for (const row of box.querySelectorAll("article.message")) {
      const seq = Number(row.dataset.seq ?? 0);
      const text = row.querySelector(".text").textContent;
      if (!seq || (found[seq] ?? text) !== text) throw new Error(`${seq} ${text}`);
      found[seq] = text;
    }
    first = Number(box.querySelector("article[data-seq]").dataset.seq);
    if (first === 1 && box.scrollTop <= 0) break;
    box.scrollTop -= 300;
  }
  box.scrollTop = box.scrollHeight;
  return Object.entries(found).map(([seq, text]) => [Number(seq), text]);
}"""

# A client of its own in the same page: it has no token, so it must get one by the cookie.
FRESH = """async (gateways) => {
  const { MartletClient } = await import(`${location.origin}/web/martlet.js`);
  const client = new MartletClient({ gateways, database: null });
  const isSignedIn = await client.start();
  const { user } = client;
  client.close();
  return isSignedIn && user.handle;
}"""


def write(people, numbers):
    for number in numbers:
        for person in people:
            person.say(f"{person.handle} {number}")


def check(people, chat, count):
    """Every page has what is stored: everything that was written, once, in the writers' order."""
    people[0].until_has(chat, count * len(people), RECOVERY_SECONDS)
    stored = people[0].api(1).texts(chat)
    for person in people:
        own = [text for text in stored.values() if text.startswith(f"{person.handle} ")]
        equal(own, [f"{person.handle} {number}" for number in range(count)],
              f"what is stored of {person.handle}")
    equal(len(stored), count * len(people), "messages stored")
    for person in people:
        person.until(lambda: person.shown()[-1]["seq"] == max(stored) and all(
            one["seq"] for one in person.shown()), lambda: f"{person.shown()[-4:]}")
        equal(dict(person.page.evaluate(ALL_SHOWN)), stored, f"what {person.handle} sees")


def pair(browser):
    ada = browser.person("ada", gateway=0)
    bob = browser.person("bob", gateway=1)
    chat = ada.chat_with(bob.handle)
    bob.open(chat)
    for person in (ada, bob):
        person.watch_connection()
    return ada, bob, chat


def test_a_gateway_is_killed_while_both_write(cluster, browser):
    ada, bob, chat = pair(browser)
    own, other = (person.page.inner_text("#gateway") for person in (ada, bob))
    write((ada, bob), range(KILL_AT))
    cluster.kill("gateway1")
    write((ada, bob), range(KILL_AT, COUNT))
    ada.until(lambda: ada.page.inner_text("#gateway") == other, "ada goes on at the other one")
    check((ada, bob), chat, COUNT)
    true("Reconnecting…" in ada.connection_words(), f"words: {ada.connection_words()}")
    true("Reconnecting…" not in bob.connection_words(), f"words: {bob.connection_words()}")
    # Its page came from the gateway that is gone: tokens come from the other, by the cookie.
    equal(ada.page.evaluate(FRESH, cluster.origins), ada.handle, "who is signed in across origins")
    tab = ada.another_tab(gateway=1)
    tab.open(chat)
    tab.say(f"{ada.handle} {COUNT}")
    bob.say(f"{bob.handle} {COUNT}")
    bob.until(lambda: f"{ada.handle} {COUNT}" in bob.settled_texts(), "the tab's message")
    # Behind another tab a page gets hardly any frames.
    tab.page.close()
    ada.page.bring_to_front()
    check((ada, bob), chat, COUNT + 1)
    cluster.up()
    # The other one dies: everybody comes back to the first.
    cluster.kill("gateway2")
    write((ada, bob), range(COUNT + 1, COUNT + 5))
    for person in (ada, bob):
        person.until(lambda: person.page.inner_text("#gateway") == own, "the way back")
    check((ada, bob), chat, COUNT + 5)
    cluster.up()


def test_a_shard_is_killed_while_both_write(cluster, browser):
    ada, bob, chat = pair(browser)
    write((ada, bob), range(KILL_AT))
    check((ada, bob), chat, KILL_AT)
    # One message is written to find who leads.
    cluster.kill(leader_found_by(cluster, ada, f"{ada.handle} {KILL_AT}"))
    bob.say(f"{bob.handle} {KILL_AT}")
    write((ada, bob), range(KILL_AT + 1, COUNT))
    check((ada, bob), chat, COUNT)
    for person in (ada, bob):
        true("Reconnecting…" not in person.connection_words(),
             "a shard's death is not the page's concern")
    cluster.up()
    write((ada, bob), range(COUNT, COUNT + 5))
    check((ada, bob), chat, COUNT + 5)


def led(cluster):
    """How far each partition's log has come, with the shard that leads it."""
    found = {}
    for shard in ("shard1", "shard2", "shard3"):
        page = cluster.operator_page(shard, "/partitions")
        for name, index in re.findall(r"^(p\d+) .* leads,.* committed are i(\d+)", page, re.M):
            found[name] = (int(index), shard)
    return found


def leader_found_by(cluster, person, text):
    """Says something: the partition that grows by it is the conversation's."""
    before = led(cluster)
    person.say(text)
    person.until(lambda: person.settled_texts()[-1:] == [text], "it is sent")
    after = led(cluster)
    grown = [after[name][1] for name in after
             if after[name][0] > before.get(name, (0, ""))[0]]
    true(grown, "a partition grows by a message")
    return grown[0]

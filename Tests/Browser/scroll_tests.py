"""Long conversations: read from the end to the beginning, and scrolled quickly."""

import bisect
import json
import time

from rig import Person, equal, true

READ_MESSAGES = 5_000
SCROLLED_MESSAGES = 10_000
FRAME_MILLISECONDS_MAX = 50
ROWS_MAX = 200
READ_SECONDS_MAX = 150
# Less than what the page draws outside of the viewport: rows that come into view were measured.
STEP_PIXELS = 480

# By one WebSocket with many sends on the way: seconds instead of minutes. Another order than that
# of the numbers is right, too: what is stored is what counts.
FILL = """([token, conversation, count]) => new Promise((resolve, reject) => {
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/v1/ws`,
    "martlet.v1.json");
  const lines = ["short", "a sentence that is a little longer than the others are", "two\\nlines",
    "many words, ".repeat(30)];
  let next = 0;
  let answered = 0;
  const send = (number) => socket.send(JSON.stringify({ ref: String(number), send: {
    conversation, id: `fill-${number}`, text: `${number} ${lines[number % lines.length]}` } }));
  socket.onopen = () => socket.send(JSON.stringify({ ref: "hello", hello: {
    token, events: false } }));
  socket.onclose = () => reject(new Error(`closed after ${answered} answers`));
  socket.onmessage = ({ data }) => {
    const frames = JSON.parse(data);
    for (const frame of Array.isArray(frames) ? frames : [frames]) {
      if (frame.welcome) for (; next < Math.min(200, count); next += 1) send(next);
      if (frame.error?.retryable) setTimeout(() => send(Number(frame.ref)), 20);
      else if (frame.error) reject(new Error(JSON.stringify(frame)));
      if (frame.sent) {
        answered += 1;
        if (next < count) send(next++);
      }
    }
    if (answered === count) resolve();
  };
})"""

# Scrolls up to the first message, step by step, and notes each row as it passes. After a step the
# row at the top must have moved by the step, and it must not move while nobody scrolls, whatever is
# put in above it meanwhile.
READ_UP = """async ([step, seconds]) => {
  const box = document.getElementById("messages");
  const texts = {};
  const wrong = [];
  let rowsMax = 0;
  let waits = 0;
  const deadline = performance.now() + seconds * 1000;
  const frame = () => new Promise(requestAnimationFrame);
  const topOf = (seq) => box.querySelector(`article[data-seq="${seq}"]`)
    ?.getBoundingClientRect().top;
  const look = () => {
    const rows = [...box.querySelectorAll("article[data-seq]")];
    rowsMax = Math.max(rowsMax, rows.length);
    const seqs = rows.map((row) => Number(row.dataset.seq));
    seqs.forEach((seq, index) => {
      if (index && seq !== seqs[index - 1] + 1) wrong.push(`${seq} below ${seqs[index - 1]}`);
      const text = rows[index].querySelector(".text")?.textContent ?? "";
      if ((texts[seq] ?? text) !== text) wrong.push(`${seq} has two texts`);
      texts[seq] = text;
    });
    const edge = box.getBoundingClientRect().top;
    const top = rows.find((row) => row.getBoundingClientRect().bottom > edge);
    return { first: seqs[0], top: Number(top.dataset.seq) };
  };
  while (performance.now() < deadline && wrong.length < 10) {
    const { first, top } = look();
    if (first === 1 && box.scrollTop <= 0) break;
    const before = topOf(top);
    const room = box.scrollTop;
    box.scrollTop -= step;
    await frame();
    await frame();
    const moved = topOf(top) - before;
    // Near the upper edge there is no room for a whole step until more has come.
    if (moved > step + 1 || moved < Math.min(step, room) - 1) {
      wrong.push(`a step of ${step} with room of ${room} moved ${top} by ${moved}`);
    }
    if (room > step * 2) continue;
    waits += 1;
    const rested = look();
    const place = topOf(rested.top);
    await frame();
    await frame();
    const drift = topOf(rested.top) - place;
    if (Math.abs(drift) > 1) wrong.push(`${rested.top} moved by ${drift} on its own`);
  }
  return { texts, wrong, rowsMax, waits };
}"""


def opened(cluster, browser, count):
    """Somebody in front of a new conversation of so many messages, and these."""
    ada = browser.account("ada").login()
    bob = browser.account("bob", gateway=1).login()
    chat = ada.create("direct", [bob.handle])
    context = browser.context()
    page = browser.page(context)
    page.goto(cluster.origins[0])
    began = time.monotonic()
    page.evaluate(FILL, [ada.token, chat, count])
    print(f"       {count} messages sent in {time.monotonic() - began:.1f} s")
    context.close()
    stored = bob.texts(chat)
    equal(len(stored), count, "messages stored")
    reader = Person(browser, bob.handle, gateway=1).enter()
    reader.open(chat)
    reader.until(lambda: reader.shown() and reader.shown()[-1]["seq"] == max(stored),
                 "the end is shown")
    return reader, stored


def test_five_thousand_messages_are_read_up_to_the_first(cluster, browser):
    bob, stored = opened(cluster, browser, READ_MESSAGES)
    began = time.monotonic()
    found = bob.page.evaluate(READ_UP, [STEP_PIXELS, READ_SECONDS_MAX])
    true(not found["wrong"], f"on the way up: {found['wrong']}")
    texts = {int(seq): text for seq, text in found["texts"].items() if int(seq) in stored}
    missing = sorted(set(stored) - set(texts))
    true(not missing, f"not shown: {len(missing)} messages, {missing[:3]} to {missing[-3:]}")
    wrong = [seq for seq, text in texts.items() if stored[seq] != text]
    true(not wrong, f"other texts than stored: {wrong[:5]}")
    true(found["waits"] > 0, "older pages were waited for")
    true(found["rowsMax"] <= ROWS_MAX, f"{found['rowsMax']} rows in the document at once")
    print(f"       read in {time.monotonic() - began:.1f} s, {found['rowsMax']} rows at most")


def test_no_frame_of_ten_thousand_messages_takes_long(cluster, browser):
    """What is measured is the page's own work: the processor time of each task of its main thread.
    A frame's events, scripts, styles, layout and painting are one task, and one that is late waits
    for the end of another. Others share this machine, and a page that waits for a processor has
    not worked: what a clock tells is printed only.
    """
    bob, _ = opened(cluster, browser, SCROLLED_MESSAGES)
    box = bob.page.locator("#messages").bounding_box()
    bob.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    bob.page.evaluate("""() => {
      window.longTasks = [];
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) window.longTasks.push(duration);
      }).observe({ type: "longtask" });
    }""")
    browser.chromium.start_tracing(
        page=bob.page, categories=["toplevel", "devtools.timeline", "disabled-by-default-"
                                   "devtools.timeline"])
    # A wheel that is turned quickly: up through pages that have to be fetched, down, and jumps of
    # whoever drags the scroll bar.
    for _ in range(120):
        bob.page.mouse.wheel(0, -900)
    for _ in range(40):
        bob.page.mouse.wheel(0, 1_500)
    for place in (0.5, 0.1, 0.9, 0, 1):
        bob.page.evaluate("""(place) => new Promise((resolve) => {
          const box = document.getElementById("messages");
          box.scrollTop = place * box.scrollHeight;
          requestAnimationFrame(() => requestAnimationFrame(resolve));
        })""", place)
    frames, others = tasks_of(json.loads(browser.chromium.stop_tracing())["traceEvents"])
    long_tasks = bob.page.evaluate("() => window.longTasks")
    true(len(frames) > 100, f"{len(frames)} frames were traced")
    print(f"       {len(frames)} frames, the longest {max(frames):.1f} ms of processor, other tasks "
          f"{max(others):.1f} ms; by the clock above 50 ms: {[round(one) for one in long_tasks]}")
    for what, longest in (("frame", max(frames)), ("task", max(others))):
        true(longest < FRAME_MILLISECONDS_MAX, f"a {what} took {longest:.1f} ms of processor time")


def tasks_of(events):
    """Processor time of the tasks of the page's main thread: of those that are frames, and of the
    others. Units: milliseconds.
    """
    names = {(event["pid"], event["tid"]) for event in events
             if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"}
    # Of several renderers the page's is the one with the frames.
    begins = {}
    for event in events:
        thread = (event["pid"], event["tid"])
        is_begin = event["name"] == "AnimationFrame" and event["ph"] == "b"
        if is_begin and thread in names:
            begins.setdefault(thread, []).append(event["ts"])
    thread = max(begins, key=lambda one: len(begins[one]))
    tasks = [event for event in events
             if event["name"].endswith("RunTask") and event.get("ph") == "X"
             and event.get("dur") and (event["pid"], event["tid"]) == thread]
    frames, others, end = [], [], 0
    moments = sorted(begins[thread])
    for task in sorted(tasks, key=lambda one: (one["ts"], -one["dur"])):
        # A task inside another one is counted with it.
        if task["ts"] < end:
            continue
        end = task["ts"] + task["dur"]
        place = bisect.bisect_left(moments, task["ts"])
        is_frame = place < len(moments) and moments[place] < end
        (frames if is_frame else others).append(task["tdur"] / 1_000)
    return frames, others

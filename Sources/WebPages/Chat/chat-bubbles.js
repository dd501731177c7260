// How a row looks: separators, notices and bubbles; and how high it will be, roughly.
import { element, icon } from "./chat-dom.js";
import { shapes } from "./chat-rows.js";
import {
  dayText, errorText, fullTimeText, linkified, noticeNodes, noticeParts, numberFormat, timeText,
} from "./chat-text.js";

// Longer texts are cut until somebody asks for the rest: the layout of 64 KiB takes too long.
const shownCharactersMax = 4_000;
const stateLabels = { sending: "Sending", sent: "Sent", failed: "Not sent" };
const rightToLeft = /[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufeff]/;

function shownText(row) {
  const text = row.text;
  if (row.isExpanded || text.length <= shownCharactersMax) return text;
  const endsInPair = /[\ud800-\udbff]/.test(text[shownCharactersMax - 1]);
  return text.slice(0, endsInPair ? shownCharactersMax - 1 : shownCharactersMax);
}

function bubble(row, { isOwn, state, hasName, name }) {
  const shown = shownText(row);
  const time = timeText(row.time);
  const attributes = { class: "text", dir: "auto", id: `${row.key}-text`, "data-room": time };
  const text = element("div", attributes, linkified(shown));
  const meta = element(
    "span",
    { class: "meta", id: `${row.key}-meta` },
    element(
      "time",
      { datetime: new Date(row.time).toISOString(), title: fullTimeText(row.time) },
      time,
    ),
    isOwn ? icon(state, stateLabels[state]) : null,
  );
  const isCut = shown.length < row.text.length;
  const more = isCut
    ? element(
      "button",
      { type: "button", class: "more", "data-action": "expand" },
      `Show all ${numberFormat.format(row.text.length)} characters`,
    )
    : null;
  const author = element(
    "span",
    { class: hasName ? "author" : "hidden", id: `${row.key}-author` },
    element("bdi", {}, name),
  );
  const isOwnLine = isCut || rightToLeft.test(shown.slice(-400));
  return element(
    "div",
    { class: isOwnLine ? "bubble meta-below" : "bubble" },
    author, text, more, meta,
  );
}

function failure(outgoing) {
  // Gateways do not tell who is no member that there is such a conversation.
  const isNoMember = "You are no member of this conversation.";
  const words = { NOT_FOUND: isNoMember, PERMISSION_DENIED: isNoMember };
  const reason = outgoing.error ? errorText(outgoing.error, words) : "";
  return element(
    "div",
    { class: "failure" },
    element("span", {}, `Not sent. ${reason}`),
    element("button", { type: "button", "data-action": "retry" }, "Retry"),
    element("button", { type: "button", "data-action": "discard" }, "Discard"),
  );
}

/** Draws the rows of a conversation. */
export class RowPainter {
  #client;
  isGroup = false;
  /** Events of the conversation as far as known, for `aria-setsize`. */
  eventCount = 0;

  constructor(client) {
    this.#client = client;
  }

  isOwn(row) {
    return row.author === this.#client.user?.id;
  }

  draw(row) {
    const isOwn = this.isOwn(row);
    const state = row.outgoing?.state ?? (isOwn ? "sent" : "received");
    const article = element("article", {
      tabindex: "-1",
      class: row.isNotice ? "notice" : "message",
      "data-seq": row.event?.seq,
      "data-id": row.outgoing?.id,
      "data-kind": row.event?.kind ?? "message",
      "data-state": row.isNotice ? null : state,
      "aria-posinset": row.event?.seq ?? this.eventCount + 1,
      "aria-setsize": Math.max(this.eventCount, row.event?.seq ?? this.eventCount + 1),
    });
    if (row.isNotice) {
      const parts = noticeNodes(noticeParts(this.#client, row.event));
      article.append(element("span", { title: fullTimeText(row.time) }, ...parts));
    } else {
      const name = isOwn ? "You" : this.#client.nameOf(row.author);
      const hasName = this.isGroup && !isOwn && (row.shape & shapes.first) !== 0;
      article.append(bubble(row, { isOwn, state, hasName, name }));
      const labels = ["author", "text", "meta"].map((part) => `${row.key}-${part}`);
      article.setAttribute("aria-labelledby", labels.join(" "));
      if (state === "failed") article.append(failure(row.outgoing));
    }
    const node = element("div", { class: "row" });
    if (isOwn) node.classList.add("own");
    if (row.shape & shapes.first) node.classList.add("first");
    if (row.shape & shapes.last) node.classList.add("last");
    if (row.isFresh) node.classList.add("fresh");
    row.isFresh = false;
    if (row.shape & shapes.day) {
      const day = dayText(row.time);
      node.append(
        element("div", { class: "day", role: "separator", "aria-label": day },
          element("span", {}, day)),
      );
    }
    if (row.shape & shapes.unread) {
      node.append(
        element("div", { class: "unread-line", role: "separator", "aria-label": "New messages" },
          element("span", {}, "New messages")),
      );
    }
    node.append(article);
    return node;
  }

  /** A guess that spares most corrections; the real height replaces it when the row is shown. */
  estimate(row, width) {
    const separators = (row.shape & shapes.day ? 52 : 0) + (row.shape & shapes.unread ? 44 : 0);
    if (row.isNotice) return separators + 36;
    const lineCharacters = Math.max(16, Math.min(560, width * 0.74 - 40) / 7.2);
    const text = row.isExpanded ? row.text : row.text.slice(0, shownCharactersMax);
    let lines = 0;
    for (const line of text.split("\n")) lines += Math.ceil(line.length / lineCharacters) || 1;
    const hasName = this.isGroup && !this.isOwn(row) && row.shape & shapes.first;
    return separators + 17 + lines * 21 + (row.shape & shapes.first ? 8 : 0) + (hasName ? 19 : 0);
  }
}

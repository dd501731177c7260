// The list of conversations, the newest first.
import { avatar, byID, element, moveFocusByArrows, oncePerFrame, setText } from "./chat-dom.js";
import { eventPreview, numberFormat, shortTimeText, titleOf } from "./chat-text.js";

const pageCount = 100;

export class ConversationList {
  #client;
  #list = byID("conversations");
  #filter = byID("filter");
  #items = new Map();
  #shownMax = pageCount;
  #openID = null;
  #schedule = oncePerFrame(() => this.#render());

  constructor(client) {
    this.#client = client;
    this.#filter.addEventListener("input", () => this.#schedule());
    this.#filter.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "Enter") {
        event.preventDefault();
        this.#list.querySelector("a")?.focus();
      } else if (event.key === "Escape" && this.#filter.value) {
        event.preventDefault();
        this.#filter.value = "";
        this.#schedule();
      }
    });
    const scroller = byID("list");
    scroller.addEventListener("scroll", () => {
      const rest = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
      if (rest > 600 || this.#shownMax >= this.#client.conversations.size) return;
      this.#shownMax += pageCount;
      this.#schedule();
    }, { passive: true });
    moveFocusByArrows(this.#list, "a");
  }

  /** Something that the list shows has changed. */
  changed() {
    this.#schedule();
  }

  setOpen(id) {
    this.#openID = id;
    this.#schedule();
  }

  clear() {
    this.#filter.value = "";
    this.#items.forEach((item) => item.node.remove());
    this.#items.clear();
    this.#shownMax = pageCount;
  }

  /** Focuses a conversation, by default the open one. */
  focus(id = this.#openID) {
    const link = this.#items.get(id)?.link ?? this.#list.querySelector("a");
    (link ?? byID("new-direct")).focus();
  }

  #sorted() {
    const wanted = this.#filter.value.trim().toLocaleLowerCase();
    const all = [...this.#client.conversations.values()];
    const found = wanted
      ? all.filter((one) => titleOf(this.#client, one).toLocaleLowerCase().includes(wanted))
      : all;
    const time = (conversation) => conversation.last?.time ?? 0;
    return found.sort((a, b) => time(b) - time(a) || (a.id < b.id ? -1 : 1));
  }

  #render() {
    // Moving a node takes its focus away, and so does removing it.
    const focused = document.activeElement;
    const hadFocus = this.#list.contains(focused);
    const shown = this.#sorted().slice(0, this.#shownMax);
    const keep = new Set(shown.map((conversation) => conversation.id));
    for (const [id, item] of this.#items) {
      if (keep.has(id)) continue;
      item.node.remove();
      this.#items.delete(id);
    }
    let next = this.#list.firstChild;
    for (const conversation of shown) {
      const item = this.#items.get(conversation.id) ?? this.#create(conversation.id);
      this.#update(item, conversation);
      if (item.node === next) next = next.nextSibling;
      else this.#list.insertBefore(item.node, next);
    }
    if (hadFocus && focused !== document.activeElement) {
      if (focused.isConnected) focused.focus();
      else this.focus();
    }
    const empty = byID("no-conversations");
    empty.hidden = shown.length > 0;
    setText(empty, this.#filter.value
      ? "No conversation has this name."
      : "No conversations yet. Start one by somebody’s handle.");
  }

  #create(id) {
    const item = {
      avatar: element("span", { class: "holder" }),
      title: element("span", { class: "title", dir: "auto" }),
      time: element("time"),
      preview: element("span", { class: "preview", dir: "auto" }),
      unread: element("span", { class: "badge" }),
      look: null,
    };
    const label = element("span", { class: "hidden" });
    item.label = label;
    item.link = element(
      "a",
      { href: `#c/${encodeURIComponent(id)}`, "data-conversation": id },
      item.avatar, item.title, item.time, item.preview, item.unread, label,
    );
    item.node = element("li", {}, item.link);
    this.#items.set(id, item);
    return item;
  }

  #update(item, conversation) {
    const { id, kind, last, unread } = conversation;
    const title = titleOf(this.#client, conversation);
    if (item.look !== title) {
      item.look = title;
      item.avatar.replaceChildren(avatar(id, title, kind));
    }
    setText(item.title, title);
    setText(item.time, last ? shortTimeText(last.time) : "");
    if (last) item.time.dateTime = new Date(last.time).toISOString();
    setText(item.preview, last ? eventPreview(this.#client, last, kind === "group") : "");
    setText(item.unread, unread ? numberFormat.format(unread) : "");
    item.unread.setAttribute("aria-hidden", "true");
    setText(item.label, unread ? `, ${numberFormat.format(unread)} unread` : "");
    item.link.dataset.unread = unread;
    if (id === this.#openID) item.link.setAttribute("aria-current", "true");
    else item.link.removeAttribute("aria-current");
  }
}

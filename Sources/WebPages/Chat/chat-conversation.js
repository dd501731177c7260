// The open conversation: its history and what happens in it, brought together in one list.
import { avatar, byID, oncePerFrame, onceWithin, setText } from "./chat-dom.js";
import { RowPainter } from "./chat-bubbles.js";
import { Composer } from "./chat-composer.js";
import { MessageList } from "./chat-messages.js";
import { shapes } from "./chat-rows.js";
import { eventPreview, numberFormat, titleOf } from "./chat-text.js";

const pageEventsMax = 100;
const firstPageEventsMin = 50;
const firstPageEventsMax = 200;
const reloadPagesMax = 20;
const unreadMarginPixels = 72;
const markReadMilliseconds = 150;

export class ConversationView {
  #client;
  #announce;
  #painter;
  #list;
  #composer;
  #id = null;
  #opening = 0;
  #isFirstLoaded = false;
  #isLoading = false;
  #hasFailed = false;
  #reachedStart = false;
  #range = { firstIndex: 0, lastIndex: 0 };
  #seenSeq = 0;
  #members = "";
  #changes = [];
  #unreadFrom = null;
  #applySoon = oncePerFrame(() => this.#applyChanges());
  #markReadSoon = onceWithin(markReadMilliseconds, () => this.#markRead());

  constructor(client, announce) {
    this.#client = client;
    this.#announce = announce;
    this.#painter = new RowPainter(client);
    this.#list = new MessageList(byID("messages"), this.#painter, (range) => this.#shown(range));
    this.#composer = new Composer(client, (text) => this.#send(text));
    byID("messages").addEventListener("click", (event) => this.#clicked(event));
    byID("to-end").addEventListener("click", () => {
      this.#list.scrollToEnd();
      byID("messages").focus({ preventScroll: true });
    });
    byID("older-retry").addEventListener("click", () => {
      byID("messages").focus({ preventScroll: true });
      this.#retryLoading();
    });
    document.addEventListener("visibilitychange", () => this.#markRead());
    window.addEventListener("focus", () => this.#markRead());
  }

  get id() {
    return this.#id;
  }

  get #conversation() {
    return this.#client.conversations.get(this.#id);
  }

  get #isAttentive() {
    return document.visibilityState === "visible" && document.hasFocus();
  }

  focusText() {
    this.#composer.focus();
  }

  /** On a touch screen the focus would bring up the keyboard over what was to be read. */
  focus() {
    if (matchMedia("(pointer: coarse)").matches) byID("open-title").focus();
    else this.#composer.focus();
  }

  open(id) {
    if (this.#id === id) return;
    this.#id = id;
    this.#opening += 1;
    this.#changes = [];
    this.#isFirstLoaded = false;
    this.#isLoading = false;
    this.#reachedStart = false;
    byID("nothing-open").hidden = true;
    byID("open").hidden = false;
    const { kind, head, read, unread } = this.#conversation;
    this.#seenSeq = read;
    this.#painter.isGroup = kind === "group";
    this.#painter.eventCount = head;
    this.#renderHeader();
    this.#unreadFrom = unread > 0 ? read + 1 : null;
    this.#list.reset({
      unreadFrom: this.#unreadFrom,
      ownID: this.#client.user.id,
      reachedStart: false,
    });
    this.#composer.open(id);
    this.#loadLatest();
  }

  close() {
    this.#id = null;
    this.#opening += 1;
    this.#changes = [];
    byID("nothing-open").hidden = false;
    byID("open").hidden = true;
    this.#list.reset({ unreadFrom: null, reachedStart: false });
    this.#composer.close();
  }

  /** An event was delivered; `outgoing` is the own message that it is the event of. */
  eventDelivered(event, outgoing) {
    if (event.conversation !== this.#id) return;
    const { rows } = this.#list;
    this.#painter.eventCount = Math.max(this.#painter.eventCount, event.seq);
    this.#change(() => {
      const isMissingSome = rows.lastSeq !== null && event.seq > rows.lastSeq + 1;
      if (outgoing) rows.adopt(event, outgoing);
      else rows.merge([event], true);
      if (isMissingSome) queueMicrotask(() => this.reload());
    });
    if (outgoing || event.author === this.#client.user.id) return;
    if (!this.#isAttentive) this.#unreadFrom ??= event.seq;
    this.#announce(eventPreview(this.#client, event, true));
  }

  outgoingChanged(outgoing) {
    const { id, conversation, seq, state } = outgoing;
    if (conversation !== this.#id) return;
    const { rows } = this.#list;
    this.#change(() => {
      const row = rows.outgoingRow(id);
      if (row && seq !== null && rows.rowOf(seq)) rows.removeOutgoing(id);
      else if (row) Object.assign(row, { outgoing }).change();
      else if (this.#client.outgoing(conversation).some((one) => one.id === id)) {
        rows.addOutgoing(outgoing, this.#client.user.id, true);
      }
    });
    if (state === "failed") this.#announce("A message was not sent.");
  }

  conversationChanged(conversation) {
    if (conversation.id !== this.#id) return;
    const members = this.#members;
    this.#renderHeader();
    if (members !== this.#members) this.#list.redrawAll();
  }

  connected() {
    if (this.#hasFailed) this.#retryLoading();
  }

  dayChanged() {
    if (this.#id !== null) this.#list.redrawAll();
  }

  /** Fetches again what is shown. What is being read stays where it is. */
  async reload() {
    if (this.#id === null || !this.#isFirstLoaded) return;
    const { rows } = this.#list;
    const first = rows.list[Math.min(this.#range.firstIndex, rows.eventCount - 1)];
    const neededSeq = this.#list.isAtEnd || !first?.event ? Infinity : first.event.seq;
    this.#isFirstLoaded = false;
    await this.#load(async (id) => {
      let events = [];
      for (let count = 0; count < reloadPagesMax; count += 1) {
        const range = { before: events[0]?.seq, limit: firstPageEventsMax };
        const page = await this.#client.history(id, range);
        events = [...page.events, ...events];
        if (page.events.length === 0 || page.reachedStart || events[0].seq <= neededSeq) break;
      }
      return { events };
    }, ({ events }) => rows.replace(events));
  }

  #loadLatest() {
    const unread = this.#conversation.unread;
    const limit = Math.min(firstPageEventsMax, Math.max(firstPageEventsMin, unread + 20));
    return this.#load(
      (id) => this.#client.history(id, { limit }),
      ({ events }) => this.#list.rows.merge(events),
      () => this.#showUnread(),
    );
  }

  #loadOlder() {
    const before = this.#list.rows.firstSeq;
    if (this.#isLoading || this.#reachedStart || this.#hasFailed || before === null) return;
    this.#load(
      (id) => this.#client.history(id, { before, limit: pageEventsMax }),
      ({ events }) => this.#list.rows.merge(events),
    );
  }

  #retryLoading() {
    this.#hasFailed = false;
    byID("older-retry").hidden = true;
    if (this.#id === null || this.#isLoading) return;
    if (this.#isFirstLoaded) this.#loadOlder();
    else this.#loadLatest();
  }

  /** One loading at a time; its outcome is ignored if another conversation was opened meanwhile. */
  async #load(fetch, take, then = () => {}) {
    const opening = this.#opening;
    this.#setLoading(true, false);
    let page = null;
    try {
      page = await fetch(this.#id);
    } catch {
      // The page offers to try again, and does so itself when it is connected again.
    }
    if (opening !== this.#opening) return;
    const isEmpty = page?.events.length === 0;
    // Offline an empty page means that no more is kept here, not that there is no more.
    const hasFailed = page === null || (isEmpty && this.#client.state !== "online");
    this.#setLoading(false, hasFailed);
    if (hasFailed) return;
    const isFirst = !this.#isFirstLoaded;
    this.#reachedStart = isEmpty || page.events[0].seq === 1;
    const { rows } = this.#list;
    this.#list.update(() => {
      take(page);
      if (!isFirst) return;
      this.#changes.splice(0).forEach((change) => change());
      for (const outgoing of this.#client.outgoing(this.#id)) {
        rows.addOutgoing(outgoing, this.#client.user.id);
      }
    }, { reachedStart: this.#reachedStart });
    then();
    this.#isFirstLoaded = true;
    this.#list.refresh();
  }

  #setLoading(isLoading, hasFailed) {
    this.#isLoading = isLoading;
    this.#hasFailed = hasFailed;
    byID("messages").setAttribute("aria-busy", String(isLoading && !this.#isFirstLoaded));
    byID("older").hidden = !isLoading;
    byID("older-retry").hidden = !hasFailed;
  }

  #showUnread() {
    const row = this.#list.rows.list.find((one) => one.shape & shapes.unread);
    if (row) this.#list.scrollToRow(row, unreadMarginPixels);
  }

  #change(change) {
    this.#changes.push(change);
    if (this.#isFirstLoaded) this.#applySoon();
  }

  /** All changes of a frame at once: after a reconnect there may be hundreds. */
  #applyChanges() {
    if (!this.#isFirstLoaded || this.#changes.length === 0) return;
    const changes = this.#changes.splice(0);
    const context = { unreadFrom: this.#unreadFrom };
    this.#list.update(() => changes.forEach((change) => change()), context);
  }

  #send(text) {
    this.#unreadFrom = null;
    const outgoing = this.#client.send(this.#id, text);
    this.outgoingChanged(outgoing);
    this.#applyChanges();
    this.#list.scrollToEnd();
  }

  #clicked(event) {
    const button = event.target.closest("button[data-action]");
    const row = button && this.#list.rowOfNode(button);
    if (!row) return;
    if (button.dataset.action === "expand") {
      row.isExpanded = true;
      this.#list.redraw(row, true);
    } else if (button.dataset.action === "retry") {
      // It goes out behind those that wait already.
      this.#list.update(() => this.#list.rows.moveToEnd(row));
      this.#client.retry(row.outgoing.id);
      this.focus();
    } else {
      this.#client.discard(row.outgoing.id);
      this.#list.update(() => this.#list.rows.removeOutgoing(row.outgoing.id));
      this.focus();
    }
  }

  #shown(range) {
    this.#range = range;
    if (this.#id === null || !this.#isFirstLoaded) return;
    const { rows } = this.#list;
    if (range.above < 2 * this.#list.viewportHeight) this.#loadOlder();
    const lastVisible = rows.list[Math.min(range.lastIndex, rows.eventCount - 1)];
    const lastSeq = range.isAtEnd ? rows.lastSeq : lastVisible?.event.seq;
    this.#seenSeq = Math.max(this.#seenSeq, lastSeq ?? 0);
    this.#markReadSoon();
    this.#renderToEnd(range);
  }

  #markRead() {
    const conversation = this.#conversation;
    if (!conversation || !this.#isFirstLoaded || !this.#isAttentive) return;
    if (this.#seenSeq > conversation.read) this.#client.markRead(this.#id, this.#seenSeq);
  }

  #renderToEnd({ isAtEnd, below }) {
    const { rows } = this.#list;
    let count = 0;
    for (let index = rows.position(this.#seenSeq + 1); index < rows.eventCount; index += 1) {
      const row = rows.list[index];
      if (!row.isNotice && row.author !== this.#client.user.id) count += 1;
    }
    const words = count === 1 ? "1 new message" : `${numberFormat.format(count)} new messages`;
    byID("to-end").hidden = isAtEnd || (count === 0 && below < 240);
    setText(byID("to-end-text"), count ? words : "");
    const label = count ? `${words}. Go to the latest` : "Go to the latest message";
    byID("to-end").setAttribute("aria-label", label);
  }

  #renderHeader() {
    const conversation = this.#conversation;
    if (!conversation) return;
    const { id, kind, members } = conversation;
    const title = titleOf(this.#client, conversation);
    this.#members = members.map((member) => `${member.id} ${member.handle}`).join();
    if (byID("open-title").textContent !== title || !byID("open-avatar").firstChild) {
      setText(byID("open-title"), title);
      byID("open-avatar").replaceChildren(avatar(id, title, kind));
    }
    const count = conversation.memberCount ?? members.length;
    const own = this.#client.user?.id;
    const other = members.find((member) => member.id !== own)?.handle ?? "";
    const words = kind === "group" ? `${numberFormat.format(count)} members` : `@${other}`;
    setText(byID("open-members"), words);
  }
}

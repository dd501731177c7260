// What a signed-in user sees: which conversation is open, the title, and how the connection is.
import { avatar, byID, onceWithin, setText } from "./chat-dom.js";
import { ConversationList } from "./chat-list.js";
import { ConversationView } from "./chat-conversation.js";
import { dayNumber, numberFormat } from "./chat-text.js";

const announcementIntervalMilliseconds = 700;
const announcementsMax = 3;
const connectedShownMilliseconds = 2_500;
const dayCheckMilliseconds = 60_000;

const isNarrow = () => matchMedia("(max-width: 720px)").matches;

const routedID = () => {
  const match = /^#c\/(.+)$/.exec(location.hash);
  return match && decodeURIComponent(match[1]);
};

export class ChatScreen {
  #client;
  #onLeave;
  #list;
  #view;
  #dialogs = null;
  #isInside = false;
  #announcements = [];
  #announceSoon = onceWithin(announcementIntervalMilliseconds, () => this.#announceAll());
  #renderTitleSoon = onceWithin(50, () => this.#renderTitle());
  #connectedTimer = 0;
  #today = dayNumber(Date.now());

  /** `onLeave(message)` is called when nobody is signed in any more. */
  constructor(client, onLeave) {
    this.#client = client;
    this.#onLeave = onLeave;
    this.#list = new ConversationList(client);
    this.#view = new ConversationView(client, (text) => this.#announce(text));
    this.#listenToClient();
    this.#listenToPage();
    setInterval(() => this.#checkDay(), dayCheckMilliseconds);
  }

  enter = () => {
    const { id, handle, displayName } = this.#client.user;
    setText(byID("own-name"), displayName || handle);
    setText(byID("own-handle"), `@${handle}`);
    byID("own-avatar").replaceChildren(avatar(id, displayName || handle));
    this.#renderConnection();
    this.#renderTitleSoon();
    this.#list.changed();
    if (this.#isInside) return;
    this.#isInside = true;
    byID("app").hidden = false;
    byID("skip").hidden = false;
    this.#route();
  };

  #leave(message) {
    if (this.#isInside) {
      this.#isInside = false;
      this.#dialogs?.closeAll();
      this.#view.close();
      this.#list.clear();
      byID("app").hidden = true;
      byID("skip").hidden = true;
      history.replaceState(null, "", location.pathname);
      this.#renderTitleSoon();
    }
    this.#onLeave(message);
  }

  #listenToClient() {
    const changed = () => {
      this.#list.changed();
      this.#renderTitleSoon();
    };
    const on = (type, handle) => {
      this.#client.addEventListener(type, ({ detail }) => handle(detail));
    };
    on("state", ({ state }) => {
      this.#renderConnection();
      if (state === "online") this.#view.connected();
    });
    on("conversation", ({ conversation }) => {
      changed();
      if (!this.#isInside) return;
      this.#view.conversationChanged(conversation);
      this.#dialogs?.changed(conversation);
      if (this.#view.id === null && conversation.id === routedID()) this.#route();
    });
    on("left", ({ conversationID }) => {
      changed();
      if (conversationID !== this.#view.id) return;
      this.#dialogs?.closeAll();
      this.#goBack();
      this.#announce("You are no longer in this conversation.");
    });
    on("event", ({ event, outgoing }) => {
      changed();
      this.#view.eventDelivered(event, outgoing ?? null);
    });
    on("outgoing", ({ outgoing }) => this.#view.outgoingChanged(outgoing));
    on("reset", ({ conversationID }) => {
      if (conversationID === this.#view.id) this.#view.reload();
    });
    on("signedout", () => this.#leave("You were logged out. Log in again."));
  }

  #listenToPage() {
    const onClick = (id, handle) => byID(id).addEventListener("click", handle);
    onClick("logout", () => {
      this.#leave("");
      this.#client.logout().catch(() => {});
    });
    onClick("new-direct", async () => (await this.#loadedDialogs()).showDirect());
    onClick("new-group", async () => (await this.#loadedDialogs()).showGroup());
    onClick("show-details", async () => {
      const conversation = this.#client.conversations.get(this.#view.id);
      if (conversation) (await this.#loadedDialogs()).showDetails(conversation);
    });
    onClick("back", () => this.#goBack());
    onClick("skip", () => {
      if (this.#view.id === null) this.#list.focus();
      else this.#view.focusText();
    });
    onClick("conversations", (event) => {
      const id = event.target.closest("[data-conversation]")?.dataset.conversation;
      if (!id || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.#navigate(id);
    });
    byID("open").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing) return;
      if (event.target.closest("#messages")) this.#view.focusText();
      else if (isNarrow()) this.#goBack();
      else this.#list.focus();
    });
    window.addEventListener("popstate", () => this.#route());
  }

  async #loadedDialogs() {
    const { Dialogs } = await import("./chat-dialogs.js");
    this.#dialogs ??= new Dialogs(this.#client, ({ id }) => this.#navigate(id));
    return this.#dialogs;
  }

  /** Shows what the address names: a conversation, or (on narrow screens) the list alone. */
  #route() {
    if (!this.#isInside) return;
    const id = routedID();
    const isKnown = id !== null && this.#client.conversations.has(id);
    const before = this.#view.id;
    if (isKnown && id === before) return;
    byID("app").dataset.view = isKnown ? "conversation" : "list";
    this.#list.setOpen(isKnown ? id : null);
    if (isKnown) {
      this.#view.open(id);
      this.#view.focus();
    } else if (before !== null) {
      this.#view.close();
      this.#list.focus(before);
    } else {
      byID("app-title").focus();
    }
  }

  /** Between two conversations the address is replaced: "back" always leads to the list. */
  #navigate(id) {
    const address = `#c/${encodeURIComponent(id)}`;
    if (this.#view.id === null) history.pushState({ fromList: true }, "", address);
    else history.replaceState(history.state, "", address);
    this.#route();
    if (this.#view.id === id) this.#view.focus();
  }

  #goBack() {
    if (history.state?.fromList) return history.back();
    history.replaceState(null, "", location.pathname);
    return this.#route();
  }

  /** Through a live region of its own: the rows of the list come and go with scrolling. */
  #announce(text) {
    this.#announcements.push(text);
    this.#announceSoon();
  }

  #announceAll() {
    const texts = this.#announcements.splice(0);
    const isMany = texts.length > announcementsMax;
    byID("announcer").textContent = isMany ? `${texts.length} new messages` : texts.join("\n");
  }

  #renderTitle() {
    let unread = 0;
    if (this.#isInside) this.#client.conversations.forEach((one) => (unread += one.unread));
    document.title = unread ? `(${numberFormat.format(unread)}) Martlet` : "Martlet";
  }

  #renderConnection() {
    const banner = byID("connection");
    const { state, gateway } = this.#client;
    const wasLost = banner.dataset.wasLost === "true";
    banner.dataset.state = state;
    const isLost = state === "reconnecting" || (wasLost && state === "connecting");
    banner.dataset.wasLost = isLost;
    setText(byID("gateway"), gateway ? ` · ${new URL(gateway).host}` : "");
    clearTimeout(this.#connectedTimer);
    const isBack = state === "online" && wasLost;
    const words = state === "connecting" ? "Connecting…" : isBack ? "Connected" : "";
    setText(banner, isLost ? "Reconnecting…" : words);
    if (!isBack) return;
    this.#connectedTimer = setTimeout(() => setText(banner, ""), connectedShownMilliseconds);
  }

  #checkDay() {
    if (this.#today === dayNumber(Date.now())) return;
    this.#today = dayNumber(Date.now());
    this.#list.changed();
    this.#view.dayChanged();
  }
}

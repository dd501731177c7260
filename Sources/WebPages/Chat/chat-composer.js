// Writing: the draft, the size, Enter and Shift+Enter.
import { byID, setText } from "./chat-dom.js";
import { messageBytesMax, numberFormat, utf8Bytes } from "./chat-text.js";

const counterFromBytes = messageBytesMax * 0.9;
const textHeightMaxPixels = 180;

export class Composer {
  #client;
  #onSend;
  #conversationID = null;
  #text = byID("text");
  #note = byID("text-error");
  #sizesItself = CSS.supports("field-sizing", "content");

  constructor(client, onSend) {
    this.#client = client;
    this.#onSend = onSend;
    const form = byID("composer");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#text.addEventListener("input", () => {
      this.#client.setDraft(this.#conversationID, this.#text.value);
      this.#changed();
    });
    this.#text.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word.
      const isComposing = event.isComposing || event.keyCode === 229;
      if (event.key !== "Enter" || event.shiftKey || isComposing) return;
      event.preventDefault();
      this.#send();
    });
  }

  /** Takes up the draft of a conversation; what is typed before it arrives wins. */
  async open(conversationID) {
    this.#conversationID = conversationID;
    this.#set("");
    const draft = await this.#client.draft(conversationID);
    if (this.#conversationID === conversationID && this.#text.value === "") this.#set(draft ?? "");
  }

  close() {
    this.#conversationID = null;
    this.#set("");
  }

  focus() {
    this.#text.focus();
  }

  #set(text) {
    this.#text.value = text;
    this.#changed();
  }

  #changed() {
    const text = this.#text.value;
    // A UTF-16 unit takes at most three bytes: short texts need not be counted.
    const bytes = text.length * 3 > counterFromBytes ? utf8Bytes(text) : 0;
    const isTooLong = bytes > messageBytesMax;
    const over = numberFormat.format(bytes - messageBytesMax);
    const left = numberFormat.format(messageBytesMax - bytes);
    let note = "";
    if (isTooLong) note = `Too long by ${over} bytes.`;
    else if (bytes > counterFromBytes) note = `${left} bytes left.`;
    setText(this.#note, note);
    this.#note.dataset.isTooLong = isTooLong;
    if (isTooLong) this.#text.setAttribute("aria-invalid", "true");
    else this.#text.removeAttribute("aria-invalid");
    byID("send").disabled = isTooLong || text.trim() === "";
    if (this.#sizesItself) return;
    this.#text.style.height = "auto";
    this.#text.style.height = `${Math.min(textHeightMaxPixels, this.#text.scrollHeight + 2)}px`;
  }

  #send() {
    const text = this.#text.value;
    if (this.#conversationID === null || byID("send").disabled) return;
    this.#set("");
    this.#client.setDraft(this.#conversationID, "");
    this.#onSend(text);
    this.#text.focus();
  }
}

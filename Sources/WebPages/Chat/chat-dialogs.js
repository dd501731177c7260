// Opening a direct chat, creating a group, and a group's members.
import { avatar, byID, element, setFieldError, setText } from "./chat-dom.js";
import {
  errorText, handleProblem, handlesProblem, normalHandle, numberFormat, parsedHandles, titleOf,
  titleProblem,
} from "./chat-text.js";

const words = { NOT_FOUND: "Nobody has this handle." };
const groupWords = { NOT_FOUND: "At least one of these handles belongs to nobody." };

/** A modal form: Escape and its own buttons close it; the focus returns to where it was. */
class FormDialog {
  constructor(id, submit) {
    this.node = byID(id);
    this.form = this.node.querySelector("form");
    let isBusy = false;
    this.form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (isBusy) return;
      isBusy = true;
      this.node.setAttribute("aria-busy", "true");
      await submit().finally(() => {
        isBusy = false;
        this.node.removeAttribute("aria-busy");
      });
    });
    this.node.querySelector("[data-close]").addEventListener("click", () => this.node.close());
    this.node.addEventListener("click", (event) => {
      if (event.target === this.node) this.node.close();
    });
  }

  show() {
    this.form.reset();
    this.form.querySelectorAll("input").forEach((field) => setFieldError(field, ""));
    this.node.showModal();
  }
}

export class Dialogs {
  #client;
  #open;
  #shown = null;
  #details;

  /** `open(conversation)` is called with what was created. */
  constructor(client, open) {
    this.#client = client;
    this.#open = open;
    const direct = new FormDialog("direct-dialog", () => this.#createDirect(direct));
    const group = new FormDialog("group-dialog", () => this.#createGroup(group));
    this.#details = new FormDialog("details-dialog", () => this.#addMembers());
    this.showDirect = () => direct.show();
    this.showGroup = () => group.show();
    byID("leave").addEventListener("click", () => this.#remove(this.#client.user.id));
    byID("members").addEventListener("click", (event) => {
      const id = event.target.closest("button")?.dataset.remove;
      if (id) this.#remove(id);
    });
  }

  closeAll() {
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  }

  showDetails(conversation) {
    this.#shown = conversation.id;
    this.#details.show();
    this.#renderDetails();
  }

  changed(conversation) {
    if (this.#details.node.open && this.#shown === conversation.id) this.#renderDetails();
  }

  async #createDirect(dialog) {
    const field = byID("direct-handle");
    const handle = normalHandle(field.value);
    let problem = handleProblem(handle);
    if (!problem && handle === this.#client.user.handle) problem = "This is your own handle.";
    setFieldError(field, problem);
    if (problem) return field.focus();
    return this.#create(dialog, field, words, () => this.#client.createDirect(handle));
  }

  async #createGroup(dialog) {
    const titleField = byID("group-title");
    const field = byID("group-handles");
    const title = titleField.value.trim();
    const handles = parsedHandles(field.value).filter((one) => one !== this.#client.user.handle);
    setFieldError(titleField, titleProblem(title));
    setFieldError(field, handlesProblem(handles));
    if (titleProblem(title)) return titleField.focus();
    if (handlesProblem(handles)) return field.focus();
    return this.#create(dialog, field, groupWords, () => this.#client.createGroup(title, handles));
  }

  async #create(dialog, field, meanings, request) {
    try {
      const conversation = await request();
      dialog.node.close();
      this.#open(conversation);
    } catch (error) {
      setFieldError(field, errorText(error, meanings));
      field.focus();
    }
  }

  async #addMembers() {
    const field = byID("add-handles");
    const handles = parsedHandles(field.value);
    setFieldError(field, handlesProblem(handles));
    if (!handlesProblem(handles)) await this.#change({ add: handles });
    field.focus();
  }

  async #remove(id) {
    const isOwn = id === this.#client.user.id;
    if (await this.#change({ remove: [id] }) && isOwn) this.#details.node.close();
  }

  async #change(change) {
    const field = byID("add-handles");
    try {
      await this.#client.changeMembers(this.#shown, change);
      field.value = "";
      setFieldError(field, "");
      this.#renderDetails();
      return true;
    } catch (error) {
      setFieldError(field, errorText(error, groupWords));
      return false;
    }
  }

  #renderDetails() {
    const conversation = this.#client.conversations.get(this.#shown);
    if (!conversation) return;
    const ownID = this.#client.user.id;
    const isGroup = conversation.kind === "group";
    const isAdmin = conversation.members.some((one) => one.id === ownID && one.role === "admin");
    setText(byID("details-title"), titleOf(this.#client, conversation));
    const count = conversation.memberCount ?? conversation.members.length;
    const hidden = count - conversation.members.length;
    const more = hidden > 0 ? `; ${numberFormat.format(hidden)} of them are not listed here` : "";
    setText(byID("details-count"), `${numberFormat.format(count)} members${more}`);
    byID("members").replaceChildren(...conversation.members.map((member) => {
      const handle = member.handle || this.#client.nameOf(member.id);
      const isOwn = member.id === ownID;
      return element(
        "li",
        { "data-member": member.id },
        avatar(member.id, handle),
        element("bdi", {}, handle),
        element("span", { class: "hint" },
          [isOwn ? "you" : "", member.role === "admin" ? "admin" : ""].filter(Boolean).join(", ")),
        isGroup && isAdmin && !isOwn
          ? element("button", {
            type: "button", "data-remove": member.id, "aria-label": `Remove ${handle}`,
          }, "Remove")
          : null,
      );
    }));
    byID("add-field").hidden = !isGroup || !isAdmin;
    byID("leave").hidden = !isGroup;
  }
}

// The list of problems on the page, and what is said aloud of new ones.

import { element, plural, reconcile, setAttribute, setText } from "./console-dom.js";

const COPIED_MILLISECONDS = 1_500;
const WORDS = { error: "Error", warning: "Warning", notice: "Notice" };

const identity = (problem) => `${problem.kind} ${problem.subject}`;

export class ProblemsView {
  #known = null;

  constructor(root) {
    this.summary = element("p", { class: "strong" });
    this.list = element("ol");
    root.append(this.summary, this.list);
    this.root = root;
  }

  /** Returns how many there are that are more than notices. */
  update(problems) {
    const grave = problems.filter((problem) => problem.severity !== "notice");
    const notices = problems.length - grave.length;
    const words = [grave.length > 0 ? plural(grave.length, "problem") : "Nothing is wrong"];
    if (notices > 0) words.push(plural(notices, "notice"));
    setText(this.summary, `${words.join(", ")}.`);
    setAttribute(this.root, "data-count", grave.length);
    reconcile(this.list, problems, identity, make, update);
    this.#announce(problems, grave.length);
    return grave.length;
  }

  #announce(problems, number) {
    const fresh = this.#known === null ? []
      : problems.filter((problem) => !this.#known.has(identity(problem)));
    const isOver = this.#known !== null && this.#known.size > 0 && problems.length === 0;
    if (this.#known === null) setText(document.getElementById("status"), this.summary.textContent);
    this.#known = new Set(problems.map(identity));
    const titles = (isLoud) => fresh.filter((problem) => (problem.severity === "error") === isLoud)
      .map((problem) => problem.title).join(". ");
    if (titles(true)) setText(document.getElementById("alert"), titles(true));
    else if (number === 0) setText(document.getElementById("alert"), "");
    if (titles(false)) setText(document.getElementById("status"), titles(false));
    else if (isOver) setText(document.getElementById("status"), "Nothing is wrong any more.");
  }
}

function make() {
  return element("li", {}, element("h3", {}, element("span", { class: "severity" }),
    element("span")), element("p"), element("ul", { class: "commands" }));
}

function update(item, problem) {
  const [title, text, commands] = item.children;
  setAttribute(item, "data-problem", problem.kind);
  setAttribute(item, "data-subject", problem.subject || null);
  setAttribute(item, "data-severity", problem.severity);
  setText(title.firstChild, WORDS[problem.severity]);
  setText(title.lastChild, problem.title);
  setText(text, problem.text);
  reconcile(commands, problem.commands, ({ why, command }) => `${why} ${command}`,
    ({ why, command }) => {
      const code = element("code", {}, command);
      const button = element("button", { type: "button", "aria-label": `Copy: ${command}` },
        "Copy");
      button.addEventListener("click", () => copy(code, button));
      return element("li", {}, element("span", {}, `${why}:`), code, button);
    }, () => {});
}

/** Unless served over TLS or from this machine, a page may copy only what is selected. */
async function copy(code, button) {
  let isCopied = false;
  try {
    await navigator.clipboard.writeText(code.textContent);
    isCopied = true;
  } catch {
    getSelection().selectAllChildren(code);
    isCopied = document.execCommand("copy");
  }
  setText(button, isCopied ? "Copied" : "Selected");
  setTimeout(() => setText(button, "Copy"), COPIED_MILLISECONDS);
}

// Elements are made here, by `createElement` only: what people write enters as text nodes.

const svgNamespace = "http://www.w3.org/2000/svg";

const iconPaths = {
  sending: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M8 5v3.2l2.2 1.3",
  sent: "M3 8.6l3.4 3.4L13 4.8",
  failed: "M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 0 1 0-11M8 5v3.6M8 10.9v.2",
};

/** An element with attributes and children; strings become text, null is left out. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

export const byID = (id) => document.getElementById(id);

/** A line drawing with a text alternative. */
export function icon(name, label) {
  const image = document.createElementNS(svgNamespace, "svg");
  const path = document.createElementNS(svgNamespace, "path");
  path.setAttribute("d", iconPaths[name]);
  image.setAttribute("viewBox", "0 0 16 16");
  image.setAttribute("class", "icon");
  image.setAttribute("role", "img");
  image.setAttribute("aria-label", label);
  image.append(path);
  return image;
}

/** A coloured disc with a name's first letter; its colour follows from the id. */
export function avatar(id, name, kind = "direct") {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  const letter = [...name].find((character) => /[\p{L}\p{N}]/u.test(character)) ?? "?";
  return element(
    "span",
    { class: "avatar", "data-hue": hash % 8, "data-kind": kind, "aria-hidden": "true" },
    letter.toUpperCase(),
  );
}

/** Writes text only where it differs, so that live regions and selections stay untouched. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A function that runs `work` once in the next frame, however often it is called before. */
export function oncePerFrame(work) {
  let frame = 0;
  return () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      work();
    });
  };
}

/** The same after a time; unlike frames, it comes in hidden pages too. */
export function onceWithin(milliseconds, work) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      work();
    }, milliseconds);
  };
}

/** Moves the focus among the children of a list by arrow keys, Home and End. */
export function moveFocusByArrows(list, selector) {
  list.addEventListener("keydown", (event) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    const items = [...list.querySelectorAll(selector)];
    const at = items.indexOf(document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    items[Math.min(items.length - 1, Math.max(0, at + step))].focus();
  });
}

/** Shows or takes away the error text of a field, tied to it by `aria-describedby`. */
export function setFieldError(field, message) {
  setText(byID(`${field.id}-error`), message);
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

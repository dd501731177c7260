// Elements and text. All content goes in as text nodes: the page's policy allows no markup from
// strings, and names of nodes come from elsewhere.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children);
  return node;
}

export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

/** Writes only what differs, so that nothing is laid out or announced again for no reason. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

/** `null`, `undefined` and `false` take the attribute away. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

const childrenOf = new WeakMap();

/**
 * Keeps one child per item: children of known keys stay where they are, with focus and scroll
 * position, and are moved only when the order differs.
 */
export function reconcile(parent, items, keyOf, make, update) {
  const known = childrenOf.get(parent) ?? new Map();
  childrenOf.set(parent, known);
  const wanted = new Set(items.map(keyOf));
  for (const [key, child] of known) {
    if (wanted.has(key)) continue;
    child.remove();
    known.delete(key);
  }
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = known.get(key);
    if (!child) {
      child = make(item);
      known.set(key, child);
    }
    if (child === place) place = place.nextSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
}

const NONE = "–";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  if (!isNumber(value)) return NONE;
  return Math.round(value).toLocaleString("en");
}

/** At most three digits that count, for rates and loads. */
export function amount(value) {
  if (!isNumber(value)) return NONE;
  if (value === 0) return "0";
  if (value >= 100) return count(value);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function bytes(value) {
  if (!isNumber(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let place = 0;
  while (value >= 1024 && place < units.length - 1) {
    value /= 1024;
    place += 1;
  }
  return `${place === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[place]}`;
}

/** A latency, with the unit that suits it. */
export function latency(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds === 0) return "0 ms";
  if (seconds < 0.001) return `${Math.round(seconds * 1_000_000)} µs`;
  if (seconds < 1) return `${amount(seconds * 1_000)} ms`;
  return `${amount(seconds)} s`;
}

/** With its unit, where there is something that has one. */
export function withUnit(text, unit) { return text === NONE ? NONE : text + unit; }

/** A time span in words. */
export function span(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3_600).toFixed(1)} h`;
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function clock(milliseconds, withSeconds = true) {
  return new Date(milliseconds).toLocaleTimeString("en-GB", {
    hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined,
  });
}

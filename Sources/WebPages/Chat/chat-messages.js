/**
 * The list of messages: only what is near the viewport is in the document, and what is being read
 * stays where it is, whatever changes above or below it.
 *
 * Coordinates: a row's place in the model is the sum of the heights above it. The scroll offset
 * that shows it is `place + origin`: `origin` takes up changes of height above the viewport, so
 * that a running scroll is not disturbed by writing `scrollTop`. It returns to zero (`settle`)
 * when the scrolling rests or the upper edge comes near.
 *
 * Per frame: at most one screen and its overscan are drawn and measured, whatever the length.
 */
import { element, oncePerFrame } from "./chat-dom.js";
import { Heights } from "./chat-heights.js";
import { Rows } from "./chat-rows.js";

const overscanPixels = 500;
const jumpOverscanPixels = 50;
const endMarginPixels = 12;
const scrollRestMilliseconds = 120;
const renderPassesMax = 4;

export class MessageList {
  rows = new Rows();
  #scroller;
  #painter;
  #onRange;
  #canvas = element("div", { class: "canvas" });
  #window = element("div", { class: "window" });
  #heights = new Heights();
  #mounted = [];
  #height = 0;
  #width = 0;
  #origin = 0;
  #isStuck = true;
  #isScrolling = false;
  #scrollTimer = 0;
  #lastTop = 0;
  #isJump = false;
  #active = null;
  #context = { unreadFrom: null, ownID: null, reachedStart: false };
  #schedule = oncePerFrame(() => this.#render());

  /** After each rendering, calls `onRange({ firstIndex, lastIndex, isAtEnd, above, below })`. */
  constructor(scroller, painter, onRange) {
    this.#scroller = scroller;
    this.#painter = painter;
    this.#onRange = onRange;
    this.#canvas.append(this.#window);
    scroller.append(this.#canvas);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.#keyPressed(event));
    scroller.addEventListener("focusin", (event) => {
      const node = event.target.closest(".row");
      this.#active = this.#mounted.find((row) => row.element === node) ?? this.#active;
    });
    new ResizeObserver(() => this.#resized()).observe(scroller);
    new ResizeObserver(() => this.#windowResized()).observe(this.#window);
  }

  get isAtEnd() {
    return this.#isStuck;
  }

  get viewportHeight() {
    return this.#height;
  }

  /** Changes the rows and shows them, keeping what is being read where it is. */
  update(change, context = {}) {
    const hold = this.#hold();
    change();
    this.#rearrange(context);
    this.#release(hold);
    this.#render();
  }

  /** Renders and reports again. */
  refresh() {
    this.#render();
  }

  /** Empties the list; the next rows are shown from their end. */
  reset(context) {
    this.rows.clear();
    this.#active = null;
    this.#origin = 0;
    this.#isStuck = true;
    this.#height = this.#scroller.clientHeight;
    this.#width = this.#scroller.clientWidth;
    this.#rearrange(context);
    this.#render();
  }

  /** Draws a row again. `keepTop`: it grows downwards, even if its upper edge is out of view. */
  redraw(row, keepTop = false) {
    const hold = keepTop
      ? { row, edge: 0, distance: this.#heights.offset(row.index) - this.#top }
      : this.#hold();
    row.change();
    this.#render(hold);
  }

  /** Draws everything again: names or the day have changed. */
  redrawAll() {
    this.update(() => this.rows.list.forEach((row) => row.change()));
  }

  scrollToEnd() {
    this.#isStuck = true;
    this.#render();
  }

  /** Shows a row with its upper edge `margin` below that of the viewport. */
  scrollToRow(row, margin) {
    this.#isStuck = false;
    this.#origin = 0;
    for (let pass = 0; pass < 2; pass += 1) {
      this.#place(this.#heights.offset(row.index) - margin);
      this.#render();
    }
    this.#isStuck = this.#distanceToEnd <= 1;
  }

  rowOfNode(node) {
    const element = node.closest(".row");
    return element && this.#mounted.find((row) => row.element === element);
  }

  focusRow(row) {
    const offset = this.#heights.offset(row.index);
    if (offset < this.#top) this.scrollToRow(row, 12);
    else if (offset + row.height > this.#top + this.#height) {
      this.scrollToRow(row, Math.max(12, this.#height - row.height - 12));
    }
    this.#active = row;
    row.element?.querySelector("article").focus({ preventScroll: true });
  }

  get #total() {
    return this.#heights.total + endMarginPixels;
  }

  /** The place in the model at the upper edge of the viewport. */
  get #top() {
    const last = Math.max(0, this.#total - this.#height);
    if (this.#isStuck) return last;
    return Math.max(0, Math.min(last, this.#scroller.scrollTop - this.#origin));
  }

  get #distanceToEnd() {
    return Math.max(0, this.#total - this.#height) - this.#top;
  }

  #rearrange(context) {
    this.#context = { ...this.#context, ...context };
    const estimate = (row) => this.#painter.estimate(row, this.#width);
    this.rows.arrange({ ...this.#context, estimate });
    this.#heights.rebuild(this.rows.list);
  }

  /**
   * What shall stay in its place: the lower edge of the row at the top of the viewport, because
   * separators and names come and go at a row's upper edge.
   */
  #hold() {
    if (this.#isStuck || this.rows.list.length === 0) return null;
    const top = this.#top;
    const row = this.rows.list[this.#heights.find(top)];
    return { row, edge: 1, distance: this.#heights.offset(row.index + 1) - top };
  }

  #release(hold) {
    if (!hold || this.rows.list[hold.row.index] !== hold.row) return;
    const top = this.#heights.offset(hold.row.index + hold.edge) - hold.distance;
    this.#origin = this.#scroller.scrollTop - top;
  }

  #render(hold = null) {
    if (this.#height === 0) return;
    // Far from the last frame, all rows are new: what lies out of view is left to a later frame.
    this.#isJump = this.#isScrolling && Math.abs(this.#top - this.#lastTop) > this.#height;
    for (let pass = 0; pass < renderPassesMax; pass += 1) {
      const kept = (pass === 0 && hold) || this.#hold();
      this.#mount();
      if (!this.#measure()) break;
      this.#release(kept);
    }
    this.#settle();
    this.#lastTop = this.#top;
    if (this.#isJump) this.#schedule();
    this.#report();
  }

  /** Brings the rows near the viewport into the document, in order, and takes the others out. */
  #mount() {
    const top = this.#top;
    const overscan = this.#isJump ? jumpOverscanPixels : overscanPixels;
    const first = this.#heights.find(top - overscan);
    const last = this.#heights.find(top + this.#height + overscan);
    const wanted = this.rows.list.slice(first, last + 1);
    const keep = new Set(wanted);
    let lostFocus = false;
    for (const row of this.#mounted) {
      if (keep.has(row)) continue;
      lostFocus ||= row.element.contains(document.activeElement);
      row.element.remove();
      row.element = null;
    }
    let next = this.#window.firstChild;
    for (const row of wanted) {
      if (row.element && row.isStale) {
        const old = row.element;
        const hadFocus = old.contains(document.activeElement);
        row.element = this.#painter.draw(row);
        if (next === old) next = row.element;
        old.replaceWith(row.element);
        if (hadFocus) row.element.querySelector("article").focus({ preventScroll: true });
      }
      row.element ??= this.#painter.draw(row);
      row.isStale = false;
      if (row.element === next) next = next.nextSibling;
      else this.#window.insertBefore(row.element, next);
    }
    this.#mounted = wanted;
    if (lostFocus) this.#scroller.focus({ preventScroll: true });
  }

  /** Takes over the heights of rows that were drawn anew. Returns whether any differed. */
  #measure() {
    let differs = false;
    for (const row of this.#mounted) {
      if (row.isMeasured) continue;
      row.isMeasured = true;
      const height = row.element.getBoundingClientRect().height;
      if (Math.abs(height - row.height) < 0.01) continue;
      this.#heights.add(row.index, height - row.height);
      row.height = height;
      differs = true;
    }
    return differs;
  }

  #settle() {
    const mayWrite = !this.#isScrolling || this.#scroller.scrollTop < 2 * this.#height;
    if (this.#isStuck || (this.#origin !== 0 && mayWrite)) this.#place(this.#top);
    else this.#draw();
  }

  /** Scrolls to a place in the model. */
  #place(top) {
    this.#origin = 0;
    this.#draw();
    const offset = Math.max(0, top);
    if (Math.abs(this.#scroller.scrollTop - offset) < 1) {
      if (!this.#isStuck) this.#origin = this.#scroller.scrollTop - offset;
    } else {
      this.#scroller.scrollTop = offset;
      const rest = this.#scroller.scrollTop - offset;
      if (!this.#isStuck && Math.abs(rest) < 1) this.#origin = rest;
    }
    if (this.#origin !== 0) this.#draw();
  }

  #draw() {
    const first = this.#mounted[0]?.index ?? 0;
    // A conversation shorter than the viewport stands at its lower edge.
    const lead = Math.max(0, this.#height - this.#total);
    const place = this.#heights.offset(first) + this.#origin + lead;
    this.#window.style.transform = `translateY(${place}px)`;
    const height = Math.max(this.#height, this.#total + this.#origin);
    this.#canvas.style.height = `${height}px`;
  }

  #report() {
    const top = this.#top;
    this.#onRange({
      firstIndex: this.#heights.find(top),
      lastIndex: this.#heights.find(top + this.#height - 1),
      isAtEnd: this.#isStuck,
      above: top,
      below: this.#distanceToEnd,
    });
  }

  #scrolled() {
    this.#isScrolling = true;
    clearTimeout(this.#scrollTimer);
    this.#scrollTimer = setTimeout(() => {
      this.#isScrolling = false;
      this.#render();
    }, scrollRestMilliseconds);
    // While the viewport changes its height, the offset does not tell what the reader wants.
    if (this.#scroller.clientHeight === this.#height) {
      const end = this.#total + this.#origin - this.#height;
      this.#isStuck = end - this.#scroller.scrollTop <= 1;
    }
    this.#schedule();
  }

  #resized() {
    const { clientHeight, clientWidth } = this.#scroller;
    const hold = this.#height ? this.#hold() : null;
    if (clientWidth !== this.#width) this.rows.list.forEach((row) => (row.isMeasured = false));
    this.#height = clientHeight;
    this.#width = clientWidth;
    this.#render(hold);
  }

  /** Rows have changed their height by themselves, for example with the size of the font. */
  #windowResized() {
    const known = this.#mounted.reduce((sum, row) => sum + row.height, 0);
    if (Math.abs(this.#window.getBoundingClientRect().height - known) < 0.5) return;
    this.#mounted.forEach((row) => (row.isMeasured = false));
    this.#render();
  }

  #keyPressed(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = this.rows.list;
    if (rows.length === 0) return;
    if (event.key === "End" || event.key === "Home") {
      event.preventDefault();
      if (event.key === "End") this.scrollToEnd();
      this.focusRow(event.key === "End" ? rows[rows.length - 1] : rows[0]);
      return;
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const step = event.key === "ArrowDown" ? 1 : -1;
    const isInside = this.#active?.element?.contains(document.activeElement);
    let target = rows[(isInside ? this.#active.index : -1) + step];
    if (!isInside) target = rows[this.#heights.find(this.#top + this.#height - 1)];
    if (isInside && this.#reachesBeyond(this.#active, step)) return;
    if (!target || (step < 0 && isInside && this.#active.index === 0)) return;
    event.preventDefault();
    this.focusRow(target);
  }

  /** A row taller than the viewport is scrolled through before the next one is reached. */
  #reachesBeyond(row, step) {
    if (row.height < this.#height) return false;
    const offset = this.#heights.offset(row.index);
    return step > 0 ? offset + row.height > this.#top + this.#height + 1 : offset < this.#top - 1;
  }
}

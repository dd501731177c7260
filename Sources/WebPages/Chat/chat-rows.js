// The rows of one conversation as values: what is shown, in which order, grouped how.
import { dayNumber } from "./chat-text.js";

const groupMilliseconds = 5 * 60_000;

/** What stands above a row, and where its group of bubbles begins and ends. */
export const shapes = { day: 1, unread: 2, first: 4, last: 8 };

/** One event, or one own message whose event did not come yet. */
class Row {
  constructor(event, outgoing, author) {
    this.key = outgoing ? `o${outgoing.id}` : `e${event.seq}`;
    this.event = event;
    this.outgoing = outgoing;
    this.author = author;
    this.time = (event ?? outgoing).time;
    this.day = dayNumber(this.time);
    this.index = 0;
    this.shape = -1;
    this.height = 0;
    this.isMeasured = false;
    this.isStale = false;
    this.isFresh = false;
    this.isExpanded = false;
    this.element = null;
  }

  get isNotice() {
    return this.event !== null && this.event.kind !== "message";
  }

  get text() {
    return (this.event ?? this.outgoing).text ?? "";
  }

  /** It looks different from now on: it is drawn and measured again when it is shown. */
  change() {
    this.isStale = true;
    this.isMeasured = false;
  }
}

/** Events ascending by sequence number, then the outgoing messages in the order of sending. */
export class Rows {
  list = [];
  #eventCount = 0;

  get firstSeq() {
    return this.#eventCount ? this.list[0].event.seq : null;
  }

  get lastSeq() {
    return this.#eventCount ? this.list[this.#eventCount - 1].event.seq : null;
  }

  get eventCount() {
    return this.#eventCount;
  }

  clear() {
    this.list = [];
    this.#eventCount = 0;
  }

  /** The place of the first event whose sequence number is not below `seq`. */
  position(seq) {
    let low = 0;
    let high = this.#eventCount;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.list[middle].event.seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  rowOf(seq) {
    const row = this.list[this.position(seq)];
    return row?.event?.seq === seq ? row : null;
  }

  /** Adds the events that are not there yet. */
  merge(events, isFresh = false) {
    const firstSeq = this.firstSeq ?? Infinity;
    const older = events.filter((event) => event.seq < firstSeq && firstSeq !== Infinity);
    const rowFor = (event) => Object.assign(new Row(event, null, event.author), { isFresh });
    this.list.unshift(...older.map(rowFor));
    this.#eventCount += older.length;
    for (const event of events.slice(older.length)) {
      if (!this.rowOf(event.seq)) this.#insert(rowFor(event));
    }
  }

  /** Puts other events in the place of all; rows of events that stay are kept. */
  replace(events) {
    const kept = new Map(this.list.slice(0, this.#eventCount).map((row) => [row.event.seq, row]));
    const outgoing = this.list.slice(this.#eventCount);
    const rows = events.map((event) => kept.get(event.seq) ?? new Row(event, null, event.author));
    this.list = [...rows, ...outgoing];
    this.#eventCount = rows.length;
  }

  #insert(row) {
    this.list.splice(this.position(row.event.seq), 0, row);
    this.#eventCount += 1;
  }

  outgoingRow(id) {
    for (let index = this.#eventCount; index < this.list.length; index += 1) {
      if (this.list[index].outgoing.id === id) return this.list[index];
    }
    return null;
  }

  addOutgoing(outgoing, author, isFresh = false) {
    if (this.outgoingRow(outgoing.id)) return;
    if (outgoing.seq !== null && this.rowOf(outgoing.seq)) return;
    this.list.push(Object.assign(new Row(null, outgoing, author), { isFresh }));
  }

  removeOutgoing(id) {
    const row = this.outgoingRow(id);
    if (row) this.list.splice(this.list.indexOf(row), 1);
    return row;
  }

  moveToEnd(row) {
    this.removeOutgoing(row.outgoing.id);
    this.list.push(row);
  }

  /** The row of an outgoing message becomes that of its event: one bubble from the click on. */
  adopt(event, outgoing) {
    const row = this.removeOutgoing(outgoing.id);
    if (!row || this.rowOf(event.seq)) return this.merge([event]);
    row.event = event;
    row.outgoing = null;
    row.time = event.time;
    row.day = dayNumber(event.time);
    row.change();
    return this.#insert(row);
  }

  /** Numbers the rows and finds what stands above each; `estimate` gives new ones a height. */
  arrange({ unreadFrom, ownID, reachedStart, estimate }) {
    let previous = null;
    let unreadPlaced = unreadFrom === null;
    const close = (row, shape) => {
      if (row.shape === shape) return;
      row.shape = shape;
      row.change();
      row.height = estimate(row);
    };
    let previousShape = 0;
    this.list.forEach((row, index) => {
      row.index = index;
      let shape = 0;
      if (previous ? previous.day !== row.day : reachedStart) shape |= shapes.day;
      if (!unreadPlaced && row.event?.seq >= unreadFrom) {
        unreadPlaced = index === 0 && row.event.seq > unreadFrom && !reachedStart;
        if (!unreadPlaced && row.author !== ownID && !row.isNotice) {
          shape |= shapes.unread;
          unreadPlaced = true;
        }
      }
      const isFirst = shape !== 0 || !previous || previous.isNotice || row.isNotice
        || previous.author !== row.author || row.time - previous.time > groupMilliseconds;
      if (isFirst) shape |= shapes.first;
      if (previous) close(previous, isFirst ? previousShape | shapes.last : previousShape);
      previous = row;
      previousShape = shape;
    });
    if (previous) close(previous, previousShape | shapes.last);
  }
}

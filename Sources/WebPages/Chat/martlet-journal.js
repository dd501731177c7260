/**
 * Gathers what changed until the end of the task, then tells of it once and writes it in one
 * transaction: events and, behind them, the cursor that stands after them.
 */
export class Journal {
  #store;
  #on;
  #batch = emptyBatch();
  #isScheduled = false;
  #writing = null;

  /** @param {object} on `row(id)`: a conversation's row or nothing; `onChanged(id)` */
  constructor(store, on) {
    this.#store = store;
    this.#on = on;
  }

  touch(id) {
    this.#batch.touched.add(id);
    this.#schedule();
  }

  add(events) {
    if (this.#store.isUsable) this.#batch.events.push(...events);
    this.#schedule();
  }

  cursor(cursor) {
    this.#batch.cursor = cursor;
    this.#schedule();
  }

  reset(id) {
    this.#dropEvents(id);
    this.#batch.resets.add(id);
    this.touch(id);
  }

  leave(id) {
    this.#dropEvents(id);
    this.#batch.touched.delete(id);
    this.#batch.left.add(id);
    this.#schedule();
  }

  clear() {
    this.#batch = emptyBatch();
  }

  /** Resolves when everything up to now is in the database. */
  async flush() {
    this.#tell();
    while (!isEmpty(this.#batch) || this.#writing) {
      await (this.#writing ??= this.#write().finally(() => { this.#writing = null; }));
    }
  }

  #dropEvents(id) {
    this.#batch.events = this.#batch.events.filter(({ conversation }) => conversation !== id);
  }

  #schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }

  #tell() {
    const { touched, changed } = this.#batch;
    this.#batch.touched = new Set();
    for (const id of touched) {
      changed.add(id);
      this.#on.onChanged(id);
    }
  }

  async #write() {
    while (!isEmpty(this.#batch)) {
      this.#tell();
      const { changed, events, cursor, resets, left } = this.#batch;
      for (const { conversation } of events) changed.add(conversation);
      const rows = [...changed].map((id) => this.#on.row(id)).filter(Boolean);
      this.#batch = emptyBatch();
      await this.#store.write({ rows, events, cursor, resets, left });
    }
  }
}

function emptyBatch() {
  return {
    touched: new Set(), changed: new Set(), events: [], cursor: null, resets: new Set(),
    left: new Set(),
  };
}

function isEmpty({ touched, changed, events, cursor, resets, left }) {
  return touched.size + changed.size + events.length + resets.size + left.size === 0 && !cursor;
}

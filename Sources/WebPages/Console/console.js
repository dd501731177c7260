// The operators' console: asks the node that serves it, shows, and changes nothing.

import { Console } from "./console-data.js";
import { clock, setAttribute, setText, span } from "./console-dom.js";
import { ProblemsView } from "./console-list.js";
import { joinModel } from "./console-model.js";
import { MoveProgress, MovesView } from "./console-moves.js";
import { NodesView } from "./console-nodes.js";
import { PartitionsView } from "./console-partitions.js";
import { PlotsView } from "./console-plots.js";
import { findProblems } from "./console-problems.js";
import { RingView } from "./console-ring.js";

const STALE_MILLISECONDS = 8_000;

const byID = (id) => document.getElementById(id);

const source = new Console(() => schedule());
const progress = new MoveProgress();
const problemsView = new ProblemsView(byID("problems"));
const nodesView = new NodesView(byID("nodes"));
const views = [
  new MovesView(byID("moves"), progress),
  new RingView(byID("ring"), (key) => nodesView.choose(key)),
  nodesView, new PartitionsView(byID("partitions")),
];
const plotsView = new PlotsView(byID("plots"));

let isScheduled = false;
let progressAt = null;

/** Answers of several nodes come together: they are shown together. */
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    render();
  });
}

function render() {
  const model = joinModel(source);
  if (model && source.ringAt !== progressAt) {
    progressAt = source.ringAt;
    progress.take(model.ring, source.ringAt);
  }
  for (const view of views) view.update(model);
  plotsView.update(source, model);
  const hasAnswer = model || source.serverError !== null || source.coordinatorError !== null;
  if (hasAnswer) {
    const number = problemsView.update(findProblems(source, model, progress));
    const title = number > 0 ? `(${number}) Martlet console` : "Martlet console";
    if (document.title !== title) document.title = title;
  }
  renderHead(model);
}

function renderHead(model) {
  const whole = byID("whole");
  const isKnown = model && source.coordinatorError === null && source.serverError === null;
  setAttribute(whole, "data-whole", isKnown ? String(model.ring.whole) : "unknown");
  const isMoving = isKnown && model.ring.change !== null;
  setAttribute(whole, "data-moving", String(isMoving));
  if (isKnown && model.ring.whole) setText(whole, "The ring is whole");
  else if (isKnown) setText(whole, `The ring is not whole${isMoving ? ": it changes" : ""}`);
  else setText(whole, model || source.ringAt ? "Not known now" : "Asking …");
  setText(byID("cluster"), model?.ring.clusterID ?? "");
  const isAway = source.serverError !== null;
  const banner = byID("banner");
  setAttribute(banner, "hidden", !isAway && source.coordinatorError === null);
  if (isAway) {
    setText(banner, `The node that serves this page does not answer (${source.serverError}). `
      + `Asking again in ${span(source.retrySeconds)}.`);
  } else if (source.coordinatorError !== null) {
    setText(banner, "The coordinator cannot be asked: the ring is shown as it was "
      + `${source.ringAt ? `at ${clock(source.ringAt)}` : "never seen"}; what nodes say of `
      + "themselves is new.");
  }
  renderAge();
}

function renderAge() {
  const age = byID("age");
  if (source.ringAt === null) return;
  const milliseconds = Date.now() - source.ringAt;
  setAttribute(age, "data-stale", String(milliseconds > STALE_MILLISECONDS));
  setText(age, `Ring as of ${clock(source.ringAt)}, ${span(milliseconds / 1_000)} ago`);
}

setInterval(() => { if (!document.hidden) renderHead(joinModel(source)); }, 1_000);
source.start();

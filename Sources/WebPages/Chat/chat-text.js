// Words: sizes, links, names, times, notices and errors.
import { element } from "./chat-dom.js";

export const messageBytesMax = 65_536;
const titleBytesMax = 256;
const displayNameBytesMax = 128;
const membersPerRequestMax = 256;

const encoder = new TextEncoder();

/** The bytes of a text in UTF-8. */
export const utf8Bytes = (text) => encoder.encode(text).length;

// Characters that turn the direction of text end a link: they could disguise where it leads.
const linkPattern =
  /\bhttps?:\/\/[^\s<>"`\u0000-\u001f\u200e\u200f\u202a-\u202e\u2066-\u2069]+/giu;
const closers = { ")": "(", "]": "[", "}": "{" };

/** Without the sentence's punctuation; a closing bracket stays if it was opened inside. */
export function trimmedLink(link) {
  const count = (character, end) => link.slice(0, end).split(character).length - 1;
  let end = link.length;
  for (; end > 0; end -= 1) {
    const last = link[end - 1];
    const opener = closers[last];
    if (opener ? count(last, end) <= count(opener, end) : !/[.,;:!?'’”»…*_]/.test(last)) break;
  }
  return link.slice(0, end);
}

function isLink(text) {
  try {
    const url = new URL(text);
    return (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "";
  } catch {
    return false;
  }
}

/** A message's text with its http and https addresses as links. */
export function linkified(text) {
  const fragment = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(linkPattern)) {
    const link = trimmedLink(match[0]);
    if (!isLink(link)) continue;
    fragment.append(
      text.slice(end, match.index),
      element("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, link),
    );
    end = match.index + link.length;
  }
  fragment.append(text.slice(end));
  return fragment;
}

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekdayFormat = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const dateFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const oldDateFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const dayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const relativeFormat = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const namesFormat = new Intl.ListFormat("en", { type: "conjunction" });
export const numberFormat = new Intl.NumberFormat();

export const timeText = (time) => timeFormat.format(time);
export const fullTimeText = (time) => fullFormat.format(time);

/** The number of the local day that holds a time, counted in days since 1970. */
export function dayNumber(time) {
  const date = new Date(time);
  return Math.round(Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / 86_400_000);
}

export function dayText(time) {
  const distance = dayNumber(time) - dayNumber(Date.now());
  if (distance !== 0 && distance !== -1) return dayFormat.format(time);
  const text = relativeFormat.format(distance, "day");
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}

/** A time as the list of conversations shows it: the nearer, the finer. */
export function shortTimeText(time) {
  const distance = dayNumber(Date.now()) - dayNumber(time);
  if (distance <= 0) return timeFormat.format(time);
  if (distance < 7) return weekdayFormat.format(time);
  return (distance < 300 ? dateFormat : oldDateFormat).format(time);
}

/** A conversation's name: a group's title or those who are in it. */
export function titleOf(client, conversation) {
  if (conversation.title) return conversation.title;
  const others = conversation.members.filter((member) => member.id !== client.user?.id);
  const names = (others.length ? others : conversation.members).map((member) => member.handle);
  if (names.length > 4) return `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`;
  return names.length ? namesFormat.format(names) : "Conversation";
}

/** What happened, as a list of strings and, where a name or title stands, of `{ name }`. */
export function noticeParts(client, event) {
  const nameOf = (member) => {
    const id = typeof member === "string" ? member : member.id;
    if (id === client.user?.id) return "you";
    return (typeof member === "string" ? null : member.handle) || client.nameOf(id);
  };
  const names = (members) => {
    const shown = members.slice(0, 8).map(nameOf);
    if (members.length > 8) shown.push(`${members.length - 8} others`);
    return namesFormat
      .formatToParts(shown)
      .map(({ type, value }) => (type === "element" ? { name: value } : value));
  };
  const own = event.author === client.user?.id;
  const author = own ? "You" : { name: client.nameOf(event.author) };
  const added = event.added ?? [];
  const removed = event.removed ?? [];
  if (event.kind === "created") {
    if (event.title) return [author, " created the group “", { name: event.title }, "”"];
    return [author, " started the conversation"];
  }
  if (event.kind === "titleChanged") {
    if (!event.title) return [author, " removed the title"];
    return [author, " changed the title to “", { name: event.title }, "”"];
  }
  if (event.kind !== "membersChanged") return ["Something happened that this page cannot show"];
  const idOf = (member) => (typeof member === "string" ? member : member.id);
  if (!added.length && removed.length === 1 && idOf(removed[0]) === event.author) {
    return [author, " left"];
  }
  const parts = [author];
  if (added.length) parts.push(" added ", ...names(added));
  if (added.length && removed.length) parts.push(" and");
  if (removed.length) parts.push(" removed ", ...names(removed));
  return parts;
}

export const noticeNodes = (parts) =>
  parts.map((part) => (typeof part === "string" ? part : element("bdi", {}, part.name)));

/** An event in one line, cut to what a list can show. */
export function eventPreview(client, event, isGroup) {
  if (event.kind !== "message") {
    return noticeParts(client, event).map((part) => part.name ?? part).join("");
  }
  const text = event.text.slice(0, 200).replace(/\s+/gu, " ");
  if (event.author === client.user?.id) return `You: ${text}`;
  return isGroup ? `${client.nameOf(event.author)}: ${text}` : text;
}

/** What went wrong, in plain words; `words` says what a code means where it happened. */
export function errorText(error, words = {}) {
  const code = error?.code;
  if (words[code]) return words[code];
  if (code === "RESOURCE_EXHAUSTED" && error.retryable) {
    return "The service is overloaded. Try again in a moment.";
  }
  if (code === "UNAVAILABLE") return "The service cannot be reached. Try again in a moment.";
  if (code === "DEADLINE_EXCEEDED") return "No answer came in time. Try again.";
  if (code === "INTERNAL" || !error?.message) return "Something went wrong. Try again.";
  const message = error.message;
  const end = /[.!?]$/.test(message) ? "" : ".";
  return message.charAt(0).toUpperCase() + message.slice(1) + end;
}

export const normalHandle = (text) => text.trim().replace(/^@/, "").toLowerCase();

export function handleProblem(handle) {
  if (handle === "") return "Enter a handle.";
  if (!/^[a-z0-9_.-]+$/.test(handle)) return "A handle has only a–z, digits, “_”, “-” and “.”.";
  return handle.length < 3 || handle.length > 32 ? "A handle has 3 to 32 characters." : "";
}

export function passwordProblem(password) {
  if (password === "") return "Enter a password.";
  const bytes = utf8Bytes(password);
  if (bytes < 8) return "A password has at least 8 characters.";
  return bytes > 1024 ? "A password has at most 1,024 bytes." : "";
}

export const displayNameProblem = (name) =>
  utf8Bytes(name) > displayNameBytesMax ? "This name is too long: at most 128 bytes." : "";

export function titleProblem(title) {
  if (title === "") return "Enter a title.";
  return utf8Bytes(title) > titleBytesMax ? "This title is too long: at most 256 bytes." : "";
}

/** Handles that were typed with spaces or commas between them, each once. */
export function parsedHandles(text) {
  return [...new Set(text.split(/[\s,;]+/u).filter(Boolean).map(normalHandle))];
}

export function handlesProblem(handles) {
  if (handles.length === 0) return "Enter at least one handle.";
  if (handles.length > membersPerRequestMax) return "At most 256 people at a time.";
  const wrong = handles.find((handle) => handleProblem(handle) !== "");
  return wrong === undefined ? "" : `“${wrong}” is no handle: 3 to 32 of a–z, digits, “_-.”.`;
}

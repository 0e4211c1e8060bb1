// The documents of a collection, what they cost, and how adding goes.

import * as api from "./api.js";
import { ask, button, bytes, count, h, icon, moment, seconds, toast } from "./dom.js";
import { address, changed, loadCollections, loadCurrent, reload, state } from "./state.js";

const STATES = { waiting: "waiting", reading: "reading", compressing: "compressing", stored: "added", added: "added",
  replaced: "replaced", unchanged: "unchanged", skipped: "skipped", cancelled: "cancelled" };
const ENDED = ["done", "failed", "cancelled"];

export function documents(pick) {
  const current = state.current;
  const jobs = [...state.jobs.values()].filter((job) => job.collection === current.name && !job.hidden).reverse();
  return h("section", { class: "documents scroll" },
    h("dl", { class: "cards" },
      card("Documents", current.documents.toLocaleString("en")), card("Windows", current.windows.toLocaleString("en")),
      card("On disk", bytes(current.bytes)), card("Tokens of text", current.tokens.toLocaleString("en")),
      card("Reading took", current.seconds === null ? "–" : seconds(current.seconds)), card("Ratio", `${current.ratio} : 1`)),
    current.expiry ? h("p", { class: "note" }, icon("clock"), `Gone by itself on ${moment(current.expiry.at)}${current.expiry.renew ? ", later if it is asked" : ""}.`) : null,
    h("div", { class: "drop" }, icon("upload"), h("p", {}, h("strong", {}, "Drop files or folders here"), h("br"), "Text, Markdown, HTML, PDF, Word. A changed file replaces the one of its name."),
      h("div", { class: "row" }, button("document", "Choose files", () => pick(false), { kind: "primary" }), button("folder", "Choose a folder", () => pick(true), { kind: "quiet" }))),
    jobs.map(progress),
    h("ul", { class: "files", "aria-label": "Documents" }, current.items.map((each) => h("li", {},
      h("a", { href: address(current.name, each.id) }, icon("document"), h("span", {}, each.id)),
      h("span", { class: "small" }, `${count(each.windows, "window")} · ${count(each.tokens, "token")}`),
      button("remove", `Remove ${each.id}`, () => removeOne(each.id), { bare: true })))));
}

const card = (label, value) => h("div", {}, h("dt", {}, label), h("dd", {}, value));

function progress(job) {
  const over = (file) => !["waiting", "reading", "compressing"].includes(file.state);
  const done = job.files.filter(over).length, ended = ENDED.includes(job.state);
  const skipped = job.files.filter((file) => file.state === "skipped");
  const title = ended ? { done: "Added", failed: "Adding failed", cancelled: "Stopped" }[job.state] : `Adding ${count(job.files.length, "file")}`;
  const order = [...skipped, ...job.files.filter((file) => file.state !== "skipped")];
  const shown = job.files.length > 200 ? order.filter((file) => !["added", "unchanged"].includes(file.state)).slice(0, 200) : order;
  return h("section", { class: "job", "aria-label": title },
    h("div", { class: "row between" }, h("h3", {}, title),
      ended ? button("close", "Hide", () => { job.hidden = true; changed("jobs"); }, { bare: true })
        : button("stop", "Stop", () => api.cancelJob(job.id).catch((error) => toast(error.message, "bad")), { kind: "quiet small" })),
    h("progress", { max: Math.max(1, job.files.length), value: done, "aria-label": title }),
    h("p", { class: "small", role: "status" }, `${done} of ${job.files.length} · ${count(job.tokens, "token")} compressed · ${seconds(job.seconds)}${skipped.length ? ` · ${skipped.length} skipped` : ""}`),
    job.error ? h("p", { class: "problem" }, job.error) : null,
    h("ul", { class: "states" }, shown.map((file) => h("li", { class: file.state }, h("span", { class: "name" }, file.id), h("span", { class: "badge" }, STATES[file.state]), file.reason ? h("span", { class: "small why" }, file.reason) : null))));
}

async function removeOne(id) {
  const name = state.current.name;
  if (!(await ask({ title: "Remove this document?", text: `${id} is taken out of ${name}, with its memories. The file it came from stays where it is.`, yes: "Remove", danger: true }))) return;
  try {
    await api.removeDocument(name, id);
    toast(`${id} was removed.`);
    await reload();
  } catch (error) { toast(error.message, "bad"); }
}

/** Upload files into a collection, in parts that the server takes, and follow how they are added. */
export async function add(name, files) {
  const limits = state.status?.limits ?? { file_bytes: 2 ** 26, files: 1000, request_bytes: 2 ** 28 };
  const large = files.filter(({ file }) => file.size > limits.file_bytes);
  for (const { path } of large) toast(`${path} is larger than ${bytes(limits.file_bytes)} and was left out.`, "bad");
  const rest = files.filter(({ file }) => file.size <= limits.file_bytes);
  let part = [], size = 0;
  const parts = [];
  for (const each of rest) {
    if (part.length && (part.length >= Math.min(200, limits.files) || size + each.file.size > limits.request_bytes * 0.9)) { parts.push(part); part = []; size = 0; }
    part.push(each);
    size += each.file.size;
  }
  if (part.length) parts.push(part);
  for (const each of parts) {
    try {
      const job = await api.upload(name, each);
      state.jobs.set(job.id, job);
      changed("jobs");
      await follow(job.id);
    } catch (error) { toast(error.message, "bad"); return; }
  }
}

/** Follow a job to its end. */
export async function follow(id) {
  let seen = 0;
  for await (const [, job] of api.follow(id)) {
    state.jobs.set(id, { ...job, hidden: state.jobs.get(id)?.hidden });
    changed("jobs");
    const now = job.files.filter((file) => ["stored", "added"].includes(file.state)).length;
    if (ENDED.includes(job.state) || now - seen >= 5 || !state.collections.some((each) => each.name === job.collection)) {
      seen = now;
      await loadCollections();
      if (state.current?.name === job.collection || (!state.current && location.hash.startsWith(address(job.collection)))) {
        if (state.collections.some((each) => each.name === job.collection)) await loadCurrent(job.collection);
      }
    }
  }
}

/** Files and folders that were dropped, with their paths. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const files = [];
  const read = async (entry, prefix) => {
    if (entry.name.startsWith(".")) return;
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      files.push({ file, path: `${prefix}${entry.name}` });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const each of some) await read(each, `${prefix}${entry.name}/`);
    }
  };
  for (const entry of entries) await read(entry, "");
  return files;
}

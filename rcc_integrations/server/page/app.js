// The page: collections on the left, the conversation in the middle, a document on the right.

import * as api from "./api.js";
import { ask, button, h, icon, toast } from "./dom.js";
import { add, documents, dropped, follow } from "./documents.js";
import { newName, sidebar } from "./sidebar.js";
import { address, changed, listen, loadCollections, loadCurrent, loadStatus, place, reload, state } from "./state.js";
import { conversation } from "./talk.js";
import { viewer } from "./viewer.js";

const element = (id) => document.getElementById(id);
const side = element("side"), main = element("main"), pane = element("document");

function drawSide() {
  const focused = side.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  side.replaceChildren(...sidebar(create));
  if (focused) [...side.querySelectorAll("a")].find((each) => each.getAttribute("href") === focused)?.focus();
}

function drawMain() {
  const current = state.current;
  element("bar-title").textContent = current ? current.name : "RCC";
  document.title = current ? `${current.name} · RCC` : "RCC · ask your documents";
  if (!current) {
    main.replaceChildren(welcome());
    return;
  }
  const tab = (id, label) => h("button", { type: "button", role: "tab", id: `tab-${id}`, "aria-selected": String(state.tab === id), "aria-controls": "panel", tabindex: state.tab === id ? 0 : -1, onclick: () => { state.tab = id; drawMain(); element(`tab-${id}`)?.focus(); } }, label);
  const tabs = h("div", { role: "tablist", class: "tabs", "aria-label": "View", onkeydown: (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    state.tab = state.tab === "ask" ? "documents" : "ask";
    drawMain();
    element(`tab-${state.tab}`).focus();
  } }, tab("ask", "Ask"), tab("documents", `Documents (${current.documents})`));
  main.replaceChildren(
    h("header", { class: "head" }, h("h1", {}, current.name), tabs,
      h("div", { class: "row tools" },
        button("clock", "When it is gone", () => expire(current.name), { bare: true }),
        button("edit", `Rename ${current.name}`, () => rename(current.name), { bare: true }),
        button("remove", `Remove ${current.name}`, () => drop(current.name), { bare: true }))),
    h("div", { id: "panel", role: "tabpanel", "aria-labelledby": `tab-${state.tab}` }, state.tab === "ask" ? conversation() : documents((folder) => pick(current.name, folder))));
  if (state.tab === "ask" && matchMedia("(min-width: 900px)").matches) element("question")?.focus();
}

function welcome() {
  return h("section", { class: "welcome" },
    h("img", { src: "/page/icon.svg", alt: "", width: 64, height: 64 }),
    h("h1", {}, "Ask your documents"),
    h("p", {}, "Files are read once and kept as compressed memory on this machine. From then on, questions are answered at once, with the place where the answer stands. Nothing leaves this server."),
    h("div", { class: "drop" }, icon("upload"), h("p", {}, h("strong", {}, "Drop files or folders here"), h("br"), "Text, Markdown, HTML, PDF, Word"),
      h("div", { class: "row" }, button("document", "Choose files", () => create(), { kind: "primary" }))),
    state.collections.length ? h("p", { class: "small" }, "Or choose a collection to ask.") : null);
}

function pick(name, folder) {
  const input = h("input", { type: "file", multiple: true, hidden: true, id: "files" });
  if (folder) input.webkitdirectory = true;
  input.addEventListener("change", () => {
    put(name, [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
    input.remove();
  });
  document.body.append(input);
  input.click();
}

function put(name, files) {
  if (!files.length) return;
  state.tab = "documents";
  if (state.current?.name === name) drawMain();
  else location.hash = address(name);
  add(name, files).catch((error) => toast(error.message, "bad"));
}

async function create(files = null) {
  const chosen = await newName(state.collections);
  if (!chosen) return;
  if (Array.isArray(files)) put(chosen.name, files);
  else pick(chosen.name, false);
}

async function tried(work, done) {
  try {
    const result = await work();
    if (done) toast(done);
    return result;
  } catch (error) {
    toast(error.message, "bad");
    return null;
  }
}

async function rename(name) {
  const given = await ask({ title: `Rename ${name}`, fields: [{ name: "name", label: "New name", value: name }], yes: "Rename" });
  if (!given?.name || given.name === name) return;
  const renamed = await tried(() => api.change(name, { name: given.name }), `${name} is called ${given.name} now.`);
  if (!renamed) return;
  state.talks.set(given.name, state.talks.get(name) ?? []);
  state.talks.delete(name);
  await loadCollections();
  location.hash = address(given.name);
}

async function drop(name) {
  const sure = await ask({ title: `Remove ${name}?`, text: "All its documents and memories are removed from the store. The files they came from stay where they are. This cannot be undone.", yes: "Remove", danger: true });
  if (!sure) return;
  await tried(() => api.drop(name), `${name} was removed.`);
  state.talks.delete(name);
  location.hash = "#/";
  await reload();
}

async function expire(name) {
  const given = await ask({ title: `When is ${name} gone?`, text: "A collection may remove itself, with all its documents.",
    fields: [{ name: "ttl", label: "After", options: [["", "never"], ["1d", "a day"], ["7d", "a week"], ["30d", "30 days"], ["365d", "a year"]] }, { name: "renew", label: "Every question begins that time anew", type: "checkbox" }], yes: "Set" });
  if (!given) return;
  if (await tried(() => api.change(name, { ttl: given.ttl, renew: given.renew }), given.ttl ? "It will be gone by itself." : "It stays.")) await reload();
}

let going = 0;
async function go() {
  const wanted = place(), turn = ++going;
  element("menu").setAttribute("aria-expanded", "false");
  document.body.classList.remove("menu");
  if (wanted.collection !== (state.current?.name ?? null)) {
    if (wanted.collection && !state.collections.some((each) => each.name === wanted.collection)) {
      // It may just be in the making.
      state.current = [...state.jobs.values()].some((job) => job.collection === wanted.collection) || state.tab === "documents"
        ? { name: wanted.collection, documents: 0, windows: 0, bytes: 0, tokens: 0, seconds: null, ratio: "–", items: [], expiry: null } : null;
      changed("current");
    } else await tried(() => loadCurrent(wanted.collection));
  }
  if (turn === going) await viewer(pane, wanted);
}

listen((what) => {
  drawSide();
  if (what === "current") { if (!(state.tab === "ask" && element("question")?.closest(".ask") && main.querySelector("h1")?.textContent === state.current?.name)) kept(drawMain); else drawTabs(); }
  if (what === "jobs" && state.tab === "documents" && state.current) kept(drawMain);
});

/** Draw anew, and leave the keyboard and what was scrolled to where they are. */
function kept(draw) {
  const scrolled = [...main.querySelectorAll(".scroll, .states")].map((each) => each.scrollTop);
  const active = main.contains(document.activeElement) ? document.activeElement : null;
  const same = (each) => each.tagName === active.tagName && each.id === active.id && each.textContent === active.textContent && each.getAttribute("href") === active.getAttribute("href");
  draw();
  [...main.querySelectorAll(".scroll, .states")].forEach((each, number) => { each.scrollTop = scrolled[number] ?? 0; });
  if (active && active.tagName !== "MAIN") [...main.querySelectorAll("a, button, input, textarea")].find(same)?.focus({ preventScroll: true });
}

/** Leave a conversation alone while its collection grows. */
function drawTabs() {
  const label = element("tab-documents");
  if (label) label.textContent = `Documents (${state.current.documents})`;
}

addEventListener("hashchange", go);
element("menu").addEventListener("click", () => {
  const open = document.body.classList.toggle("menu");
  element("menu").setAttribute("aria-expanded", String(open));
  if (open) side.querySelector("a, button")?.focus();
});
element("veil").addEventListener("click", () => { document.body.classList.remove("menu"); element("menu").setAttribute("aria-expanded", "false"); });
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (document.body.classList.contains("menu")) { element("veil").click(); element("menu").focus(); }
    else if (!pane.hidden) { location.hash = address(place().collection); element("question")?.focus(); }
  }
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "")) { event.preventDefault(); element("question")?.focus(); }
});
for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const files = await dropped(event.dataTransfer);
  if (!files.length) return;
  if (state.current) put(state.current.name, files);
  else create(files);
});

async function begin() {
  drawSide();
  drawMain();
  await tried(loadCollections);
  await go();
  document.body.classList.add("ready");
  await tried(loadStatus);
  for (const job of (await tried(api.jobs)) ?? []) {
    if (["waiting", "running"].includes(job.state)) { state.jobs.set(job.id, job); follow(job.id).catch(() => {}); }
  }
  const wait = async () => { if (!state.status?.ready && !state.status?.model_error) { await tried(loadStatus); setTimeout(wait, 1000); } };
  wait();
}

begin();

// A document, opened at the cited span.

import * as api from "./api.js";
import { button, count, h } from "./dom.js";
import { address } from "./state.js";

let shownNow = "";

export async function viewer(root, { collection, document: id, start, end }) {
  const wanted = `${collection}\n${id}\n${start}\n${end}`;
  if (!collection || id === null) {
    root.hidden = true;
    root.replaceChildren();
    shownNow = "";
    document.body.classList.remove("reading");
    return;
  }
  if (wanted === shownNow) return;
  shownNow = wanted;
  const close = () => { location.hash = address(collection); };
  const head = (small) => h("header", {}, h("div", {}, h("h2", {}, id), h("p", { class: "small" }, small)), button("close", "Close the document", close, { bare: true }));
  root.hidden = false;
  document.body.classList.add("reading");
  root.replaceChildren(head("…"));
  try {
    const found = await api.getDocument(collection, id);
    if (shownNow !== wanted) return;
    // Positions count characters; JavaScript's strings count UTF-16 units.
    const characters = start === null ? null : [...found.text];
    const text = h("div", { class: "text", tabindex: 0, role: "document", "aria-label": `Text of ${id}` });
    if (characters === null || !(start >= 0 && end > start && end <= characters.length)) text.append(found.text);
    else text.append(characters.slice(0, start).join(""), h("mark", { id: "cited" }, characters.slice(start, end).join("")), characters.slice(end).join(""));
    const facts = [count(found.characters, "character"), found.metadata.kind, found.metadata.pages ? count(found.metadata.pages, "page") : null, found.metadata.title].filter(Boolean);
    root.replaceChildren(head(facts.join(" · ")), text);
    text.querySelector("#cited")?.scrollIntoView({ block: "center" });
    text.focus({ preventScroll: true });
  } catch (error) {
    root.replaceChildren(head(""), h("p", { class: "problem" }, error.message));
  }
}

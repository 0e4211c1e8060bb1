// Collections, on the left.

import { ask, button, count, h } from "./dom.js";
import { address, state } from "./state.js";

export function sidebar(onNew) {
  const adding = (name) => [...state.jobs.values()].find((job) => job.collection === name && ["waiting", "running"].includes(job.state));
  const items = state.collections.map((each) => {
    const job = adding(each.name);
    const done = job ? job.files.filter((file) => !["waiting", "reading", "compressing"].includes(file.state)).length : 0;
    return h("li", {},
      h("a", { href: address(each.name), "aria-current": state.current?.name === each.name ? "page" : null },
        h("span", { class: "name" }, each.name),
        job
          ? h("span", { class: "small" }, h("progress", { max: job.files.length, value: done, "aria-label": `Adding to ${each.name}` }), ` ${done} of ${job.files.length}`)
          : h("span", { class: "small" }, count(each.documents, "document"))));
  });
  const status = state.status;
  const model = !status ? "" : status.model_error ? "bad" : status.ready ? "good" : "busy";
  return [
    h("div", { class: "brand" }, h("img", { src: "/page/icon.svg", alt: "", width: 28, height: 28 }), h("span", {}, "RCC"), h("span", { class: "small" }, "ask your documents")),
    h("div", { class: "row between" }, h("h2", {}, "Collections"), button("add", "New collection", onNew, { bare: true })),
    items.length ? h("ul", { class: "collections" }, items) : h("p", { class: "small pad" }, "None yet. Add files to make one."),
    h("footer", { class: "small" },
      h("span", { class: `dot ${model}`, "aria-hidden": "true" }),
      !status ? "…" : status.model_error ? `The model cannot be loaded: ${status.model_error}` : status.ready ? `${status.model.base} on ${status.model.device}` : "Loading the model …",
      h("a", { href: "/docs" }, "API")),
  ];
}

export async function newName(known) {
  const given = await ask({ title: "New collection", text: "It is made with the first file.", fields: [{ name: "name", label: "Name", value: "" }], yes: "Choose files" });
  if (!given?.name) return null;
  return { name: given.name, known: known.some((each) => each.name === given.name) };
}

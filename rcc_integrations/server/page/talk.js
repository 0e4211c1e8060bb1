// Questions and answers of a collection.

import * as api from "./api.js";
import { button, count, h, icon, seconds } from "./dom.js";
import { address, changed, state, talk } from "./state.js";

let grounded = localStorage.getItem("grounded") !== "no";

export function conversation() {
  const name = state.current.name;
  const list = h("ol", { class: "talk", "aria-label": "Conversation" }, talk(name).map((turn) => shown(name, turn)));
  const empty = h("div", { class: "hello" },
    h("h2", {}, "What would you like to know?"),
    h("p", {}, `Ask ${state.current.name}. The answer comes with the place in the documents where it stands.`));
  const box = h("textarea", { id: "question", rows: 1, "aria-label": "Your question", placeholder: `Ask ${name} …`, maxlength: 4000, autocomplete: "off" });
  const send = button("send", "Ask", () => submit(), { kind: "primary", bare: true, type: "submit" });
  const check = h("input", { type: "checkbox", id: "grounded", checked: grounded, onchange: (event) => {
    grounded = event.target.checked;
    localStorage.setItem("grounded", grounded ? "yes" : "no");
  } });
  const form = h("form", { class: "composer", onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("div", { class: "box" }, box, send),
    h("label", { class: "check small" }, check, "Answer only with words of the documents"));
  const grow = () => { box.rows = 1; box.rows = Math.min(8, Math.max(1, Math.round((box.scrollHeight - 20) / 24))); };
  box.addEventListener("input", grow);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
  });
  const root = h("section", { class: "ask" }, h("div", { class: "scroll" }, talk(name).length ? null : empty, list), form);

  async function submit() {
    const question = box.value.trim();
    if (!question) return;
    box.value = "";
    grow();
    empty.remove();
    const history = talk(name).filter((turn) => turn.answer).flatMap((turn) => [
      { role: "user", content: turn.question }, { role: "assistant", content: turn.answer.text }]).slice(-8);
    const turn = { question, text: "", answer: null, error: null, control: new AbortController() };
    talk(name).push(turn);
    let item = shown(name, turn);
    list.append(item);
    item.scrollIntoView({ block: "end" });
    const redraw = () => { const next = shown(name, turn); item.replaceWith(next); item = next; };
    try {
      for await (const [kind, data] of api.question(name, { question, history, grounded }, turn.control.signal)) {
        if (kind === "piece") {
          turn.text += data;
          item.querySelector(".answer-text").textContent = turn.text;
        } else if (kind === "answer") turn.answer = data;
      }
      if (!turn.answer) turn.error = "The answer broke off.";
    } catch (error) {
      turn.error = error.name === "AbortError" ? "Stopped." : error.message;
    }
    turn.control = null;
    redraw();
    item.scrollIntoView({ block: "nearest", behavior: "smooth" });
    changed("status");
  }

  return root;
}

function shown(name, turn) {
  return h("li", { class: "turn" },
    h("p", { class: "asked" }, turn.question),
    turn.answer ? answered(name, turn.answer) : pending(turn));
}

function pending(turn) {
  if (turn.error) return h("div", { class: "answer" }, turn.text ? h("p", { class: "answer-text" }, turn.text) : null, h("p", { class: "problem" }, turn.error));
  return h("div", { class: "answer", "aria-busy": "true" },
    h("p", { class: "answer-text", "aria-live": "polite" }, turn.text),
    h("div", { class: "row between" }, h("span", { class: "small thinking" }, "Reading from memory"), button("stop", "Stop", () => turn.control?.abort(), { kind: "quiet small" })));
}

/** Where the documents say it: verbatim spans of a grounded answer, or the places that support another. */
export function citations(answer) {
  const sources = answer.sources;
  const around = (document, start, end) => {
    const source = sources.find((each) => each.document === document && each.start <= start && end <= each.end);
    return source ? excerpt(source, start, end) : null;
  };
  if (answer.spans.length) return answer.spans.map((span) => ({ ...span, parts: around(span.document, span.start, span.end) }));
  return answer.support.filter((each) => each.score >= 0.5).slice(0, 3).map((each) => ({ ...each, parts: around(each.document, each.start, each.end) ?? ["", each.text, ""] }));
}

function excerpt(source, start, end) {
  // Positions count characters; JavaScript's strings count UTF-16 units.
  const characters = [...source.text], from = start - source.start, to = end - source.start;
  const before = characters.slice(0, from).join("").split("\n").pop(), after = characters.slice(to).join("").split("\n")[0];
  const head = before.length > 90 ? `… ${before.slice(-90).replace(/^\S*\s/, "")}` : before;
  const tail = after.length > 90 ? `${after.slice(0, 90).replace(/\s\S*$/, "")} …` : after;
  return [head, characters.slice(from, to).join(""), tail];
}

function answered(name, answer) {
  const places = answer.stated ? citations(answer) : [];
  const text = answer.stated
    ? h("p", { class: "answer-text" }, answer.text || "…")
    : h("p", { class: "answer-text unstated" }, icon("none"), "The documents do not say.");
  return h("div", { class: "answer" }, text,
    answer.refers_back ? h("p", { class: "small" }, "Asked together with the question before.") : null,
    places.length ? h("ul", { class: "places", "aria-label": "Where it stands" }, places.map((each) => place(name, each))) : null,
    answer.stated && !answer.supported ? h("p", { class: "problem soft" }, "No place in what was read says this in these words. Check it before you use it.") : null,
    answer.stated && answer.confidence !== null && answer.confidence < 0.35 ? h("p", { class: "problem soft" }, "The model is unsure: the documents may not say this at all.") : null,
    h("div", { class: "facts" },
      answer.confidence === null ? null : h("span", { class: "confidence", title: "How likely the documents say this" },
        h("meter", { min: 0, max: 1, low: 0.35, high: 0.65, optimum: 1, value: answer.confidence, "aria-label": "Confidence" }), ` ${Math.round(answer.confidence * 100)} % confident`),
      details(name, answer)));
}

function place(name, each) {
  const [before, text, after] = each.parts ?? ["", "", ""];
  return h("li", {}, h("a", { href: address(name, each.document, each.start, each.end) },
    h("span", { class: "from" }, icon("document"), each.document),
    text ? h("q", {}, before, h("mark", {}, text), after) : null));
}

function details(name, answer) {
  const usage = answer.usage, times = answer.timings;
  return h("details", {},
    h("summary", {}, `${count(answer.sources.length, "source")} · ${seconds(times.first_token)} to the first word`),
    h("ol", { class: "sources" }, answer.sources.map((source) => h("li", {},
      h("a", { href: address(name, source.document, source.start, source.end) }, source.document),
      h("p", { class: "small" }, source.text.length > 220 ? `${source.text.slice(0, 220)} …` : source.text)))),
    h("dl", { class: "costs" },
      cost("Read", `${usage.windows} of ${count(usage.windows_in_collection, "window")}`),
      cost("Memory", `${count(usage.memory_slots, "slot")} for ${count(usage.source_tokens, "token")} of text`),
      cost("Question", count(usage.question_tokens, "token")),
      cost("Answer", `${count(usage.answer_tokens, "token")}, ${answer.finish_reason === "length" ? "cut at the limit" : "to its end"}`),
      cost("First word", seconds(times.first_token)), cost("In all", seconds(times.total))));
}

const cost = (label, value) => h("div", {}, h("dt", {}, label), h("dd", {}, value));

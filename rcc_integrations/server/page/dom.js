// Elements from plain values. Text only ever becomes text: nothing of a document is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: `h("button", {class: "x", onclick: f}, "text", child, …)`. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  add: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  document: "M7 3h7l4 4v14H7zM14 3v4h4M10 12h5M10 16h5",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  folder: "M3 7h6l2 2h10v10H3z",
  remove: "M5 7h14M10 7V5h4v2M7 7l1 13h8l1-13",
  send: "M5 12h13M12 5l7 7-7 7",
  stop: "M7 7h10v10H7z",
  upload: "M12 16V5M7 10l5-5 5 5M5 19h14",
  clock: "M12 7v5l3 2M12 3a9 9 0 100 18 9 9 0 000-18z",
  none: "M12 8v5M12 16.500v.01M12 3a9 9 0 100 18 9 9 0 000-18z",
};

/** A line icon. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and a label; `bare` hides the label from sight alone. */
export function button(name, label, onclick, { bare = false, kind = "", ...more } = {}) {
  const text = h("span", { class: bare ? "sr" : null }, label);
  return h("button", { type: "button", class: `${kind} ${bare ? "icon" : ""}`.trim(), onclick, title: bare ? label : null, ...more }, icon(name), text);
}

const plain = new Intl.NumberFormat("en");

export const count = (number, noun) => `${plain.format(number)} ${noun}${number === 1 ? "" : "s"}`;

export function bytes(number) {
  if (number < 1000) return `${number} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let unit = -1;
  while (number >= 999.5 && unit < units.length - 1) { number /= 1000; unit += 1; }
  return `${number < 10 ? number.toFixed(1) : Math.round(number)} ${units[unit]}`;
}

export function seconds(number) {
  if (number < 10) return `${number.toFixed(2)} s`;
  if (number < 90) return `${number.toFixed(0)} s`;
  return `${Math.round(number / 60)} min`;
}

export function moment(since1970) {
  return new Date(since1970 * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** A short message that goes away by itself. */
export function toast(text, kind = "") {
  const shown = h("div", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), kind === "bad" ? 9000 : 4500);
}

/** Ask something in a dialog; resolves to the form's values, or null. */
export function ask({ title, text, fields = [], yes = "OK", danger = false }) {
  return new Promise((resolve) => {
    const inputs = fields.map((field) => {
      const input = field.options
        ? h("select", { name: field.name }, field.options.map(([value, label]) => h("option", { value }, label)))
        : h("input", { name: field.name, type: field.type ?? "text", value: field.value ?? "", required: true, autocomplete: "off", maxlength: 128 });
      if (field.type === "checkbox") { input.required = false; return [input, h("label", { class: "check" }, input, field.label)]; }
      return [input, h("label", {}, field.label, input)];
    });
    const form = h("form", { method: "dialog" },
      h("h2", {}, title), text ? h("p", {}, text) : null, inputs.map(([, label]) => label),
      h("div", { class: "row end" },
        h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"),
        h("button", { type: "submit", class: danger ? "danger" : "primary" }, yes)));
    const dialog = h("dialog", { "aria-label": title }, form);
    let values = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      values = Object.fromEntries(inputs.map(([input]) => [input.name, input.type === "checkbox" ? input.checked : input.value.trim()]));
      dialog.close();
    });
    dialog.addEventListener("close", () => { dialog.remove(); resolve(values); });
    document.body.append(dialog);
    dialog.showModal();
    inputs[0]?.[0].select?.();
  });
}

// The server's interfaces, from its own description: nothing is fetched from anywhere else.

import { h } from "./dom.js";

const main = document.getElementById("main");

function resolved(schema, all) {
  if (!schema) return {};
  if (schema.$ref) return all[schema.$ref.split("/").pop()] ?? {};
  return schema;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).filter((each) => each !== "null").join(" or ");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  return schema.type === "array" ? `list of ${typeOf(schema.items) || "values"}` : (schema.type ?? "");
}

function table(rows) {
  if (!rows.length) return null;
  return h("table", {}, h("thead", {}, h("tr", {}, ["Name", "Type", "Default", ""].map((each) => h("th", { scope: "col" }, each)))),
    h("tbody", {}, rows.map(([name, schema, needed]) => h("tr", {},
      h("td", {}, h("code", {}, name)), h("td", {}, typeOf(schema)),
      h("td", {}, needed ? "needed" : schema?.default === undefined || schema.default === null ? "" : JSON.stringify(schema.default)),
      h("td", { class: "small" }, schema?.description ?? "")))));
}

async function draw() {
  const key = sessionStorage.getItem("key");
  const response = await fetch("/openapi.json", { headers: key ? { Authorization: `Bearer ${key}` } : {} });
  if (!response.ok) throw new Error(response.status === 401 ? "Open the page first and give the server's key there." : `The server answered ${response.status}.`);
  const api = await response.json();
  const all = api.components?.schemas ?? {};
  main.append(h("p", { class: "small" }, "Described by ", h("a", { href: "/openapi.json" }, "/openapi.json"), ". MCP (streamable HTTP) is at /mcp."));
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const tag = route.tags?.[0] ?? "";
      if (!groups.has(tag)) groups.set(tag, []);
      const body = resolved(route.requestBody?.content?.["application/json"]?.schema, all);
      const fields = Object.entries(body.properties ?? {}).map(([name, schema]) => [name, schema, body.required?.includes(name)]);
      const parameters = (route.parameters ?? []).map((each) => [`${each.name} (${each.in})`, each.schema, each.required]);
      groups.get(tag).push(h("details", {}, h("summary", {}, h("span", { class: "method" }, method.toUpperCase()), h("code", {}, path), h("span", { class: "small" }, route.description ?? "")), table(parameters), table(fields)));
    }
  }
  for (const [tag, routes] of groups) main.append(h("h2", {}, tag), ...routes);
}

draw().catch((error) => main.append(h("p", { class: "problem" }, error.message)));

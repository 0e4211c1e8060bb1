// The server's own interface.

import { ask } from "./dom.js";

let key = sessionStorage.getItem("key") ?? "";

async function request(method, path, body, signal) {
  for (;;) {
    const headers = key ? { Authorization: `Bearer ${key}` } : {};
    let sent = body;
    if (body !== undefined && !(body instanceof FormData)) {
      headers["Content-Type"] = "application/json";
      sent = JSON.stringify(body);
    }
    let response;
    try {
      response = await fetch(path, { method, headers, body: sent, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Is it still running?");
    }
    if (response.status === 401) {
      const given = await ask({ title: "This server needs its key", text: "It was set when the server was started.", fields: [{ name: "key", label: "API key", type: "password" }], yes: "Go on" });
      if (given) {
        key = given.key;
        sessionStorage.setItem("key", key);
        continue;
      }
    }
    if (!response.ok) {
      let message = `The server answered ${response.status}.`;
      try { message = (await response.json()).error.message; } catch { /* no JSON */ }
      const error = new Error(message);
      error.status = response.status;
      throw error;
    }
    return response;
  }
}

const json = async (...given) => {
  const response = await request(...given);
  return response.status === 204 ? null : response.json();
};
const at = (name) => `/api/collections/${encodeURIComponent(name)}`;

export const status = () => json("GET", "/api/status");
export const collections = () => json("GET", "/api/collections");
export const collection = (name) => json("GET", at(name));
export const change = (name, what) => json("PATCH", at(name), what);
export const drop = (name) => json("DELETE", at(name));
export const getDocument = (name, id) => json("GET", `${at(name)}/document?id=${encodeURIComponent(id)}`);
export const removeDocument = (name, id) => json("DELETE", `${at(name)}/document?id=${encodeURIComponent(id)}`);
export const cancelJob = (id) => json("DELETE", `/api/jobs/${id}`);
export const jobs = () => json("GET", "/api/jobs");

export function upload(name, files) {
  const form = new FormData();
  for (const { file, path } of files) form.append("files", file, path);
  return json("POST", `${at(name)}/files`, form);
}

/** Yield `[event, data]` of a stream of server-sent events. */
async function* events(method, path, body, signal) {
  const response = await request(method, path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let name = "", data = "";
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data = line.slice(6);
      }
      const parsed = JSON.parse(data);
      if (!name && parsed.error) throw new Error(parsed.error.message);
      yield [name, parsed];
    }
  }
}

export const question = (name, body, signal) => events("POST", `${at(name)}/ask`, body, signal);
export const follow = (id, signal) => events("GET", `/api/jobs/${id}/events`, undefined, signal);

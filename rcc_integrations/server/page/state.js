// What the page knows, and who is told when it changes.

import * as api from "./api.js";

export const state = {
  status: null,
  collections: [],
  /** The collection that is shown, with its documents. */
  current: null,
  tab: "ask",
  /** Questions and answers by collection. */
  talks: new Map(),
  /** What is being added, by id. */
  jobs: new Map(),
};

const listeners = new Set();
export const listen = (listener) => listeners.add(listener);
export const changed = (what) => { for (const listener of listeners) listener(what); };

export async function loadStatus() {
  state.status = await api.status();
  changed("status");
}

export async function loadCollections() {
  state.collections = await api.collections();
  changed("collections");
}

export async function loadCurrent(name) {
  state.current = name ? await api.collection(name) : null;
  changed("current");
}

export async function reload() {
  await loadCollections();
  const name = state.current?.name;
  if (name) await loadCurrent(state.collections.some((each) => each.name === name) ? name : null);
}

export const talk = (name) => {
  if (!state.talks.has(name)) state.talks.set(name, []);
  return state.talks.get(name);
};

/** Where the page is: a collection, and a document opened at a span. */
export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [collection, document] = path.split("/").map(decodeURIComponent);
  const given = new URLSearchParams(query);
  const number = (name) => (given.has(name) ? Number(given.get(name)) : null);
  return { collection: collection || null, document: document || null, start: number("start"), end: number("end") };
}

export const address = (collection, document = null, start = null, end = null) =>
  `#/${encodeURIComponent(collection)}${document === null ? "" : `/${encodeURIComponent(document)}`}${start === null ? "" : `?start=${start}&end=${end}`}`;

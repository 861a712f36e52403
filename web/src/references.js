// kerchunk references, version 1, as a store that zarrita reads. A chunk is fetched with one range request.

import { PageError } from "./errors.js";
import { Version3 } from "./version3.js";

async function fetchText(url) {
  let response;
  try {
    response = await fetch(url);
  } catch {
    throw unreachable(url);
  }
  if (!response.ok) throw new PageError(`${url} answers ${response.status}. The reference file is not there, or not public.`);
  return response.text();
}

/** Browsers do not say why a request failed; the two usual reasons can be told by the URLs. */
function unreachable(url) {
  const target = new URL(url, location.href);
  if (location.protocol === "https:" && target.protocol === "http:") {
    return new PageError(
      `This page came by https and the data are served by http, which browsers block (mixed content). ` +
        `The data node should serve ${target.host} by https; meanwhile open the data with xarray.`,
    );
  }
  return new PageError(
    `${target.host} does not answer, or does not let pages of other hosts read its data. ` +
      `The data node needs this line in its nginx configuration: add_header Access-Control-Allow-Origin "*";`,
  );
}

async function fetchRange(url, offset, size) {
  let response;
  try {
    response = await fetch(url, { headers: { Range: `bytes=${offset}-${offset + size - 1}` } });
  } catch {
    throw unreachable(url);
  }
  if (response.status === 200) {
    await response.body?.cancel();
    throw new PageError(`${url} answers with the whole file: its server ignores byte ranges.`);
  }
  if (response.status !== 206) throw new PageError(`${url} answers ${response.status}.`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes.length !== size) throw new PageError(`${url} sent ${bytes.length} bytes where ${size} were asked for.`);
  return bytes;
}

function decodeBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

export class References {
  /** How many bytes and requests were fetched for chunks; the page says so. */
  traffic = { requests: 0, bytes: 0 };

  constructor(document, href) {
    this.refs = document.refs;
    this.href = href;
    this.pending = new Map();
    this.version3 = "zarr.json" in this.refs ? new Version3(this.refs) : null;
  }

  static async load(href) {
    const text = await fetchText(href);
    try {
      const document = JSON.parse(text);
      if (typeof document.refs === "object") return new References(document, href);
    } catch {
      // not JSON: said below
    }
    throw new PageError(`${href} holds no kerchunk references.`);
  }

  /** zarrita's store interface: the bytes under a key, or undefined. */
  async get(key) {
    const value = this.find(key.replace(/^\//, ""));
    if (value === undefined) return undefined;
    if (typeof value === "string") {
      return value.startsWith("base64:") ? decodeBase64(value.slice(7)) : new TextEncoder().encode(value);
    }
    if (!Array.isArray(value)) return new TextEncoder().encode(JSON.stringify(value));
    const [url, offset, size] = value;
    const absolute = new URL(url, new URL(this.href, location.href)).href;
    return this.fetchOnce(absolute, offset, size);
  }

  /** Two askers of one chunk at the same time share one request. */
  fetchOnce(url, offset, size) {
    const place = `${url} ${offset}`;
    if (!this.pending.has(place)) {
      const fetched = fetchRange(url, offset, size).finally(() => this.pending.delete(place));
      this.pending.set(place, fetched);
      this.traffic.requests += 1;
      this.traffic.bytes += size;
    }
    return this.pending.get(place);
  }

  /** What stands under a key of version 2. */
  find(key) {
    if (!this.version3) return this.refs[key];
    return this.version3.metadata.get(key) ?? this.refs[this.version3.chunkKey(key)];
  }

  /** Paths of the parts of an array, which follow each other along one dimension; most arrays are one part. */
  partsOf(path) {
    return this.version3?.arrays.get(path) ?? [path];
  }

  json(key) {
    const value = this.find(key);
    if (value === undefined) return {};
    return typeof value === "string" ? JSON.parse(value) : value;
  }

  attributes(path) {
    return this.json(path ? `${path}/.zattrs` : ".zattrs");
  }

  /** Names of the arrays of one group. */
  arrayNames(group) {
    const prefix = group ? `${group}/` : "";
    const paths = this.version3
      ? [...this.version3.arrays.keys()]
      : Object.keys(this.refs).filter((key) => key.endsWith("/.zarray")).map((key) => key.slice(0, -"/.zarray".length));
    const names = [];
    for (const path of paths) {
      const name = path.slice(prefix.length);
      if (path.startsWith(prefix) && !name.includes("/")) names.push(name);
    }
    return names;
  }
}

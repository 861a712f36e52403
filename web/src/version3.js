// kerchunk references to arrays of Zarr version 3, shown as references of version 2, which the page reads. An array on
// a rectilinear grid becomes several parts, one behind the other along one dimension, of chunks of equal length each.
// Rules: Zarr specification version 3; zarr-extensions, chunk grid "rectilinear"; xarray's encoding of _FillValue; the
// codec "esgvzarr.padded", whose chunks are stored longer than the grid shows them, as version 2 stores its last ones.

import { PageError } from "./errors.js";

const TYPES = new Map([
  ["bool", "b1"],
  ["float32", "f4"],
  ["float64", "f8"],
  ...["int", "uint"].flatMap((kind) => [8, 16, 32, 64].map((bits) => [`${kind}${bits}`, `${kind[0]}${bits / 8}`])),
]);

/** Runs of chunks of equal length along one dimension: how long they are, how many, and the number of the first. */
function runsOf(lengths) {
  const runs = [];
  let first = 0;
  for (const entry of lengths) {
    const [length, count] = Array.isArray(entry) ? entry : [entry, 1];
    const last = runs.at(-1);
    if (last?.length === length) last.count += count;
    else runs.push({ length, count, first });
    first += count;
  }
  return runs;
}

function fillOf(value, type) {
  if (typeof value !== "string" || !type.startsWith("f")) return value;
  const bytes = Uint8Array.from(atob(value), (character) => character.charCodeAt(0));
  return new DataView(bytes.buffer).getFloat64(0, true);
}

/** Codecs on bytes as version 2 has them: the last one is the compressor. */
function filtersOf(codecs) {
  const filters = codecs.map(({ name, configuration }) => ({ ...configuration, id: name.replace("numcodecs.", "") }));
  return { compressor: filters.pop() ?? null, filters: filters.length ? filters : null };
}

export class Version3 {
  /** Metadata of version 2, by key. */
  metadata = new Map();
  /** Path of an array -> paths of its parts. */
  arrays = new Map();
  /** Path of a part -> the array, the dimension along which parts follow each other, and the number of its first chunk. */
  parts = new Map();

  constructor(refs) {
    for (const [key, value] of Object.entries(refs)) {
      if (key !== "zarr.json" && !key.endsWith("/zarr.json")) continue;
      const path = key.slice(0, -"/zarr.json".length);
      const described = typeof value === "string" ? JSON.parse(value) : value;
      if (described.node_type === "array") this.addArray(path, described);
      else this.metadata.set(path ? `${path}/.zattrs` : ".zattrs", described.attributes ?? {});
    }
  }

  addArray(path, described) {
    const { configuration, name } = described.chunk_grid;
    const rectilinear = name === "rectilinear";
    const grid = rectilinear ? configuration.chunk_shapes.map(runsOf) : configuration.chunk_shape.map((length) => [{ length, first: 0 }]);
    const uneven = grid.findIndex((runs) => runs.length > 1);
    const axis = Math.max(0, uneven);
    const runs = grid.length ? grid[axis] : [{ first: 0 }];
    const paths = [];
    let left = described.shape[axis]; // the last chunk may go beyond the array
    for (const [number, run] of runs.entries()) {
      const part = runs.length > 1 ? `${path}@${number}` : path;
      const shape = [...described.shape];
      if (runs.length > 1) shape[axis] = Math.min(left, run.length * run.count);
      left -= shape[axis];
      const chunks = grid.map((found, dimension) => (dimension === axis ? run.length : found[0].length));
      this.addPart(part, described, shape, chunks);
      this.parts.set(part, { path, axis, first: run.first, even: grid.filter((found) => found.length > 1).length < 2 });
      paths.push(part);
    }
    this.arrays.set(path, paths);
  }

  addPart(path, described, shape, chunks) {
    const { attributes = {}, codecs, data_type, dimension_names } = described;
    const type = TYPES.get(data_type) ?? "O";
    const padded = codecs.find(({ name }) => name === "esgvzarr.padded");
    const bytes = codecs.findIndex(({ name }) => name === "bytes" || name === "vlen-utf8");
    const order = codecs[bytes]?.configuration?.endian === "big" ? ">" : "<";
    const fill = "_FillValue" in attributes ? fillOf(attributes._FillValue, type) : null;
    const attrs = { ...attributes, _ARRAY_DIMENSIONS: dimension_names ?? [] };
    if (fill !== null) attrs._FillValue = fill;
    this.metadata.set(`${path}/.zattrs`, attrs);
    this.metadata.set(`${path}/.zarray`, {
      zarr_format: 2,
      shape,
      chunks: padded?.configuration.stored_shape ?? chunks,
      dtype: `${/1$/.test(type) || type === "O" ? "|" : order}${type}`,
      fill_value: fill,
      order: "C",
      ...filtersOf(codecs.slice(bytes + 1)),
    });
  }

  /** The key of version 3 for a chunk's key of version 2. */
  chunkKey(key) {
    const slash = key.lastIndexOf("/");
    const part = this.parts.get(key.slice(0, slash));
    if (!part) return key;
    if (!part.even) throw new PageError("The chunks differ in length along several dimensions, which this page does not read.");
    const place = key.slice(slash + 1).split(".").map(Number);
    const { shape } = this.metadata.get(`${key.slice(0, slash)}/.zarray`);
    if (!shape.length) return `${part.path}/c`;
    place[part.axis] += part.first;
    return `${part.path}/c/${place.join("/")}`;
  }
}

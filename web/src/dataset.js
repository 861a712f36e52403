// One group of the references as a person sees it: variables, steps along time over all segments, values decoded as
// xarray decodes them (_FillValue, missing_value, scale_factor, add_offset).

import * as zarr from "zarrita";
import { dateText } from "./dates.js";
import { PageError } from "./errors.js";

const CODECS_OF_THE_PAGE = new Set(["zlib", "gzip", "shuffle"]);

function elementCount(shape) {
  return shape.reduce((product, length) => product * length, 1);
}

/** A variable of one segment. */
class Part {
  constructor(references, path) {
    this.references = references;
    this.path = path;
    this.metadata = references.json(`${path}/.zarray`);
    this.attributes = references.attributes(path);
    this.dimensions = this.attributes._ARRAY_DIMENSIONS ?? [];
  }

  async open() {
    const codecs = [...(this.metadata.filters ?? []), this.metadata.compressor].filter(Boolean);
    const unknown = codecs.map((codec) => codec.id).filter((id) => !CODECS_OF_THE_PAGE.has(id));
    if (unknown.length) {
      throw new PageError(`This page cannot decode ${unknown.join(", ")}. xarray can: see "How to open it".`);
    }
    const location = zarr.root(this.references).resolve(`/${this.path}`);
    return zarr.open.v2(location, { kind: "array", attrs: false });
  }

  /** Turns stored numbers into values; NaN where a value is missing. */
  decoder() {
    const { _FillValue, missing_value, scale_factor = 1, add_offset = 0 } = this.attributes;
    const missing = [this.metadata.fill_value, _FillValue, missing_value]
      .flat()
      .filter((value) => value !== null && value !== undefined && value !== "NaN")
      .map(Number);
    const single = this.metadata.dtype.endsWith("f4");
    const marks = new Set(single ? missing.map(Math.fround) : missing);
    return (stored) => (marks.has(stored) ? NaN : stored * scale_factor + add_offset);
  }

  async read(selection) {
    const array = await this.open();
    const found = await zarr.get(array, selection);
    const decode = this.decoder();
    if (typeof found === "number" || typeof found === "bigint") return Float64Array.of(decode(Number(found)));
    return Float64Array.from(found.data, (stored) => decode(Number(stored)));
  }
}

/** A variable over all segments of a group. */
export class Variable {
  constructor(name, parts) {
    this.name = name;
    this.parts = parts;
    this.attributes = parts[0].attributes;
    this.dimensions = parts[0].dimensions;
    this.shape = parts[0].metadata.shape;
  }

  get units() {
    return String(this.attributes.units ?? "");
  }

  /** Whether a map can be drawn: numbers, and at least two dimensions besides time. */
  isMappable(time) {
    const horizontal = this.dimensions.filter((name) => name !== time);
    const numeric = /^[<>|][fiu]/.test(this.parts[0].metadata.dtype);
    return numeric && horizontal.length >= 2 && this.shape.every((length) => length > 0);
  }
}

export class Dataset {
  constructor(references, group) {
    this.references = references;
    this.attributes = references.attributes(group);
    const segments = this.attributes.esgvzarr_segments ?? [group];
    this.variables = new Map();
    for (const name of references.arrayNames(segments[0])) {
      const paths = segments.flatMap((segment) => references.partsOf(segment ? `${segment}/${name}` : name));
      this.variables.set(name, new Variable(name, paths.map((path) => new Part(references, path))));
    }
    this.time = this.findTime();
  }

  /** The name of the dimension along which the files follow each other; undefined for fixed fields. */
  findTime() {
    if (this.attributes.esgvzarr_concat_dim) return this.attributes.esgvzarr_concat_dim;
    for (const variable of this.variables.values()) {
      const isCoordinate = variable.dimensions.length === 1 && variable.dimensions[0] === variable.name;
      if (isCoordinate && / since /i.test(variable.units)) return variable.name;
    }
    return undefined;
  }

  mappable() {
    const found = [...this.variables.values()].filter((variable) => variable.isMappable(this.time));
    const withTime = (variable) => (variable.dimensions.includes(this.time) ? 1 : 0);
    return found.sort((a, b) => withTime(b) - withTime(a) || elementCount(b.shape) - elementCount(a.shape));
  }

  /** Reads the dates of all steps. */
  async loadTimes() {
    this.steps = [];
    const variable = this.variables.get(this.time);
    if (!variable) return;
    for (const part of variable.parts) {
      const values = await part.read(null);
      const { units, calendar } = part.attributes;
      for (const value of values) this.steps.push({ date: dateText(value, units, calendar) });
    }
  }

  /** Where a variable's numbers at a step and a place on its other dimensions lie. */
  selection(variable, index, places) {
    const horizontal = variable.dimensions.length - 2;
    return variable.dimensions.map((name, axis) => {
      if (name === this.time) return index;
      if (axis >= horizontal) return null;
      return places.get(name) ?? 0;
    });
  }

  /** The field of one step: values row by row, with the numbers of rows and columns. */
  async field(variable, step, places) {
    const { part, index } = this.place(variable, step);
    const values = await part.read(this.selection(variable, index, places));
    const [rows, columns] = part.metadata.shape.slice(-2);
    return { values, rows, columns };
  }

  /** The part of a variable that holds a step, and the step's place in it. */
  place(variable, step) {
    const axis = variable.dimensions.indexOf(this.time);
    let index = step;
    if (axis < 0) return { part: variable.parts[0], index: 0 };
    for (const part of variable.parts) {
      const length = part.metadata.shape[axis];
      if (index < length) return { part, index };
      index -= length;
    }
    throw new PageError(`${variable.name} has no step ${step}.`);
  }

  /**
   * Values along time at one point. Whole chunks are read, at most `mostChunks` of them, evenly over time.
   * Returns the steps that were read with their values.
   */
  async series(variable, row, column, places, mostChunks = 120) {
    const blocks = this.timeBlocks(variable);
    const stride = Math.max(1, Math.ceil(blocks.length / mostChunks));
    const chosen = blocks.filter((_, number) => number % stride === 0);
    const results = new Array(chosen.length);
    let next = 0;
    const worker = async () => {
      while (next < chosen.length) {
        const number = next;
        next += 1;
        results[number] = await this.readBlock(variable, chosen[number], row, column, places);
      }
    };
    await Promise.all(Array.from({ length: 6 }, worker)); // browsers keep six connections to a host
    return results.flat();
  }

  /** The chunks along time: the first step of each, and how many steps it has. */
  timeBlocks(variable) {
    const axis = variable.dimensions.indexOf(this.time);
    const blocks = [];
    let first = 0;
    for (const [segment, part] of variable.parts.entries()) {
      const length = part.metadata.shape[axis];
      const chunk = part.metadata.chunks[axis];
      for (let start = 0; start < length; start += chunk) {
        blocks.push({ segment, start, stop: Math.min(start + chunk, length), first: first + start });
      }
      first += length;
    }
    return blocks;
  }

  async readBlock(variable, block, row, column, places) {
    const selection = this.selection(variable, zarr.slice(block.start, block.stop), places);
    selection[selection.length - 2] = row;
    selection[selection.length - 1] = column;
    const values = await variable.parts[block.segment].read(selection);
    return Array.from(values, (value, offset) => ({ step: block.first + offset, value }));
  }

  /** Values of a coordinate of one dimension; undefined where there is none. */
  async coordinate(name) {
    const variable = this.variables.get(name);
    if (!variable || variable.dimensions.length !== 1) return undefined;
    return variable.parts[0].read(null);
  }
}

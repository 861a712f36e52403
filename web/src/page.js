// The page of one dataset: tabs, copy buttons, the map of a step, and the series at a point.

import { colour, numberText, rangeOf, sizeText } from "./colours.js";
import { Dataset } from "./dataset.js";
import { PageError } from "./errors.js";
import { References } from "./references.js";

const element = (id) => document.getElementById(id);

/** Values of the last map and series, for tests of the page. */
const shown = { map: null, series: null };
window.esgvzarr = shown;

function say(text, isError = false) {
  const place = element("message");
  place.textContent = text;
  place.classList.toggle("error", isError);
}

/** Runs what a control asks for; a problem is told in words. */
function guarded(action) {
  return async (...given) => {
    try {
      await action(...given);
    } catch (error) {
      const isKnown = error instanceof PageError || error?.cause instanceof PageError;
      const reason = error?.cause instanceof PageError ? error.cause.message : error.message;
      say(isKnown ? reason : `The page cannot show this: ${reason}`, true);
    }
  };
}

function connectCopyButtons() {
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = element(button.dataset.copies).textContent;
      try {
        await navigator.clipboard.writeText(code);
        button.textContent = "Copied";
      } catch {
        window.getSelection().selectAllChildren(element(button.dataset.copies));
        button.textContent = "Press Ctrl-C";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }
}

class Viewer {
  constructor(references, groups) {
    this.references = references;
    this.groups = groups;
    this.point = null;
  }

  async start() {
    this.fillSelect(element("group"), this.groups.map((group) => [group, group || "/"]));
    element("group-row").hidden = this.groups.length < 2;
    element("group").addEventListener("change", guarded(() => this.showGroup(element("group").value)));
    element("variable").addEventListener("change", guarded(() => this.showVariable()));
    element("step").addEventListener("input", () => this.showDate());
    element("step").addEventListener("change", guarded(() => this.draw()));
    element("low").addEventListener("change", guarded(() => this.paint()));
    element("high").addEventListener("change", guarded(() => this.paint()));
    element("fit").addEventListener("click", guarded(() => this.fitRange()));
    element("map").addEventListener("click", guarded((event) => this.pick(event)));
    element("map").addEventListener("keydown", guarded((event) => this.movePoint(event)));
    element("viewer").hidden = false;
    await this.showGroup(this.groups[0]);
  }

  fillSelect(select, options) {
    select.replaceChildren(
      ...options.map(([value, label]) => {
        const option = document.createElement("option");
        option.value = value;
        option.textContent = label;
        return option;
      }),
    );
  }

  async showGroup(group) {
    this.dataset = new Dataset(this.references, group);
    await this.dataset.loadTimes();
    const names = this.dataset.mappable().map((variable) => variable.name);
    if (!names.length) throw new PageError("Nothing here has two dimensions besides time, so there is no map.");
    this.fillSelect(element("variable"), names.map((name) => [name, name]));
    await this.showVariable();
  }

  async showVariable() {
    this.variable = this.dataset.variables.get(element("variable").value);
    this.point = null;
    element("low").value = "";
    element("high").value = "";
    await this.loadCoordinates();
    this.makeLevelControls();
    const isSeries = this.variable.dimensions.includes(this.dataset.time);
    element("step-row").hidden = !isSeries;
    element("step").max = String(Math.max(0, this.dataset.steps.length - 1));
    element("step").value = "0";
    element("series-figure").hidden = true;
    await this.draw();
  }

  async loadCoordinates() {
    const [rows, columns] = this.variable.dimensions.slice(-2);
    this.rowName = rows;
    this.columnName = columns;
    this.rowValues = await this.dataset.coordinate(rows);
    this.columnValues = await this.dataset.coordinate(columns);
    const first = this.rowValues?.[0];
    const last = this.rowValues?.[this.rowValues.length - 1];
    this.isNorthUp = first !== undefined && first > last; // rows are drawn from the top
  }

  /** A number field for each dimension besides time and the two of the map: levels, ensemble members... */
  makeLevelControls() {
    this.places = new Map();
    const controls = [];
    for (const [axis, name] of this.variable.dimensions.slice(0, -2).entries()) {
      if (name === this.dataset.time) continue;
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "number";
      input.min = "0";
      input.max = String(this.variable.shape[axis] - 1);
      input.value = "0";
      input.addEventListener(
        "change",
        guarded(() => {
          this.places.set(name, Math.min(Number(input.max), Math.max(0, Number(input.value))));
          return this.draw();
        }),
      );
      label.append(`${name} (index) `, input);
      controls.push(label);
    }
    element("levels").replaceChildren(...controls);
  }

  get step() {
    return Number(element("step").value);
  }

  showDate() {
    const isSeries = this.variable.dimensions.includes(this.dataset.time);
    const text = isSeries ? this.dataset.steps[this.step].date : "";
    element("date").textContent = text;
    element("step").setAttribute("aria-valuetext", text);
  }

  async draw() {
    this.showDate();
    say("Fetching ...");
    this.field = await this.dataset.field(this.variable, this.step, this.places);
    this.paint();
    this.sayTraffic();
  }

  sayTraffic() {
    const { requests, bytes } = this.references.traffic;
    say(`${requests} range ${requests === 1 ? "request" : "requests"} so far, ${sizeText(bytes)}.`);
  }

  fitRange() {
    element("low").value = "";
    element("high").value = "";
    this.paint();
  }

  /** The range that was typed, else that of the values. */
  range() {
    const found = rangeOf(this.field.values);
    const low = element("low").value === "" ? found?.low : Number(element("low").value);
    const high = element("high").value === "" ? found?.high : Number(element("high").value);
    return { found, low, high };
  }

  paint() {
    const { values, rows, columns } = this.field;
    const { found, low, high } = this.range();
    const canvas = element("map");
    canvas.width = columns;
    canvas.height = rows;
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    for (let line = 0; line < rows; line += 1) {
      const row = this.isNorthUp ? line : rows - 1 - line;
      for (let column = 0; column < columns; column += 1) {
        const value = values[row * columns + column];
        const place = 4 * (line * columns + column);
        if (Number.isNaN(value)) continue; // transparent: the page's background shows
        const [red, green, blue] = colour(high > low ? (value - low) / (high - low) : 0.5);
        image.data.set([red, green, blue, 255], place);
      }
    }
    context.putImageData(image, 0, 0);
    this.paintLegend(low, high);
    const date = element("date").textContent;
    const range = found ? `${numberText(found.low)} to ${numberText(found.high)}` : "no values";
    element("map-caption").textContent = `${this.variable.name} in ${this.variable.units || "1"}${date ? `, ${date}` : ""}: ${range}`;
    shown.map = { ...this.field, date, low: found?.low, high: found?.high, variable: this.variable.name };
  }

  paintLegend(low, high) {
    const canvas = element("legend");
    const context = canvas.getContext("2d");
    for (let x = 0; x < canvas.width; x += 1) {
      const [red, green, blue] = colour(x / canvas.width);
      context.fillStyle = `rgb(${red} ${green} ${blue})`;
      context.fillRect(x, 0, 1, canvas.height);
    }
    element("legend-low").textContent = low === undefined ? "" : numberText(low);
    element("legend-high").textContent = high === undefined ? "" : numberText(high);
  }

  pick(event) {
    const box = element("map").getBoundingClientRect();
    const line = Math.floor(((event.clientY - box.top) / box.height) * this.field.rows);
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.field.columns);
    return this.choose(line, column);
  }

  /** Arrow keys move the point, Enter and Space draw its series. */
  movePoint(event) {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Enter: [0, 0], " ": [0, 0] };
    const move = moves[event.key];
    if (!move) return undefined;
    event.preventDefault();
    const start = this.point ?? { line: Math.floor(this.field.rows / 2), column: Math.floor(this.field.columns / 2) };
    const line = start.line + move[0];
    const column = start.column + move[1];
    if (event.key !== "Enter" && event.key !== " ") return this.mark(line, column);
    return this.choose(line, column);
  }

  mark(line, column) {
    this.point = {
      line: Math.min(this.field.rows - 1, Math.max(0, line)),
      column: Math.min(this.field.columns - 1, Math.max(0, column)),
    };
    const row = this.isNorthUp ? this.point.line : this.field.rows - 1 - this.point.line;
    const value = this.field.values[row * this.field.columns + this.point.column];
    const place = `${this.placeText(this.rowName, this.rowValues, row)}, ${this.placeText(this.columnName, this.columnValues, this.point.column)}`;
    element("point").textContent = `${place}: ${Number.isNaN(value) ? "missing" : numberText(value)}`;
    const marker = element("marker");
    marker.hidden = false;
    marker.style.left = `${((this.point.column + 0.5) / this.field.columns) * 100}%`;
    marker.style.top = `${((this.point.line + 0.5) / this.field.rows) * 100}%`;
    return row;
  }

  placeText(name, values, index) {
    return values ? `${name} ${numberText(values[index])}` : `${name} [${index}]`;
  }

  async choose(line, column) {
    const row = this.mark(line, column);
    if (!this.variable.dimensions.includes(this.dataset.time)) return;
    say("Fetching the series ...");
    const points = await this.dataset.series(this.variable, row, this.point.column, this.places);
    this.drawSeries(points, row);
    this.sayTraffic();
  }

  drawSeries(points, row) {
    const range = rangeOf(points.map((point) => point.value));
    const count = this.dataset.steps.length;
    const path = [];
    let isDown = false;
    let previous = null;
    for (const point of points) {
      const isGap = Number.isNaN(point.value);
      if (!isGap) {
        const x = count > 1 ? (point.step / (count - 1)) * 1000 : 500;
        const share = range.high > range.low ? (point.value - range.low) / (range.high - range.low) : 0.5;
        path.push(`${isDown ? "L" : "M"}${x.toFixed(1)} ${(195 - 190 * share).toFixed(1)}`);
      }
      isDown = !isGap;
      previous = point;
    }
    element("series-line").setAttribute("d", path.join(""));
    element("series-high").textContent = range ? numberText(range.high) : "";
    element("series-low").textContent = range ? numberText(range.low) : "";
    element("series-start").textContent = this.dataset.steps[0].date;
    element("series-end").textContent = this.dataset.steps[count - 1].date;
    const all = points.length === count ? "all" : `${points.length} of`;
    element("series-caption").textContent = `${this.variable.name} in ${this.variable.units || "1"} at ${element("point").textContent.split(":")[0]}: ${all} ${count} steps`;
    element("series-figure").hidden = false;
    shown.series = { points, row, column: this.point.column, last: previous?.step };
  }
}

const begin = guarded(async () => {
  connectCopyButtons();
  const settings = JSON.parse(element("settings").textContent);
  if (!settings.href) {
    say(settings.why);
    return;
  }
  say("Opening ...");
  const references = await References.load(settings.href);
  await new Viewer(references, settings.groups).start();
});

begin();

// Curves of a metric, drawn by hand: axes with their names, a legend with values, a line that follows the pointer.

import { draw, el, fill } from "./dom.js";
import { figure } from "./words.js";

const HEIGHT = 190;
const ABOVE = 10;
const BELOW = 36;
const RIGHT = 14;

/** One chart. `show` gives it new data, and keeps where the reader is pointing. */
export class CurveChart {
  constructor(chart) {
    this.at = null;
    this.legend = el("ul", { class: "legend" });
    this.title = el("h3");
    this.place = el("div", {
      class: "drawing",
      tabindex: 0,
      role: "img",
      onpointermove: (event) => this.point(event),
      onpointerdown: (event) => this.point(event),
      onpointerleave: () => this.leave(),
      onblur: () => this.leave(),
      onkeydown: (event) => this.step(event),
    });
    this.root = el("figure", { class: "chart" }, el("figcaption", {}, this.title, this.legend), this.place);
    new ResizeObserver(() => this.draw()).observe(this.place);
    this.show(chart);
  }

  show(chart) {
    this.chart = chart;
    // A single value is a level: the test of a training, say, beside the curves.
    this.curves = chart.series.map((one, index) => ({ ...one, index, isLevel: one.points.length === 1 }));
    this.places = [...new Set(this.curves.flatMap((one) => (one.isLevel ? [] : one.points.map(([x]) => x))))];
    this.places.sort((one, other) => one - other);
    this.draw();
  }

  draw() {
    const width = Math.max(220, this.place.clientWidth || 320);
    const values = this.curves.flatMap((one) => one.points.map(([, y]) => y));
    const ticks = niceTicks(Math.min(...values), Math.max(...values), 4);
    const labels = ticks.map((tick) => tickLabel(tick, ticks));
    const left = 14 + 6.6 * Math.max(...labels.map((label) => label.length));
    const [low, high] = [ticks[0], ticks[ticks.length - 1]];
    const [first, last] = [this.places[0], this.places[this.places.length - 1]];
    const right = width - RIGHT;
    const floor = HEIGHT - BELOW;
    this.x = (at) => left + ((at - first) / (last - first || 1)) * (right - left);
    this.y = (value) => floor - ((value - low) / (high - low || 1)) * (floor - ABOVE);

    const svg = draw("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    ticks.forEach((tick, index) => {
      const y = this.y(tick);
      svg.append(draw("line", { x1: left, x2: right, y1: y, y2: y, class: index ? "grid" : "axis" }));
      svg.append(draw("text", { x: left - 6, y: y + 3.5, class: "tick", "text-anchor": "end" }, labels[index]));
    });
    for (const tick of placeTicks(first, last, Math.max(2, Math.floor((right - left) / 70)))) {
      const x = this.x(tick);
      svg.append(draw("line", { x1: x, x2: x, y1: floor, y2: floor + 4, class: "axis" }));
      svg.append(draw("text", { x, y: floor + 16, class: "tick", "text-anchor": "middle" }, figure(tick)));
    }
    const middle = (left + right) / 2;
    svg.append(draw("text", { x: middle, y: HEIGHT - 4, class: "name", "text-anchor": "middle" }, this.chart.place));
    for (const curve of this.curves) svg.append(...this.line(curve, left, right));
    this.pointer = draw("g", { class: "pointer" });
    svg.append(this.pointer);
    fill(this.place, svg);
    this.tell();
  }

  line(curve, left, right) {
    const kind = `series series-${curve.index % 8}`;
    if (curve.isLevel) {
      const y = this.y(curve.points[0][1]);
      return [draw("line", { x1: left, x2: right, y1: y, y2: y, class: `${kind} level` })];
    }
    const path = curve.points.map(([x, y]) => `${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`).join("L");
    const [x, y] = curve.points[curve.points.length - 1];
    return [
      draw("path", { d: `M${path}`, class: kind }),
      draw("circle", { cx: this.x(x), cy: this.y(y), r: 2.6, class: `${kind} dot` }),
    ];
  }

  /** Say the values where the reader points, the last ones where he does not. */
  tell() {
    const at = this.at === null || !this.places.length ? null : nearest(this.places, this.at);
    const shown = this.curves.map((curve) => [curve, valueAt(curve, at)]);
    fill(
      this.legend,
      shown.map(([curve, value]) =>
        el(
          "li",
          {},
          draw(
            "svg",
            { width: 18, height: 8, "aria-hidden": "true" },
            draw("line", {
              x1: 1, x2: 17, y1: 4, y2: 4, class: `series series-${curve.index % 8}${curve.isLevel ? " level" : ""}`,
            }),
          ),
          curve.name === this.chart.title ? null : el("span", {}, curve.name),
          el("b", {}, value === null ? "–" : figure(value)),
        ),
      ),
      this.chart.series_left_out ? el("li", {}, `${this.chart.series_left_out} more`) : null,
    );
    const place = at === null ? null : el("span", {}, ` at ${this.chart.place} ${figure(at)}`);
    fill(this.title, this.chart.title, place);
    const said = shown.map(([curve, value]) => `${curve.name} ${value === null ? "none" : figure(value)}`);
    const where = at === null ? "latest values" : `at ${this.chart.place} ${figure(at)}`;
    this.place.setAttribute(
      "aria-label",
      `Curves of ${this.chart.title} over ${this.chart.place}, ${where}: ${said.join(", ")}`,
    );
    if (at === null) return void fill(this.pointer);
    const x = this.x(at);
    fill(
      this.pointer,
      draw("line", { x1: x, x2: x, y1: ABOVE, y2: HEIGHT - BELOW }),
      shown.map(([curve, value]) =>
        value === null || curve.isLevel
          ? null
          : draw("circle", { cx: x, cy: this.y(value), r: 3.6, class: `series series-${curve.index % 8} dot` }),
      ),
    );
  }

  point(event) {
    const box = this.place.getBoundingClientRect();
    const [start, end] = [this.x(this.places[0]), this.x(this.places[this.places.length - 1])];
    const share = Math.min(1, Math.max(0, (event.clientX - box.left - start) / (end - start || 1)));
    this.at = this.places[0] + share * (this.places[this.places.length - 1] - this.places[0]);
    this.tell();
  }

  leave() {
    this.at = null;
    this.tell();
  }

  step(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined || !this.places.length) return;
    event.preventDefault();
    const last = this.places.length - 1;
    const now = this.at === null ? last + (move < 0 ? 1 : 0) : this.places.indexOf(nearest(this.places, this.at));
    this.at = this.places[Math.min(last, Math.max(0, now + move))];
    this.tell();
  }
}

function nearest(places, at) {
  return places.reduce((best, place) => (Math.abs(place - at) < Math.abs(best - at) ? place : best));
}

function valueAt(curve, at) {
  const points = curve.points;
  if (at === null || curve.isLevel) return points[points.length - 1][1];
  const found = points.find(([x]) => x === at);
  if (found) return found[1];
  const before = points.filter(([x]) => x < at).pop();
  return before && points[points.length - 1][0] >= at ? before[1] : null;
}

/** Round numbers from below `low` to above `high`, about `count` gaps. */
function niceTicks(low, high, count) {
  if (low === high) {
    const around = Math.abs(low) * 0.1 || 1;
    [low, high] = [low - around, high + around];
  }
  const step = niceStep((high - low) / count);
  const ticks = [];
  for (let tick = Math.floor(low / step + 1e-9); tick < high / step - 1e-9 + 1; tick += 1) ticks.push(tick * step);
  return ticks;
}

/** Round places between the first and the last one. */
function placeTicks(first, last, count) {
  if (first === last) return [first];
  let step = niceStep((last - first) / count);
  if (Number.isInteger(first) && Number.isInteger(last)) step = Math.max(1, step);
  const ticks = first % step > 0 && first % step < step * 0.6 ? [first] : [];
  for (let tick = Math.ceil(first / step - 1e-9); tick * step <= last + 1e-9; tick += 1) ticks.push(tick * step);
  return ticks;
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= rough * 0.999) * power;
}

function tickLabel(tick, ticks) {
  const step = ticks[1] - ticks[0];
  const size = Math.max(Math.abs(ticks[0]), Math.abs(ticks[ticks.length - 1]));
  if (size >= 1e6 || (size < 1e-3 && size > 0)) return tick === 0 ? "0" : tick.toExponential(1).replace("e+", "e");
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const extra = Math.abs(step / 10 ** -decimals - 2.5) < 1e-6 ? 1 : 0;
  return tick.toFixed(Math.min(8, decimals + extra));
}

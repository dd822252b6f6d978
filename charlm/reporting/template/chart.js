"use strict";

// An element of HTML, with text and never with markup in it.
function element(name, properties, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function drawing(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function figure(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(2);
  return value.toLocaleString("en", size < 1000 ? { maximumSignificantDigits: 4 } : { maximumFractionDigits: 0 });
}

function short(value) {
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(0);
  return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
}

// About so many round numbers from low to high.
function roundNumbers(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((base) => base * power).find((size) => size >= rough);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high * (1 + 1e-9); at++) found.push(at * step);
  return found;
}

function powersOfTen(low, high, count) {
  if (high < 20 * low) return roundNumbers(low, high, count);
  const first = Math.ceil(Math.log10(low) - 1e-9), last = Math.floor(Math.log10(high) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / count));
  const found = [];
  for (let power = first; power <= last; power += step) found.push(10 ** power);
  return found;
}

const SCALES = {
  plain: { place: (value) => value, ticks: roundNumbers },
  // From 0 on, each doubling as far as the one before it.
  doubling: {
    place: (value) => Math.log2(1 + value),
    ticks: (low, high) => [0, 1, 2, 4, 8, 16, 32, 64, 128].filter((tick) => low <= tick && tick <= high),
  },
  power: { place: (value) => Math.log10(value), ticks: powersOfTen },
};

// Curves in `host`: {curves: [{name, x, y, colour, faint, dots}], across, up, scaleX, scaleY,
// unit(y)}. A pointer, or the arrow keys, go through the places that have figures.
function chart(host, spec) {
  const scaleX = SCALES[spec.scaleX || "plain"], scaleY = SCALES[spec.scaleY || "plain"];
  const curves = spec.curves.map((curve) => ({
    ...curve,
    points: curve.x.map((x, i) => [x, curve.y[i]])
      .filter(([x, y]) => x !== null && y !== null && (spec.scaleY !== "power" || y > 0)),
  })).filter((curve) => curve.points.length);
  const xs = [...new Set(curves.flatMap((curve) => curve.points.map(([x]) => x)))].sort((a, b) => a - b);
  const ys = curves.flatMap((curve) => curve.points.map(([, y]) => y));
  let chosen = xs.length - 1, width = 0, toX = null, cross = null;

  const keys = element("ul", { className: "keys" });
  const svg = drawing("svg", { tabindex: "0", role: "img" });
  svg.setAttribute("aria-label", `${spec.up} by ${spec.across}; the arrow keys read it`);
  host.className = "chart";
  host.replaceChildren(svg, keys);

  function draw() {
    const height = Math.round(Math.min(300, 150 + width / 5));
    const left = 46, right = 12, top = 22, bottom = 38;
    const low = Math.min(...ys), high = Math.max(...ys);
    const [x0, x1] = [xs[0], xs[xs.length - 1]].map(scaleX.place);
    const [y0, y1] = [low, high].map(scaleY.place);
    const pad = (y1 - y0) * 0.04 || 0.5;
    toX = (x) => left + ((scaleX.place(x) - x0) / (x1 - x0 || 1)) * (width - left - right);
    const toY = (y) => height - bottom - ((scaleY.place(y) - y0 + pad) / (y1 - y0 + 2 * pad)) * (height - top - bottom);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    const parts = [];
    for (const tick of scaleY.ticks(low, high, 5)) {
      const y = toY(tick);
      parts.push(drawing("line", { class: "grid", x1: left, x2: width - right, y1: y, y2: y }));
      parts.push(drawing("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, short(tick)));
    }
    for (const tick of scaleX.ticks(xs[0], xs[xs.length - 1], width < 500 ? 4 : 8)) {
      const anchor = toX(tick) > width - 30 ? "end" : "middle";
      parts.push(drawing("text", { x: anchor === "end" ? width - right : toX(tick), y: height - bottom + 18, "text-anchor": anchor }, short(tick)));
    }
    parts.push(drawing("text", { x: 2, y: 12 }, spec.up));
    parts.push(drawing("text", { x: width - right, y: height - 5, "text-anchor": "end" }, spec.across));
    for (const curve of curves) {
      const line = curve.points.map(([x, y]) => `${toX(x).toFixed(1)},${toY(y).toFixed(1)}`).join(" ");
      parts.push(drawing("polyline", { class: `curve k${curve.colour}${curve.faint ? " faint" : ""}`, points: line }));
      if (curve.dots) {
        for (const [x, y] of curve.points) {
          parts.push(drawing("circle", { class: `dot k${curve.colour}`, cx: toX(x), cy: toY(y), r: 4 }));
        }
      }
    }
    cross = drawing("g", {});
    svg.replaceChildren(...parts, cross);
    svg.places = { toX, toY, top, foot: height - bottom };
    show();
  }

  // The figures of every curve at the chosen place, or at the place nearest to it before.
  function show() {
    const at = xs[chosen], { toY, top, foot } = svg.places;
    const marks = [drawing("line", { class: "cross", x1: toX(at), x2: toX(at), y1: top, y2: foot })];
    const words = curves.map((curve) => {
      const point = curve.points.filter(([x]) => x <= at).pop() || curve.points[0];
      marks.push(drawing("circle", { class: `dot k${curve.colour}`, cx: toX(point[0]), cy: toY(point[1]), r: 5 }));
      const value = element("b", { textContent: figure(point[1]) });
      return element("li", { className: `k${curve.colour}` }, element("i", {}), element("span", {}, `${curve.name} `, value));
    });
    keys.replaceChildren(element("li", {}, element("span", {}, `at ${figure(at)} ${spec.across}:`)), ...words);
    cross.replaceChildren(...marks);
  }

  function choose(place) {
    chosen = Math.max(0, Math.min(xs.length - 1, place));
    show();
  }

  function point(event) {
    const x = event.clientX - svg.getBoundingClientRect().left;
    let best = 0;
    xs.forEach((value, i) => { if (Math.abs(toX(value) - x) < Math.abs(toX(xs[best]) - x)) best = i; });
    choose(best);
  }

  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("keydown", (event) => {
    const far = Math.max(1, Math.round(xs.length / 10));
    const moves = {
      ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: xs.length - 1,
      PageUp: chosen - far, PageDown: chosen + far,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    choose(moves[event.key]);
  });
  keys.setAttribute("aria-live", "polite");
  if (host.watcher) host.watcher.disconnect();
  host.watcher = new ResizeObserver(() => {
    if (host.clientWidth === width || !host.clientWidth) return;
    width = host.clientWidth;
    draw();
  });
  host.watcher.observe(host);
}

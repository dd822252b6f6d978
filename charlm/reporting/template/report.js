(function () {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const part = (id) => document.getElementById(id);
  const options = (select, entries) => select.replaceChildren(
    ...entries.map(([value, words]) => element("option", { value, textContent: words })));

  function heading() {
    document.title = `${visible(facts.name)}: charlm report`;
    part("name").textContent = visible(facts.name);
    part("version").textContent = facts.version;
    part("summary").replaceChildren(...facts.summary.map(([name, value]) =>
      element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))));
  }

  const ACROSS = { time: "seconds", chars: "characters read", steps: "updates" };
  const UP = { bits: "bits per character", loss: "loss in nats per token", lr: "learning rate", gradient: "norm of the gradient" };

  function training() {
    const across = part("curves-across"), up = part("curves-up");
    options(across, Object.entries(ACROSS));
    options(up, Object.entries(UP).filter(([name]) => facts.curves.some((curve) => name in curve)));
    const several = facts.curves.some((curve) => curve.run > 0);
    const draw = () => chart(part("curves"), {
      across: ACROSS[across.value],
      up: UP[up.value],
      scaleY: up.value === "gradient" ? "power" : "plain",
      curves: facts.curves.filter((curve) => up.value in curve).map((curve) => ({
        name: { train: "training", val: "validation" }[curve.name] || visible(curve.name),
        x: curve[across.value],
        y: curve[up.value],
        colour: several ? curve.run % 8 : Number(curve.split === "val"),
        faint: curve.split === "train",
        dots: curve.split === "val",
      })),
    });
    across.addEventListener("change", draw);
    up.addEventListener("change", draw);
    draw();
  }

  function samples() {
    const { samples, drawn_now } = facts;
    part("samples-note").textContent = !samples.length
      ? "A bidirectional network can't go on with a text, and writes no samples."
      : drawn_now
        ? "This run kept no samples while it trained. Here is one of its best model, drawn for this page."
        : "What the network wrote at each validation, always with the same seed, as the log keeps it.";
    part("samples-list").replaceChildren(...samples.map((sample) => {
      const words = sample.steps === null ? "the best model, seed 0"
        : `update ${figure(sample.steps)}: ${sample.bits.toFixed(3)} bits per character${sample.best ? ", the best so far" : ""}`;
      return element("li", {},
        element("p", { className: "quiet", textContent: words }),
        element("pre", { className: "sample", textContent: visible(sample.text) }));
    }));
  }

  const LEVELS = [2, 4, 6, 8, 12];
  const SPLITS = { val: "validation", test: "test", train: "training" };
  const percent = (share) => share >= 0.0005 || share === 0 ? `${(100 * share).toFixed(share < 0.1 ? 2 : 1)} %` : "below 0.05 %";

  function surprise() {
    const { pieces, symbols, split, nats, both_sides } = facts.passage;
    const level = (bits) => { const found = LEVELS.filter((limit) => bits >= limit).length; return found ? `hot-${found}` : ""; };
    const bits = nats / Math.LN2, chars = pieces.reduce((sum, [text]) => sum + [...text].length, 0);
    part("passage-note").textContent = `A passage of the ${SPLITS[split]} text, `
      + (both_sides ? "each character predicted from all others" : "read by itself from a cold start, as charlm score reads a text")
      + `: ${figure(bits)} bits, ${(bits / chars).toFixed(3)} per character. Point at a character, or go through them with the arrow keys, to see how likely it was and what else was.`;
    legend(part("passage-legend"), [["", "below 2 bits"], ...LEVELS.map((limit, i) => [`hot-${i + 1}`, `${limit} or more`])]);
    const readout = part("passage-readout");
    readout.setAttribute("aria-live", "polite");
    const text = passage(part("passage-text"), pieces, "The passage; arrow keys go through its characters", (place) => {
      const [piece, cost, likeliest] = pieces[place];
      readout.replaceChildren(
        element("p", {}, named(piece), ` had a probability of ${percent(Math.exp(-cost))}: ${(cost / Math.LN2).toFixed(2)} bits`),
        element("ul", { className: "likely" }, ...likeliest.map(([id, share]) =>
          element("li", {}, element("code", { textContent: visible(symbols[id]) }), ` ${percent(share)}`))));
    });
    text.colour((place) => level(pieces[place][1] / Math.LN2));
    text.choose(0);
  }

  function units() {
    if (!facts.units) return absent("units", "units-body");
    const { names, of, low, high, levels, tracking } = facts.units;
    const { pieces } = facts.passage;
    const bytes = Uint8Array.from(atob(levels), (character) => character.charCodeAt(0));
    const count = pieces.length;
    const [slider, name, track] = [part("units-slider"), part("units-name"), part("units-tracking")];
    const readout = part("units-readout");
    readout.setAttribute("aria-live", "polite");
    let unit = 0;
    const value = (place) => low[unit] + (bytes[unit * count + place] / 255) * (high[unit] - low[unit]);
    const level = (place) => {
      if (low[unit] === high[unit]) return "";
      const step = Math.min(8, Math.floor((bytes[unit * count + place] / 256) * 9)) - 4;
      return step === 0 ? "" : step < 0 ? `cold-${-step}` : `hot-${step}`;
    };
    const show = (place) => readout.replaceChildren(element("p", {},
      "after ", named(pieces[place][0]), `: ${value(place).toFixed(3)}`));
    const text = passage(part("units-text"), pieces, "The passage; arrow keys go through its characters", show);
    function choose(number) {
      unit = Math.max(0, Math.min(names.length - 1, number));
      slider.value = name.value = String(unit);
      slider.setAttribute("aria-valuetext", names[unit]);
      track.value = String(tracking.findIndex(([, tracker]) => tracker === unit));
      legend(part("units-legend"), [["cold-4", `low, ${figure(low[unit])}`], ["", "between"], ["hot-4", `high, ${figure(high[unit])}`]]);
      text.colour(level);
      show(text.at());
    }
    part("units-note").textContent = `The same passage in the colours of one unit, a number in the network's state, after each character. A unit's name is its block, its array and its place there; ${
      names.length === of ? `all ${of}` : `${names.length} of ${of.toLocaleString("en")}`} are here. Those that track something were found by one half of a text; the correlation is that of the other half.`;
    slider.max = String(names.length - 1);
    options(name, names.map((each, i) => [String(i), each]));
    options(track, [["-1", "nothing that is known"], ...tracking.map(([what, tracker, r], i) =>
      [String(i), `${what}: ${names[tracker]}, r = ${r.toFixed(2)}`])]);
    slider.addEventListener("input", () => choose(Number(slider.value)));
    name.addEventListener("change", () => choose(Number(name.value)));
    track.addEventListener("change", () => { if (track.value !== "-1") choose(tracking[Number(track.value)][1]); });
    part("units-before").addEventListener("click", () => choose(unit - 1));
    part("units-after").addEventListener("click", () => choose(unit + 1));
    const strongest = [...tracking].sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]))[0];
    choose(strongest ? strongest[1] : 0);
    text.choose(0);
  }

  function memory() {
    if (!facts.memory) return absent("memory", "memory-chart");
    const { seen, bits, effective, close } = facts.memory;
    part("memory-note").textContent = `How well the same symbols are predicted where the network may see no more than so many before them, each time from a cold start. With ${effective} it is within ${100 * close} % of the best.`;
    chart(part("memory-chart"), { across: "symbols seen", up: "bits per symbol", scaleX: "doubling", curves: [{ name: "bits per symbol", x: seen, y: bits, colour: 1, dots: true }] });
  }

  function gradient() {
    if (!facts.gradient) return absent("gradient", "gradient-chart");
    const { back, trained, untrained } = facts.gradient;
    part("gradient-note").textContent = "The norm of the gradient of the loss at a place with respect to the state so many symbols before it. Where it vanishes, nothing can be learned from so far away; where it grows, it explodes.";
    chart(part("gradient-chart"), { across: "symbols back", up: "norm", scaleY: "power", curves: [
      { name: "untrained", x: back, y: untrained, colour: 0, faint: true },
      { name: "trained", x: back, y: trained, colour: 1 },
    ] });
  }

  function absent(name, body) {
    part(`${name}-note`).textContent = visible(facts.missing[name]);
    part(body).hidden = true;
  }

  function settings() {
    part("settings-groups").replaceChildren(...facts.settings.map(([name, rows]) => element("table", {},
      element("caption", { textContent: name }),
      element("tbody", {}, ...rows.map(([key, value]) => {
        const head = element("th", { textContent: visible(key).replaceAll("_", " ") });
        head.scope = "row";
        return element("tr", {}, head, element("td", { textContent: visible(value) }));
      })))));
    // A line may end between two words, and not after a hyphen.
    part("command").replaceChildren(...visible(facts.command).split(" ").flatMap((word, i) =>
      [i ? " " : "", element("span", { textContent: word })]));
    part("command-note").textContent = facts.by_clock
      ? "It ran by the clock, which its learning rate follows, so it comes out a little otherwise each time."
      : "On a CPU with as many threads it makes the same model, bit for bit.";
  }

  heading();
  training();
  samples();
  surprise();
  units();
  memory();
  gradient();
  settings();
})();

// What a character looks like where it would not be seen, or be something else than it is.
function visible(text) {
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu, (character) => {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) return `\\x${(code - 0xdc00).toString(16)}`;
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

// A piece as it is called in a sentence.
function named(text) {
  const words = { "\n": "the end of a line", " ": "a space", "": "part of a character" }[text];
  return words || element("code", { textContent: visible(text) });
}

// A text in `host`, a span for each of its pieces. `show(place)` is told of the one that a pointer
// or the arrow keys are on, and `look(level)` gives each the class of its colour.
function passage(host, pieces, label, show) {
  const spans = pieces.map(([text]) => {
    const span = document.createElement("span");
    if (text === "\n") {
      span.append(element("span", { className: "end", textContent: "\u21b5" }), "\n");
    } else {
      span.textContent = text === "" ? "\u2026" : visible(text);
    }
    return span;
  });
  const places = new Map(spans.map((span, place) => [span, place]));
  let at = 0;

  function choose(place, scroll) {
    spans[at].classList.remove("at");
    at = Math.max(0, Math.min(spans.length - 1, place));
    spans[at].classList.add("at");
    if (scroll) spans[at].scrollIntoView({ block: "nearest" });
    show(at);
  }

  // The piece on the line above or below that is nearest to this one.
  function beside(direction) {
    const here = spans[at].getClientRects()[0];
    let line = null, best = at, apart = Infinity;
    for (let place = at + direction; place >= 0 && place < spans.length; place += direction) {
      const there = spans[place].getClientRects()[0];
      if (Math.abs(there.top - here.top) < here.height / 2) continue;
      if (line === null) line = there.top;
      if (Math.abs(there.top - line) > here.height / 2) break;
      if (Math.abs(there.left - here.left) < apart) {
        apart = Math.abs(there.left - here.left);
        best = place;
      }
    }
    return best;
  }

  function pointed(event) {
    const span = event.target.className === "end" ? event.target.parentNode : event.target;
    if (places.has(span)) choose(places.get(span));
  }

  host.tabIndex = 0;
  host.setAttribute("role", "application");
  host.setAttribute("aria-label", label);
  host.addEventListener("pointerover", pointed);
  host.addEventListener("pointerdown", pointed);
  host.addEventListener("keydown", (event) => {
    const moves = {
      ArrowLeft: () => at - 1, ArrowRight: () => at + 1, Home: () => 0, End: () => spans.length - 1,
      ArrowUp: () => beside(-1), ArrowDown: () => beside(1),
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    choose(moves[event.key](), true);
  });
  host.replaceChildren(...spans);
  return {
    at: () => at,
    choose,
    colour(look) {
      spans.forEach((span, place) => { span.className = look(place) + (place === at ? " at" : ""); });
    },
  };
}

function legend(host, entries) {
  host.replaceChildren(...entries.map(([look, words]) =>
    element("span", {}, element("span", { className: `swatch ${look}` }), words)));
}

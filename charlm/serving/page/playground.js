"use strict";

const ALTERNATIVES = 10;
// As `charlm score --color` has them.
const LEVELS_BITS = [2, 4, 6, 8, 12];
const SLIDERS = ["temperature", "top_p", "max_tokens"];
const VISIBLE = { " ": "␣", "\n": "↵", "\t": "⇥", "": "∅" };

const $ = (id) => document.getElementById(id);

// The text so far: its characters, and of each piece where it begins, its name, how likely it was,
// what else was likely, how many tokens it took, and its span. A piece is a token, or all that a
// character takes whose bytes lie in several; `begun` is one of which bytes are still to come.
let characters = [];
let tokens = [];
let begun = null;
let running = null;

function bitsOf(logprob) {
  return -logprob / Math.LN2;
}

function percent(logprob) {
  const share = 100 * Math.exp(logprob);
  return share < 0.1 ? "< 0.1 %" : `${share.toFixed(1)} %`;
}

function shown(text) {
  return VISIBLE[text] ?? text.replaceAll("\n", "↵");
}

function headers() {
  const token = $("token").value;
  const found = { "Content-Type": "application/json" };
  return token ? { ...found, Authorization: `Bearer ${token}` } : found;
}

function complain(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
}

async function checked(response) {
  if (response.ok) {
    return response;
  }
  if (response.status === 401) {
    $("token-field").hidden = false;
  }
  const body = await response.json().catch(() => null);
  throw new Error(body?.error?.message ?? `${response.status} ${response.statusText}`);
}

async function listModels() {
  try {
    const response = await checked(await fetch("/v1/models", { headers: headers() }));
    const names = (await response.json()).data.map((card) => card.id);
    $("model").replaceChildren(...names.map((name) => new Option(name)));
    complain("");
  } catch (error) {
    complain(error.message);
  }
}

function asked() {
  const seed = $("seed").value;
  const any = Math.floor(Math.random() * 2 ** 31);
  return {
    model: $("model").value,
    prompt: $("prompt").value,
    ...Object.fromEntries(SLIDERS.map((id) => [id, Number($(id).value)])),
    seed: seed === "" ? any : Number(seed),
    stream: true,
    echo: true,
    logprobs: ALTERNATIVES,
  };
}

// Each event of a stream of server-sent events, as an object.
async function* events(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      return;
    }
    const whole = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = whole.pop();
    for (const one of whole) {
      const data = one.replace(/^data: /, "");
      if (data !== "[DONE]") {
        yield JSON.parse(data);
      }
    }
  }
}

function clear() {
  characters = [];
  tokens = [];
  begun = null;
  $("text").replaceChildren();
  $("alternatives").hidden = true;
}

function add(choice) {
  characters.push(...choice.text);
  const told = choice.logprobs;
  const added = document.createDocumentFragment();
  told.text_offset.forEach((begin, i) => {
    const end = told.text_offset[i + 1] ?? characters.length;
    const piece = begun ?? { begin, name: told.tokens[i], logprob: 0, top: told.top_logprobs[i], count: 0 };
    piece.logprob += told.token_logprobs[i];
    piece.count += 1;
    begun = end === begin ? piece : null;
    if (begun) {
      return; // A byte of a character that comes with a later token.
    }
    const bits = bitsOf(piece.logprob);
    const span = document.createElement("span");
    const text = characters.slice(begin, end).join("");
    span.textContent = text === "\n" ? "↵\n" : text;
    span.className = `s${LEVELS_BITS.filter((level) => bits >= level).length}`;
    span.classList.toggle("given", begin < choice.echoed_chars);
    span.setAttribute("role", "button");
    span.setAttribute("aria-label", `${shown(text)}, ${bits.toFixed(1)} bits`);
    span.tabIndex = tokens.length ? -1 : 0;
    span.dataset.number = tokens.length;
    tokens.push({ ...piece, text, span });
    added.append(span);
  });
  $("text").append(added);
}

function tell(began, seed) {
  const pieces = tokens.filter((token) => !token.span.classList.contains("given"));
  const drawn = begun ? [...pieces, begun] : pieces;
  const count = drawn.reduce((sum, token) => sum + token.count, 0);
  const bits = drawn.reduce((sum, token) => sum + bitsOf(token.logprob), 0);
  const elapsed_s = (performance.now() - began) / 1000;
  const rate = Math.round(count / elapsed_s).toLocaleString("en");
  const mean = count ? (bits / count).toFixed(2) : "–";
  $("status").textContent = `${count} tokens, ${rate}/s, ${mean} bits each, seed ${seed}`;
}

async function write() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  clear();
  complain("");
  $("stop").disabled = false;
  const began = performance.now();
  try {
    const body = JSON.stringify(asked());
    const sent = { method: "POST", headers: headers(), body, signal: mine.signal };
    for await (const event of events(await checked(await fetch("/v1/completions", sent)))) {
      if (event.error) {
        throw new Error(event.error.message);
      }
      add(event.choices[0]);
      tell(began, event.seed);
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      complain(error.message);
    }
  }
  if (running === mine) {
    running = null;
    $("stop").disabled = true;
  }
}

function choose(number) {
  const token = tokens[number];
  if (!token) {
    return;
  }
  for (const other of document.querySelectorAll("#text [tabindex='0']")) {
    other.tabIndex = -1;
    other.classList.remove("chosen");
  }
  token.span.tabIndex = 0;
  token.span.classList.add("chosen");
  const cost = `${percent(token.logprob)}, ${bitsOf(token.logprob).toFixed(1)} bits`;
  $("chosen").textContent = `${shown(token.text)} came: ${cost}`;
  const top = Object.entries(token.top).sort(([, a], [, b]) => b - a);
  $("list").replaceChildren(...top.map(([text, logprob]) => alternative(token, text, logprob)));
  $("alternatives").hidden = false;
  token.span.focus({ preventScroll: true });
  token.span.scrollIntoView({ block: "nearest" }); // above what is shown of it, on a phone
}

function close() {
  $("alternatives").hidden = true;
  document.querySelector("#text .chosen")?.focus();
}

// The text that goes on from an alternative gets a seed of its own, which the form shows: with the
// random numbers of the text that it leaves it would soon return to it.
function reseed() {
  const seed = $("seed").value;
  if (seed !== "") {
    $("seed").value = Number(seed) < Number.MAX_SAFE_INTEGER ? Number(seed) + 1 : 0;
  }
}

function alternative(token, text, logprob) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  const bar = document.createElement("i");
  const name = document.createElement("code");
  const chance = document.createElement("small");
  bar.style.width = `${100 * Math.exp(logprob)}%`;
  name.textContent = shown(text);
  chance.textContent = percent(logprob);
  button.type = "button";
  button.classList.toggle("came", text === token.name);
  button.append(bar, name, chance);
  button.addEventListener("click", () => {
    $("prompt").value = characters.slice(0, token.begin).join("") + text;
    reseed();
    write();
  });
  // What is no text by itself can't be gone on from.
  button.disabled = text.startsWith("bytes:") || text === "<boundary>";
  item.append(button);
  return item;
}

function move(event) {
  const number = Number(event.target.dataset?.number);
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  if (Number.isNaN(number)) {
    return;
  }
  if (event.key in steps) {
    event.preventDefault();
    choose(number + steps[event.key]);
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(number);
  }
}

for (const id of SLIDERS) {
  const show = () => {
    $(`${id}-value`).textContent = $(id).value;
  };
  $(id).addEventListener("input", show);
  show();
}
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  write();
});
$("stop").addEventListener("click", () => running?.abort());
$("close").addEventListener("click", close);
$("token").addEventListener("change", listModels);
$("text").addEventListener("click", (event) => choose(Number(event.target.dataset.number)));
$("text").addEventListener("keydown", move);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    write();
  } else if (event.key === "Escape" && running) {
    running.abort();
  } else if (event.key === "Escape" && !$("alternatives").hidden) {
    close();
  }
});
listModels();

"use strict";

// What a person said is kept here, under an id of its own, until the server has answered that it is on its disk.

const about = document.querySelector("main").dataset;
const status_ = document.getElementById("status");
const prefix = `temper-label/${about.labels}/${about.annotator}/`;
const LONGEST_PAUSE_MS = 30000;

const tell = (text) => { status_.textContent = text; };
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const button = (id) => document.getElementById(id);

function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

const post = (path, body) =>
  fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body });

const reason = async (answer) => (await answer.json().catch(() => ({}))).error ?? `the server says ${answer.status}`;

const waiting = () => Object.keys(localStorage).filter((key) => key.startsWith(prefix)).sort();

// True once nothing waits; false if the server refused something for good.
async function deliver() {
  let pause = 500;
  for (let [key] = waiting(); key !== undefined; [key] = waiting()) {
    const event = localStorage.getItem(key);
    if (event === null) continue;
    tell("Saving…");
    const answer = await post("/judgements", event).catch(() => null);
    if (answer?.ok) {
      localStorage.removeItem(key);
      pause = 500;
    } else if (answer && [409, 413, 422].includes(answer.status)) {
      localStorage.removeItem(key);
      tell(`Not saved: ${await reason(answer)}`);
      return false;
    } else {
      const why = answer ? await reason(answer) : "the server does not answer";
      tell(`Not saved yet: ${why}. It is kept here and sent again in ${Math.ceil(pause / 1000)} s.`);
      await sleep(pause);
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }
  return true;
}

let busy = false;

async function say(kind, payload, next = "/") {
  if (busy) return;
  busy = true;
  const question = kind === "undo" ? null : about.question;
  const comment = kind === "undo" ? "" : button("comment").value.trim();
  const event = { id: uuid(), annotator: about.annotator, kind, question, payload, comment };
  const last = Number(waiting().at(-1)?.slice(prefix.length).split("/")[0] ?? 0);
  const place = String(Math.max(Date.now(), last + 1)).padStart(15, "0");
  try {
    localStorage.setItem(`${prefix}${place}/${event.id}`, JSON.stringify(event));
  } catch {
    tell("Not saved: this browser keeps nothing for this page. Allow it storage.");
    busy = false;
    return;
  }
  document.body.classList.add("busy");
  if (await deliver()) location.replace(next);
  document.body.classList.remove("busy");
  busy = false;
}

function scales() {
  const answers = [...document.querySelectorAll(".answer")];
  const value = (answer) => answer.querySelector("input:checked")?.value;
  const mark = (chosen) => answers.forEach((answer) => answer.classList.toggle("marked", answer === chosen));
  const onward = () => {
    button("save").disabled = !answers.every(value);
    mark(answers.find((answer) => !value(answer)) ?? answers.find((a) => a.classList.contains("marked")));
  };
  answers.forEach((answer) => {
    answer.addEventListener("click", () => mark(answer));
    answer.addEventListener("change", onward);
  });
  mark(answers[0]);
  button("save").addEventListener("click", () => {
    const numbers = Object.fromEntries(answers.map((answer) => [answer.dataset.answer, Number(value(answer))]));
    say(about.ask, about.ask === "stars" ? { stars: numbers } : { ranks: numbers });
  });
  return (key) => {
    const input = document.querySelector(`.marked input[value="${key}"]`);
    if (input === null) return;
    input.checked = true;
    onward();
  };
}

function question() {
  const digit = about.ask && about.ask !== "choice" ? scales() : () => {};
  document.querySelectorAll("[data-verdict]").forEach((one) => {
    one.addEventListener("click", () => say("choice", JSON.parse(one.dataset.verdict)));
  });
  button("skip")?.addEventListener("click", () => say("skip", {}));
  const undo = button("undo");
  undo.addEventListener("click", () => say("undo", { event: undo.dataset.event }, `/?question=${undo.dataset.of}`));
  document.addEventListener("keydown", (pressed) => {
    if (pressed.ctrlKey || pressed.metaKey || pressed.altKey || pressed.repeat) return;
    if (pressed.target.id === "comment") {
      if (pressed.key === "Escape") pressed.target.blur();
      return;
    }
    const keyed = document.querySelector(`[data-key="${CSS.escape(pressed.key)}"]`);
    if (pressed.key === "c" && button("comment")) button("comment").focus();
    else if (keyed && !keyed.disabled && !(pressed.key === "Enter" && pressed.target.matches("button, a, summary"))) keyed.click();
    else if (/^\d$/.test(pressed.key)) digit(pressed.key);
    else return;
    pressed.preventDefault();
  });
  if (waiting().length) deliver().then((saved) => { if (saved) location.replace("/"); });
}

function enter() {
  const token = () => location.hash.slice(1);
  const greet = () => tell(token() || about.known === "yes" ? "" : "Open the link that `temper label` printed.");
  greet();
  addEventListener("hashchange", greet);
  document.getElementById("enter").addEventListener("submit", async (submitted) => {
    submitted.preventDefault();
    const body = JSON.stringify({ annotator: button("name").value, token: token() });
    const answer = await post("/enter", body).catch(() => null);
    if (answer?.ok) location.replace("/");
    else tell(answer ? await reason(answer) : "The server does not answer.");
  });
  button("name").focus();
}

if (about.page === "enter") enter();
else {
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
  addEventListener("hashchange", () => location.replace(`/enter${location.hash}`));
  question();
}

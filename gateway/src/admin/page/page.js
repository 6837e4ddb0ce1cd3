"use strict";
// Shows what the API says, every 2 s while the page can be seen. Text is only ever set as text.

const INTERVAL_MS = 2000;
const WINDOW_SAMPLES = 5; // Rates and latencies are over so many intervals: 10 s.
const HISTORY_SAMPLES = 60;
const HISTORY_SAMPLES_MIN = 15;
const REFUSALS_SHOWN_MAX = 15;
const TIMEOUT_MS = 5000;

const byId = (id) => document.getElementById(id);
const history = new Map();
let isPaused = false;

function make(name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined && text !== null) element.textContent = text;
  if (className) element.className = className;
  return element;
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

// What was counted within the window, and the rates before.
function track(key, sample) {
  const samples = history.get(key) ?? [];
  const last = samples.at(-1);
  // Counters that went back are those of another process.
  if (last && sample.count < last.count) samples.length = 0;
  samples.push({ ...sample, at: performance.now() });
  if (samples.length > HISTORY_SAMPLES) samples.shift();
  history.set(key, samples);
  const from = samples.at(Math.max(0, samples.length - 1 - WINDOW_SAMPLES));
  const to = samples.at(-1);
  const seconds = Math.max((to.at - from.at) / 1000, 0.001);
  const rates = samples.slice(1).map((it, i) =>
    (it.count - samples[i].count) / Math.max((it.at - samples[i].at) / 1000, 0.001));
  return {
    rate: samples.length > 1 ? (to.count - from.count) / seconds : null,
    errors: to.count > from.count ? (to.errors - from.errors) / (to.count - from.count) : 0,
    buckets: to.buckets.map((count, i) => count - from.buckets[i]),
    rates,
  };
}

// The upper bound of the bucket in which a share of the answers lies.
function quantile(buckets, bounds, share) {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let seen = 0;
  for (let i = 0; i < buckets.length; i += 1) {
    seen += buckets[i];
    if (seen >= total * share) return i < bounds.length ? bounds[i] : Infinity;
  }
  return null;
}

const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
const rate = (value) => (value === null ? "–" : `${number(value, value < 10 ? 1 : 0)}/s`);
function seconds(value) {
  if (value === null) return "–";
  if (value === Infinity) return "> 10 s";
  return value < 1 ? `≤ ${number(value * 1000, 1)} ms` : `≤ ${number(value, 1)} s`;
}
const percent = (share) => `${number(share * 100, 1)} %`;
function age(total) {
  if (total === null || total === undefined) return "–";
  if (total < 120) return `${total} s`;
  if (total < 7200) return `${Math.floor(total / 60)} min`;
  return total < 172800 ? `${Math.floor(total / 3600)} h` : `${Math.floor(total / 86400)} d`;
}

function drawLine(rates) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "line");
  const width = Math.max(rates.length, HISTORY_SAMPLES_MIN);
  svg.setAttribute("viewBox", `0 0 ${width} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  if (rates.length < 2) return svg;
  const top = Math.max(...rates, 0.001);
  const start = width - rates.length;
  const points = rates.map((it, i) => `${start + i + 1},${(10 - (it / top) * 9).toFixed(2)}`);
  for (const [name, d] of [["area", `M${start + 1},10L${points.join("L")}L${width},10Z`], ["", `M${points.join("L")}`]]) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

// Rows stay the same elements, so that a selection and the place of a reader survive.
function fill(id, columns, rows, none) {
  const table = byId(id);
  if (!table.tHead) {
    const head = table.createTHead().insertRow();
    for (const column of columns) {
      const cell = make("th", column.name, column.kind ?? "");
      cell.scope = "col";
      head.append(cell);
    }
    table.append(make("tbody"));
  }
  const body = table.tBodies[0];
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  if (rows.length === 0) {
    const row = make("tr");
    const cell = make("td", none, "none text");
    cell.colSpan = columns.length;
    row.append(cell);
    body.replaceChildren(row);
    return;
  }
  rows.forEach((values, place) => {
    let row = known.get(values.key);
    known.delete(values.key);
    if (!row) {
      row = make("tr");
      row.dataset.key = values.key;
      columns.forEach((column, i) => {
        const cell = make(i === 0 ? "th" : "td", undefined, column.kind ?? "");
        if (i === 0) cell.scope = "row";
        else if (column.name) cell.dataset.label = column.name;
        row.append(cell);
      });
    }
    values.cells.forEach((value, i) => {
      const cell = row.cells[i];
      const [content, tone] = Array.isArray(value) ? value : [value, ""];
      if (content instanceof Node) cell.replaceChildren(content);
      else if (cell.textContent !== String(content ?? "–")) cell.textContent = content ?? "–";
      cell.className = `${columns[i].kind ?? ""} ${tone}`.trim();
    });
    if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] ?? null);
  });
  for (const row of known.values()) row.remove();
}

function figures(id, pairs) {
  byId(id).replaceChildren(...pairs.map(([name, value, tone]) => {
    const pair = make("div");
    pair.append(make("dt", name), make("dd", value, tone ?? ""));
    return pair;
  }));
}

const plain = (name) => ({ name });
const right = (name) => ({ name, kind: "number" });
const long = (name) => ({ name, kind: "text" });
const ROUTES = [plain("Route"), right("Requests"), { name: "Last 2 min" }, right("Errors"), right("p50"), right("p99"), plain("Sign-in"), plain("Upstreams"), right("Total")];
const UPSTREAMS = [plain("Upstream"), right("Answers"), { name: "Last 2 min" }, right("5xx"), right("p50"), right("p99"), right("Tries"), right("Retries"), right("Not connected"), long("Picks")];
const ENDPOINTS = [plain("Endpoint"), plain("Upstream"), plain("Health"), right("Score"), right("In flight"), right("Expected"), right("Weight"), right("Ejections"), plain("Zone")];

function measured(key, traffic, bounds) {
  const answers = traffic.answers;
  const count = Object.values(answers).reduce((sum, it) => sum + it, 0);
  const told = track(key, { count, errors: answers["5xx"], buckets: traffic.latency.buckets });
  const p = (share) => seconds(quantile(told.buckets, bounds, share));
  return { count, told, p50: p(0.5), p99: p(0.99), failed: [percent(told.errors), told.errors > 0.01 ? "is-bad" : ""] };
}

function showRoutes(body, status) {
  const bounds = body.bucket_bounds_seconds;
  let all = 0;
  const row = (key, name, traffic, auth, upstreams) => {
    const it = measured(`route ${key}`, traffic, bounds);
    all += it.told.rate ?? 0;
    return { key, cells: [name, rate(it.told.rate), drawLine(it.told.rates), it.failed, it.p50, it.p99, auth, upstreams, number(it.count)] };
  };
  const rows = body.routes.map((route) => {
    const auth = route.auth.map((it) => [it.kind, it.by.join(", ")].join(" ").trim()).join(" or ");
    const sum = route.upstreams.reduce((total, it) => total + it.weight, 0);
    const upstreams = route.upstreams.map((it) => route.upstreams.length > 1 ? `${it.name} ${percent(it.weight / sum)}` : it.name);
    return row(`r ${route.name}`, route.name, route.traffic, auth || "open", upstreams.join(", ") || "the gateway itself");
  });
  rows.push(row("none", "(no route)", body.unmatched, "–", "–"));
  fill("routes", ROUTES, rows, "no route");
  figures("figures", [
    ["Requests", rate(all)], ["In flight", number(status.requests_in_flight)],
    ["Connections", number(status.connections)], ["Tokens remembered", number(status.tokens_cached)],
    ["Workers", number(status.workers)],
  ]);
}

function healthTone(endpoint) {
  if (endpoint.health === "healthy") return "is-good";
  return endpoint.health === "probing" ? "is-warn" : "is-bad";
}

function showUpstreams(body) {
  const bounds = body.bucket_bounds_seconds;
  fill("upstream-table", UPSTREAMS, body.upstreams.map((it) => {
    const m = measured(`upstream ${it.name}`, it, bounds);
    const picks = Object.entries(it.picks).filter(([, count]) => count > 0).map(([name, count]) => `${name} ${number(count)}`);
    return { key: it.name, cells: [it.name, rate(m.told.rate), drawLine(m.told.rates), m.failed, m.p50, m.p99, number(it.tries), number(it.retries), [number(it.connect_failures), it.connect_failures > 0 ? "is-warn" : ""], picks.join(", ") || "–"] };
  }), "no upstream");
  fill("endpoints", ENDPOINTS, body.upstreams.flatMap((upstream) => upstream.endpoints.map((it) => {
    const until = it.ejected_for_ms === null ? "" : `, ${number(it.ejected_for_ms / 1000, 1)} s left`;
    const why = it.health === "ejected" && it.ejected_for ? ` (${it.ejected_for}${until})` : "";
    const warm = it.warmth < 1 ? `, warming ${percent(it.warmth)}` : "";
    return { key: `${upstream.name} ${it.address}`, cells: [it.address, upstream.name, [it.health + why + warm, healthTone(it)], number(it.score, 4), number(it.in_flight), it.expected_ms === null ? "–" : `${number(it.expected_ms, 2)} ms`, number(it.weight), number(it.ejections), it.zone ?? "–"] };
  })), "no endpoint is known");
}

function showRefusals(body) {
  const counts = new Map();
  for (const it of body.refusals) counts.set(it.reason, [it, (counts.get(it.reason)?.[1] ?? 0) + 1]);
  const sorted = [...counts.values()].sort((a, b) => b[1] - a[1]);
  fill("reasons", [plain("Reason"), right("Status"), right("Count"), long("Meaning")],
    sorted.map(([it, count]) => ({ key: it.reason, cells: [it.reason, number(it.status), number(count), it.title] })), "nothing was refused");
  fill("refused", [plain("Time"), plain("Reason"), plain("Route"), long("Request"), plain("Client"), long("Detail")],
    body.refusals.slice(0, REFUSALS_SHOWN_MAX).map((it, i) => ({ key: `${it.time_ms} ${i}`, cells: [
      new Date(it.time_ms).toLocaleTimeString("en-GB"), it.reason, it.route ?? "–",
      it.method ? `${it.method} ${it.path}` : "(not readable)", it.client, it.detail ?? "–"] })), "nothing was refused");
}

function showKeys(body) {
  fill("providers", [plain("Provider"), long("Issuer"), plain("Algorithms"), long("Keys"), right("Age"), right("Good for"), right("Revoked")],
    body.jwt_providers.map((it) => ({ key: it.name, cells: [it.name, it.issuer, it.algorithms.join(", "),
      it.keys.length ? it.keys.map((key) => key.kid ?? `(no id, ${key.algorithms.join("/")})`).join(", ") : ["none", "is-bad"],
      age(it.age_seconds), age(it.seconds_until_stale), number(it.revocations)] })), "no token provider");
  fill("lists", [plain("List"), plain("Header"), right("Keys")],
    body.api_keys.map((it) => ({ key: it.name, cells: [it.name, it.header, number(it.keys)] })), "no list of API keys");
}

function showLimits(body) {
  const beside = (it) => [`${number(it.now)} of ${number(it.max)}`, it.now >= it.max ? "is-bad" : it.now > it.max * 0.8 ? "is-warn" : ""];
  fill("limit-table", [plain("Upstream"), right("Requests"), right("Connections"), right("Waiting for one"), right("Adaptive"), right("Shed")],
    body.upstreams.map((it) => {
      const shed = Object.values(it.shed).reduce((sum, count) => sum + count, 0);
      return { key: it.upstream, cells: [it.upstream, beside(it.requests), beside(it.connections), beside(it.pending), it.adaptive ? number(it.adaptive.limit) : "–", [number(shed), shed > 0 ? "is-warn" : ""]] };
    }), "no upstream");
}

// The line alone where there is one file.
function place(body, it) {
  const line = it.line ?? "–";
  return it.file && (body.files.length > 1 || it.file !== body.file) ? `${it.file}:${line}` : line;
}

function showConfig(body) {
  const it = body.reloads;
  const bad = it.refused_last;
  figures("reloads", [
    ["File", body.file], ["Generation", number(it.generation)], ["SHA-256", it.hash],
    ["Last good read", new Date(it.read_at * 1000).toLocaleString("en-GB")],
    ["Last reload", bad ? `refused ${new Date(bad.at * 1000).toLocaleString("en-GB")}` : "good", bad ? "is-bad" : "is-good"],
    ["Applied, unchanged, refused", `${it.applied}, ${it.unchanged}, ${it.refused}`],
    ["Waits for a restart", it.needs_restart.join(", ") || "nothing", it.needs_restart.length ? "is-warn" : ""],
  ]);
  byId("problems").hidden = !bad;
  fill("problems", [plain("Line"), plain("Path"), long("Problem"), long("Remedy")], (bad?.problems ?? []).map((p, i) =>
    ({ key: `${i} ${p.path}`, cells: [place(body, p), p.path || "–", p.message, p.help ?? "–"] })), "none");
  const kinds = [["route", body.routes], ["upstream", body.upstreams], ["JWT provider", body.jwt_providers], ["API keys", body.api_keys]];
  fill("origins", [plain("Name"), plain("Kind"), right("Line")], kinds.flatMap(([kind, list]) => list.map((one) =>
    ({ key: `${kind} ${one.name}`, cells: [one.name, kind, place(body, one)] }))), "nothing");
}

function showState(tone, text) {
  byId("state").className = tone;
  if (byId("state-text").textContent !== text) byId("state-text").textContent = text;
}

async function refresh() {
  const [status, routes, upstreams, refusals, keys, limits, config] = await Promise.all(
    ["status", "routes", "upstreams", "refusals", "keys", "limits", "config"].map((it) => ask(`/api/v1/${it}`)));
  byId("version").textContent = status.version;
  showRoutes(routes, status);
  showUpstreams(upstreams);
  showRefusals(refusals);
  showKeys(keys);
  showLimits(limits);
  showConfig(config);
  const waiting = status.waiting_for.join(", ");
  showState(status.is_ready ? "good" : "bad", status.is_ready ? "ready" : `not ready, waits for ${waiting}`);
}

async function loop() {
  if (!isPaused && !document.hidden) {
    try {
      await refresh();
    } catch (error) {
      showState("bad", `no answer: ${error.message}`);
    }
  }
  setTimeout(loop, INTERVAL_MS);
}

function list(title, lines) {
  const items = make("ul");
  for (const [text, tone] of lines) items.append(make("li", text, tone ?? ""));
  return lines.length ? [make("h3", title), items] : [];
}

function explanation(it) {
  const answer = it.answer;
  const verdict = answer.is_served
    ? (answer.status === null ? "goes upstream" : `is answered by the gateway with ${answer.status}`)
    : `is refused: ${answer.status} ${answer.reason}`;
  const extra = [answer.title, answer.detail, answer.hint, answer.allow && `allowed: ${answer.allow}`];
  const lost = { wins: "wins", outranked: "matches, but the winner is narrower", method: "takes other methods", path: "has another path", host: "has another host" };
  const written = (one) => one.file ? ` (${one.file}:${one.line})` : "";
  const routes = it.candidates.slice(0, 12).map((one) => [
    `${one.route}: ${lost[one.verdict] ?? `the ${one.verdict} ${one.subject} is not as it asks`}${written(one)}`, one.verdict === "wins" ? "is-good" : ""]);
  const checks = (it.authentication?.policies ?? []).flatMap((policy) => [
    [`${policy.kind} ${policy.by.join(", ")} ${policy.verdict.replace("_", " ")}`, policy.verdict === "admits" ? "is-good" : ""],
    ...policy.checks.map((check) => [
      `${check.check}${check.subject ? ` (${check.subject})` : ""}${check.provider ? ` of ${check.provider}` : ""}: ${check.has_passed ? "holds" : [check.reason, check.detail].filter(Boolean).join(", ")}`,
      check.has_passed ? "" : "is-bad"])]);
  if (it.authentication?.is_open) checks.push(["everybody may: auth is none"]);
  const limits = it.limits ? [[`timeout ${it.limits.timeout_ms} ms`], [`body up to ${number(it.limits.body_bytes_max)} bytes`, it.limits.is_body_within === false ? "is-bad" : ""], [`up to ${it.limits.retries.tries_max} tries on ${[...it.limits.retries.on, ...it.limits.retries.statuses].join(", ")}`]] : [];
  const places = it.upstreams.flatMap((one) => [[`${one.name}, weight ${one.weight} of ${one.weight_sum}, ${one.policy}${written(one)}`],
    ...(one.endpoints ?? []).map((e) => [`${e.address}: ${e.health}, ${e.in_flight} in flight, score ${number(e.score, 4)}`, healthTone(e)])]);
  const sent = it.sent_headers.map((one) => [`${one.name}: ${one.value ?? "(not shown)"} – ${one.origin}`]);
  return [make("p", `${it.request.method} ${it.request.path} ${verdict}`, `verdict ${answer.is_served ? "is-good" : "is-bad"}`),
    ...list("Answer", extra.filter(Boolean).map((text) => [text])), ...list("Route", routes), ...list("Authentication", checks),
    ...list("Limits", limits), ...list("Upstreams", places), ...list("Sent upstream", sent)];
}

async function explain(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const headers = form.get("headers").split("\n").filter((it) => it.trim()).map((it) => {
    const at = it.indexOf(":");
    return { name: it.slice(0, Math.max(at, 0)).trim(), value: it.slice(at + 1).trim() };
  });
  const question = { method: form.get("method").trim().toUpperCase(), target: form.get("target").trim(), headers };
  if (form.get("peer").trim()) question.peer = form.get("peer").trim();
  if (form.get("body_bytes")) question.body_bytes = Number(form.get("body_bytes"));
  const token = form.get("token");
  const answer = byId("answer");
  try {
    const reply = await fetch("/api/v1/explain", {
      method: "POST", body: JSON.stringify(question), signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    });
    const body = await reply.json();
    answer.replaceChildren(...(reply.ok ? explanation(body) : [make("p", body.detail, "verdict is-bad")]));
  } catch (error) {
    answer.replaceChildren(make("p", `no answer: ${error.message}`, "verdict is-bad"));
  }
  answer.focus({ preventScroll: true });
}

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  byId("pause").textContent = isPaused ? "Go on" : "Pause";
});
byId("question").addEventListener("submit", explain);
loop();

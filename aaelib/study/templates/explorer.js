// The explorer without a kernel. Its data are those of aaelib.apps.page.
"use strict";

// Numbers ------------------------------------------------------------------------------------------

function bytes(text) {
  const raw = atob(text), found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
  return found.buffer;
}
const singles = (text) => new Float32Array(bytes(text));

function halves(text) {
  const table = new Float32Array(65536);
  for (let h = 0; h < 65536; h++) {
    const exponent = (h >> 10) & 31, fraction = h & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    table[h] = h >> 15 ? -size : size;
  }
  return Float32Array.from(new Uint16Array(bytes(text)), (h) => table[h]);
}

const HIDDEN = DATA.hidden.map((each) => ({kernel: halves(each.kernel), bias: singles(each.bias)}));
const KERNEL = new Int8Array(bytes(DATA.kernel)), STEPS = singles(DATA.steps);
const BIAS = singles(DATA.bias), TERMS = singles(DATA.terms);
const SIZE = DATA.sockets[0].code.length, WIDTH = BIAS.length;

// y += x kernel, where the kernel has a row for each number of x.
function addProduct(y, x, kernel) {
  for (let i = 0; i < x.length; i++) {
    const factor = x[i], row = i * y.length;
    if (factor !== 0) for (let j = 0; j < y.length; j++) y[j] += factor * kernel[row + j];
  }
  return y;
}

function gates(code) {
  const logits = DATA.gate_kernel.map((row, k) =>
    row.reduce((sum, each, i) => sum + each * code[i], DATA.gate_bias[k]));
  const most = Math.max(...logits), parts = logits.map((each) => Math.exp(each - most));
  const sum = parts.reduce((a, b) => a + b);
  return parts.map((each) => each / sum);
}

// Points (x, y, z, x, ...) in mm.
function decode(code) {
  let features = code;
  for (const {kernel, bias} of HIDDEN) {
    features = addProduct(Float32Array.from(bias), features, kernel);
    for (let j = 0; j < features.length; j++) if (features[j] < 0) features[j] = 0;
  }
  const found = addProduct(new Float32Array(WIDTH), features, KERNEL);
  for (let j = 0; j < WIDTH; j++) found[j] = found[j] * STEPS[j] + BIAS[j];
  gates(code).forEach((gate, k) => {
    if (gate < 1e-9) return;
    const weights = [1, ...code].map((each) => gate * each);
    const start = k * (SIZE + 1) * WIDTH;
    addProduct(found, weights, TERMS.subarray(start, start + (SIZE + 1) * WIDTH));
  });
  return found.map((each) => each * DATA.scale);
}

// Surfaces -----------------------------------------------------------------------------------------

const TEMPLATES = DATA.templates.map((each) => ({
  ...each, grid: singles(each.grid), points: new Uint16Array(bytes(each.points)),
  weights: singles(each.weights), cloud: decode(each.code),
}));
const [ANGLES, HEIGHTS] = TEMPLATES[0].shape;

// Nodes (angle by angle, from the pole to the brim) of the surface that moves with the points.
function surface(code, cloud) {
  const nodes = new Float32Array(3 * ANGLES * HEIGHTS);
  gates(code).forEach((gate, k) => {
    if (gate < 1e-6) return;
    const {grid, points, weights, cloud: before} = TEMPLATES[k], n = 3 * points.length / grid.length;
    for (let node = 0; node < nodes.length / 3; node++) {
      let x = grid[3 * node], y = grid[3 * node + 1], z = grid[3 * node + 2];
      for (let i = node * n; i < (node + 1) * n; i++) {
        const p = 3 * points[i];
        x += weights[i] * (cloud[p] - before[p]);
        y += weights[i] * (cloud[p + 1] - before[p + 1]);
        z += weights[i] * (cloud[p + 2] - before[p + 2]);
      }
      nodes[3 * node] += gate * x; nodes[3 * node + 1] += gate * y; nodes[3 * node + 2] += gate * z;
    }
  });
  return nodes;
}

// As SocketSurface.mesh: the pole is one vertex, and the second triangle of its cells has no area.
const FACES = (() => {
  const at = (i, j) => j ? 1 + (i % ANGLES) * (HEIGHTS - 1) + j - 1 : 0, faces = [];
  for (let i = 0; i < ANGLES; i++) for (let j = 0; j < HEIGHTS - 1; j++) {
    faces.push([at(i, j), at(i + 1, j + 1), at(i, j + 1)]);
    if (j) faces.push([at(i, j), at(i + 1, j), at(i + 1, j + 1)]);
  }
  return faces;
})();

function vertices(nodes) {
  const found = [[...nodes.subarray(0, 3)]];
  for (let i = 0; i < ANGLES; i++) for (let j = 1; j < HEIGHTS; j++) {
    const at = 3 * (i * HEIGHTS + j);
    found.push([nodes[at], nodes[at + 1], nodes[at + 2]]);
  }
  return found;
}

// Sections: where a horizontal plane cuts each meridian for the last time (sockets.section_sizes).
function perimeter(nodes, level) {
  const ring = [];
  for (let i = 0; i < ANGLES; i++) {
    let j = HEIGHTS - 2;
    const z = (k) => nodes[3 * (i * HEIGHTS + k) + 2];
    while (j > 0 && !(z(j) <= level && level <= z(j + 1))) j--;
    const rise = z(j + 1) - z(j), a = 3 * (i * HEIGHTS + j);
    const part = Math.min(1, Math.max(0, (level - z(j)) / (rise > 0 ? rise : 1)));
    ring.push([0, 1].map((axis) => (1 - part) * nodes[a + axis] + part * nodes[a + 3 + axis]));
  }
  return ring.reduce((sum, [x, y], i) => {
    const [nextX, nextY] = ring[(i + 1) % ANGLES];
    return sum + Math.hypot(nextX - x, nextY - y);
  }, 0);
}

// As SocketSurface.measure, by its names.
function measure(nodes) {
  let low = Infinity, high = -Infinity;
  for (let k = 2; k < nodes.length; k += 3) {
    low = Math.min(low, nodes[k]); high = Math.max(high, nodes[k]);
  }
  const brim = [0, 0, 0];
  let least = Infinity;
  for (let i = 0; i < ANGLES; i++) {
    const at = 3 * (i * HEIGHTS + HEIGHTS - 1);
    for (let axis = 0; axis < 3; axis++) brim[axis] += nodes[at + axis] / ANGLES;
    least = Math.min(least, nodes[at + 2] - low);
  }
  // The divergence theorem; from its own apex, a fan over the brim adds nothing.
  const points = vertices(nodes).map((p) => p.map((each, axis) => each - brim[axis]));
  let volume = 0;
  for (const [i, j, k] of FACES) {
    const a = points[i], b = points[j], c = points[k];
    volume += a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2])
      + a[2] * (b[0] * c[1] - b[1] * c[0]);
  }
  const perimeters = {};
  for (let height = 30; height < least; height += 30)
    if (height > nodes[2] - low) perimeters[height] = perimeter(nodes, low + height);
  return {
    length_mm: high - low, volume_mm3: volume / 6, brim_height_mean_mm: brim[2] - low,
    proximal_perimeter_mm: perimeter(nodes, low + least), perimeters,
  };
}

// Share of the prior's draws that are farther out than a code, from a table by squared distance.
function plausibility(code) {
  const at = code.reduce((sum, each) => sum + (each / DATA.prior_std) ** 2, 0) / DATA.farther_step;
  const i = Math.min(Math.floor(at), DATA.farther.length - 2);
  const [low, high] = DATA.farther.slice(i, i + 2);
  return Math.max(0, low + (at - i) * (high - low));
}

// Where we are -------------------------------------------------------------------------------------

const first = (kind) => DATA.sockets.findIndex((each) => each.kind === kind);
const START = {a: first("TT"), b: first("TF"), share: 0, by: {}, modes: {}};
let state = START, past = [], shown = null;

// Normal draws of a seed (mulberry32, Box and Muller).
function drawn(seed) {
  const uniform = () => {
    seed = (seed + 0x6D2B79F5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return Array.from({length: SIZE}, () => DATA.prior_std
    * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}

const codeOf = (end) => typeof end === "string" ? drawn(Number(end.slice(1))) : DATA.sockets[end].code;
const nameOf = (end) => typeof end === "string" ? `drawn with seed ${end.slice(1)}` : DATA.sockets[end].name;

function code() {
  const a = codeOf(state.a), b = codeOf(state.b);
  const found = a.map((each, i) => (1 - state.share) * each + state.share * b[i]);
  // Directions of the kind that the socket is of: a code means something else in each.
  const chosen = gates(found), {directions} = TEMPLATES[chosen.indexOf(Math.max(...chosen))];
  for (const [name, by] of Object.entries(state.by))
    directions[name].forEach((step, i) => { found[i] += step * by * DATA.sliders[name][1]; });
  // The first number chooses the kind.
  for (const [mode, by] of Object.entries(state.modes)) found[mode] += by * DATA.prior_std;
  return found;
}

function go(next, remember = true) {
  if (remember) past.push(state);
  state = next;
  setControls();
  show();
}

// The page -----------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);
const plot = $("socket");

function setControls() {
  for (const end of ["a", "b"]) {
    const menu = $(end);
    if (typeof state[end] === "string" && ![...menu.options].some((o) => o.value === state[end]))
      menu.add(new Option(nameOf(state[end]), state[end]));
    menu.value = state[end];
  }
  $("share").value = state.share;
  for (const input of document.querySelectorAll("[data-size]")) input.value = state.by[input.dataset.size] || 0;
  for (const input of document.querySelectorAll("[data-mode]")) input.value = state.modes[input.dataset.mode] || 0;
  for (const output of document.querySelectorAll("output"))
    output.value = output.htmlFor[0] === "share" ? `${Math.round(100 * state.share)} %`
      : signed(Number($(output.htmlFor[0]).value));
  $("undo").disabled = !past.length;
}

const signed = (number, digits = 0) => (number > 0 ? "+" : "") + number.toFixed(digits).replace(/^-0$/, "0");
const columns = (points) => [0, 1, 2].map((axis) => points.map((p) => p[axis]));
const centred = (points) => {
  const low = Math.min(...points.map((p) => p[2]));
  return points.map(([x, y, z]) => [x, y, z - low]);
};
const meshOf = (end) => { const of = codeOf(end); return centred(vertices(surface(of, decode(of)))); };

let waiting = false;
function show() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

function draw() {
  const begun = performance.now(), now = code(), nodes = surface(now, decode(now));
  const points = vertices(nodes), sizes = measure(nodes), drawn = [columns(centred(points))];
  explorer.milliseconds = performance.now() - begun;
  const ends = [state.a, state.b].join();
  const outlined = !shown || shown.ends !== ends;
  const before = outlined ? measure(surface(codeOf(state.a), decode(codeOf(state.a)))) : shown.before;
  shown = {code: now, points, sizes, before, ends};
  if (outlined) drawn.push(columns(meshOf(state.a)), columns(meshOf(state.b)));
  const [x, y, z] = [0, 1, 2].map((axis) => drawn.map((each) => each[axis]));
  if (plot.data) Plotly.restyle(plot, {x, y, z}, [...drawn.keys()]);
  else drawFirst(x, y, z);
  tell(sizes, before, plausibility(now));
  history.replaceState(null, "", "#" + encodeURIComponent(JSON.stringify(state)));
}

const ROWS = {...DATA.sliders, brim_height_mean_mm: ["mean brim height, mm", 1]};
function tell(sizes, before, share) {
  const row = (title, now, then) => `<tr><th scope="row">${title}</th><td>${now.toFixed(0)}</td>`
    + `<td>${then === undefined ? "" : signed(now - then)}</td></tr>`;
  const named = Object.entries(ROWS).map(([name, [title, unit]]) =>
    row(title, sizes[name] / unit, before[name] / unit));
  const rings = Object.entries(sizes.perimeters).map(([height, now]) =>
    row(`perimeter at ${height} mm`, now, before.perimeters[height]));
  $("sizes").innerHTML = [...named, ...rings].join("");
  const [, words] = DATA.plausible.find(([least]) => share > least);
  $("plausible").textContent = `${words}: ${share < 0.001 ? "fewer than 0.1" : (100 * share).toFixed(share < 0.1 ? 1 : 0)} % `
    + "of the model's own draws lie farther from its average.";
  $("marker").style.left = `${100 * (1 - share)}%`;
}

function save(parts, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function stl(points) {
  const view = new DataView(new ArrayBuffer(84 + 50 * FACES.length));
  view.setUint32(80, FACES.length, true);
  FACES.forEach((face, f) => {
    const [a, b, c] = face.map((i) => points[i]), u = b.map((each, i) => each - a[i]);
    const v = c.map((each, i) => each - a[i]);
    const normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    const length = Math.hypot(...normal) || 1;
    [...normal.map((each) => each / length), ...a, ...b, ...c].forEach((each, i) =>
      view.setFloat32(84 + 50 * f + 4 * i, each, true));
  });
  return view.buffer;
}

function csv(sizes) {
  const rows = Object.keys(ROWS).map((name) => `${name},${sizes[name].toFixed(2)}`);
  const rings = Object.entries(sizes.perimeters).map(([height, each]) => `perimeter_at_${height}_mm,${each.toFixed(2)}`);
  return ["size,value", ...rows, ...rings].join("\n") + "\n";
}

function slider(id, title, data, end, step) {
  return `<label for="${id}">${title} <output for="${id}">0</output></label>`
    + `<input type="range" id="${id}" ${data} min="${-end}" max="${end}" step="${step}" value="0">`;
}

function listen() {
  for (const end of ["a", "b"]) {
    DATA.sockets.forEach(({name}, i) => $(end).add(new Option(name, i)));
    $(end).addEventListener("change", ({target: {value}}) =>
      go({...state, [end]: value[0] === "s" ? value : Number(value)}));
  }
  $("size-sliders").innerHTML = Object.entries(DATA.sliders).map(([name, [title, , end, step]]) =>
    slider(`by-${name}`, title, `data-size="${name}"`, end, step)).join("");
  $("mode-sliders").innerHTML = Array.from({length: DATA.modes}, (_, i) =>
    slider(`mode-${i + 1}`, `number ${i + 1}, standard deviations`, `data-mode="${i + 1}"`, 3, 0.1)).join("");
  let moving = null;  // one drag of one slider is one step to undo
  for (const input of document.querySelectorAll("input[type=range]")) {
    input.addEventListener("input", () => {
      const value = Number(input.value), {size, mode} = input.dataset, next = {...state};
      if (size) next.by = {...state.by, [size]: value};
      else if (mode) next.modes = {...state.modes, [mode]: value};
      else next.share = value;
      go(next, moving !== input);
      moving = input;
    });
    input.addEventListener("change", () => { moving = null; });
  }
  $("draw").addEventListener("click", () => go({...START, b: state.b, a: `s${1 + Math.floor(Math.random() * 1e6)}`}));
  $("undo").addEventListener("click", () => { if (past.length) go(past.pop(), false); });
  $("reset").addEventListener("click", () => go({...START, a: state.a, b: state.b}));
  $("stl").addEventListener("click", () => save([stl(shown.points)], "socket.stl", "model/stl"));
  $("csv").addEventListener("click", () => save([csv(shown.sizes)], "socket.csv", "text/csv"));
  $("link").addEventListener("click", async ({target}) => {
    const title = target.textContent;
    try {  // browsers may refuse it
      await navigator.clipboard.writeText(location.href);
      target.textContent = "Copied";
    } catch { target.textContent = "The address bar has the link"; }
    setTimeout(() => { target.textContent = title; }, 2000);
  });
  $("outlines").addEventListener("change", ({target}) =>
    Plotly.restyle(plot, {visible: target.checked}, [1, 2]));
}

// A link may be old, or edited: what it names must be there.
function linked() {
  try {
    const found = {...START, ...JSON.parse(decodeURIComponent(location.hash.slice(1)))};
    const isEnd = (end) => /^s\d{1,7}$/.test(end) || end in DATA.sockets;
    const finite = (each) => Number.isFinite(each);
    const isRight = isEnd(found.a) && isEnd(found.b) && finite(found.share)
      && Object.keys(found.by).every((name) => name in DATA.sliders)
      && Object.keys(found.modes).every((mode) => mode >= 1 && mode <= DATA.modes)
      && [...Object.values(found.by), ...Object.values(found.modes)].every(finite);
    return isRight ? found : START;
  } catch { return START; }
}

function drawFirst(x, y, z) {
  const [i, j, k] = columns(FACES), mesh = {type: "mesh3d", i, j, k, hoverinfo: "skip"};
  const axis = (title) => ({title: {text: title}, color: "#6b7780", gridcolor: "#e6eaed", showbackground: false});
  const lighting = {ambient: 0.38, diffuse: 0.62, specular: 0.08, roughness: 0.5, fresnel: 0.1};
  const lightposition = {x: 47000, y: 67000, z: -57000};
  const looks = [
    {color: "#9fb8c6", lighting, lightposition},
    {color: "#c8553d", opacity: 0.08}, {color: "#3d5a80", opacity: 0.08},
  ];
  Plotly.newPlot(plot, looks.map((look, t) => ({...mesh, ...look, x: x[t], y: y[t], z: z[t]})), {
    margin: {l: 0, r: 0, t: 0, b: 0}, uirevision: "kept", showlegend: false,
    scene: {
      aspectmode: "data", xaxis: axis("mm"), yaxis: axis("mm"), zaxis: axis("height, mm"),
      camera: {eye: {x: 0.75, y: -1.4, z: 0.6}, projection: {type: "orthographic"}},
    },
  }, {displaylogo: false, responsive: true, displayModeBar: false, plotGlPixelRatio: 1});
}

function begin() {
  listen();
  state = linked();
  setControls();
  draw();
  document.body.dataset.ready = performance.now().toFixed(0);
}

const explorer = {decode, surface, measure, plausibility, vertices, get state() { return state; }};
begin();

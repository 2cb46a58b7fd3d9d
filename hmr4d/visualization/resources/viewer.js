// ---- scene: which figures are shown, where, and from where they are seen ------------------------------------------------
const canvas = byId("view"), FOV = 0.56, LARGEST_GRID = 12;
let painter = glPainter(canvas) || canvasPainter(canvas);
if (!painter) throw new Error("This browser offers neither WebGL 2 nor a 2D canvas, one of which the figure is drawn with.");
canvas.addEventListener("webglcontextlost", (e) => e.preventDefault());
canvas.addEventListener("webglcontextrestored", () => { painter = glPainter(canvas); redraw(); });
const entries = page.entries, ALL = entries.length;
const state = { entry: 0, together: false, mode: template ? "mesh" : "skeleton", time: 0, playing: false, speed: 1, loop: true, follow: true, views: true, azimuth: 0, elevation: 0.22, distance: 4.4, pan: [0, 0, 0] };
let dirty = true, before = null;
const redraw = () => { dirty = true; };
const shown = () => (state.entry === ALL ? figures : entries[state.entry].motions.map((i) => figures[i]));
const isOverlaid = () => state.together && shown().length > 1;
// The timeline has the rate of the fastest motion on it.
const rate = () => Math.max(...shown().map((f) => f.motion.fps));
const numFrames = () => Math.max(...shown().map((f) => Math.max(Math.round(f.motion.numFrames / f.motion.fps * rate()), 1)));

function followed(list) {
  const points = list.map((figure) => {
    const [f, g, w] = figure.rows(state.follow ? state.time / rate() : 0), { glide } = figure;
    return [0, 1].map((i) => glide[2 * f + i] * (1 - w) + glide[2 * g + i] * w);
  });
  return [0, 1].map((i) => (Math.min(...points.map((p) => p[i])) + Math.max(...points.map((p) => p[i]))) / 2);
}
// Unrelated motions are each seen from their own front, those of one entry from the same side.
const turnOf = (list) => (state.entry === ALL && !state.together ? list[0].motion.facing - figures[0].motion.facing : 0);
function eyeAndTarget(list) {
  const at = followed(list), { elevation: e, distance: d, pan } = state, turn = turnOf(list), a = state.azimuth + turn;
  const c = Math.cos(turn), s = Math.sin(turn), target = [at[0] + c * pan[0] + s * pan[2], 0.9 + pan[1], at[1] - s * pan[0] + c * pan[2]];
  return { target, eye: [target[0] + d * Math.sin(a) * Math.cos(e), target[1] + d * Math.sin(e), target[2] + d * Math.cos(a) * Math.cos(e)] };
}
const THEMES = {
  light: { paper: [0.969, 0.973, 0.98], plain: [0.886, 0.906, 0.933], ruled: [0.69, 0.729, 0.784], shade: [0.25, 0.29, 0.37], path: [0.47, 0.376, 0.784] },
  dark: { paper: [0.09, 0.102, 0.125], plain: [0.165, 0.184, 0.22], ruled: [0.29, 0.325, 0.38], shade: [0.03, 0.035, 0.045], path: [0.62, 0.53, 0.95] },
};
const pixelRatio = () => Math.min(window.devicePixelRatio || 1, 2);
function fitCanvas() {
  const w = Math.max(Math.round(canvas.clientWidth * pixelRatio()), 1), h = Math.max(Math.round(canvas.clientHeight * pixelRatio()), 1);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
}
// The part of the window that nothing covers: left, top, width, height.
function stage() {
  const w = canvas.clientWidth, bottom = byId("foot").getBoundingClientRect().top - 4, strip = byId("views");
  let left = 0, top = byId("head").getBoundingClientRect().bottom;
  if (!strip.hidden) {
    const taken = strip.getBoundingClientRect();
    if (taken.width < 0.6 * w) left = taken.right; else top = Math.max(top, taken.bottom);
  }
  return [left, top, w - left, Math.max(bottom - top, 40)];
}
function grid(count, w, h) {
  const better = Array.from({ length: count }, (_, i) => i + 1).map((columns) => {
    const rows = Math.ceil(count / columns);
    return { columns, rows, size: Math.min(w / columns / 0.8, h / rows) };
  });
  return better.reduce((a, b) => (b.size > a.size ? b : a));
}
function boxes() {
  const list = shown(), [left, top, w, h] = stage();
  if (list.length === 1 || isOverlaid()) return [{ figures: list, rect: [left, top, w, h], whole: [0, 0, canvas.clientWidth, canvas.clientHeight] }];
  const { columns, rows } = grid(list.length, w, h);
  return list.map((figure, i) => {
    const row = Math.floor(i / columns), rect = [left + i % columns * w / columns, top + row * h / rows, w / columns, h / rows], [x, y, wide, high] = rect;
    return { figures: [figure], rect, whole: [x + 1, y, wide - 2, row === rows - 1 ? canvas.clientHeight - y : high] }; // the last row goes on behind the controls
  });
}
// A panel is painted over the whole of its part of the window, its middle in the middle of what is not covered.
function panels() {
  return boxes().map(({ figures: list, rect, whole }) => {
    const edges = [whole[0], whole[1], whole[0] + whole[2], whole[1] + whole[3]].map((v) => Math.round(v * pixelRatio()));
    const box = [edges[0], edges[1], Math.max(edges[2] - edges[0], 1), Math.max(edges[3] - edges[1], 1)];
    const { eye, target } = eyeAndTarget(list), away = unit([target[0] - eye[0], 0, target[2] - eye[2]]), right = [-away[2], 0, away[0]];
    const lens = perspective(FOV, whole[2] / whole[3], 0.05, 400), share = rect[3] / whole[3];
    lens[0] *= share; lens[5] *= share;
    lens[8] = 1 - 2 * (rect[0] + rect[2] / 2 - whole[0]) / whole[2];
    lens[9] = 2 * (rect[1] + rect[3] / 2 - whole[1]) / whole[3] - 1;
    const light = unit([-0.5 * right[0] - 0.35 * away[0], 1, -0.5 * right[2] - 0.35 * away[2]]);
    const camera = { eye, target, matrix: times(lens, lookAt(eye, target)), scale: rect[3] * pixelRatio() / 2 / Math.tan(FOV / 2) };
    return { figures: list, rect, box, camera, light, frusta: state.views ? list.flatMap((f) => f.frusta()) : [] };
  });
}
function render() {
  fitCanvas();
  shown().forEach((f) => { f.tint = isOverlaid() ? f.motion.color : null; f.update(state.time / rate(), state.mode); });
  painter.draw(panels(), THEMES[document.documentElement.dataset.theme], state.mode);
  drawViews();
}
function placeViews() {
  const { style: place } = byId("views");
  place.top = byId("head").getBoundingClientRect().bottom + 6 + "px";
  place.bottom = canvas.clientWidth > 640 ? canvas.clientHeight - byId("legend").getBoundingClientRect().top + 6 + "px" : "auto";
}
// Captions above the panels, or beside the colors where figures share a scene.
function showLegend() {
  const list = shown(), overlaid = isOverlaid();
  byId("legend").replaceChildren();
  const rows = overlaid ? list.map((f) => [f.motion.caption, f.motion.color.map((c) => Math.round(255 * c))]) : ["left", "right"].map((side) => [side, style.colors[side]]);
  rows.forEach(([text, color]) => {
    const item = document.createElement("li");
    item.textContent = text;
    item.style.setProperty("--side", "rgb(" + color.join(",") + ")");
    byId("legend").append(item);
  });
}
function fullName(index) {
  const number = entries.findIndex((e) => e.motions.includes(index)), { caption, motions: members } = entries[number];
  return number + 1 + ". " + caption + (members.length > 1 ? ": " + motions[index].caption : "");
}
function showLabels() {
  byId("labels").replaceChildren();
  if (isOverlaid() || shown().length < 2) return;
  boxes().forEach(({ figures: [figure], rect: [x, y, w] }) => {
    const label = document.createElement("p");
    label.textContent = state.entry === ALL ? fullName(figures.indexOf(figure)) : figure.motion.caption;
    label.className = w < 160 ? "small" : "";
    Object.assign(label.style, { left: x + "px", top: y + "px", width: w + "px" });
    byId("labels").append(label);
  });
}

// ---- time ----------------------------------------------------------------------------------------------------------------
function showClock() {
  const n = numFrames(), f = Math.min(Math.floor(state.time + 1e-6), n - 1), fps = rate();
  byId("frame").max = n - 1;
  byId("frame").value = f;
  byId("clock").textContent = (f / fps).toFixed(2) + " / " + (n / fps).toFixed(2) + " s   frame " + (f + 1) + " / " + n;
  byId("play").textContent = state.playing ? "\u275A\u275A" : "\u25B6\uFE0E";
}
function setFrame(frame) {
  state.time = Math.min(Math.max(Math.round(frame), 0), numFrames() - 1);
  pause();
  render();
}
function play() {
  if (state.time >= numFrames() - 1) state.time = 0;
  state.playing = true; before = null; showClock(); redraw();
}
function pause() { state.playing = false; showClock(); redraw(); }
function tick(now) {
  if (state.playing) {
    const n = numFrames();
    if (before !== null) state.time += Math.min((now - before) / 1000, 0.25) * rate() * state.speed;
    // A looping clip holds its last frame for as long as any other frame.
    if (state.time >= (state.loop ? n : n - 1)) { if (state.loop) state.time %= n; else { state.time = n - 1; state.playing = false; } }
    before = now;
    showClock();
    dirty = true;
  }
  if (dirty) { dirty = false; render(); }
  requestAnimationFrame(tick);
}

// ---- controls ------------------------------------------------------------------------------------------------------------
function setView(azimuth, elevation) { state.azimuth = azimuth; state.elevation = Math.min(Math.max(elevation, -1.5), 1.55); redraw(); }
const VIEWS = { quarter: [0.6, 0.22], front: [0, 0.12], left: [Math.PI / 2, 0.12], right: [-Math.PI / 2, 0.12], back: [Math.PI, 0.12], top: [0, 1.55], cameras: [0.6, 0.5] };
// How far figures of one scene get from their middle, and with `cameras` their cameras too; metres on the floor.
function spread(list, cameras) {
  let most = 0;
  const far = (x, z, [mx, mz]) => { most = Math.max(most, Math.hypot(x - mx, z - mz)); };
  const n = numFrames(), stride = Math.max(1, Math.ceil(n / 200));
  for (let t = 0; t < n && list.length > 1; t += stride) {
    const points = list.map((f) => { const [k] = f.rows(t / rate()); return [f.glide[2 * k], f.glide[2 * k + 1]]; });
    const middle = [0, 1].map((i) => points.reduce((sum, p) => sum + p[i], 0) / points.length);
    points.forEach((p) => far(p[0], p[1], middle));
  }
  if (cameras) for (const { motion, glide } of list) for (let k = 0; motion.views && motion.views.places && k < 3 * motion.views.names.length; k += 3) far(motion.views.places[k], motion.views.places[k + 2], glide);
  return most;
}
function preset(name) {
  const [a, e] = VIEWS[name], [{ figures: list, rect }] = boxes(), aspect = rect[2] / Math.max(rect[3], 1);
  state.pan = [0, 0, 0];
  state.distance = Math.max(4.9 * Math.max(1, 0.9 / aspect), (spread(list, name === "cameras") + 0.9) / Math.tan(FOV / 2) / Math.min(aspect, 1.4) + 0.5);
  setView(list[0].motion.facing - turnOf(list) + a, e);
}
function arrange() { fitCanvas(); showLegend(); placeViews(); showLabels(); redraw(); }
function choose(entry, together = state.together) {
  const count = ALL + (ALL > 1 && figures.length <= LARGEST_GRID * 4 ? 1 : 0);
  state.entry = (entry + count) % count;
  state.together = together;
  const list = shown(), withViews = list.find((f) => f.motion.views);
  byId("entry").value = state.entry;
  byId("layout").value = together ? "together" : "beside";
  byId("arranged").hidden = list.length < 2;
  byId("caption").textContent = state.entry === ALL ? "" : entries[state.entry].caption;
  byId("title").hidden = byId("title").textContent === byId("caption").textContent;
  byId("pictured").hidden = !withViews;
  byId("views").hidden = !withViews || !state.views;
  byId("preset").querySelector("[value=cameras]").hidden = !list.some((f) => f.motion.views && f.motion.views.places);
  showViews(withViews || null);
  state.time = Math.min(state.time, numFrames() - 1);
  showClock();
  arrange();
  preset(byId("preset").value);
}
function setMode(mode) { state.mode = template ? mode : "skeleton"; byId("mode").value = state.mode; redraw(); }
function setViews(on) { state.views = byId("pictures").checked = on; choose(state.entry); }
[...entries.map((e, i) => i + 1 + ". " + (e.caption.length > 70 ? e.caption.slice(0, 69) + "\u2026" : e.caption || "motion")), "All " + motions.length].forEach((text, i) => {
  if (i === ALL && (ALL < 2 || figures.length > LARGEST_GRID * 4)) return;
  const option = document.createElement("option");
  option.value = i;
  option.textContent = text;
  byId("entry").append(option);
});
byId("chooser").hidden = entries.length < 2;
byId("drawn").hidden = !template;
byId("entry").onchange = (e) => { state.time = 0; choose(Number(e.target.value)); };
byId("layout").onchange = (e) => choose(state.entry, e.target.value === "together");
byId("mode").onchange = (e) => setMode(e.target.value);
byId("pictures").onchange = (e) => setViews(e.target.checked);
byId("frame").oninput = (e) => setFrame(Number(e.target.value));
byId("play").onclick = () => (state.playing ? pause() : play());
byId("back").onclick = () => setFrame(Math.ceil(state.time) - 1);
byId("forth").onclick = () => setFrame(Math.floor(state.time) + 1);
byId("speed").onchange = (e) => { state.speed = Number(e.target.value); };
byId("loop").onchange = (e) => { state.loop = e.target.checked; };
byId("follow").onchange = (e) => { state.follow = e.target.checked; redraw(); };
byId("preset").onchange = (e) => preset(e.target.value);
function setTheme(name) { document.documentElement.dataset.theme = name; redraw(); }
byId("theme").onclick = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
prefersDark.onchange = (e) => setTheme(e.matches ? "dark" : "light");
window.addEventListener("resize", arrange);
window.addEventListener("keydown", (e) => {
  const { tagName, type } = e.target, own = tagName === "BUTTON" || type === "checkbox";
  if (tagName === "SELECT" || e.ctrlKey || e.metaKey || e.altKey || (own && e.key === " ")) return;
  const step = e.shiftKey ? 10 : 1, modes = ["mesh", "skeleton", "both"];
  const keys = {
    " ": () => (state.playing ? pause() : play()), ArrowLeft: () => setFrame(Math.ceil(state.time) - step), ArrowRight: () => setFrame(Math.floor(state.time) + step),
    Home: () => setFrame(0), End: () => setFrame(numFrames() - 1),
    ArrowUp: () => ALL > 1 && choose(state.entry - 1), ArrowDown: () => ALL > 1 && choose(state.entry + 1),
    m: () => setMode(modes[(modes.indexOf(state.mode) + 1) % 3]), t: () => choose(state.entry, !state.together),
  };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});
const pointers = new Map();
function panBy(dx, dy) {
  const [{ rect }] = boxes(), scale = 2 * state.distance * Math.tan(FOV / 2) / rect[3], { azimuth: a, elevation: e } = state;
  const x = [Math.cos(a), 0, -Math.sin(a)], y = [-Math.sin(e) * Math.sin(a), Math.cos(e), -Math.sin(e) * Math.cos(a)];
  state.pan = state.pan.map((v, i) => v + scale * (-dx * x[i] + dy * y[i]));
  redraw();
}
function zoomBy(factor) { state.distance = Math.min(Math.max(state.distance * factor, 0.6), 80); redraw(); }
canvas.addEventListener("contextmenu", (e) => e.preventDefault());
canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); pointers.set(e.pointerId, [e.clientX, e.clientY]); });
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (e) => pointers.delete(e.pointerId));
canvas.addEventListener("pointermove", (e) => {
  const old = pointers.get(e.pointerId);
  if (!old) return;
  const now = [e.clientX, e.clientY], dx = now[0] - old[0], dy = now[1] - old[1];
  if (pointers.size === 1) {
    if (e.shiftKey || e.buttons & 6) panBy(dx, dy); else setView(state.azimuth - dx * 0.008, state.elevation + dy * 0.008);
  } else if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== e.pointerId)[1], gap = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
    zoomBy(Math.max(gap(old), 1) / Math.max(gap(now), 1));
    panBy(dx / 2, dy / 2);
  }
  pointers.set(e.pointerId, now);
});
canvas.addEventListener("wheel", (e) => { e.preventDefault(); zoomBy(Math.exp(e.deltaY * 0.001)); }, { passive: false });
canvas.addEventListener("dblclick", () => preset(byId("preset").value));

// ---- public handle -------------------------------------------------------------------------------------------------------
// Where a joint of a motion is drawn, in pixels of the canvas.
function project(motionIndex, joint) {
  const panel = panels().find((p) => p.figures.includes(figures[motionIndex])), p = figures[motionIndex].joint(joint), { matrix: m } = panel.camera, [x, y, w, h] = panel.box;
  const row = (r) => m[r] * p[0] + m[4 + r] * p[1] + m[8 + r] * p[2] + m[12 + r];
  return [x + (row(0) / row(3) * 0.5 + 0.5) * w, y + (0.5 - row(1) / row(3) * 0.5) * h];
}
const skinned = (motionIndex) => { render(); return figures[motionIndex].skinned(); };
window.hmr4d = {
  setFrame, play, pause, setView, setTheme, setMode, setViews, project, render, motions, entries, choose, skinned,
  pixel: (x, y) => { render(); return painter.pixel(x, y); },
  zoom: zoomBy,
  get painter() { return painter.name; },
  get mode() { return state.mode; },
  get numFrames() { return numFrames(); },
  get frame() { return Math.floor(state.time); },
  get seconds() { return state.time / rate(); },
  get panels() { return boxes().map(({ figures: list, rect }) => ({ motions: list.map((f) => figures.indexOf(f)), rect })); },
};
setTheme(prefersDark.matches ? "dark" : "light");
setMode(state.mode);
choose(0, page.together);
render();
document.documentElement.dataset.ready = "1";
requestAnimationFrame(tick);
if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches && !location.hash.includes("paused")) play();

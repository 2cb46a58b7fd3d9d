"use strict";
// Plays motions stored in this page. Sections: data, small matrices, drawing, scene, time, controls, public handle.
(() => {
const page = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// ---- data: joints as 16-bit steps around an offset, or as floats for very large scenes ------------------------------
function decode(motion) {
  const text = atob(motion.joints), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const view = new DataView(bytes.buffer), wide = motion.encoding === "float32", size = wide ? 4 : 2;
  const joints = new Float32Array(bytes.length / size);
  for (let i = 0; i < joints.length; i++) {
    joints[i] = wide ? view.getFloat32(4 * i, true) : motion.offset[i % 3] + motion.scale * view.getInt16(2 * i, true);
  }
  return { caption: motion.caption, numFrames: motion.frames, joints, facing: motion.facing };
}
const motions = page.motions.map(decode);
const style = page.style, J = style.joints, fps = page.fps;
const rgb = (name) => style.colours[name].map((c) => c / 255);
for (const side of ["left", "right"]) {
  document.querySelector("#legend ." + side).style.setProperty("--side", "rgb(" + style.colours[side].join(",") + ")");
}

// ---- small matrices, column major ------------------------------------------------------------------------------------
const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => { const n = Math.hypot(...a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
function times(a, b) {
  const m = new Float32Array(16);
  for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++) for (let k = 0; k < 4; k++) m[4 * c + r] += a[4 * k + r] * b[4 * c + k];
  return m;
}
function perspective(fov, aspect, near, far) {
  const f = 1 / Math.tan(fov / 2);
  return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, 2 * far * near / (near - far), 0]);
}
function lookAt(eye, target) {
  const z = unit(sub(eye, target)), x = unit(cross([0, 1, 0], z)), y = cross(z, x);
  return new Float32Array([x[0], y[0], z[0], 0, x[1], y[1], z[1], 0, x[2], y[2], z[2], 0, -dot(x, eye), -dot(y, eye), -dot(z, eye), 1]);
}

// ---- drawing -----------------------------------------------------------------------------------------------------------
const canvas = byId("view");
const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
if (!gl) {
  byId("message").textContent = "This browser offers no WebGL 2, which the figure is drawn with.";
  byId("message").hidden = false;
  document.documentElement.dataset.ready = "0";
  return;
}
function program(vertex, fragment) {
  const p = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, "#version 300 es\nprecision highp float;\n" + source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(p, shader);
  }
  gl.linkProgram(p);
  if (!gl.getProgramParameter(p, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(p));
  const at = {};
  for (let i = 0; i < gl.getProgramParameter(p, gl.ACTIVE_UNIFORMS); i++) {
    const name = gl.getActiveUniform(p, i).name;
    at[name] = gl.getUniformLocation(p, name);
  }
  return { p, at };
}
// A limb is one instance: two ends, two radii, a colour. The ball on a joint is a limb whose ends are the same.
const INSTANCE = 11;
const INSTANCE_IN = "layout(location=1) in vec4 startRadius; layout(location=2) in vec4 endRadius; layout(location=3) in vec3 tint;";
const limbProgram = program(`
  layout(location=0) in vec4 corner; ${INSTANCE_IN}
  uniform mat4 camera; out vec3 normal; out vec3 place; out vec3 colour;
  void main() {
    vec3 axis = endRadius.xyz - startRadius.xyz;
    float size = length(axis);
    vec3 y = size > 1e-5 ? axis / size : vec3(0., 1., 0.);
    vec3 x = normalize(abs(y.y) < .9 ? cross(y, vec3(0., 1., 0.)) : cross(y, vec3(1., 0., 0.)));
    normal = mat3(x, y, cross(x, y)) * corner.xyz;
    place = mix(startRadius.xyz, endRadius.xyz, corner.w) + normal * mix(startRadius.w, endRadius.w, corner.w);
    colour = tint;
    gl_Position = camera * vec4(place, 1.);
  }`, `
  in vec3 normal; in vec3 place; in vec3 colour; uniform vec3 eye; uniform vec3 light; out vec4 pixel;
  void main() {
    vec3 n = normalize(normal), v = normalize(eye - place);
    float lit = .5 + .5 * dot(n, light);
    float shine = pow(max(dot(n, normalize(light + v)), 0.), 40.);
    float rim = smoothstep(0., .45, dot(n, v));
    pixel = vec4(colour * (.42 + .66 * lit) * mix(.55, 1., rim) + .22 * shine, 1.);
  }`);
// Shadow picture of the floor seen from above: each limb leaves a blot that is softer the higher the limb is.
const blotProgram = program(`
  layout(location=0) in vec2 corner; ${INSTANCE_IN}
  uniform vec4 region; uniform vec2 shear; out vec2 ground; flat out vec4 ends; flat out vec4 soft;
  void main() {
    vec2 h = max(vec2(startRadius.y, endRadius.y), 0.);
    ends = vec4(startRadius.xz + shear * h.x, endRadius.xz + shear * h.y);
    soft = vec4(startRadius.w, endRadius.w, .02 + .045 * h);
    float reach = max(soft.x + soft.z, soft.y + soft.w);
    vec2 axis = ends.zw - ends.xy; float size = length(axis);
    vec2 x = size > 1e-5 ? axis / size : vec2(1., 0.), y = vec2(-x.y, x.x);
    ground = (corner.x < 0. ? ends.xy : ends.zw) + reach * (corner.x * x + corner.y * y);
    gl_Position = vec4((ground - region.xy) / region.zw, 0., 1.);
  }`, `
  in vec2 ground; flat in vec4 ends; flat in vec4 soft; out vec4 pixel;
  void main() {
    vec2 axis = ends.zw - ends.xy, to = ground - ends.xy;
    float along = clamp(dot(to, axis) / max(dot(axis, axis), 1e-8), 0., 1.);
    float radius = mix(soft.x, soft.y, along), blur = mix(soft.z, soft.w, along);
    float dark = 1. - smoothstep(max(radius - blur, 0.) - .3 * blur, radius + blur, length(to - along * axis));
    pixel = vec4(dark);
  }`);
const floorProgram = program(`
  layout(location=0) in vec2 corner; uniform mat4 camera; uniform vec2 middle; uniform float extent; out vec2 ground;
  void main() { ground = middle + corner * extent; gl_Position = camera * vec4(ground.x, 0., ground.y, 1.); }`, `
  in vec2 ground; uniform vec2 middle; uniform float extent; uniform vec4 region; uniform sampler2D shadow;
  uniform vec3 paper; uniform vec3 plain; uniform vec3 ruled; uniform vec3 shade; out vec4 pixel;
  float rule(vec2 at, float spacing, float width) {
    vec2 cell = at / spacing, wide = fwidth(cell), off = abs(fract(cell - .5) - .5);
    vec2 half_ = max(vec2(width / spacing), .5 * wide);
    vec2 cover = clamp((half_ - off) / wide + .5, 0., 1.) * clamp(1.5 - 3. * wide, 0., 1.) * clamp(2. * width / spacing / wide, .3, 1.);
    return max(cover.x, cover.y);
  }
  void main() {
    float far = length(ground - middle) / extent, fade = exp(-9. * far * far) * smoothstep(1., .7, far);
    vec3 colour = mix(plain, ruled, max(rule(ground, 1., .007), .28 * rule(ground, .25, .003)));
    vec2 uv = (ground - region.xy) / region.zw * .5 + .5;
    float dark = all(equal(uv, clamp(uv, 0., 1.))) ? texture(shadow, uv).r : 0.;
    pixel = vec4(mix(paper, mix(colour, shade, .6 * dark), fade), 1.);
  }`);
const pathProgram = program(`
  layout(location=0) in vec2 point; layout(location=1) in float when; uniform mat4 camera; uniform float now; out float ahead;
  void main() { ahead = step(now, when); gl_Position = camera * vec4(point.x, .004, point.y, 1.); }`, `
  in float ahead; uniform vec3 colour; out vec4 pixel; void main() { float a = mix(.75, .22, ahead); pixel = vec4(colour * a, a); }`);

function capsuleMesh(around, rings) {
  const corners = [], index = [], row = around + 1;
  for (let half = 0; half < 2; half++) for (let ring = 0; ring <= rings; ring++) {
    const a = (half - 1) * Math.PI / 2 + ring / rings * Math.PI / 2;
    for (let s = 0; s <= around; s++) {
      const b = s / around * 2 * Math.PI;
      corners.push(Math.cos(a) * Math.cos(b), Math.sin(a), Math.cos(a) * Math.sin(b), half);
    }
  }
  for (let r = 0; r < 2 * rings + 1; r++) for (let s = 0; s < around; s++) {
    const i = r * row + s;
    index.push(i, i + row, i + 1, i + 1, i + row, i + row + 1);
  }
  return { corners: new Float32Array(corners), index: new Uint16Array(index) };
}
function buffer(data, target = gl.ARRAY_BUFFER) {
  const b = gl.createBuffer();
  gl.bindBuffer(target, b);
  gl.bufferData(target, data, gl.STATIC_DRAW);
  return b;
}
const instances = gl.createBuffer();
function vertexArray(data, size, index) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  buffer(data);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, size, gl.FLOAT, false, 0, 0);
  gl.bindBuffer(gl.ARRAY_BUFFER, instances);
  [[1, 4, 0], [2, 4, 4], [3, 3, 8]].forEach(([slot, count, from]) => {
    gl.enableVertexAttribArray(slot);
    gl.vertexAttribPointer(slot, count, gl.FLOAT, false, 4 * INSTANCE, 4 * from);
    gl.vertexAttribDivisor(slot, 1);
  });
  if (index) buffer(index, gl.ELEMENT_ARRAY_BUFFER);
  gl.bindVertexArray(null);
  return array;
}
const mesh = capsuleMesh(20, 6);
const quad = new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]);
const limbArray = vertexArray(mesh.corners, 4, mesh.index), blotArray = vertexArray(quad, 2);
const floorArray = gl.createVertexArray();
gl.bindVertexArray(floorArray);
buffer(quad);
gl.enableVertexAttribArray(0);
gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
const SHADOW = 1024, shadow = gl.createTexture(), shadowFrame = gl.createFramebuffer();
gl.bindTexture(gl.TEXTURE_2D, shadow);
gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, SHADOW, SHADOW, 0, gl.RED, gl.UNSIGNED_BYTE, null);
for (const [key, value] of [["MIN_FILTER", "LINEAR"], ["MAG_FILTER", "LINEAR"], ["WRAP_S", "CLAMP_TO_EDGE"], ["WRAP_T", "CLAMP_TO_EDGE"]]) gl.texParameteri(gl.TEXTURE_2D, gl["TEXTURE_" + key], gl[value]);
gl.bindFramebuffer(gl.FRAMEBUFFER, shadowFrame);
gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, shadow, 0);
gl.bindFramebuffer(gl.FRAMEBUFFER, null);

// ---- scene: figures are the things that move; another kind (a skinned mesh) needs update, limbs and path the same way ----
class StickFigure {
  constructor(motion) {
    this.motion = motion;
    this.shift = [0, 0, 0];
    this.pose = new Float32Array(3 * J);
    const points = new Float32Array(6 * motion.numFrames), width = 0.012;
    for (let f = 0; f < motion.numFrames; f++) {
      const at = (g) => { const k = 3 * J * Math.min(Math.max(g, 0), motion.numFrames - 1); return [motion.joints[k], motion.joints[k + 2]]; };
      const a = at(f - 2), b = at(f + 2), here = at(f), n = Math.hypot(b[0] - a[0], b[1] - a[1]);
      const x = n > 1e-4 ? (b[1] - a[1]) / n * width : 0, z = n > 1e-4 ? -(b[0] - a[0]) / n * width : 0;
      points.set([here[0] + x, here[1] + z, f, here[0] - x, here[1] - z, f], 6 * f);
    }
    this.array = gl.createVertexArray();
    gl.bindVertexArray(this.array);
    buffer(points);
    for (const [slot, count, from] of [[0, 2, 0], [1, 1, 8]]) {
      gl.enableVertexAttribArray(slot);
      gl.vertexAttribPointer(slot, count, gl.FLOAT, false, 12, from);
    }
    gl.bindVertexArray(null);
  }
  update(time) {
    const last = this.motion.numFrames - 1, t = Math.min(Math.max(time, 0), last), f = Math.floor(t), w = t - f;
    const a = 3 * J * f, b = 3 * J * Math.min(f + 1, last), all = this.motion.joints;
    for (let i = 0; i < 3 * J; i++) this.pose[i] = all[a + i] * (1 - w) + all[b + i] * w + this.shift[i % 3];
  }
  joint(j) { return [this.pose[3 * j], this.pose[3 * j + 1], this.pose[3 * j + 2]]; }
  limbs() {
    const out = [];
    const push = (a, b, ra, rb, colour) => out.push(...a, ra, ...b, rb, ...colour);
    style.bones.forEach(([p, c], i) => push(this.joint(p), this.joint(c), 0.8 * style.radii[p], 0.8 * style.radii[c], rgb(style.sides[i])));
    style.dots.forEach((r, j) => { if (r > 0) push(this.joint(j), this.joint(j), 0.92 * style.radii[j], 0.92 * style.radii[j], rgb("joint")); });
    if (style.head) {
      const [neck, head] = style.head.map((j) => this.joint(j)), axis = unit(sub(head, neck));
      const middle = head.map((v, i) => v + style.headOffset * axis[i]);
      push(middle, middle, style.headRadius, style.headRadius, rgb("centre"));
    }
    return out;
  }
}
const figures = motions.map((m) => new StickFigure(m));
const state = { motion: 0, together: false, time: 0, playing: false, speed: 1, loop: true, follow: true, azimuth: 0, elevation: 0.22, distance: 4.4, target: [0, 0.9, 0], pan: [0, 0, 0] };
const shown = () => (state.together ? figures : [figures[state.motion]]);
const numFrames = () => Math.max(...shown().map((f) => f.motion.numFrames));

// Smoothed root path of a motion, so that the camera glides.
for (const figure of figures) {
  const { joints, numFrames: n } = figure.motion, half = Math.round(fps);
  figure.glide = Array.from({ length: n }, (_, f) => {
    let x = 0, z = 0, sum = 0;
    for (let g = -half; g <= half; g++) {
      const k = 3 * J * Math.min(Math.max(f + g, 0), n - 1), w = Math.exp(-4.5 * (g / (half + 1)) ** 2);
      x += w * joints[k]; z += w * joints[k + 2]; sum += w;
    }
    return [x / sum, z / sum];
  });
}
function followed() {
  const points = shown().map((figure) => {
    const n = figure.motion.numFrames - 1, t = state.follow ? Math.min(state.time, n) : 0, f = Math.floor(t), w = t - f;
    const a = figure.glide[f], b = figure.glide[Math.min(f + 1, n)];
    return [a[0] * (1 - w) + b[0] * w + figure.shift[0], a[1] * (1 - w) + b[1] * w + figure.shift[2]];
  });
  return [0, 1].map((i) => (Math.min(...points.map((p) => p[i])) + Math.max(...points.map((p) => p[i]))) / 2);
}
function eyeAndTarget() {
  const at = followed(), { azimuth: a, elevation: e, distance: d, pan } = state;
  const target = [at[0] + pan[0], 0.9 + pan[1], at[1] + pan[2]];
  return { target, eye: [target[0] + d * Math.sin(a) * Math.cos(e), target[1] + d * Math.sin(e), target[2] + d * Math.cos(a) * Math.cos(e)] };
}
const FOV = 0.56;
function cameraMatrix() {
  const { eye, target } = eyeAndTarget();
  return { eye, target, matrix: times(perspective(FOV, canvas.width / canvas.height, 0.05, 400), lookAt(eye, target)) };
}
const THEMES = {
  light: { paper: [0.969, 0.973, 0.98], plain: [0.886, 0.906, 0.933], ruled: [0.69, 0.729, 0.784], shade: [0.25, 0.29, 0.37], path: [0.47, 0.376, 0.784] },
  dark: { paper: [0.09, 0.102, 0.125], plain: [0.165, 0.184, 0.22], ruled: [0.29, 0.325, 0.38], shade: [0.03, 0.035, 0.045], path: [0.62, 0.53, 0.95] },
};
function fitCanvas() {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const w = Math.max(Math.round(canvas.clientWidth * ratio), 1), h = Math.max(Math.round(canvas.clientHeight * ratio), 1);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
}
// Side by side, each caption stands above its figure.
const labels = figures.map((f, i) => {
  const label = document.createElement("p");
  label.className = "label";
  label.textContent = i + 1 + ". " + f.motion.caption;
  document.body.append(label);
  return label;
});
function placeLabels() {
  const top = style.head ? style.head[1] : 0;
  labels.forEach((label, i) => {
    label.hidden = !state.together;
    if (label.hidden) return;
    const [x, y] = project(i, top, 0.4), ratio = canvas.width / canvas.clientWidth;
    label.style.left = x / ratio + "px";
    label.style.top = y / ratio + "px";
  });
}
function render() {
  fitCanvas();
  const list = shown(), theme = THEMES[document.documentElement.dataset.theme];
  list.forEach((f) => f.update(state.time));
  const data = new Float32Array(list.flatMap((f) => f.limbs())), count = data.length / INSTANCE;
  gl.bindBuffer(gl.ARRAY_BUFFER, instances);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);

  const { eye, target, matrix } = cameraMatrix();
  const away = unit([target[0] - eye[0], 0, target[2] - eye[2]]), right = [-away[2], 0, away[0]];
  const light = unit([-0.5 * right[0] - 0.35 * away[0], 1, -0.5 * right[2] - 0.35 * away[2]]);
  const shear = [-light[0] / light[1] * 0.5, -light[2] / light[1] * 0.5];
  let low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < count; i++) for (const from of [0, 4]) [0, 2].forEach((axis, k) => {
    const reach = 0.4 + Math.abs(shear[k]) * Math.max(data[INSTANCE * i + from + 1], 0), v = data[INSTANCE * i + from + axis];
    low[k] = Math.min(low[k], v - reach); high[k] = Math.max(high[k], v + reach);
  });
  const half = Math.max(high[0] - low[0], high[1] - low[1]) / 2, region = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, half, half];

  gl.bindFramebuffer(gl.FRAMEBUFFER, shadowFrame);
  gl.viewport(0, 0, SHADOW, SHADOW);
  gl.disable(gl.DEPTH_TEST);
  gl.clearColor(0, 0, 0, 0);
  gl.clear(gl.COLOR_BUFFER_BIT);
  gl.enable(gl.BLEND);
  gl.blendEquation(gl.MAX);
  gl.blendFunc(gl.ONE, gl.ONE);
  gl.useProgram(blotProgram.p);
  gl.uniform4fv(blotProgram.at.region, region);
  gl.uniform2fv(blotProgram.at.shear, shear);
  gl.bindVertexArray(blotArray);
  gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
  gl.blendEquation(gl.FUNC_ADD);
  gl.disable(gl.BLEND);

  gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  gl.viewport(0, 0, canvas.width, canvas.height);
  gl.clearColor(...theme.paper, 1);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  gl.enable(gl.DEPTH_TEST);
  gl.useProgram(floorProgram.p);
  gl.uniformMatrix4fv(floorProgram.at.camera, false, matrix);
  gl.uniform2f(floorProgram.at.middle, target[0], target[2]);
  gl.uniform1f(floorProgram.at.extent, Math.max(9, 2.2 * state.distance));
  gl.uniform4fv(floorProgram.at.region, region);
  for (const name of ["paper", "plain", "ruled", "shade"]) gl.uniform3fv(floorProgram.at[name], theme[name]);
  gl.bindTexture(gl.TEXTURE_2D, shadow);
  gl.bindVertexArray(floorArray);
  gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);

  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.useProgram(pathProgram.p);
  gl.uniform3fv(pathProgram.at.colour, theme.path);
  gl.uniform1f(pathProgram.at.now, state.time + 1e-3);
  for (const f of list) {
    const moved = new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, ...f.shift, 1]);
    gl.uniformMatrix4fv(pathProgram.at.camera, false, times(matrix, moved));
    gl.bindVertexArray(f.array);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 2 * f.motion.numFrames);
  }
  gl.disable(gl.BLEND);

  gl.useProgram(limbProgram.p);
  gl.uniformMatrix4fv(limbProgram.at.camera, false, matrix);
  gl.uniform3fv(limbProgram.at.eye, eye);
  gl.uniform3fv(limbProgram.at.light, light);
  gl.bindVertexArray(limbArray);
  gl.drawElementsInstanced(gl.TRIANGLES, mesh.index.length, gl.UNSIGNED_SHORT, 0, count);
  gl.bindVertexArray(null);
  placeLabels();
}

// ---- time ----------------------------------------------------------------------------------------------------------------
let dirty = true, before = null;
const redraw = () => { dirty = true; };
function showClock() {
  const n = numFrames(), f = Math.min(Math.floor(state.time + 1e-6), n - 1);
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
    if (before !== null) state.time += Math.min((now - before) / 1000, 0.25) * fps * state.speed;
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
const VIEWS = { quarter: [0.6, 0.22], front: [0, 0.12], left: [Math.PI / 2, 0.12], right: [-Math.PI / 2, 0.12], back: [Math.PI, 0.12], top: [0, 1.55] };
function preset(name) {
  const [a, e] = VIEWS[name];
  state.pan = [0, 0, 0];
  const list = shown(), spread = Math.max(...list.map((f) => f.shift[0])) - Math.min(...list.map((f) => f.shift[0]));
  const aspect = canvas.clientWidth / Math.max(canvas.clientHeight, 1);
  const narrow = Math.max(1, 0.9 / aspect);
  state.distance = Math.max(4.9 * narrow, (spread + 1.8) / 2 / Math.tan(FOV / 2) / aspect + 0.5);
  setView(list.length === 1 ? list[0].motion.facing + a : a, e);
}
function choose(index, together = state.together) {
  state.motion = (index + motions.length) % motions.length;
  state.together = together;
  // Side by side: every motion starts in its own lane.
  figures.forEach((f, i) => { f.shift = together ? [(i - (figures.length - 1) / 2) * 2 - f.motion.joints[0], 0, -f.motion.joints[2]] : [0, 0, 0]; });
  byId("motion").value = state.motion;
  byId("motion").disabled = together;
  byId("together").checked = together;
  byId("caption").textContent = together ? "" : motions[state.motion].caption;
  state.time = Math.min(state.time, numFrames() - 1);
  preset(byId("preset").value);
  showClock();
}
motions.forEach((m, i) => {
  const option = document.createElement("option");
  option.value = i;
  option.textContent = i + 1 + ". " + (m.caption.length > 70 ? m.caption.slice(0, 69) + "\u2026" : m.caption || "motion");
  byId("motion").append(option);
});
byId("chooser").hidden = byId("beside").hidden = motions.length < 2;
byId("motion").onchange = (e) => { state.time = 0; choose(Number(e.target.value)); };
byId("together").onchange = (e) => choose(state.motion, e.target.checked);
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
window.addEventListener("resize", redraw);
window.addEventListener("keydown", (e) => {
  if (e.target.tagName === "SELECT" || e.ctrlKey || e.metaKey || e.altKey) return;
  const step = e.shiftKey ? 10 : 1;
  const keys = {
    " ": () => (state.playing ? pause() : play()), ArrowLeft: () => setFrame(Math.ceil(state.time) - step), ArrowRight: () => setFrame(Math.floor(state.time) + step),
    Home: () => setFrame(0), End: () => setFrame(numFrames() - 1),
    ArrowUp: () => motions.length > 1 && choose(state.motion - 1), ArrowDown: () => motions.length > 1 && choose(state.motion + 1),
  };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});
const pointers = new Map();
function panBy(dx, dy) {
  const scale = 2 * state.distance * Math.tan(FOV / 2) / canvas.clientHeight, { eye, target } = eyeAndTarget();
  const z = unit(sub(eye, target)), x = unit(cross([0, 1, 0], z)), y = cross(z, x);
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
function project(motionIndex, joint, above = 0) {
  const p = figures[motionIndex].joint(joint), { matrix: m } = cameraMatrix();
  p[1] += above;
  const row = (r) => m[r] * p[0] + m[4 + r] * p[1] + m[8 + r] * p[2] + m[12 + r];
  return [(row(0) / row(3) * 0.5 + 0.5) * canvas.width, (0.5 - row(1) / row(3) * 0.5) * canvas.height];
}
function pixel(x, y) {
  render();
  const out = new Uint8Array(4);
  gl.readPixels(Math.round(x), canvas.height - 1 - Math.round(y), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out);
  return [...out];
}
window.hmr4d = {
  setFrame, play, pause, setView, setTheme, project, pixel, render, motions, choose,
  get numFrames() { return numFrames(); },
  get frame() { return Math.floor(state.time); },
};
setTheme(prefersDark.matches ? "dark" : "light");
choose(0, false);
render();
document.documentElement.dataset.ready = "1";
requestAnimationFrame(tick);
if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches && !location.hash.includes("paused")) play();
})();

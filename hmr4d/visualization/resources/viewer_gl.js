// ---- drawing with WebGL 2 ----------------------------------------------------------------------------------------------
function glPainter(canvas) {
const gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
if (!gl) return null;
function program(vertex, fragment) {
  const p = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, "#version 300 es\nprecision highp float;\n" + source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(p, shader);
  }
  gl.linkProgram(p);
  if (!gl.getProgramParameter(p, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(p));
  const at = {};
  for (let i = 0; i < (gl.getProgramParameter(p, gl.ACTIVE_UNIFORMS) || 0); i++) {
    const name = gl.getActiveUniform(p, i).name;
    at[name.replace("[0]", "")] = gl.getUniformLocation(p, name);
  }
  return { p, at };
}
// A limb is one instance: two ends, two radii, a color. The ball on a joint is a limb whose ends are the same.
const INSTANCE = 11;
const INSTANCE_IN = "layout(location=1) in vec4 startRadius; layout(location=2) in vec4 endRadius; layout(location=3) in vec3 tint;";
const SHADING = `
  in vec3 normal; in vec3 place; in vec3 color; uniform vec3 eye; uniform vec3 light; uniform float alpha; out vec4 pixel;
  void main() {
    vec3 n = normalize(normal), v = normalize(eye - place);
    float lit = .5 + .5 * dot(n, light);
    float shine = pow(max(dot(n, normalize(light + v)), 0.), 40.);
    float rim = smoothstep(0., .45, dot(n, v));
    pixel = vec4(color * (.42 + .66 * lit) * mix(.55, 1., rim) + .22 * shine, 1.) * alpha;
  }`;
const limbProgram = program(`
  layout(location=0) in vec4 corner; ${INSTANCE_IN}
  uniform mat4 camera; out vec3 normal; out vec3 place; out vec3 color;
  void main() {
    vec3 axis = endRadius.xyz - startRadius.xyz;
    float size = length(axis);
    vec3 y = size > 1e-5 ? axis / size : vec3(0., 1., 0.);
    vec3 x = normalize(abs(y.y) < .9 ? cross(y, vec3(0., 1., 0.)) : cross(y, vec3(1., 0., 0.)));
    normal = mat3(x, y, cross(x, y)) * corner.xyz;
    place = mix(startRadius.xyz, endRadius.xyz, corner.w) + normal * mix(startRadius.w, endRadius.w, corner.w);
    color = tint;
    gl_Position = camera * vec4(place, 1.);
  }`, SHADING);
// Linear blend skinning: every vertex moves with up to four joints and takes their colors.
const bodyProgram = template && program(`
  layout(location=0) in vec3 corner; layout(location=1) in vec3 facing; layout(location=2) in vec4 joints; layout(location=3) in vec4 weights;
  uniform mat4 camera; uniform mat4 bones[${template.parents.length}]; uniform vec3 tints[${template.parents.length}]; out vec3 normal; out vec3 place; out vec3 color;
  void main() {
    mat4 moved = mat4(0.); color = vec3(0.);
    for (int k = 0; k < 4; k++) { int j = int(joints[k] + .5); moved += weights[k] * bones[j]; color += weights[k] * tints[j]; }
    float sum = dot(weights, vec4(1.));
    color /= sum;
    place = (moved * vec4(corner, 1.)).xyz / sum;
    normal = mat3(moved) * facing;
    gl_Position = camera * vec4(place, 1.);
  }`, SHADING);
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
    vec3 color = mix(plain, ruled, max(rule(ground, 1., .007), .28 * rule(ground, .25, .003)));
    vec2 uv = (ground - region.xy) / region.zw * .5 + .5;
    float dark = all(equal(uv, clamp(uv, 0., 1.))) ? texture(shadow, uv).r : 0.;
    pixel = vec4(mix(paper, mix(color, shade, .6 * dark), fade), 1.);
  }`);
const pathProgram = program(`
  layout(location=0) in vec2 point; layout(location=1) in float when; uniform mat4 camera; uniform float now; out float ahead;
  void main() { ahead = step(now, when); gl_Position = camera * vec4(point.x, .004, point.y, 1.); }`, `
  in float ahead; uniform vec3 color; out vec4 pixel; void main() { float a = mix(.75, .22, ahead); pixel = vec4(color * a, a); }`);

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
const instances = gl.createBuffer(), SLOTS = [[1, 4, 0], [2, 4, 4], [3, 3, 8]]; // attribute, numbers, first of them
function vertexArray(data, size, index) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  buffer(data);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(0, size, gl.FLOAT, false, 0, 0);
  gl.bindBuffer(gl.ARRAY_BUFFER, instances);
  SLOTS.forEach(([slot, count, from]) => {
    gl.enableVertexAttribArray(slot);
    gl.vertexAttribPointer(slot, count, gl.FLOAT, false, 4 * INSTANCE, 4 * from);
    gl.vertexAttribDivisor(slot, 1);
  });
  if (index) buffer(index, gl.ELEMENT_ARRAY_BUFFER);
  gl.bindVertexArray(null);
  return array;
}
const capsule = capsuleMesh(20, 6);
const quad = new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]);
const limbArray = vertexArray(capsule.corners, 4, capsule.index), blotArray = vertexArray(quad, 2);
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
const paths = new WeakMap(), bodies = new WeakMap();
function layout(slots, stride = 0) {
  for (const [slot, count, from = 0, kind = gl.FLOAT, whole = false] of slots) {
    gl.enableVertexAttribArray(slot);
    gl.vertexAttribPointer(slot, count, kind, whole, stride, from);
  }
}
// The way of the root as a ribbon on the floor.
function pathArray(figure) {
  if (!paths.has(figure)) {
    const { joints, numFrames: n } = figure.motion, points = new Float32Array(6 * n), width = 0.012;
    for (let f = 0; f < n; f++) {
      const at = (g) => { const k = 3 * J * Math.min(Math.max(g, 0), n - 1); return [joints[k], joints[k + 2]]; };
      const a = at(f - 2), b = at(f + 2), here = at(f), size = Math.hypot(b[0] - a[0], b[1] - a[1]);
      const x = size > 1e-4 ? (b[1] - a[1]) / size * width : 0, z = size > 1e-4 ? -(b[0] - a[0]) / size * width : 0;
      points.set([here[0] + x, here[1] + z, f, here[0] - x, here[1] - z, f], 6 * f);
    }
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    buffer(points);
    layout([[0, 2, 0], [1, 1, 8]], 12);
    gl.bindVertexArray(null);
    paths.set(figure, array);
  }
  return paths.get(figure);
}
const shared = template && { skin: buffer(template.skin), weights: buffer(template.weights), faces: buffer(template.faces, gl.ELEMENT_ARRAY_BUFFER) };
function bodyArray(figure) {
  if (!bodies.has(figure)) {
    const { vertices, normals } = figure.mesh(), array = gl.createVertexArray();
    gl.bindVertexArray(array);
    buffer(vertices); layout([[0, 3]]);
    buffer(normals); layout([[1, 3]]);
    gl.bindBuffer(gl.ARRAY_BUFFER, shared.skin); layout([[2, 4, 0, gl.UNSIGNED_BYTE]]);
    gl.bindBuffer(gl.ARRAY_BUFFER, shared.weights); layout([[3, 4, 0, gl.UNSIGNED_BYTE, true]]);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, shared.faces);
    gl.bindVertexArray(null);
    bodies.set(figure, array);
  }
  return bodies.get(figure);
}
function shadowRegion(data, count, shear) {
  let low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < count; i++) for (const from of [0, 4]) [0, 2].forEach((axis, k) => {
    const reach = 0.4 + Math.abs(shear[k]) * Math.max(data[INSTANCE * i + from + 1], 0), v = data[INSTANCE * i + from + axis];
    low[k] = Math.min(low[k], v - reach); high[k] = Math.max(high[k], v + reach);
  });
  const half = Math.max(high[0] - low[0], high[1] - low[1]) / 2;
  return [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, half, half];
}
function paintShadow(region, shear, count) {
  gl.bindFramebuffer(gl.FRAMEBUFFER, shadowFrame);
  gl.viewport(0, 0, SHADOW, SHADOW);
  gl.disable(gl.DEPTH_TEST);
  gl.disable(gl.SCISSOR_TEST);
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
  gl.enable(gl.DEPTH_TEST);
}
function paintFloor({ camera: { eye, target, matrix } }, theme, region) {
  gl.useProgram(floorProgram.p);
  gl.uniformMatrix4fv(floorProgram.at.camera, false, matrix);
  gl.uniform2f(floorProgram.at.middle, target[0], target[2]);
  gl.uniform1f(floorProgram.at.extent, Math.max(9, 2.2 * Math.hypot(...sub(eye, target))));
  gl.uniform4fv(floorProgram.at.region, region);
  for (const name of ["paper", "plain", "ruled", "shade"]) gl.uniform3fv(floorProgram.at[name], theme[name]);
  gl.bindTexture(gl.TEXTURE_2D, shadow);
  gl.bindVertexArray(floorArray);
  gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
}
function paintPaths({ camera: { matrix }, figures: list }, theme) {
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.useProgram(pathProgram.p);
  gl.uniformMatrix4fv(pathProgram.at.camera, false, matrix);
  for (const f of list) {
    gl.uniform3fv(pathProgram.at.color, f.tint || theme.path);
    gl.uniform1f(pathProgram.at.now, f.at[0] + f.at[2] + 1e-3);
    gl.bindVertexArray(pathArray(f));
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 2 * f.motion.numFrames);
  }
  gl.disable(gl.BLEND);
}
function use({ p, at }, { camera: { eye, matrix }, light }, alpha) {
  gl.useProgram(p);
  gl.uniformMatrix4fv(at.camera, false, matrix);
  gl.uniform3fv(at.eye, eye);
  gl.uniform3fv(at.light, light);
  gl.uniform1f(at.alpha, alpha);
}
function paintLimbs(panel, first, count) {
  use(limbProgram, panel, 1);
  gl.bindVertexArray(limbArray);
  const skipped = 4 * INSTANCE * first;
  gl.bindBuffer(gl.ARRAY_BUFFER, instances);
  for (const [slot, numbers, from] of SLOTS) gl.vertexAttribPointer(slot, numbers, gl.FLOAT, false, 4 * INSTANCE, 4 * from + skipped);
  gl.drawElementsInstanced(gl.TRIANGLES, capsule.index.length, gl.UNSIGNED_SHORT, 0, count);
}
// A body one can see through is laid down in depth first, so that only its outermost side is mixed in.
function paintBody(figure, panel, seeThrough) {
  use(bodyProgram, panel, seeThrough ? 0.55 : 1);
  gl.uniformMatrix4fv(bodyProgram.at.bones, false, figure.bones());
  gl.uniform3fv(bodyProgram.at.tints, figure.tints());
  gl.bindVertexArray(bodyArray(figure));
  gl.enable(gl.CULL_FACE);
  const paint = () => gl.drawElements(gl.TRIANGLES, template.faces.length, gl.UNSIGNED_SHORT, 0);
  if (seeThrough) {
    gl.colorMask(false, false, false, false);
    paint();
    gl.colorMask(true, true, true, true);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.depthFunc(gl.EQUAL);
  }
  paint();
  gl.depthFunc(gl.LESS);
  gl.disable(gl.BLEND);
  gl.disable(gl.CULL_FACE);
}
function paintPanel(panel, theme, mode) {
  // All limbs leave shadows; those of figures with a body come first, so that they can be left out of the picture.
  const [embodied, bare] = [true, false].map((has) => panel.figures.filter((f) => Boolean(f.motion.body) === has));
  const hidden = embodied.flatMap((f) => f.limbs()), solid = hidden.concat(bare.flatMap((f) => f.limbs()));
  const data = new Float32Array(solid.concat(panel.frusta)), count = solid.length / INSTANCE;
  gl.bindBuffer(gl.ARRAY_BUFFER, instances);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
  const { light, box: [x, y, w, h] } = panel, shear = [-light[0] / light[1] * 0.5, -light[2] / light[1] * 0.5];
  const region = shadowRegion(data, count, shear);
  paintShadow(region, shear, count);
  gl.viewport(x, canvas.height - y - h, w, h);
  gl.scissor(x, canvas.height - y - h, w, h);
  gl.enable(gl.SCISSOR_TEST);
  paintFloor(panel, theme, region);
  paintPaths(panel, theme);
  const skipped = mode === "mesh" ? hidden.length / INSTANCE : 0;
  paintLimbs(panel, skipped, data.length / INSTANCE - skipped);
  if (mode !== "skeleton") for (const figure of embodied) paintBody(figure, panel, mode === "both");
  gl.bindVertexArray(null);
  gl.disable(gl.SCISSOR_TEST);
}
function draw(panels, theme, mode) {
  gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  gl.clearColor(...theme.paper, 1);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  panels.forEach((panel) => paintPanel(panel, theme, mode));
}
function pixel(x, y) {
  const out = new Uint8Array(4);
  gl.readPixels(Math.round(x), canvas.height - 1 - Math.round(y), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out);
  return [...out];
}
return { name: "webgl", draw, pixel };
}

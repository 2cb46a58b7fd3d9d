// ---- data: whole numbers, packed by hmr4d/visualization/page_pack.py --------------------------------------------------
const page = JSON.parse(byId("data").textContent), style = page.style, J = style.joints;
async function unpack(text) {
  if (typeof DecompressionStream === "undefined") throw new Error("This browser is too old for this page: it cannot unpack data (DecompressionStream).");
  const packed = Uint8Array.from(atob(text.trim()), (c) => c.charCodeAt(0));
  return new Uint8Array(await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer());
}
const pack = await unpack(byId("pack").textContent);
// Column by column, the four bytes of a number far apart, sign in the lowest bit, as steps from row to row if `delta`.
function ints({ at, rows, columns, delta }) {
  const n = rows * columns, out = new Int32Array(n);
  for (let c = 0; c < columns; c++) {
    for (let r = 0, sum = 0; r < rows; r++) {
      const k = at + c * rows + r, u = pack[k] | pack[k + n] << 8 | pack[k + 2 * n] << 16 | pack[k + 3 * n] << 24;
      const v = u >>> 1 ^ -(u & 1);
      sum = delta ? sum + v : v;
      out[r * columns + c] = sum;
    }
  }
  return out;
}
const scaled = (entry, step = entry.step) => Float32Array.from(ints(entry), (v) => v * step);
function decodeViews(views) {
  const joints = scaled(views.joints2d);
  ints(views.joints2d).forEach((v, i) => { if (v === views.missing) joints[i] = NaN; });
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  joints.forEach((v, i) => { if (!Number.isNaN(v)) { low[i % 2] = Math.min(low[i % 2], v); high[i % 2] = Math.max(high[i % 2], v); } });
  const box = views.size ? [0, 0, ...views.size] : [low[0], low[1], high[0] - low[0], high[1] - low[1]];
  return { names: views.names, joints, box, framed: Boolean(views.size), opening: views.opening, places: views.places ? scaled(views.places) : null, turns: views.turns ? scaled(views.turns) : null };
}
const motions = page.motions.map((m) => ({
  caption: m.caption, numFrames: m.joints.rows, fps: m.fps, facing: m.facing, color: m.color.map((c) => c / 255), joints: scaled(m.joints),
  body: m.body && { lift: m.body.lift, rest: scaled(m.body.rest), turns: scaled(m.body.turns), translation: scaled(m.body.translation), shape: m.body.shape, residual: m.body.residual },
  views: m.views && decodeViews(m.views),
}));
const template = page.mesh && {
  parents: page.mesh.parents, sides: page.mesh.sides, vertices: scaled(page.mesh.vertices), faces: Uint16Array.from(ints(page.mesh.faces)),
  skin: Uint8Array.from(ints(page.mesh.skin)), weights: Uint8Array.from(ints(page.mesh.weights)),
};
const rgb = (name) => style.colors[name].map((c) => c / 255);

// ---- small matrices, column major ------------------------------------------------------------------------------------
const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => { const n = Math.hypot(...a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
const mix = (a, b, w) => a.map((v, i) => v * (1 - w) + b[i] * w);
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
// Rows of the matrix of a quaternion x y z w of any length.
function quatRows(x, y, z, w) {
  const s = 2 / (x * x + y * y + z * z + w * w || 1);
  return [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w), s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w), s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)];
}
// `count` numbers a row, blended between two rows of a table.
function blend(table, count, [f, g, w]) {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = table[f * count + i] * (1 - w) + table[g * count + i] * w;
  return out;
}

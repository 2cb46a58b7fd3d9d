// ---- figures: a skeleton of limbs and, where the page has one, a body on it --------------------------------------------
const WHITE = [1, 1, 1], BLACK = [0, 0, 0], CAMERA_SIZE = 0.3;
class Figure {
  constructor(motion) {
    this.motion = motion;
    this.tint = null; // one color for the whole figure, where several share a scene
    this.pose = new Float32Array(3 * J);
    const { joints, numFrames: n, fps } = motion, half = Math.round(fps);
    this.glide = new Float32Array(2 * n); // smoothed path of the root, so that the camera glides
    for (let f = 0; f < n; f++) {
      let x = 0, z = 0, sum = 0;
      for (let g = -half; g <= half; g++) {
        const k = 3 * J * Math.min(Math.max(f + g, 0), n - 1), w = Math.exp(-4.5 * (g / (half + 1)) ** 2);
        x += w * joints[k]; z += w * joints[k + 2]; sum += w;
      }
      this.glide[2 * f] = x / sum; this.glide[2 * f + 1] = z / sum;
    }
  }
  rows(seconds) {
    const last = this.motion.numFrames - 1, t = Math.min(Math.max(seconds * this.motion.fps, 0), last);
    const f = Math.floor(t + 1e-6);
    return [f, Math.min(f + 1, last), Math.max(t - f, 0)];
  }
  update(seconds, mode) {
    this.at = this.rows(seconds);
    this.inside = mode === "both" && Boolean(this.motion.body); // thin enough to be seen within the body
    this.raised = this.motion.body && mode !== "skeleton" ? this.motion.body.lift : 0;
    this.pose = blend(this.motion.joints, 3 * J, this.at);
    for (let j = 0; j < J; j++) this.pose[3 * j + 1] += this.raised;
    this.matrices = null;
  }
  joint(j) { return [this.pose[3 * j], this.pose[3 * j + 1], this.pose[3 * j + 2]]; }
  color(side) {
    if (!this.tint) return rgb(side);
    return { left: mix(this.tint, WHITE, 0.35), right: mix(this.tint, BLACK, 0.3), centre: this.tint, joint: WHITE }[side];
  }
  limbs() {
    const out = [], thick = this.inside ? 0.4 : 1, push = (a, b, ra, rb, color) => out.push(...a, thick * ra, ...b, thick * rb, ...color);
    style.bones.forEach(([p, c], i) => push(this.joint(p), this.joint(c), 0.8 * style.radii[p], 0.8 * style.radii[c], this.color(style.sides[i])));
    style.dots.forEach((r, j) => { if (r > 0) push(this.joint(j), this.joint(j), 0.92 * style.radii[j], 0.92 * style.radii[j], this.color("joint")); });
    if (style.head && !this.inside) {
      const [neck, head] = style.head.map((j) => this.joint(j)), axis = unit(sub(head, neck));
      const middle = head.map((v, i) => v + style.headOffset * axis[i]);
      push(middle, middle, style.headRadius, style.headRadius, this.color("center"));
    }
    return out;
  }
  // 4x4 per joint, from the rest mesh to the world.
  bones() {
    if (this.matrices) return this.matrices;
    const { parents } = template, { rest, turns, translation, lift } = this.motion.body, count = parents.length;
    const quats = blend(turns, 4 * count, this.at), moved = blend(translation, 3, this.at), out = new Float32Array(16 * count);
    const worlds = [], places = [];
    for (let j = 0; j < count; j++) {
      const own = quatRows(...quats.subarray(4 * j, 4 * j + 4)), p = parents[j];
      const offset = [0, 1, 2].map((i) => rest[3 * j + i] - (p < 0 ? 0 : rest[3 * p + i]));
      if (p < 0) {
        worlds.push(own);
        places.push([offset[0] + moved[0], offset[1] + moved[1] + lift, offset[2] + moved[2]]);
      } else {
        const R = worlds[p], row = (i) => R[3 * i] * offset[0] + R[3 * i + 1] * offset[1] + R[3 * i + 2] * offset[2];
        worlds.push(own.map((_, k) => { const i = 3 * Math.floor(k / 3), c = k % 3; return R[i] * own[c] + R[i + 1] * own[3 + c] + R[i + 2] * own[6 + c]; }));
        places.push(places[p].map((v, i) => v + row(i)));
      }
      const R = worlds[j];
      for (let c = 0; c < 3; c++) for (let r = 0; r < 3; r++) out[16 * j + 4 * c + r] = R[3 * r + c];
      for (let r = 0; r < 3; r++) out[16 * j + 12 + r] = places[j][r] - R[3 * r] * rest[3 * j] - R[3 * r + 1] * rest[3 * j + 1] - R[3 * r + 2] * rest[3 * j + 2];
      out[16 * j + 15] = 1;
    }
    return this.matrices = out;
  }
  tints() { return new Float32Array(template.sides.flatMap((side) => this.color(side))); }
  // The template with the bones of this motion: vertices and normals at rest.
  mesh() {
    if (this.built) return this.built;
    const { vertices: v, faces, skin, weights } = template, map = scaled(this.motion.body.shape), rest = scaled(this.motion.body.residual);
    for (let i = 0; i < v.length / 3; i++) {
      let sum = 0;
      const at = [0, 0, 0];
      for (let k = 4 * i; k < 4 * i + 4; k++) {
        if (!weights[k]) continue;
        sum += weights[k];
        for (let c = 0; c < 3; c++) {
          const m = 12 * skin[k] + c;
          at[c] += weights[k] * (map[m] * v[3 * i] + map[m + 3] * v[3 * i + 1] + map[m + 6] * v[3 * i + 2] + map[m + 9]);
        }
      }
      for (let c = 0; c < 3; c++) rest[3 * i + c] += at[c] / sum;
    }
    const normals = new Float32Array(rest.length);
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [faces[f], faces[f + 1], faces[f + 2]].map((i) => rest.subarray(3 * i, 3 * i + 3)), n = cross(sub(b, a), sub(c, a));
      for (let k = 0; k < 3; k++) for (let i = 0; i < 3; i++) normals[3 * faces[f + k] + i] += n[i];
    }
    return this.built = { vertices: rest, normals };
  }
  // (V, 3) in the world; what draws without WebGL needs it.
  skinned() {
    const { vertices: v } = this.mesh(), { skin, weights } = template, bones = this.bones(), out = new Float32Array(v.length);
    for (let i = 0; i < v.length; i += 3) {
      let x = 0, y = 0, z = 0, sum = 0;
      for (let k = 4 * i / 3, e = k + 4; k < e; k++) {
        const w = weights[k], m = 16 * skin[k];
        if (!w) continue;
        sum += w;
        x += w * (bones[m] * v[i] + bones[m + 4] * v[i + 1] + bones[m + 8] * v[i + 2] + bones[m + 12]);
        y += w * (bones[m + 1] * v[i] + bones[m + 5] * v[i + 1] + bones[m + 9] * v[i + 2] + bones[m + 13]);
        z += w * (bones[m + 2] * v[i] + bones[m + 6] * v[i + 1] + bones[m + 10] * v[i + 2] + bones[m + 14]);
      }
      out[i] = x / sum; out[i + 1] = y / sum; out[i + 2] = z / sum;
    }
    return out;
  }
  // Cameras of the 2D views as thin limbs: four rays, the picture's frame, and a mark at its upper edge.
  frusta() {
    const { views } = this.motion, out = [];
    if (!views || !views.places) return out;
    const count = views.names.length, rows = views.places.length / 3 / count, at = rows > 1 ? this.at : [0, 0, 0];
    const places = blend(views.places, 3 * count, at), turns = blend(views.turns, 4 * count, at);
    for (let v = 0; v < count; v++) {
      const R = quatRows(...turns.subarray(4 * v, 4 * v + 4)), from = [...places.subarray(3 * v, 3 * v + 3)], [left, top, right, bottom] = views.opening[v];
      const world = (x, y) => [0, 1, 2].map((i) => from[i] + CAMERA_SIZE * (R[3 * i] * x + R[3 * i + 1] * y + R[3 * i + 2]));
      const corners = [world(left, top), world(right, top), world(right, bottom), world(left, bottom)], ink = viewColour(v);
      const line = (a, b, r = 0.008) => out.push(...a, r, ...b, r, ...ink);
      corners.forEach((c, i) => { line(from, c); line(c, corners[(i + 1) % 4]); });
      const middle = (left + right) / 2, tip = world(middle, top - 0.35 * (bottom - top));
      line(corners[0], tip); line(corners[1], tip);
      line(from, from, 0.03);
    }
    return out;
  }
}
const VIEW_COLOURS = [[0.84, 0.37, 0.0], [0.0, 0.62, 0.45], [0.8, 0.47, 0.65], [0.34, 0.45, 0.9], [0.75, 0.62, 0.05], [0.35, 0.7, 0.9]];
function viewColour(v) { return VIEW_COLOURS[v % VIEW_COLOURS.length]; }
const figures = motions.map((m) => new Figure(m));

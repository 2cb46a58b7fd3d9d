// ---- drawing without WebGL: lines by depth, the body by a small depth buffer --------------------------------------------
function canvasPainter(canvas) {
  const g = canvas.getContext("2d");
  if (!g) return null;
  const css = (c, alpha = 1) => "rgba(" + c.map((v) => Math.round(255 * v)).join(",") + "," + alpha + ")";
  const sheet = document.createElement("canvas");
  function projector({ box: [x, y, w, h], camera: { matrix: m } }) {
    return (p) => {
      const d = m[3] * p[0] + m[7] * p[1] + m[11] * p[2] + m[15];
      return [x + (0.5 + 0.5 * (m[0] * p[0] + m[4] * p[1] + m[8] * p[2] + m[12]) / d) * w, y + (0.5 - 0.5 * (m[1] * p[0] + m[5] * p[1] + m[9] * p[2] + m[13]) / d) * h, d];
    };
  }
  const near = 0.1;
  function floor({ camera: { target, eye } }, place, theme) {
    const reach = Math.min(Math.max(6, 1.2 * Math.hypot(...sub(eye, target))), 30), [cx, cz] = [Math.round(target[0]), Math.round(target[2])];
    g.lineWidth = 1;
    for (let i = -Math.ceil(reach); i <= reach; i++) for (const turned of [false, true]) for (let k = -reach; k < reach; k++) {
      const at = (s) => place(turned ? [cx + s, 0, cz + i] : [cx + i, 0, cz + s]), a = at(k), b = at(k + 1);
      if (a[2] < near || b[2] < near) continue;
      g.strokeStyle = css(theme.ruled, Math.max(0, 1 - Math.hypot(i, k) / reach));
      g.beginPath(); g.moveTo(a[0], a[1]); g.lineTo(b[0], b[1]); g.stroke();
    }
  }
  function limbs(list, place, scale, theme) {
    const drawn = [];
    for (let i = 0; i < list.length; i += 11) {
      const a = place(list.slice(i, i + 3)), b = place(list.slice(i + 4, i + 7));
      if (a[2] > near && b[2] > near) drawn.push({ a, b, depth: (a[2] + b[2]) / 2, width: (list[i + 3] + list[i + 7]) * scale * 2 / (a[2] + b[2]), color: list.slice(i + 8, i + 11) });
    }
    drawn.sort((p, q) => q.depth - p.depth);
    g.lineCap = "round";
    for (const { a, b, width, color } of drawn) for (const [share, dark] of [[1, 0.35], [0.78, 0]]) {
      g.strokeStyle = css(mix(color, theme.shade, dark));
      g.lineWidth = Math.max(width * share, 1);
      g.beginPath(); g.moveTo(a[0], a[1]); g.lineTo(b[0] + 0.01, b[1]); g.stroke();
    }
  }
  function shadow(list, place, scale, theme) {
    g.beginPath();
    let depth = 0;
    for (let i = 0; i < list.length; i += 11) {
      const a = place([list[i], 0, list[i + 2]]), b = place([list[i + 4], 0, list[i + 6]]);
      if (a[2] < near || b[2] < near) continue;
      g.moveTo(a[0], a[1]); g.lineTo(b[0] + 0.01, b[1]);
      depth = Math.max(depth, a[2]);
    }
    g.lineCap = g.lineJoin = "round";
    g.strokeStyle = css(theme.shade, 0.25);
    g.lineWidth = depth ? 0.1 * scale / depth : 1;
    g.stroke();
  }
  function body(figure, panel, light, alpha) {
    const [x, y, w, h] = panel.box.map(Math.round), step = Math.max(w, h) > 900 ? 2 : 1, W = Math.ceil(w / step), H = Math.ceil(h / step);
    const place = projector({ ...panel, box: [0, 0, W, H] }), at = figure.skinned(), count = at.length / 3, seen = new Float32Array(at.length);
    for (let i = 0; i < count; i++) seen.set(place([at[3 * i], at[3 * i + 1], at[3 * i + 2]]), 3 * i);
    const image = g.createImageData(W, H), words = new Uint32Array(image.data.buffer), depths = new Float32Array(W * H).fill(Infinity);
    const tints = figure.tints(), { faces, skin } = template;
    for (let f = 0; f < faces.length; f += 3) {
      const i = 3 * faces[f], j = 3 * faces[f + 1], k = 3 * faces[f + 2];
      if (seen[i + 2] < near || seen[j + 2] < near || seen[k + 2] < near) continue;
      const ax = seen[i], ay = seen[i + 1], bx = seen[j] - ax, by = seen[j + 1] - ay, cx = seen[k] - ax, cy = seen[k + 1] - ay, area = bx * cy - by * cx;
      if (area >= 0) continue; // seen from inside, as y points down
      const n = unit(cross([at[j] - at[i], at[j + 1] - at[i + 1], at[j + 2] - at[i + 2]], [at[k] - at[i], at[k + 1] - at[i + 1], at[k + 2] - at[i + 2]]));
      const bright = 255 * (0.42 + 0.6 * (0.5 + 0.5 * dot(n, light))), tint = 3 * skin[4 * faces[f]];
      const word = (255 << 24 | Math.min(tints[tint + 2] * bright, 255) << 16 | Math.min(tints[tint + 1] * bright, 255) << 8 | Math.min(tints[tint] * bright, 255)) >>> 0;
      const x0 = Math.max(Math.ceil(Math.min(ax, seen[j], seen[k]) - 0.5), 0), x1 = Math.min(Math.floor(Math.max(ax, seen[j], seen[k]) + 0.5), W - 1);
      const y0 = Math.max(Math.ceil(Math.min(ay, seen[j + 1], seen[k + 1]) - 0.5), 0), y1 = Math.min(Math.floor(Math.max(ay, seen[j + 1], seen[k + 1]) + 0.5), H - 1);
      for (let py = y0; py <= y1; py++) for (let px = x0; px <= x1; px++) {
        const dx = px + 0.5 - ax, dy = py + 0.5 - ay, v = (dx * cy - dy * cx) / area, u = (bx * dy - by * dx) / area;
        if (v < 0 || u < 0 || u + v > 1) continue;
        const depth = seen[i + 2] + v * (seen[j + 2] - seen[i + 2]) + u * (seen[k + 2] - seen[i + 2]), spot = py * W + px;
        if (depth < depths[spot]) { depths[spot] = depth; words[spot] = word; }
      }
    }
    sheet.width = W; sheet.height = H;
    sheet.getContext("2d").putImageData(image, 0, 0);
    g.globalAlpha = alpha;
    g.drawImage(sheet, x, y, w, h);
    g.globalAlpha = 1;
  }
  function draw(panels, theme, mode) {
    g.fillStyle = css(theme.paper);
    g.fillRect(0, 0, canvas.width, canvas.height);
    for (const panel of panels) {
      const place = projector(panel), scale = panel.camera.scale, lists = panel.figures.map((f) => f.limbs());
      g.save();
      g.beginPath(); g.rect(...panel.box); g.clip();
      floor(panel, place, theme);
      lists.forEach((list) => shadow(list, place, scale, theme));
      panel.figures.forEach((figure) => {
        g.strokeStyle = css(figure.tint || theme.path, 0.6);
        g.lineWidth = 2;
        g.beginPath();
        const { joints, numFrames } = figure.motion, stride = Math.max(1, Math.floor(numFrames / 2000));
        for (let f = 0; f < numFrames; f += stride) {
          const [px, py, d] = place([joints[3 * J * f], 0, joints[3 * J * f + 2]]);
          if (d > near) g.lineTo(px, py);
        }
        g.stroke();
      });
      limbs(panel.frusta, place, scale, theme);
      const order = panel.figures.map((figure, i) => ({ figure, list: lists[i], depth: place(figure.joint(0))[2] })).sort((a, b) => b.depth - a.depth);
      for (const { figure, list } of order) {
        const isBare = !figure.motion.body;
        if (mode !== "mesh" || isBare) limbs(list, place, scale, theme);
        if (mode !== "skeleton" && !isBare) body(figure, panel, panel.light, mode === "both" ? 0.55 : 1);
      }
      g.restore();
    }
  }
  return { name: "canvas", draw, pixel: (x, y) => [...g.getImageData(x, y, 1, 1).data] };
}

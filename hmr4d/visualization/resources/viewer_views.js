// ---- 2D views: what each camera saw, in step with the figure ------------------------------------------------------------
const viewPanels = { of: null, canvases: [] };
function showViews(figure) {
  if (viewPanels.of === figure) return;
  viewPanels.of = figure;
  viewPanels.canvases = [];
  byId("views").replaceChildren();
  if (!figure) return;
  figure.motion.views.names.forEach((name, v) => {
    const box = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
    caption.textContent = name;
    caption.style.setProperty("--side", "rgb(" + viewColour(v).map((c) => Math.round(255 * c)).join(",") + ")");
    box.append(canvas, caption);
    byId("views").append(box);
    viewPanels.canvases.push(canvas);
  });
}
function drawViews() {
  const figure = viewPanels.of;
  if (!figure) return;
  const { joints, box, names } = figure.motion.views, ink = getComputedStyle(document.documentElement);
  viewPanels.canvases.forEach((canvas, v) => {
    const ratio = Math.min(window.devicePixelRatio || 1, 2), w = Math.round(canvas.clientWidth * ratio), h = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    const g = canvas.getContext("2d"), scale = Math.min(w / box[2], h / box[3]) * (figure.motion.views.framed ? 1 : 0.9);
    const left = (w - scale * box[2]) / 2 - scale * box[0], top = (h - scale * box[3]) / 2 - scale * box[1];
    g.clearRect(0, 0, w, h);
    g.strokeStyle = ink.getPropertyValue("--line");
    g.strokeRect(left + scale * box[0] + 0.5, top + scale * box[1] + 0.5, scale * box[2] - 1, scale * box[3] - 1);
    const [f, next, weight] = figure.at, count = names.length;
    const point = (j) => [0, 1].map((i) => {
      const a = joints[2 * ((f * count + v) * J + j) + i], b = joints[2 * ((next * count + v) * J + j) + i];
      return (weight ? a * (1 - weight) + b * weight : a) * scale + (i ? top : left);
    });
    g.lineCap = "round";
    g.lineWidth = Math.max(w / 70, 2);
    style.bones.forEach(([p, c], i) => {
      const a = point(p), b = point(c);
      if ([...a, ...b].some(Number.isNaN)) return;
      g.strokeStyle = "rgb(" + style.colors[style.sides[i]].join(",") + ")";
      g.beginPath(); g.moveTo(...a); g.lineTo(...b); g.stroke();
    });
  });
}

// Figures. A browser keeps about 16 WebGL contexts alive, and a 3D figure takes one or two: only
// figures near the screen are drawn, the nearest few; others show their picture. The button that
// sends a figure's data to plotly's servers goes: shapes may be of patients.
const MOST_DRAWN = 4;
const drawn = new Set();

function draw(figure) {
  const {data, layout, frames, config} = JSON.parse(figure.nextElementSibling.textContent);
  const plot = figure.appendChild(document.createElement("div"));
  if (layout.scene) fit(data, layout, figure.clientWidth);
  delete layout.width;
  drawn.add(figure);
  return Plotly.newPlot(plot, {data, layout, frames,
    config: {responsive: !layout.scene, displaylogo: false, ...config, showSendToCloud: false}})
    .then(() => {
      figure.classList.add("drawn");
      figure.style.minHeight = "";
    });
}

// An orthographic camera shows a fixed height, however narrow the page is: shapes at the sides would
// be cut off. So a scene keeps its proportions.
function fit(data, layout, width) {
  const beside = (layout.margin?.l ?? 0) + (layout.margin?.r ?? 0);
  const scale = Math.min(1, (width - beside) / ((layout.width ?? width) - beside));
  layout.height = Math.round(layout.height * scale);
  for (const {marker} of data) if (marker?.size) marker.size *= Math.max(scale, 0.4);
  for (const label of layout.scene.annotations ?? []) label.font.size *= Math.max(scale, 0.6);
}

function purge(figure) {
  figure.classList.remove("drawn");
  drawn.delete(figure);
  const plot = figure.querySelector(".js-plotly-plot");
  if (!plot) return;
  // The page keeps its length while a figure that has no picture is away.
  if (!figure.querySelector("img")) figure.style.minHeight = figure.offsetHeight + "px";
  const canvases = plot.querySelectorAll("canvas");
  Plotly.purge(plot);
  plot.remove();
  // A browser counts the context of a canvas that is gone until it collects garbage.
  for (const canvas of canvases) canvas.getContext("webgl")?.getExtension("WEBGL_lose_context")?.loseContext();
}

const middle = figure => {
  const {top, bottom} = figure.getBoundingClientRect();
  return Math.abs(top + bottom - innerHeight);
};
const observer = new IntersectionObserver(entries => entries.forEach(({target, isIntersecting}) => {
  if (!isIntersecting) return purge(target);
  if (!drawn.has(target)) draw(target);
  if (drawn.size > MOST_DRAWN) purge([...drawn].sort((a, b) => middle(b) - middle(a))[0]);
}), {rootMargin: "25%"});

// Tables. A click on a heading sorts the rows by that column, a second click the other way round.
function sort(heading) {
  const body = heading.closest("table").tBodies[0], column = heading.cellIndex;
  const falls = heading.ariaSort === "ascending";
  const key = row => row.cells[column].textContent.trim();
  const compare = (a, b) => parseFloat(a) - parseFloat(b) || a.localeCompare(b);
  const rows = [...body.rows].sort((a, b) => compare(key(a), key(b)));
  for (const other of heading.parentNode.cells) other.ariaSort = null;
  heading.ariaSort = falls ? "descending" : "ascending";
  body.append(...(falls ? rows.reverse() : rows));
}

addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".plotly-figure").forEach(figure => {
    if (!figure.nextElementSibling?.matches("script")) return;
    const {layout} = JSON.parse(figure.nextElementSibling.textContent);
    if (!figure.querySelector("img")) figure.style.minHeight = (layout.height ?? 450) + "px";
    observer.observe(figure);
  });
  document.querySelectorAll("table thead th").forEach(heading => {
    heading.addEventListener("click", () => sort(heading));
  });
});

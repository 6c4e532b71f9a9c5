// A browser keeps about 16 WebGL contexts alive, and a 3D figure takes one for each of its scenes:
// only figures near the screen are drawn, and those that leave it give theirs back. The button that
// sends a figure's data to plotly's servers goes: shapes may be of patients.
const observer = new IntersectionObserver(entries => entries.forEach(({target, isIntersecting}) => {
  if (!isIntersecting) return Plotly.purge(target);
  const figure = JSON.parse(target.nextElementSibling.textContent);
  const config = {responsive: true, displaylogo: false, ...figure.config, showSendToCloud: false};
  Plotly.newPlot(target, {...figure, config});
}), {rootMargin: "50%"});
document.querySelectorAll(".plotly-figure").forEach(figure => {
  figure.style.minHeight = figure.dataset.height + "px";
  observer.observe(figure);
});

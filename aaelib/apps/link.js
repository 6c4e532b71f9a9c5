// Where the explorer is, as the part of an address after its #; and names for those who do not see.
function render({ model, el }) {
  const own = document.documentElement.dataset.page === "explorer"; // elsewhere the address stays
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button aaelib-link";
  button.textContent = "Copy a link";
  button.title = "To this socket: open it again, or give it to explore(at=...)";
  button.onclick = async () => {
    const part = "#" + encodeURIComponent(model.get("state"));
    try { // browsers may refuse it
      await navigator.clipboard.writeText(own ? location.href : part);
      button.textContent = "Copied";
    } catch {
      button.textContent = own ? "It is in the address bar" : part;
    }
    setTimeout(() => { button.textContent = "Copy a link"; }, 3000);
  };
  el.appendChild(button);

  if (own && location.hash.length > 1) model.send({ at: location.hash });
  model.on("change:state", () => {
    if (own) history.replaceState(null, "", "#" + encodeURIComponent(model.get("state")));
  });

  // Handles of sliders have a role and a value, but no name.
  const name = () => {
    const root = el.closest(".aaelib-explorer") ?? document;
    for (const handle of root.querySelectorAll(".noUi-handle:not([aria-label])")) {
      const label = handle.closest(".widget-slider")?.querySelector("label");
      if (label) handle.setAttribute("aria-label", label.textContent);
    }
    root.querySelector(".js-plotly-plot")?.setAttribute("role", "img");
    root.querySelector(".js-plotly-plot")?.setAttribute("aria-label", "The socket in three dimensions, A and B as outlines");
    root.querySelector(".aaelib-message")?.setAttribute("aria-live", "polite");
  };
  const watch = new MutationObserver(name);
  requestAnimationFrame(() => {
    watch.observe(el.closest(".aaelib-explorer") ?? document.body, { childList: true, subtree: true });
    name();
  });
  return () => watch.disconnect();
}
export default { render };

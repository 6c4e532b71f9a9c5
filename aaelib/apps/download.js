function render({ model, el }) {
  const button = document.createElement("button");
  button.className = "jupyter-button widget-button aaelib-download";
  button.textContent = "Download";
  button.onclick = () => model.send("make");
  model.on("msg:custom", (message, buffers) => {
    const url = URL.createObjectURL(new Blob(buffers, { type: "application/octet-stream" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = message.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  });
  el.appendChild(button);
}
export default { render };

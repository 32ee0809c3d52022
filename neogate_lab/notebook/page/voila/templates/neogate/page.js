// What the page does besides showing the panels: it asks before it ends a survey, and says
// goodbye to its kernel.
(() => {
  const kernel = place => {
    const page = document.getElementById("jupyter-config-data");
    if (!page) return null; // it is still loading
    const {baseUrl, kernelId} = JSON.parse(page.textContent);
    return `${baseUrl}${place}/${kernelId}`;
  };

  addEventListener("beforeunload", event => {
    // Voila would drop the kernel here, also where one then stays.
    event.stopImmediatePropagation();
    // The distance of the measurements can't be changed while a survey runs.
    const surveying = document.querySelector(".neogate-signal-every input")?.disabled;
    if (surveying) event.preventDefault();
  }, {capture: true});

  // A kernel, and with it a session at the gateway, must not outlive its page. To end one takes the
  // token, or what the login page left where that was typed in.
  addEventListener("pagehide", () => {
    const goodbye = kernel("voila/api/shutdown");
    if (!goodbye) return;
    const proof = new FormData();
    proof.append("_xsrf", document.cookie.match(/\b_xsrf=([^;]*)/)?.[1] ?? "");
    navigator.sendBeacon(goodbye + location.search, proof);
  });
})();

// What the page does besides showing the panels: it asks before it ends a survey, says goodbye to
// its kernel, and covers itself when nobody is behind it any more.
(() => {
  const PERIOD = 2000; // milliseconds
  const PATIENCE = 10000; // an answer may take so long
  const NOTICES = {
    silent: {
      title: "The dashboard does not answer",
      text: "Nothing on this page works now, and what it shows may be old.\n"
        + "If the command neogate-lab dashboard has ended, so has any survey of this page: start it"
        + " again and open the address that it prints.\n"
        + "If only the way to it is cut, an SSH tunnel for example, this notice goes when it is"
        + " back.",
    },
    adrift: {
      title: "This page has lost its connection",
      text: "It tries to connect again by itself. If this notice stays for more than a minute,"
        + " reload the page; that ends a survey of this page.",
      reload: true,
    },
    ended: {
      title: "This page has ended",
      text: "The process behind it is gone, and with it any survey of this page and its connection"
        + " to the gateway. Reload the page to connect again.",
      reload: true,
      final: true,
    },
    replaced: {
      title: "This page has ended",
      text: "The dashboard was started again since. Open the address that it printed then.",
      final: true,
    },
  };

  const kernel = place => {
    const page = document.getElementById("jupyter-config-data");
    if (!page) return null; // it is still loading
    const {baseUrl, kernelId} = JSON.parse(page.textContent);
    return `${baseUrl}${place}/${kernelId}`;
  };

  // -- the notice -------------------------------------------------------------------------------
  const notice = document.createElement("dialog");
  const [title, text, reload] = ["h2", "p", "button"].map(name => document.createElement(name));
  notice.className = "neogate-notice";
  notice.setAttribute("role", "alertdialog");
  title.id = "neogate-notice-title";
  notice.setAttribute("aria-labelledby", title.id);
  text.id = "neogate-notice-text";
  text.setAttribute("aria-live", "polite"); // it may change while it is shown
  notice.setAttribute("aria-describedby", text.id);
  reload.textContent = "Reload";
  reload.addEventListener("click", () => location.reload());
  notice.append(title, text, reload);
  let shown = null;
  notice.addEventListener("close", () => tell(shown)); // Escape can't send it away

  function tell(words) {
    if (words && words !== shown) {
      title.textContent = words.title;
      text.textContent = words.text;
      reload.hidden = !words.reload;
    }
    shown = words;
    if (!words) {
      notice.close();
    } else if (!notice.open) {
      document.body.append(notice);
      notice.showModal(); // all below is inert, and gets the focus back afterwards
    }
  }

  // -- whether somebody is there ----------------------------------------------------------------
  let met = false, missed = 0, visit = 0, next = 0;

  async function state(address) {
    try {
      const answer = await fetch(address, {
        cache: "no-store", signal: AbortSignal.timeout(PATIENCE),
      });
      if (answer.status === 404) return "ended";
      if (answer.status === 403) return "replaced";
      if (!answer.ok) return "silent";
      const {connections} = await answer.json();
      met ||= connections > 0;
      return met && !connections ? "adrift" : "well";
    } catch {
      return "silent";
    }
  }

  async function look() {
    const mine = visit, address = kernel("api/kernels");
    const words = address && NOTICES[await state(address)];
    if (mine !== visit) return; // the page was left meanwhile
    missed = words ? missed + 1 : 0;
    // One miss may be a hiccup; that the kernel is unknown is none.
    if (!words || missed > 1 || words.final) tell(words);
    if (!words?.final) next = setTimeout(look, PERIOD);
  }

  // Also when the browser takes the page out of its cache, by "back".
  addEventListener("pageshow", look);

  // -- leaving ----------------------------------------------------------------------------------
  addEventListener("beforeunload", event => {
    // Voila would drop the kernel here, also where one then stays.
    event.stopImmediatePropagation();
    // The distance of the measurements can't be changed while a survey runs.
    const surveying = document.querySelector(".neogate-signal-every input")?.disabled;
    if (surveying && !shown) event.preventDefault();
  }, {capture: true});

  // A kernel, and with it a session at the gateway, must not outlive its page. To end one takes the
  // token, or what the login page left where that was typed in.
  addEventListener("pagehide", () => {
    visit += 1;
    clearTimeout(next);
    const goodbye = kernel("voila/api/shutdown");
    if (!goodbye || shown?.final) return;
    const proof = new FormData();
    proof.append("_xsrf", document.cookie.match(/\b_xsrf=([^;]*)/)?.[1] ?? "");
    navigator.sendBeacon(goodbye + location.search, proof);
  });
})();

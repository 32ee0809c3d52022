"""What a page gets besides widgets: the panels' style, and a script that serves screen readers."""

from __future__ import annotations

import html

__all__ = ["HELLO", "LIVE", "OFF", "PAGE", "STYLE"]

HELLO = "neogate-hello"
"""Class of the button that the page itself presses once it shows the panel."""

LIVE = "neogate-live"
"""Class of what is read out when it changes."""

OFF = "neogate-off"
"""Class of a button that can't be pressed now."""

STYLE = """<style>
.neogate-panel .widget-label { text-align: left; }
.neogate-panel .neogate-title { font-weight: 600; line-height: 1.4; margin-bottom: 6px; }
.neogate-panel .neogate-text { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.4; }
.neogate-panel .neogate-muted { font-weight: 400; color: var(--jp-ui-font-color2, inherit); }
.neogate-panel .neogate-good :is(b, i) { color: #1b5e20;
  color: color-mix(in srgb, var(--jp-success-color1, green) 70%, var(--jp-ui-font-color0, #000)); }
.neogate-panel .neogate-bad :is(b, i) { color: #b71c1c;
  color: color-mix(in srgb, var(--jp-error-color1, red) 70%, var(--jp-ui-font-color0, #000)); }
.neogate-panel .neogate-warn { color: #7a4b00;
  color: color-mix(in srgb, var(--jp-warn-color1, orange) 55%, var(--jp-ui-font-color0, #000)); }
.neogate-panel :is(button, input, select, textarea, .neogate-live):focus-visible {
  outline: 2px solid var(--jp-ui-font-color0, #000) !important; outline-offset: 1px !important; }
.neogate-panel .neogate-off { opacity: 0.5; cursor: not-allowed; box-shadow: none; }
.neogate-panel .neogate-dashboard-tabs > .lm-TabBar .lm-TabBar-tab {
  color: var(--jp-ui-font-color1, inherit); }
.neogate-panel .neogate-text i { font-style: normal; }
.neogate-panel .neogate-answer { padding: 6px 12px; border-left: 3px solid
  var(--jp-border-color1, #999); }
.neogate-panel .neogate-row { border-top: 1px solid var(--jp-border-color2, #ddd); }
.neogate-panel .neogate-preview { white-space: nowrap; overflow: hidden; text-overflow: ellipsis;
  line-height: 28px; }
.neogate-panel .neogate-row .widget-html { overflow: hidden; }
.neogate-panel .neogate-plot { background: white; }
:is([data-jp-theme-light="false"], .theme-dark) .neogate-panel .neogate-plot {
  filter: invert(0.93) hue-rotate(180deg) brightness(1.3); }
.neogate-panel .neogate-unread { font-weight: 700; }
.neogate-panel .neogate-scroll { overflow-x: auto; container-type: inline-size; }
.neogate-panel .neogate-table { border-collapse: collapse; width: 100%; line-height: 1.4;
  margin-top: 6px; }
.neogate-panel .neogate-table :is(th, td) { padding: 4px 14px 4px 0; text-align: left;
  vertical-align: top; white-space: nowrap; border-top: 1px solid var(--jp-border-color2, #ddd); }
.neogate-panel .neogate-table th { font-weight: 400; border-top: none;
  color: var(--jp-ui-font-color2, inherit); }
.neogate-panel .neogate-table td:last-child { width: 100%; min-width: 10em;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@container (max-width: 640px) {
  .neogate-signal-values .neogate-table td:is(:nth-child(2), :nth-child(5)) { white-space: normal; }
}
</style>"""

# No trait of ipywidgets reaches these attributes, and a region is read out only if it stays while
# its text changes. What had the focus may go when it was pressed, a menu's choice; the focus then
# goes to the message, not to the page's body, where it would be lost, nor to another button, which
# a key that is still held would press.
_SCRIPT = """
const panel = this.closest('.neogate-panel');
let last = null, greeted = false;
const tell = () => {
  const hello = panel.querySelector('.neogate-hello');
  if (hello && !greeted) {
    greeted = true;
    hello.click();
  }
  for (const region of panel.querySelectorAll('.neogate-live'))
    region.setAttribute('role', 'status');
  for (const button of panel.querySelectorAll('button'))
    button.setAttribute('aria-disabled', button.classList.contains('neogate-off'));
  // Else JupyterLab takes a letter for a command, such as d d, which deletes the panel's cell.
  for (const control of panel.querySelectorAll('button, select, input'))
    control.dataset.lmSuppressShortcuts = 'true';
  for (const row of panel.querySelectorAll('.neogate-row'))
    row.querySelector('button').setAttribute('aria-label', row.textContent.replace('●', 'unread'));
  for (const plot of panel.querySelectorAll('.neogate-plot'))
    plot.alt = plot.parentElement.querySelector('.neogate-plot-words')?.textContent ?? '';
  const focus = document.activeElement;
  if (last && !last.checkVisibility() && (focus === last || focus === document.body)) {
    const message = panel.querySelector('.neogate-message');
    message.tabIndex = -1;
    message.dataset.lmSuppressShortcuts = 'true';
    message.focus({preventScroll: true});
  }
};
panel.addEventListener('focusin', event => {
  last = event.target.closest('.neogate-panel') === panel ? event.target : null;
});
new MutationObserver(tell).observe(panel, {
  subtree: true, childList: true, attributes: true, attributeFilter: ['class', 'style'],
});
tell();
"""

PAGE = STYLE.replace("<style>", f'<style onload="{html.escape(_SCRIPT)}">')
"""The style as a widget brings it to a page: with the script, which runs once a view."""

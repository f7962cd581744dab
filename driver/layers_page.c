/* `lathe bench --layers -o FILE.html`: one page without anything from outside. A click on a column's head sorts by
 * it. */
#include "driver/layers.h"

static const char head[] =
  "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
  "<meta name=\"viewport\" content=\"width=device-width\">\n";
static const char style[] =
  "<style>\n"
  ":root { --ink: #222; --paper: #fff; --grid: #ddd; --bar: #2a6fbb; --roof: #9cc3ea }\n"
  "@media (prefers-color-scheme: dark) {\n"
  "  :root { --ink: #ddd; --paper: #181818; --grid: #3a3a3a; --bar: #6fb1f5; --roof: #2c5680 } }\n"
  "body { font: 14px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2em }\n"
  "h1 { font-size: 1.4em } table { border-collapse: collapse }\n"
  "td, th { padding: .2em .8em .2em 0; vertical-align: top; border-bottom: 1px solid var(--grid);\n"
  "  text-align: left } th { cursor: pointer; white-space: nowrap }\n"
  ".n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } .s { font-size: .85em }\n"
  "th.up::after { content: \" \\2191\" } th.down::after { content: \" \\2193\" }\n"
  ".b { width: 16em } .b div { height: .5em; background: var(--bar); margin-top: .25em }\n"
  ".b div + div { background: var(--roof) }\n"
  "</style>\n";
static const char script[] =
  "<script>\n"
  "const heads = [...document.querySelectorAll('th')], body = document.querySelector('tbody');\n"
  "heads.forEach((h, k) => h.onclick = () => {\n"
  "  const up = h.className == 'down', key = r => r.cells[k].dataset.v ?? r.cells[k].textContent;\n"
  "  const rows = [...body.rows].sort((x, y) => { const a = key(x), b = key(y);\n"
  "    return (isNaN(a) || isNaN(b) ? a.localeCompare(b) : b - a) * (up ? -1 : 1); });\n"
  "  heads.forEach(o => o.className = '');\n"
  "  h.className = up ? 'up' : 'down';\n"
  "  body.append(...rows);\n"
  "});\n"
  "</script>\n";

/* As text within an element or a quoted attribute. */
static void put(Text *t, const char *s) {
  for (; *s; s++) {
    if (*s == '&') text_put(t, "&amp;");
    else if (*s == '<') text_put(t, "&lt;");
    else if (*s == '>') text_put(t, "&gt;");
    else if (*s == '"') text_put(t, "&quot;");
    else text_bytes(t, s, 1);
  }
}

static void number(Text *t, double v, int digits, const char *unit) {
  text_printf(t, "<td class=\"n\" data-v=\"%.9g\">%.*f%s</td>", v, digits, v, unit);
}

static void word(Text *t, const char *class, const char *s) {
  text_printf(t, "<td class=\"%s\">", class);
  put(t, s);
  text_put(t, "</td>");
}

static void row(Text *t, const Layers *l, const Layer *x) {
  double widest = l->n && l->at[0].ms > 0 ? l->at[0].ms : 1, roof = x->roof_ms < x->ms ? x->roof_ms : x->ms;
  text_printf(t, "<tr><td class=\"n\">%d</td>", x->order);
  text_printf(t, "<td class=\"b\" data-v=\"%.9g\">", x->ms);
  text_printf(t, "<div style=\"width: %.1f%%\"></div><div style=\"width: %.1f%%\"></div></td>", 100 * x->ms / widest,
              100 * roof / widest);
  number(t, x->ms, 4, "");
  number(t, 100 * x->share, 1, "");
  number(t, x->ms > 0 ? x->flop / x->ms / 1e6 : 0, 1, "");
  number(t, x->ms > 0 ? x->bytes / x->ms / 1e6 : 0, 1, "");
  number(t, x->ms > 0 ? 100 * x->roof_ms / x->ms : 0, 0, "%");
  word(t, "", x->bound);
  if (x->predicted_ms > 0) number(t, x->predicted_ms, 4, "");
  else text_put(t, "<td class=\"n\" data-v=\"0\"></td>");
  word(t, "", x->kernel->name);
  word(t, "s", x->shapes);
  word(t, "s", x->kernel->choice ? x->kernel->choice : "plain nest");
  word(t, "s", x->from);
  text_put(t, "</tr>\n");
}

void layers_page(Text *t, const Layers *l) {
  static const char *const columns[] = {"#", "time, and what the roofline allows", "ms", "%", "GFLOP/s", "GB/s",
                                        "of roof", "bound by", "predicted ms", "kernel", "shapes", "chosen", "from"};
  text_put(t, head);
  text_put(t, "<title>");
  put(t, l->name);
  text_put(t, ": layers</title>\n");
  text_put(t, style);
  text_put(t, "<h1>");
  put(t, l->name);
  text_printf(t, "</h1>\n<p>%.4f ms of CPU time per call (sum of medians over %d calls), %.4g MFLOP, ", l->ms, l->calls,
              l->flop / 1e6);
  text_printf(t, "%.1f GFLOP/s, target %s.\n", l->ms > 0 ? l->flop / l->ms / 1e6 : 0, l->target);
  text_printf(t, "<p>The roofline, measured in the same run: %.0f GFLOP/s; reads of", l->roof.peak);
  for (int i = 0; i < LEVELS; i++)
    text_printf(t, "%s %s %.0f", i ? "," : "", l->roof.level[i].name, l->roof.level[i].gbps);
  text_put(t, " GB/s. A kernel's roof is that of the cache that all its bytes fit in.\n<table>\n<thead><tr>");
  for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
    text_printf(t, "<th%s>%s</th>", k == 2 ? " class=\"down\"" : "", columns[k]);
  text_put(t, "</tr></thead>\n<tbody>\n");
  for (int i = 0; i < l->n; i++) row(t, l, &l->at[i]);
  text_put(t, "</tbody>\n</table>\n");
  text_put(t, script);
  text_put(t, "</html>\n");
}

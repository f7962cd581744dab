/* curves.html: one chart for each metric, training beside held-out data, as SVG in one page without scripts. */
#include "lt_run.h"
#include "lt_state.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 720, HEIGHT = 260, LEFT = 64, RIGHT = 12, TOP = 12, BOTTOM = 28 };

static const char head[] =
  "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
  "<meta name=\"viewport\" content=\"width=device-width\">\n";
static const char style[] =
  "<style>\n"
  ":root { --ink: #222; --paper: #fff; --grid: #ddd; --train: #2a6fbb; --held: #d2601a }\n"
  "@media (prefers-color-scheme: dark) {\n"
  "  :root { --ink: #ddd; --paper: #181818; --grid: #3a3a3a; --train: #6fb1f5; --held: #f5a15c } }\n"
  "body { font: 15px/1.4 system-ui, sans-serif; color: var(--ink); background: var(--paper);\n"
  "  max-width: 760px; margin: 2em auto; padding: 0 1em }\n"
  "h1 { font-size: 1.4em } h2 { font-size: 1em; margin: 1.6em 0 .2em } svg { width: 100% }\n"
  "text { font-size: 12px; fill: var(--ink) } .grid { stroke: var(--grid) }\n"
  "polyline { fill: none; stroke-width: 1.6 }\n"
  ".train { stroke: var(--train); color: var(--train) } .held { stroke: var(--held); color: var(--held) }\n"
  "b { font-weight: 600 } td { padding: 0 1.2em 0 0 }\n</style>\n";

typedef struct axis { double lo, hi; } axis;

static const double *row_of(const lt_run *r, int64_t i) { return r->history + i * (LT_ROW + r->metrics); }

static void widen(axis *a, const lt_run *r, int metric) {
  int64_t i;
  for (i = 0; metric >= 0 && i < r->rows; i++) {
    double v = row_of(r, i)[LT_ROW + metric];
    if (v - v != 0) continue;
    if (v < a->lo) a->lo = v;
    if (v > a->hi) a->hi = v;
  }
}

/* Values that are the same but for rounding get room above and below, too: ticks have to be numbers apart. */
static void open_up(axis *a) {
  double size = fabs(a->lo) > fabs(a->hi) ? fabs(a->lo) : fabs(a->hi);
  if (a->hi - a->lo > 1e-9 * size) return;
  a->lo -= 0.5 * (size > 1 ? size : 1);
  a->hi += 0.5 * (size > 1 ? size : 1);
}

/* 1, 2 or 5 times a power of ten, so that about `n` of them make the range. */
static double tick_of(double range, int n) {
  double raw = range / n, power = pow(10, floor(log10(raw))), m = raw / power;
  return power * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
}

static double x_of(double v, axis a) { return LEFT + (v - a.lo) / (a.hi - a.lo) * (WIDTH - LEFT - RIGHT); }
static double y_of(double v, axis a) { return HEIGHT - BOTTOM - (v - a.lo) / (a.hi - a.lo) * (HEIGHT - TOP - BOTTOM); }

static void grid(lt_text *t, axis x, axis y) {
  double step = tick_of(y.hi - y.lo, 5), v;
  for (v = ceil(y.lo / step) * step; v <= y.hi + step * 1e-9; v += step)
    lt_text_add(t,
                "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
                LEFT, WIDTH - RIGHT, y_of(v, y), y_of(v, y), LEFT - 6, y_of(v, y) + 4, fabs(v) < step * 1e-9 ? 0 : v);
  step = tick_of(x.hi - x.lo, 6);
  for (v = 0; v <= x.hi + step * 1e-9; v += step)
    lt_text_add(t, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.6g</text>\n", x_of(v, x), HEIGHT - 8, v);
}

static void line(lt_text *t, const lt_run *r, int metric, axis x, axis y, const char *name) {
  int64_t i;
  if (metric < 0) return;
  lt_text_add(t, "<polyline class=\"%s\" points=\"", name);
  for (i = 0; i < r->rows; i++) {
    const double *row = row_of(r, i);
    if (row[LT_ROW + metric] - row[LT_ROW + metric] == 0)
      lt_text_add(t, "%.1f,%.1f ", x_of(row[0], x), y_of(row[LT_ROW + metric], y));
  }
  lt_text_add(t, "\"/>\n");
}

/* The last value, and the best one: the largest where that is at the end more than at the start, else the smallest. */
static void caption(lt_text *t, const lt_run *r, int metric, const char *name, const char *label) {
  double first = NAN, last = NAN, lo = HUGE_VAL, hi = -HUGE_VAL;
  int64_t i;
  for (i = 0; metric >= 0 && i < r->rows; i++) {
    double v = row_of(r, i)[LT_ROW + metric];
    if (v - v != 0) continue;
    if (first != first) first = v;
    if (v < lo) lo = v;
    if (v > hi) hi = v;
    last = v;
  }
  if (last == last)
    lt_text_add(t, " <b class=\"%s\">&#9644; %s %.5g</b> (best %.5g)", name, label, last, last > first ? hi : lo);
}

static void chart(lt_text *t, const lt_run *r, const char *title, int train, int held) {
  axis x = {0, 1}, y = {HUGE_VAL, -HUGE_VAL};
  if (r->rows && row_of(r, r->rows - 1)[0] > 0) x.hi = row_of(r, r->rows - 1)[0];
  widen(&y, r, train);
  widen(&y, r, held);
  if (y.lo > y.hi) return;
  open_up(&y);
  lt_text_add(t, "<h2>%s</h2>\n", title);
  caption(t, r, train, "train", "training");
  caption(t, r, held, "held", "held out");
  lt_text_add(t, "\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s by step\">\n", WIDTH, HEIGHT, title);
  grid(t, x, y);
  line(t, r, train, x, y, "train");
  line(t, r, held, x, y, "held");
  lt_text_add(t, "</svg>\n");
}

int lt_run_curves(const lt_run *r, const char *title, int live, const char *path, char *why, size_t why_len) {
  lt_text t = {NULL, 0, 0, 0};
  int k, j;
  lt_text_add(&t, "%s%s<title>%s</title>\n%s<h1>%s</h1>\n", head,
              live ? "<meta http-equiv=\"refresh\" content=\"10\">\n" : "", title, style, title);
  lt_text_add(&t, "<p>%lld steps, %lld of %lld epochs, %.0f seconds%s</p>\n", (long long)r->step, (long long)r->epoch,
              (long long)r->epochs, r->seconds, live ? ", still training" : "");
  for (k = 0; k < r->metrics; k++) {
    int held = -1;
    for (j = r->trains; k < r->trains && j < r->metrics; j++)
      if (!strcmp(r->name[j] + 4, r->name[k])) held = j;      /* "val_loss" */
    if (k < r->trains) { chart(&t, r, r->name[k], k, held); continue; }
    for (j = 0; j < r->trains && strcmp(r->name[k] + 4, r->name[j]); j++) continue;
    if (j == r->trains) chart(&t, r, r->name[k], -1, k);       /* of held-out data alone */
  }
  lt_text_add(&t, "</html>\n");
  return lt_text_save(&t, path, why, why_len);
}

/* The table of `lathe bench --against`, printed row by row, and its JSON. */
#include "driver/against.h"
#include <math.h>

enum { NAME = 18, CELL = 18 };

void against_head(const Against *g) {
  char cores[40] = "not pinned";
  if (g->pinned) snprintf(cores, sizeof cores, "pinned to %d core%s", g->pinned, g->pinned > 1 ? "s" : "");
  printf("ms of %s time per call, median ± half the quartiles' distance; %d thread%s, %s; %d turn%s of %.2g s each\n",
         g->o->cpu_time ? "CPU" : "wall clock", g->threads, g->threads > 1 ? "s" : "", cores, g->rounds,
         g->rounds > 1 ? "s" : "", g->o->seconds / g->rounds);
  printf("error: the largest difference from lathe's evaluator in f64, relative to the output's largest value; "
         "above %.0e it is marked ! and not counted\n\n", most_error);
  printf("| %-*s | %-*s |", NAME, "model", CELL - 2, "lathe");
  for (int k = 0; k < g->nnames; k++) printf(" %-*s |", CELL - 2, g->names[k]);
  printf(" best peer / lathe |\n|%.*s|", NAME + 2, "------------------------------");
  for (int k = 0; k <= g->nnames; k++) printf("%.*s|", CELL, "------------------------------");
  printf("-------------------|\n");
  fflush(stdout);
}

/* "33.6 ±0.4 !" in three digits. ± is two bytes wide and one column. */
static void time_cell(const Tool *t) {
  char s[60];
  int digits = t->ms >= 100 ? 0 : t->ms >= 10 ? 1 : t->ms >= 1 ? 2 : t->ms >= 0.1 ? 3 : 4;
  if (!t->ms) { printf(" %-*s |", CELL - 2, "-"); return; }
  snprintf(s, sizeof s, "%.*f ±%.*f%s", digits, t->ms, digits, (t->q3 - t->q1) / 2, t->counts ? "" : " !");
  printf(" %-*s |", CELL - 1, s);
}

static void error_cell(const Tool *t) {
  char s[40] = "";
  if (t->error >= 0) snprintf(s, sizeof s, "%.0e%s", t->error, t->error <= most_error ? "" : " !");
  printf(" %-*s |", CELL - 2, s);
}

static const Tool *tool_of(const Match *x, const char *name, bool exact) {
  static const Tool none = {.error = -1};
  for (int i = 0; i < x->peers.len; i++) {
    const Peer *p = &x->peers.at[i].peer;
    if (!strcmp(p->name, name) && !strcmp(p->setting, exact ? "exact" : "default")) return &x->peers.at[i];
  }
  return &none;
}

static void row(const Against *g, const Match *x, bool exact) {
  printf("| %-*.*s |", NAME, NAME, exact ? "  exact setting" : x->model);
  if (exact) printf(" %-*s |", CELL - 2, "");
  else time_cell(&x->lathe);
  for (int k = 0; k < g->nnames; k++) {
    const Tool *t = tool_of(x, g->names[k], exact);
    if (exact && !t->peer.name) printf(" %-*s |", CELL - 2, "");
    else time_cell(t);
  }
  if (!exact && match_ratio(x) > 0) printf(" %17.2f |\n", match_ratio(x));
  else printf(" %17s |\n", exact ? "" : "-");
  printf("| %-*s |", NAME, "  error");
  if (exact) printf(" %-*s |", CELL - 2, "");
  else error_cell(&x->lathe);
  for (int k = 0; k < g->nnames; k++) error_cell(tool_of(x, g->names[k], exact));
  printf(" %17s |\n", "");
}

void against_row(const Against *g, const Match *x) {
  if (x->why) {
    printf("| %-*.*s | %s\n", NAME, NAME, x->model, x->why);
  } else {
    bool exact = false;
    for (int i = 0; i < x->peers.len; i++) exact |= !strcmp(x->peers.at[i].peer.setting, "exact");
    row(g, x, false);
    if (exact) row(g, x, true);
  }
  fflush(stdout);
}

double match_ratio(const Match *x) { return x->best && x->lathe.counts ? x->best->ms / x->lathe.ms : 0; }

double match_ratio_fastest(const Match *x) {
  double best = 0;
  for (int i = 0; i < x->peers.len; i++) {
    const Tool *t = &x->peers.at[i];
    if (t->counts && (best <= 0 || t->fastest < best)) best = t->fastest;
  }
  return x->lathe.counts ? best / x->lathe.fastest : 0;
}

/* The geometric mean; 0: nothing to compare. */
static double mean_ratio(const Against *g, double (*ratio)(const Match *x), int *n, int *level) {
  double sum = 0;
  *n = *level = 0;
  for (int i = 0; i < g->matches.len; i++) {
    double r = ratio(g->matches.at[i]);
    if (r <= 0) continue;
    sum += log(r);
    ++*n;
    *level += r >= 1;
  }
  return *n ? exp(sum / *n) : 0;
}

/* What is the same of every model is said once. */
static bool said_before(const Against *g, int model, const Peer *p) {
  for (int i = 0; i < model; i++) {
    const Tool *t = tool_of(g->matches.at[i], p->name, !strcmp(p->setting, "exact"));
    if (t->peer.why && !strcmp(t->peer.why, p->why) && !strncmp(p->why, "not installed", 13)) return true;
  }
  return false;
}

static void versions(const Against *g) {
  printf("\n%s:", g->python);
  const char *sep = " ";
  for (int k = 0; k < g->nnames; k++)
    for (int i = 0; i < g->matches.len; i++) {
      const Tool *t = tool_of(g->matches.at[i], g->names[k], false);
      if (!t->peer.version) continue;
      printf("%s%s %s", sep, g->names[k], t->peer.version);
      sep = ", ";
      break;
    }
  printf("%s\n", *sep == ',' ? "" : " no peer");
}

void against_end(const Against *g) {
  int n, level;
  double fastest = mean_ratio(g, match_ratio_fastest, &n, &level), mean = mean_ratio(g, match_ratio, &n, &level);
  versions(g);
  for (int i = 0; i < g->matches.len; i++) {
    const Match *x = g->matches.at[i];
    if (!x->why && !x->reference)
      printf("%s: no reference: the evaluator cannot compute it; errors are not known\n", x->model);
    if (x->reference && !strcmp(x->reference, "f32"))
      printf("%s: the reference is in f32: an operator takes no f64\n", x->model);
    for (int k = 0; k < x->peers.len; k++) {
      const Peer *p = &x->peers.at[k].peer;
      if (!p->why || said_before(g, i, p)) continue;
      bool missing = !strncmp(p->why, "not installed", 13);
      if (!missing) printf("%s: ", x->model);
      printf("%s%s: %s\n", p->name, strcmp(p->setting, "exact") ? "" : " (exact setting)", p->why);
    }
  }
  if (!n) return;
  printf("geometric mean of best peer / lathe over %d model%s: %.2f (of the fastest samples %.2f); level or ahead on %d\n",
         n, n > 1 ? "s" : "", mean, fastest, level);
}

/* ---- JSON ---- */

static void json_tool(Arena *a, const Tool *t, bool cpu, bool first) {
  printf("%s\n      {\"name\": \"%s\", \"setting\": \"%s\"", first ? "" : ",", t->peer.name, t->peer.setting);
  if (t->peer.version) printf(", \"version\": %s", json_quoted(a, t->peer.version));
  if (t->peer.why) { printf(", \"failed\": %s}", json_quoted(a, t->peer.why)); return; }
  printf(", \"ms\": %.6g, \"q1\": %.6g, \"q3\": %.6g, \"fastest\": %.6g, \"%s_ms\": %.6g, \"samples\": %d", t->ms,
         t->q1, t->q3, t->fastest, cpu ? "wall" : "cpu", t->other_ms, t->peer.got.wall.len);
  if (t->error >= 0 && isfinite(t->error)) printf(", \"error\": %.3g", t->error);
  else printf(", \"error\": null");
  printf(", \"counts\": %s}", t->counts ? "true" : "false");
}

static void json_match(Arena *a, const Match *x, bool cpu, bool first) {
  printf("%s\n    {\"model\": %s, ", first ? "" : ",", json_quoted(a, x->model));
  if (x->why) { printf("\"failed\": %s}", json_quoted(a, x->why)); return; }
  printf("\"inputs\": %s, \"reference\": %s, \"tools\": [", json_quoted(a, x->inputs),
         x->reference ? json_quoted(a, x->reference) : "null");
  json_tool(a, &x->lathe, cpu, true);
  for (int i = 0; i < x->peers.len; i++) json_tool(a, &x->peers.at[i], cpu, false);
  printf("],\n     \"best\": %s, ", x->best ? json_quoted(a, x->best->peer.name) : "null");
  if (match_ratio(x) > 0) printf("\"ratio\": %.4g, \"ratio_fastest\": %.4g}", match_ratio(x), match_ratio_fastest(x));
  else printf("\"ratio\": null}");
}

void against_json(const Against *g) {
  Arena a = {0};
  int n, level;
  double mean = mean_ratio(g, match_ratio, &n, &level);
  printf("{\"threads\": %d, \"pinned\": %d, \"rounds\": %d, \"clock\": \"%s\", \"python\": %s,\n  \"models\": [",
         g->threads, g->pinned, g->rounds, g->o->cpu_time ? "cpu" : "wall", json_quoted(&a, g->python));
  for (int i = 0; i < g->matches.len; i++) json_match(&a, g->matches.at[i], g->o->cpu_time, !i);
  printf("\n  ],\n  \"compared\": %d, \"level_or_ahead\": %d, \"geometric_mean\": ", n, level);
  if (n) printf("%.4g}\n", mean);
  else printf("null}\n");
  arena_free(&a);
}

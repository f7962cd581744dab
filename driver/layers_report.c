/* `lathe bench --layers` and `--explain` as text and JSON. */
#include "driver/layers.h"

static double rate(double what, double ms) { return ms > 0 ? what / ms / 1e6 : 0; }    /* per ms -> giga per s */
static double percent(double part, double of) { return of > 0 ? 100 * part / of : 0; }

static void roof_line(const Layers *l) {
  printf("%s  %s: FMA peak %.0f GFLOP/s; reads", l->name, l->target, l->roof.peak);
  for (int i = 0; i < LEVELS; i++) printf("%s %s %.0f", i ? "," : "", l->roof.level[i].name, l->roof.level[i].gbps);
  printf(" GB/s, on this core in this run\n");
}

static void layer_table(const Layers *l) {
  printf("      ms      %%   GFLOP/s      GB/s  of roof        kernel\n");
  for (int i = 0; i < l->n; i++) {
    const Layer *x = &l->at[i];
    printf("%8.4f  %5.1f  %8.1f  %8.1f  %4.0f%% %-5s  %-24s %s  %s\n", x->ms, 100 * x->share, rate(x->flop, x->ms),
           rate(x->bytes, x->ms), percent(x->roof_ms, x->ms), x->bound, x->kernel->name, x->shapes, x->from);
  }
  printf("%8.4f  100.0  %8.1f            %4.0f%%        medians of CPU time over %d calls\n", l->ms,
         rate(l->flop, l->ms), percent(l->roof_ms, l->ms), l->calls);
}

/* Where no generator asked the cost model, the roofline stands for it. */
static void explain_table(const Layers *l) {
  double sum = 0;
  printf("predicted  measured ms  ratio  kernel\n");
  for (int i = 0; i < l->n; i++) {
    const Layer *x = &l->at[i];
    double p = x->predicted_ms > 0 ? x->predicted_ms : x->roof_ms;
    sum += p;
    printf("%8.4f%s  %11.4f  %5.2f  %-24s %s\n", p, x->predicted_ms > 0 ? " " : "~", x->ms, p > 0 ? x->ms / p : 0,
           x->kernel->name, x->shapes);
    printf("%31s%s\n", "", x->kernel->choice ? x->kernel->choice : "plain nest");
  }
  printf("%8.4f   %11.4f  %5.2f  all; ~: no cost model, the roofline\n", sum, l->ms, sum > 0 ? l->ms / sum : 0);
}

static void json_layer(Arena *a, const Layer *x, bool first) {
  printf("%s\n    {\"kernel\": %s, \"order\": %d, \"ms\": %.6g, \"share\": %.4g, \"flop\": %.0f, \"bytes\": %.0f, ",
         first ? "" : ",", json_quoted(a, x->kernel->name), x->order, x->ms, x->share, x->flop, x->bytes);
  printf("\"gflops\": %.4g, \"gbps\": %.4g, \"roof_share\": %.4g, \"bound\": \"%s\", \"predicted_ms\": ",
         rate(x->flop, x->ms), rate(x->bytes, x->ms), percent(x->roof_ms, x->ms) / 100, x->bound);
  if (x->predicted_ms > 0) printf("%.6g", x->predicted_ms);
  else printf("null");
  printf(",\n     \"from\": %s, \"shapes\": %s, \"choice\": %s}", json_quoted(a, x->from), json_quoted(a, x->shapes),
         json_quoted(a, x->kernel->choice ? x->kernel->choice : "plain nest"));
}

static void json_report(const Layers *l, Arena *a) {
  printf("{\"model\": %s, \"target\": \"%s\", \"ms\": %.6g, \"flop\": %.0f, \"calls\": %d, \"peak_gflops\": %.4g, ",
         json_quoted(a, l->name), l->target, l->ms, l->flop, l->calls, l->roof.peak);
  printf("\"read_gbps\": {");
  for (int i = 0; i < LEVELS; i++)
    printf("%s\"%s\": %.4g", i ? ", " : "", l->roof.level[i].name, l->roof.level[i].gbps);
  printf("},\n  \"layers\": [");
  for (int i = 0; i < l->n; i++) json_layer(a, &l->at[i], !i);
  printf("\n  ]}\n");
}

bool layers_report(const Layers *l, const Options *o, Arena *a, Diags *d) {
  if (o->json) json_report(l, a);
  if (!o->json) roof_line(l);
  if (!o->json && (o->layers || !o->explain)) layer_table(l);
  if (!o->json && o->explain) explain_table(l);
  if (!o->output) return true;
  Text t = {0};
  char why[300];
  layers_page(&t, l);
  bool ok = text_save(&t, o->output, why, sizeof why);
  text_free(&t);
  if (!ok) diag_error(d, "io", NULL, "%s", why);
  return ok;
}

/* `lathe bench NET.lathe`: the time of its training steps on random data, one after the other as a trainer calls them. */
#include "driver/bench.h"
#include "driver/bundle_calls.h"

typedef struct Timed { const BundleCall *call; VEC(double) ms, cpu, turn; } Timed;    /* turn: a core for each part */

static int64_t no_symbol(const char *name, void *ctx) { (void)name, (void)ctx; return 1; }

static void report_turn(Timed *t, const Options *o) {
  if (t->turn.len)
    printf("  %d threads: %.4f ms of CPU time with the parts of each kernel in turn and only the longest counted\n",
           (int)o->threads, median_of(t->turn.at, t->turn.len));
}

static void report(BundleBuild *x, const Options *o, Timed *t, int n, double peak) {
  double all = 0, work = 0;
  for (int k = 0; k < n; k++) {
    double ms = median_of(t[k].ms.at, t[k].ms.len), cpu = median_of(t[k].cpu.at, t[k].cpu.len),
           w = (double)dim_eval(program_flops(t[k].call->f->p), no_symbol, NULL), g = w / cpu / 1e6;
    all += ms;
    work += w;
    const Program *p = t[k].call->f->p;
    if (o->json)
      printf(
          "{\"net\": \"%s\", \"step\": \"%s\", \"target\": \"%s\", \"ms\": %.6g, \"cpu_ms\": %.6g, \"calls\": %d, \"flop\": %.0f, \"gflops\": %.4g, "
          "\"peak_gflops\": %.4g, \"arena_bytes\": %lld, \"arena_lower\": %lld, \"state_bytes\": %lld}\n",
          x->prefix, t[k].call->f->name, x->target->name, ms, cpu, t[k].ms.len, w, g, peak, (long long)p->arena_bound,
          (long long)p->arena_lower, (long long)x->b->state_bytes);
    else
      printf("%s.%s  %s: median %.4f ms, of CPU time %.4f (%d calls)\n  %.4g MFLOP, %.1f GFLOP/s, %.0f%% of this core's %.0f; arena %lld bytes, no plan below %lld\n",
             x->prefix, t[k].call->f->name, x->target->name, ms, cpu, t[k].ms.len, w / 1e6, g,
             peak > 0 ? 100 * g / peak : 0, peak, (long long)p->arena_bound, (long long)p->arena_lower);
    if (!o->json) report_turn(&t[k], o);
  }
  if (!o->json)
    printf("%s: %.4f ms for %lld rows, %.4g MFLOP; state %lld bytes\n", x->prefix, all, (long long)x->b->batch,
           work / 1e6, (long long)x->b->state_bytes);
}

static void report_layers(BundleBuild *x, const Options *o, const Timed *t, const PeakKernels *k) {
  Layers l = {.name = arena_printf(&x->arena, "%s.%s", x->prefix, t->call->f->name),
              .target = x->target->name,
              .calls = t->ms.len};
  roofline_measure(&l.roof, k);
  layers_collect(&l, &x->arena, no_symbol, NULL);
  layers_report(&l, o, &x->arena, &x->diags);
}

static bool measure(BundleCalls *c, Timed *t, int n, const Options *o) {
  const lt_pool *in_turn = c->pool ? call_in_turn((int)o->threads) : NULL;
  for (int k = 0; k < n; k++)
    if (bundle_call(c, t[k].call)) return false;
  layers_reset();
  if (o->layers || o->explain) c->by = in_turn;                  // what kernels take: not what the machine is busy with
  for (double start = seconds_now(); n && (t[0].ms.len < 5 || seconds_now() - start < o->seconds);)
    for (int k = 0; k < n; k++) {
      double since = seconds_now(), cpu = cpu_seconds();
      if (bundle_call(c, t[k].call)) return false;
      *vec_push(&c->x->arena, &t[k].cpu) = (cpu_seconds() - cpu) * 1e3;
      *vec_push(&c->x->arena, &t[k].ms) = (seconds_now() - since) * 1e3;
      if (c->by == in_turn) continue;
      double turn = call_clock();
      c->by = in_turn;
      bool failed = bundle_call(c, t[k].call);
      c->by = c->pool;
      if (failed) return false;
      *vec_push(&c->x->arena, &t[k].turn) = (call_clock() - turn) * 1e3;
    }
  return true;
}

int bundle_bench(Options *o) {
  BundleBuild x;
  BundleCalls c = {0};
  bool layers = o->layers || o->explain;
  if (!network_tune(o->args.at[0], o) || !bundle_load(&x, o->args.at[0], o)) return EXIT_FAILED;
  bool ok = bundle_passes(&x, o) && bundle_calls_open(&c, &x, o);
  int n = 0;
  Timed *t = NEW_N(&x.arena, Timed, c.n + 1);
  for (int k = 0; k < c.n; k++)
    if (c.at[k].fn->kind == LT_STEP && !(layers && n)) t[n++].call = &c.at[k];       // layers of one step: the first
  if (ok && !n) {
    diag_error(&x.diags, "usage", NULL, "has no training step to time");
    ok = false;
  }
  const Function *first = n ? t[0].call->f : NULL;
  PeakKernels kernels = peak_kernels(o, x.target, &x.arena, &x.diags);
  double peak = peak_gflops(&kernels);
  if (ok && layers)
    ok = layers_begin(c.library, emit_function_prefix(&x.arena, x.prefix, first), first->p, &x.arena, &x.diags);
  if (ok && !(ok = measure(&c, t, n, o))) diag_error(&x.diags, "internal", NULL, "a step failed");
  if (ok && layers) report_layers(&x, o, &t[0], &kernels);
  else if (ok) report(&x, o, t, n, peak);
  ok &= !x.diags.errors;
  bundle_calls_close(&c);
  bundle_close(&x);
  return ok ? EXIT_DONE : EXIT_FAILED;
}

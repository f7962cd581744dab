/* `lathe verify --grad`: the gradients of a network's loss. The loss is what an op `gradient` of the module
 * differentiates, else output 0. Three modules are made of the file:
 *   loss only, in f64   its finite differences, by the evaluator
 *   gradients, in f64   the backward pass, by the evaluator: at most 1e-6 from the differences
 *   gradients, in f32   emitted, compiled and run in guarded memory: at most 1e-3 from those in f64
 * Errors are relative to the largest gradient of the tensor, or to a hundredth of the largest of all. A gradient that is
 * 0 but for rounding (of a bias before a batch norm) is compared with the largest of all. */
#include "driver/bundle.h"
#include "driver/cases.h"
#include "ir/build.h"
#include "ir/differences.h"
#include "passes/grad.h"
#include "passes/pipeline.h"
#include "passes/retype.h"
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>

enum { SAMPLES = 40 };                                          /* elements of a tensor that are moved: each costs four runs */
static const double limit64 = 1e-6, limit32 = 1e-3;

typedef enum { LOSS, GRADIENTS } Ends;

static ValueId loss_of(Compiled *c) {
  Module *m = c->m;
  for (int k = 0; k < m->main->nodes.len; k++) {
    const Node *n = node_of(m, m->main->nodes.at[k]);
    if (n->op == OP_GRADIENT && !n->dead) return n->in[0];
  }
  ValueId v = m->main->outputs.len ? m->main->outputs.at[0] : 0;
  Type t = v ? value_of(m, v)->type : (Type){0};
  if (dtype_is_float(t.dtype) && dim_is(type_count(&t), 1)) return build_reshape(m->main, v, NULL, 0);
  diag_error(&c->diags, "usage", NULL, "--grad needs a loss: output 0 must be one float%s%s", v ? ", is " : "",
             v ? type_text(&t) : "");
  return 0;
}

/* The network with the loss as output 0 and, if asked for, the gradients after it. What else it gave is left out. */
static bool network(Compiled *c, Options *o, DType t, Ends ends, int *n, ValueId **wrt) {
  if (!model_import(c, o->args.at[0], o)) return false;
  Module *m = c->m;
  ValueId loss = loss_of(c);
  if (!loss) return false;
  m->main->outputs.len = m->state.len = 0;                      // what survived a call is an input like others
  *vec_push(&m->perm, &m->main->outputs) = loss;
  if (ends == GRADIENTS && (*n = grad_of_inputs(m, loss, wrt)) < 0) return false;
  if (ends == GRADIENTS && !*n) {
    diag_error(&c->diags, "usage", NULL, "it has no float input to differentiate by");
    return false;
  }
  if (t == DT_F32) return module_expand(m, EXPAND_NOTHING);
  return module_retype(m, DT_F32, t) && module_expand(m, ends == LOSS ? EXPAND_GRADIENTS : EXPAND_ALL);
}

/* ---- the three sides ---- */

static bool run_emitted(Compiled *c, Options *o, const Case *x, const Tensor **out) {
  Loaded l = {0};
  Call call;
  if (!model_load(&l, c, o) || !call_make(&call, c, &l, x)) return false;
  bool ok = true;
  for (int round = 0; ok && round < 2; round++) {
    ok = call_run(&call, c, round ? 0x3C : 0xFF);
    for (int i = 0; ok && i < l.model->outputs; i++) {
      const Tensor *t = call_output(&call, c, i);
      if (round && tensor_bytes(t) && memcmp(t->data, out[i]->data, tensor_bytes(t))) {
        diag_error(&c->diags, "memory", NULL, "'%s' depends on memory that nobody wrote", l.model->out[i].name);
        ok = false;
      }
      out[i] = t;
    }
  }
  call_free(&call);
  model_unload(&l);
  return ok;
}

/* ---- comparing ---- */

static double largest_of(const Tensor *t) {
  double r = 0;
  for (int64_t i = 0, n = tensor_count(t); i < n; i++) r = fmax(r, fabs(tensor_get(t, i)));
  return r;
}

static double distance(const Tensor *a, const Tensor *b, double scale) {
  double worst = 0;
  for (int64_t i = 0, n = tensor_count(b); i < n; i++) {
    double e = fabs(tensor_get(a, i) - tensor_get(b, i)) / scale;
    if (!(e <= worst)) worst = isnan(e) ? HUGE_VAL : e;
  }
  return worst;
}

/* The worst of some elements of input k. A step across a kink (relu) gives another number at every length, the true slope
 * only at those that stay on one side: shorter ones are tried. */
static bool compare_slopes(Compiled *c, Tensor *const *in, int k, const Tensor *dx, double scale, int64_t *moved,
                           double *worst) {
  int64_t n = tensor_count(dx), step = n > SAMPLES ? n / SAMPLES : 1;
  *moved = 0;
  *worst = 0;
  for (int64_t i = step / 2; i < n; i += step) {
    double best = HUGE_VAL;
    for (double h = 1e-3; h > 1e-7 && !(best <= limit64); h /= 10) {
      double slope;
      if (!eval_slope(c->m, in, k, i, h, &slope)) return false;
      best = fmin(best, fabs(slope - tensor_get(dx, i)) / scale);
    }
    *worst = fmax(*worst, best);
    ++*moved;
  }
  return true;
}

typedef struct Sides { Compiled loss, f64, f32; ValueId *wrt; int n; } Sides;    /* n gradients, by wrt of f64 */

static int input_index(const Graph *g, ValueId v) {
  int i = 0;
  while (g->inputs.at[i] != v) i++;
  return i;
}

/* Moments, settings and averages of a step are inputs of its module, but nothing to differentiate by. */
static bool is_learned(const Compiled *c, const char *name) {
  const StateTensor *t = c->bundle ? bundle_find(c->bundle->b, name) : NULL;
  return !t || t->role == ROLE_PARAMETER;
}

/* One line per gradient. How many are wrong, -1 after an error. */
static int compare(Sides *s, Tensor *const *in, const Tensor *const *d64, const Tensor *const *d32) {
  double all = 0;
  int wrong = 0;
  for (int k = 1; k <= s->n; k++) all = fmax(all, largest_of(d64[k]));
  printf("%-24s %-20s %9s  %-28s %s\n", "gradient of", "type", "largest", "f64 - finite differences",
         "emitted f32 - f64");
  for (int k = 1; k <= s->n; k++) {
    int input = input_index(s->f64.m->main, s->wrt[k - 1]);
    const Value *v = value_of(s->f32.m, s->f32.m->main->inputs.at[input]);
    if (!is_learned(&s->f32, v->name)) continue;
    double largest = largest_of(d64[k]), scale = largest > 1e-9 * all ? fmax(largest, 1e-2 * all) : all, slopes;
    if (scale == 0) scale = 1;
    int64_t moved;
    if (!compare_slopes(&s->loss, in, input, d64[k], scale, &moved, &slopes)) return -1;
    double single = distance(d32[k], d64[k], scale);
    bool ok = slopes <= limit64 && single <= limit32;
    wrong += !ok;
    const char *of = arena_printf(&s->f32.arena, "(%lld of %lld)", (long long)moved, (long long)tensor_count(d64[k]));
    printf("%-24s %-20s %9.2e  %8.1e %-19s %8.1e  %s\n", v->name, type_text(&v->type), largest, slopes, of, single,
           ok ? "ok" : "FAILED");
  }
  return wrong;
}

/* -1 after an error. */
static int verify_sides(Sides *s, Options *o) {
  if (!network(&s->f32, o, DT_F32, GRADIENTS, &s->n, &s->wrt) || !model_passes(&s->f32, o)) return -1;
  if (!network(&s->f64, o, DT_F64, GRADIENTS, &s->n, &s->wrt) || !network(&s->loss, o, DT_F64, LOSS, NULL, NULL))
    return -1;
  Case x = case_random(&s->f32, (uint64_t)o->seed, SIZES_FEW, NULL);
  const Tensor **d32 = NEW_N(&s->f32.arena, const Tensor *, s->n + 1),
      **d64 = NEW_N(&s->f64.arena, const Tensor *, s->n + 1);
  int inputs = s->f64.m->main->inputs.len;
  if (s->f32.bundle && !bundle_inputs(s->f32.bundle, s->f32.m, (int64_t)o->seed, x.in, &s->f32.arena)) return -1;
  Tensor **in = case_in_double(&s->f64.arena, &x, inputs);
  if (!run_emitted(&s->f32, o, &x, d32) || !case_evaluate(s->f64.m, (const Tensor *const *)in, d64, &s->f64.arena))
    return -1;
  printf("%s: loss %.9g in f64, %.9g in emitted f32\n", x.name, tensor_get(d64[0], 0), tensor_get(d32[0], 0));
  Tensor **frozen = eval_freeze(s->loss.m, in, &s->f64.arena);
  return frozen ? compare(s, frozen, d64, d32) : -1;
}

int verify_gradients(Options *o) {
  Sides s = {.n = 0};
  int wrong = verify_sides(&s, o);
  if (wrong > 0) printf("%d of %d gradients FAILED\n", wrong, s.n);
  if (s.f32.path) compiled_free(&s.f32);
  if (s.f64.path) compiled_free(&s.f64);
  if (s.loss.path) compiled_free(&s.loss);
  return wrong ? EXIT_FAILED : EXIT_DONE;
}

/* Gradients to updates; see optimize.h. One update_NAME per row of optimizers.def; names and order of operations
 * are those of the formulas in PyTorch's documentation, so that both can be laid side by side; Lion is after the
 * paper. */
#include "frontend/optimize.h"
#include "base/intern.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- options ---- */

#define O(field, dflt) {#field, offsetof(OptimizeSpec, field), dflt, ""},
#define OPTIMIZER(E, name, lr, counts, options, what) \
  [OPTIMIZER_##E] = {#name, what, lr, sizeof (OptimizeOption[]){options {0}} / sizeof (OptimizeOption) - 1, \
                     {options {0}}},
const OptimizerInfo optimizer_info[OPTIMIZER_COUNT] = {
#include "frontend/optimizers.def"
};
#undef O

const OptimizeOption optimize_common[] = {
#define COMMON(field, dflt, what) {#field, offsetof(OptimizeSpec, field), dflt, what},
#include "frontend/optimizers.def"
};
const int optimize_ncommon = sizeof optimize_common / sizeof *optimize_common;

bool optimizer_find(const char *name, OptimizerKind *kind) {
  for (int k = 0; k < OPTIMIZER_COUNT; k++)
    if (!strcmp(optimizer_info[k].name, name)) return *kind = (OptimizerKind)k, true;
  return false;
}

static bool set(OptimizeSpec *s, const OptimizeOption *o, int n, const char *name, double v) {
  for (int k = 0; k < n; k++)
    if (!strcmp(o[k].name, name)) return memcpy((char *)s + o[k].at, &v, sizeof v), true;
  return false;
}

bool optimizer_set(OptimizeSpec *s, const char *option, double v) {
  const OptimizerInfo *info = &optimizer_info[s->kind];
  if (!strcmp(option, "lr")) return s->rate.lr = v, true;
  return set(s, info->option, info->noption, option, v) || set(s, optimize_common, optimize_ncommon, option, v);
}

OptimizeSpec optimizer_default(OptimizerKind kind) {
  const OptimizerInfo *info = &optimizer_info[kind];
  OptimizeSpec s = {.kind = kind, .rate = schedule_default(SCHEDULE_CONSTANT, info->lr)};
  for (int k = 0; k < info->noption; k++) optimizer_set(&s, info->option[k].name, info->option[k].dflt);
  for (int k = 0; k < optimize_ncommon; k++) optimizer_set(&s, optimize_common[k].name, optimize_common[k].dflt);
  return s;
}

/* Values that make sense: [lo, hi) */
#define IN(field, lo, hi) {#field, offsetof(OptimizeSpec, field), lo, hi}
static const struct { const char *name; size_t at; double lo, hi; } range[] = {
  IN(rate.lr, 0, INFINITY), IN(rate.warmup, 0, 1e15), IN(rate.every, 0, 1e15), IN(rate.gamma, 0, 1e9),
  IN(rate.steps, 0, 1e15), IN(rate.end, 0, INFINITY), IN(momentum, 0, INFINITY), IN(dampening, -1e9, 1e9),
  IN(beta1, 0, 1), IN(beta2, 0, 1), IN(eps, 0, INFINITY), IN(alpha, 0, 1), IN(lr_decay, 0, INFINITY),
  IN(initial, 0, INFINITY), IN(weight_decay, 0, INFINITY), IN(clip_norm, 0, INFINITY), IN(clip_value, 0, INFINITY),
  IN(accumulate, 1, 1e9), IN(average, 0, 1),
};

static bool makes_sense(Module *m, const OptimizeSpec *s) {
  bool ok = true;
  for (size_t k = 0; k < sizeof range / sizeof *range; k++) {
    double v;
    memcpy(&v, (const char *)s + range[k].at, sizeof v);
    if (v >= range[k].lo && v < range[k].hi) continue;
    const char *name = strncmp(range[k].name, "rate.", 5) ? range[k].name : range[k].name + 5;
    diag_error(m->diags, "usage", optimizer_info[s->kind].name, "%s = %g: it has to be at least %g and below %g", name,
               v, range[k].lo, range[k].hi);
    ok = false;
  }
  bool steps = s->rate.kind != SCHEDULE_STEP || (s->rate.every >= 1 && s->rate.every == floor(s->rate.every));
  if (s->accumulate == floor(s->accumulate) && steps) return ok;
  diag_error(m->diags, "usage", optimizer_info[s->kind].name, "accumulate and every count steps: whole numbers from 1");
  return false;
}

/* ---- the state ---- */

static Type vector(DType t, int64_t n) { return type_of(t, 1, (Dim[]){DIM(n)}); }

static ValueId filled(Module *m, Type t, double v) { return build_fill(m->main, t.dtype, v, t.dims, t.rank); }

bool optimize_settings(Bundle *b, Module *init, ValueId seed) {
  Type count = vector(DT_I64, 1), scale = vector(DT_F32, 1);
  ValueId zero = graph_ints(init, (int64_t[]){0}, 1);
  ValueId counter = build_concat(init->main, 0, (ValueId[]){zero, seed}, 2);
  return bundle_add_state(b, init, "random", vector(DT_I64, 2), ROLE_COUNTER, NULL, counter) &&
         bundle_add_state(b, init, "total_steps", count, ROLE_SETTING, NULL, filled(init, count, 1)) &&
         bundle_add_state(b, init, "lr_scale", scale, ROLE_SETTING, NULL, filled(init, scale, 1));
}

void optimize_count(Module *m) {
  ValueId now = graph_state(m, "random", vector(DT_I64, 2));
  graph_state_next(m, "random", build_add(m->main, now, graph_ints(m, (int64_t[]){1, 0}, 2)));
}

/* ---- one parameter ---- */

typedef struct Update {
  Bundle *b;
  Module *m, *init;
  Graph *g;                      /* m->main */
  const OptimizeSpec *o;
  const char *name;              /* of the parameter */
  Type type;
  ValueId w, grad;               /* grad: clipped, accumulated, with what PyTorch adds to it */
  ValueId rate;                  /* f64 */
  ValueId updates;               /* f64: how many updates there were before this one; 0: nobody needs it */
  ValueId now;                   /* bool: do the gradients add up to an update in this call? 0: always */
  bool ok;
} Update;

static ValueId if_now(Update *u, ValueId then, ValueId otherwise) {
  return u->now ? build_where(u->g, u->now, then, otherwise) : then;
}

static const char *moment_name(const Update *u, const char *what) {
  const char *plain = intern_printf("%s/%s", what, u->name);
  for (int k = 0; k < u->m->state.len; k++) if (u->m->state.at[k].name == plain) return plain;
  return bundle_find(u->b, plain) ? intern_printf("%s@%s/%s", what, u->m->name, u->name) : plain;
}

/* A tensor beside the parameter, `first` (a value of init) at the start. */
static ValueId beside(Update *u, const char *what, StateRole role, ValueId first) {
  const char *name = moment_name(u, what);
  u->ok &= bundle_add_state(u->b, u->init, name, u->type, role, u->name, first);
  return graph_state(u->m, name, u->type);
}

static ValueId moment(Update *u, const char *what, double first) {
  what = intern_printf("%s.%s", optimizer_info[u->o->kind].name, what);
  return beside(u, what, ROLE_OPTIMIZER, filled(u->init, u->type, first));
}

static void moment_next(Update *u, const char *what, ValueId was, ValueId next) {
  const char *name = moment_name(u, intern_printf("%s.%s", optimizer_info[u->o->kind].name, what));
  graph_state_next(u->m, name, if_now(u, next, was));
}

static ValueId in_type(Update *u, ValueId scalar) { return build_cast(u->g, scalar, u->type.dtype); }
static ValueId rate(Update *u) { return in_type(u, u->rate); }

/* a + share * (b - a) */
static ValueId towards(Update *u, ValueId a, ValueId b, double share) {
  return build_add(u->g, a, build_mulc(u->g, build_sub(u->g, b, a), share));
}

/* share * a + (1 - share) * b^2 */
static ValueId squares(Update *u, ValueId a, ValueId b, double share) {
  return build_add(u->g, build_mulc(u->g, a, share), build_mulc(u->g, build_mul(u->g, b, b), 1 - share));
}

static bool decays(const Update *u) {
  return u->o->weight_decay > 0 && (u->type.rank > 1 || u->o->decay_vectors != 0);
}

/* L2 regularisation: its gradient is added to the loss's. */
static ValueId regularised(Update *u) {
  return decays(u) ? build_add(u->g, u->grad, build_mulc(u->g, u->w, u->o->weight_decay)) : u->grad;
}

/* Decoupled: w * (1 - rate * decay) */
static ValueId shrunk(Update *u) {
  if (!decays(u)) return u->w;
  return build_mul(u->g, u->w, in_type(u, build_c2op(u->g, OP_SUB, 1, build_mulc(u->g, u->rate, u->o->weight_decay))));
}

static ValueId update_sgd(Update *u) {
  const OptimizeSpec *o = u->o;
  ValueId d = regularised(u);
  if (o->momentum > 0) {
    ValueId was = moment(u, "momentum", 0);
    ValueId next = build_add(u->g, build_mulc(u->g, was, o->momentum), build_mulc(u->g, d, 1 - o->dampening));
    if (o->dampening != 0) next = build_where(u->g, build_op2c(u->g, OP_EQ, u->updates, 0), d, next);
    moment_next(u, "momentum", was, next);
    d = o->nesterov != 0 ? build_add(u->g, d, build_mulc(u->g, next, o->momentum)) : next;
  }
  return build_sub(u->g, u->w, build_mul(u->g, d, rate(u)));
}

/* w - rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps) */
static ValueId adam(Update *u, ValueId w, ValueId d) {
  const OptimizeSpec *o = u->o;
  Graph *g = u->g;
  ValueId m = moment(u, "m", 0), v = moment(u, "v", 0), t = build_addc(g, u->updates, 1);
  ValueId m_next = towards(u, m, d, 1 - o->beta1), v_next = squares(u, v, d, o->beta2);
  ValueId step = build_div(g, u->rate, build_c2op(g, OP_SUB, 1, build_c2op(g, OP_POW, o->beta1, t)));
  ValueId root = build_op1(g, OP_SQRT, build_c2op(g, OP_SUB, 1, build_c2op(g, OP_POW, o->beta2, t)));
  ValueId scale = in_type(u, build_op1(g, OP_RECIP, root));
  ValueId below = build_addc(g, build_mul(g, build_op1(g, OP_SQRT, v_next), scale), o->eps);
  moment_next(u, "m", m, m_next);
  moment_next(u, "v", v, v_next);
  return build_sub(g, w, build_mul(g, build_div(g, m_next, below), in_type(u, step)));
}

static ValueId update_adam(Update *u) { return adam(u, u->w, regularised(u)); }
static ValueId update_adamw(Update *u) { return adam(u, shrunk(u), u->grad); }

static ValueId update_rmsprop(Update *u) {
  const OptimizeSpec *o = u->o;
  Graph *g = u->g;
  ValueId d = regularised(u), v = moment(u, "v", 0), v_next = squares(u, v, d, o->alpha), spread = v_next;
  moment_next(u, "v", v, v_next);
  if (o->centered != 0) {
    ValueId mean = moment(u, "mean", 0), next = towards(u, mean, d, 1 - o->alpha);
    moment_next(u, "mean", mean, next);
    spread = build_sub(g, v_next, build_mul(g, next, next));
  }
  d = build_div(g, d, build_addc(g, build_op1(g, OP_SQRT, spread), o->eps));
  if (o->momentum > 0) {
    ValueId was = moment(u, "momentum", 0), next = build_add(g, build_mulc(g, was, o->momentum), d);
    moment_next(u, "momentum", was, next);
    d = next;
  }
  return build_sub(g, u->w, build_mul(g, d, rate(u)));
}

static ValueId update_adagrad(Update *u) {
  const OptimizeSpec *o = u->o;
  Graph *g = u->g;
  ValueId d = regularised(u), sum = moment(u, "sum", o->initial), next = build_add(g, sum, build_mul(g, d, d));
  ValueId step = u->rate;
  if (o->lr_decay > 0) step = build_div(g, step, build_addc(g, build_mulc(g, u->updates, o->lr_decay), 1));
  moment_next(u, "sum", sum, next);
  d = build_div(g, d, build_addc(g, build_op1(g, OP_SQRT, next), o->eps));
  return build_sub(g, u->w, build_mul(g, d, in_type(u, step)));
}

static ValueId update_lion(Update *u) {
  ValueId m = moment(u, "m", 0), d = build_op1(u->g, OP_SIGN, towards(u, m, u->grad, 1 - u->o->beta1));
  moment_next(u, "m", m, towards(u, m, u->grad, 1 - u->o->beta2));
  return build_sub(u->g, shrunk(u), build_mul(u->g, d, rate(u)));
}

static ValueId (*const update[])(Update *u) = {
#define OPTIMIZER(E, name, lr, counts, options, what) update_##name,
#include "frontend/optimizers.def"
};

/* ---- all of a step ---- */

static bool counts_updates(const OptimizeSpec *o) {
  const bool asks[] = {
#define OPTIMIZER(E, name, lr, counts, options, what) counts,
#include "frontend/optimizers.def"
  };
  return asks[o->kind] || o->accumulate > 1;
}

/* calls/STEP: calls of this step before this one, i64 of rank 0. */
static ValueId calls_before(Bundle *b, Module *m, Module *init, bool *ok) {
  const char *name = intern_printf("calls/%s", m->name);
  Type t = vector(DT_I64, 1);
  *ok &= bundle_add_state(b, init, name, t, ROLE_COUNTER, NULL, filled(init, t, 0));
  ValueId calls = graph_state(m, name, t);
  graph_state_next(m, name, build_addc(m->main, calls, 1));
  return build_reshape(m->main, calls, NULL, 0);
}

/* The mean of the gradients of `accumulate` calls; sum/NAME starts anew with each update. */
static ValueId accumulated(Update *u) {
  if (u->o->accumulate <= 1) return u->grad;
  ValueId sum = beside(u, "sum", ROLE_OPTIMIZER, filled(u->init, u->type, 0));
  ValueId next = build_add(u->g, sum, build_mulc(u->g, u->grad, 1 / u->o->accumulate));
  graph_state_next(u->m, moment_name(u, "sum"), build_where(u->g, u->now, build_scalar(u->g, u->type.dtype, 0), next));
  return next;
}

/* As torch.nn.utils.clip_grad_value_ and clip_grad_norm_. */
static void clip(Graph *g, const OptimizeSpec *o, Update *u, int n) {
  ValueId total = 0;
  for (int k = 0; k < n && o->clip_value > 0; k++)
    u[k].grad = build_op2c(g, OP_MAX, build_op2c(g, OP_MIN, u[k].grad, o->clip_value), -o->clip_value);
  if (!(o->clip_norm > 0)) return;
  for (int k = 0; k < n; k++) {
    ValueId square = build_cast(g, build_reduce_all(g, OP_REDUCE_SUM, build_mul(g, u[k].grad, u[k].grad)), DT_F32);
    total = total ? build_add(g, total, square) : square;
  }
  ValueId factor = build_c2op(g, OP_DIV, o->clip_norm, build_addc(g, build_op1(g, OP_SQRT, total), 1e-6));
  factor = build_op2c(g, OP_MIN, factor, 1);
  for (int k = 0; k < n; k++) u[k].grad = build_mul(g, u[k].grad, in_type(&u[k], factor));
}

/* average <- average + (1 - decay) * (w - average), from the parameter's first value. */
static void follow(Update *u, ValueId w) {
  if (!(u->o->average > 0)) return;
  ValueId first = 0;
  for (int k = 0; k < u->init->state.len; k++)
    if (!strcmp(u->init->state.at[k].name, u->name)) first = u->init->state.at[k].next;
  ValueId was = beside(u, "average", ROLE_AVERAGE, first);
  graph_state_next(u->m, moment_name(u, "average"), if_now(u, towards(u, was, w, 1 - u->o->average), was));
}

static bool update_group(Bundle *b, Module *m, Module *init, const OptimizeGroup *group, const ValueId *gradient,
                         ValueId calls) {
  Graph *g = m->main;
  const OptimizeSpec *o = &group->spec;
  Update *u = NEW_N(&m->perm, Update, group->n + 1);
  ValueId step = optimize_rate(m, &o->rate), updates = 0, now = 0;
  if (counts_updates(o)) updates = calls;
  if (o->accumulate > 1) {
    now = build_op2c(g, OP_EQ, build_op2c(g, OP_MOD, build_addc(g, calls, 1), o->accumulate), 0);
    updates = build_op2c(g, OP_DIV, calls, o->accumulate);
  }
  updates = build_cast(g, updates, DT_F64);
  for (int k = 0; k < group->n; k++) {
    const StateTensor *t = bundle_find(b, group->param[k]);
    u[k] = (Update){.b = b, .m = m, .init = init, .g = g, .o = o, .name = t->name, .type = t->type, .grad = gradient[k],
                    .rate = step, .updates = updates, .now = now, .ok = true};
    u[k].w = graph_state(m, t->name, t->type);
    u[k].grad = accumulated(&u[k]);
  }
  clip(g, o, u, group->n);
  bool ok = true;
  for (int k = 0; k < group->n; k++) {
    ValueId w = update[o->kind](&u[k]);
    if (!w) return false;
    follow(&u[k], w);
    graph_state_next(m, u[k].name, if_now(&u[k], w, u[k].w));
    ok &= u[k].ok;
  }
  return ok;
}

/* The parameters of all groups, each once, and their values in the step. */
static int parameters(Bundle *b, Module *m, const OptimizeGroup *group, int ngroups, ValueId *value) {
  int n = 0;
  for (int q = 0; q < ngroups; q++)
    for (int k = 0; k < group[q].n; k++) {
      const StateTensor *t = bundle_find(b, group[q].param[k]);
      const char *why = !t || t->role != ROLE_PARAMETER ? "is no parameter" : NULL;
      if (!why && !dtype_is_float(t->type.dtype)) why = "holds integers";
      ValueId v = why ? 0 : graph_state(m, t->name, t->type);
      for (int i = 0; !why && i < n; i++) if (value[i] == v) why = "is given to two optimizers";
      if (why) {
        diag_error(m->diags, "usage", m->name, "'%s' %s", group[q].param[k], why);
        return -1;
      }
      value[n++] = v;
    }
  return n;
}

bool optimize_step(Bundle *b, Module *m, Module *init, ValueId loss, const OptimizeGroup *group, int ngroups) {
  int total = 0, errors = m->diags->errors;
  bool counts = false, ok = true;
  for (int q = 0; q < ngroups; q++) {
    total += group[q].n;
    counts |= counts_updates(&group[q].spec);
    ok &= makes_sense(m, &group[q].spec);
  }
  ValueId *in = NEW_N(&m->perm, ValueId, total + 1), *gradient = NEW_N(&m->perm, ValueId, total + 1);
  in[0] = loss;
  if (!ok || !loss || parameters(b, m, group, ngroups, in + 1) != total) return false;
  if (!total) return true;
  if (!build_multi(m->main, OP_GRADIENT, in, total + 1, NULL, 0, gradient, total)) return false;
  if (b->lr == 0) b->lr = group[0].spec.rate.lr;
  ValueId calls = counts ? calls_before(b, m, init, &ok) : 0;
  for (int q = 0; ok && q < ngroups; gradient += group[q].n, q++)
    ok = update_group(b, m, init, &group[q], gradient, calls);
  return ok && m->diags->errors == errors;
}

/* Learning rates as arithmetic on the step counter; see schedules.def. In f64: a rate that is off by one part in 10^7
 * makes every parameter differ from PyTorch's. */
#include "frontend/optimize.h"
#include <stddef.h>
#include <string.h>

#define O(field, dflt) {#field, offsetof(Schedule, field), dflt, ""},
#define SCHEDULE(E, name, options, what) \
  [SCHEDULE_##E] = {#name, what, 0, sizeof (OptimizeOption[]){options {0}} / sizeof (OptimizeOption) - 1, \
                    {options {0}}},
const OptimizerInfo schedule_info[SCHEDULE_COUNT] = {
#include "frontend/schedules.def"
};
#undef SCHEDULE
#undef O

bool schedule_find(const char *name, ScheduleKind *kind) {
  for (int k = 0; k < SCHEDULE_COUNT; k++)
    if (!strcmp(schedule_info[k].name, name)) return *kind = (ScheduleKind)k, true;
  return false;
}

Schedule schedule_default(ScheduleKind kind, double lr) {
  Schedule s = {.kind = kind};
  for (int k = 0; k < schedule_info[kind].noption; k++)
    schedule_set(&s, schedule_info[kind].option[k].name, schedule_info[kind].option[k].dflt);
  s.lr = lr;
  return s;
}

bool schedule_set(Schedule *s, const char *option, double v) {
  if (!strcmp(option, "lr")) return s->lr = v, true;
  if (!strcmp(option, "warmup")) return s->warmup = v, true;
  const OptimizerInfo *info = &schedule_info[s->kind];
  for (int k = 0; k < info->noption; k++)
    if (!strcmp(info->option[k].name, option)) return memcpy((char *)s + info->option[k].at, &v, sizeof v), true;
  return false;
}

/* ---- the kinds: rate at step t of T, both f64 of rank 0 ---- */

static ValueId schedule_constant(Graph *g, const Schedule *s, ValueId t, ValueId total) {
  (void)t, (void)total;
  return build_scalar(g, DT_F64, s->lr);
}

static ValueId schedule_step(Graph *g, const Schedule *s, ValueId t, ValueId total) {
  (void)total;
  ValueId times = build_op1(g, OP_FLOOR, build_mulc(g, t, 1 / s->every));
  return build_mulc(g, build_c2op(g, OP_POW, s->gamma, times), s->lr);
}

static ValueId done(Graph *g, ValueId t, ValueId total) { return build_op2c(g, OP_MIN, build_div(g, t, total), 1); }

static ValueId schedule_cosine(Graph *g, const Schedule *s, ValueId t, ValueId total) {
  ValueId wave = build_addc(g, build_op1(g, OP_COS, build_mulc(g, done(g, t, total), 3.14159265358979323846)), 1);
  return build_addc(g, build_mulc(g, wave, (s->lr - s->end) / 2), s->end);
}

static ValueId schedule_linear(Graph *g, const Schedule *s, ValueId t, ValueId total) {
  return build_addc(g, build_mulc(g, done(g, t, total), s->end - s->lr), s->lr);
}

static ValueId (*const kinds[])(Graph *g, const Schedule *s, ValueId t, ValueId total) = {
#define SCHEDULE(E, name, options, what) schedule_##name,
#include "frontend/schedules.def"
#undef SCHEDULE
};

/* The first element of a vector of the state, in f64. */
static ValueId state_number(Module *m, const char *name, DType t, int64_t n) {
  ValueId v = graph_state(m, name, type_of(t, 1, (Dim[]){DIM(n)}));
  return build_cast(m->main, build_reshape(m->main, build_slice(m->main, v, 0, DIM(0), DIM(1)), NULL, 0), DT_F64);
}

ValueId optimize_rate(Module *m, const Schedule *s) {
  Graph *g = m->main;
  bool runs = s->kind != SCHEDULE_CONSTANT || s->warmup > 0;
  bool ends = s->kind == SCHEDULE_COSINE || s->kind == SCHEDULE_LINEAR;
  ValueId step = runs ? state_number(m, "random", DT_I64, 2) : 0, t = step, total = 0;
  if (s->warmup > 0) t = build_op2c(g, OP_MAX, build_addc(g, step, -s->warmup), 0);
  if (ends) {
    total = s->steps > 0 ? build_scalar(g, DT_F64, s->steps) : state_number(m, "total_steps", DT_I64, 1);
    total = build_op2c(g, OP_MAX, build_addc(g, total, -s->warmup), 1);
  }
  ValueId rate = kinds[s->kind](g, s, t, total);
  if (s->warmup > 0) {
    ValueId rising = build_mulc(g, build_addc(g, step, 1), s->lr / s->warmup);
    rate = build_where(g, build_op2c(g, OP_LT, step, s->warmup), rising, rate);
  }
  return build_mul(g, rate, state_number(m, "lr_scale", DT_F32, 1));
}

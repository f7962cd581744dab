/* Norms and dropout; see train_layers.h. */
#include "frontend/train_layers.h"
#include "base/intern.h"

static void fail(Module *m, const char *text) {
  Source s = graph_source(m);
  diag_error(m->diags, "shape", s.line > 0 ? intern_printf("line %d", s.line) : s.node, "%s", text);
}

/* What the state tensor is by now: what an earlier call in this function made of it, or what it was. */
static ValueId latest(Module *m, const char *name, Type t) {
  ValueId v = graph_state(m, name, t);
  const StateSlot *s = graph_state_of_value(m, v);
  return s && s->next ? s->next : v;
}

/* was + momentum * (now - was) */
static void move(Module *m, const char *name, Type t, ValueId now, double momentum) {
  ValueId was = latest(m, name, t);
  graph_state_next(m, name, build_add(m->main, was, build_mulc(m->main, build_sub(m->main, now, was), momentum)));
}

ValueId batch_norm_train(Module *m, ValueId x, ValueId scale, ValueId bias, const char *mean, const char *var,
                         double momentum, double epsilon) {
  Graph *g = m->main;
  ValueId out[3];
  Attr a = attr_float("epsilon", epsilon);
  if (!x || !build_multi(g, OP_BATCH_NORM_TRAIN, (ValueId[]){x, scale, bias}, 3, &a, 1, out, 3)) return 0;
  Type t = *build_type(g, out[1]);
  Dim each;
  if (!dim_divisible(type_count(build_type(g, x)), t.dims[0], &each)) each = DIM(1);
  ValueId n = build_dim_value(g, t.dtype, each);
  ValueId rest = build_op2c(g, OP_MAX, build_addc(g, n, -1), 1);   // one element per channel: no variance to correct
  move(m, mean, t, out[1], momentum);
  move(m, var, t, build_mul(g, out[2], build_div(g, n, rest)), momentum);
  return out[0];
}

ValueId batch_norm_running(Module *m, ValueId x, ValueId scale, ValueId bias, const char *mean, const char *var,
                           double epsilon) {
  Graph *g = m->main;
  if (!x) return 0;
  int rank = build_rank(g, x);
  Type t = type_of(build_dtype(g, x), 1, (Dim[]){build_dim(g, x, 1)});
  ValueId spread = build_addc(g, latest(m, var, t), epsilon);
  ValueId gain = build_op1(g, OP_RECIP, build_op1(g, OP_SQRT, spread));
  if (scale) gain = build_mul(g, gain, scale);
  ValueId y = build_sub(g, x, build_align(g, latest(m, mean, t), 1, rank));
  y = build_mul(g, y, build_align(g, gain, 1, rank));
  return bias ? build_add(g, y, build_align(g, bias, 1, rank)) : y;
}

/* A layer norm over the elements of a group, then scale and bias per channel. */
ValueId group_norm(Graph *g, ValueId x, int64_t groups, ValueId scale, ValueId bias, double epsilon) {
  if (!x) return 0;
  Type t = *build_type(g, x);
  Dim inner;
  if (t.rank < 2 || groups < 1 || !dim_divisible(t.dims[1], DIM(groups), &inner)) {
    fail(g->module, intern_printf("group_norm: %s cannot be cut into %lld groups of channels", type_text(&t),
                                  (long long)groups));
    return 0;
  }
  for (int k = 2; k < t.rank; k++) inner = dim_mul(inner, t.dims[k]);
  ValueId y = build_reshape(g, x, (Dim[]){t.dims[0], DIM(groups), inner}, 3);
  Attr a[] = {attr_int("axis", 2), attr_float("epsilon", epsilon)};
  y = build_reshape_like(g, build_op(g, OP_LAYER_NORM, &y, 1, a, 2), &t);
  if (scale) y = build_mul(g, y, build_align(g, scale, 1, t.rank));
  return bias ? build_add(g, y, build_align(g, bias, 1, t.rank)) : y;
}

/* The mask is what the gradient of `where` reads: a byte per element lives until then. Drawing the numbers anew would
 * save that byte and cost a second pass of Philox; four times that much is needed for them while they are drawn. */
ValueId dropout_train(Module *m, ValueId x, double p, int64_t stream) {
  Graph *g = m->main;
  if (!x || p <= 0) return x;
  Type t = *build_type(g, x);
  if (!(p < 1)) {
    fail(m, intern_printf("dropout: the probability is %g, must be below 1", p));
    return 0;
  }
  ValueId step = graph_state(m, "random", type_of(DT_I64, 1, (Dim[]){DIM(2)}));
  Attr a[] = {attr_dims(m, "shape", t.dims, t.rank), attr_str("kind", "uniform"), attr_int("seed", 0),
              attr_int("stream", stream)};
  ValueId keep = build_op2c(g, OP_GE, build_op(g, OP_RANDOM, &step, 1, a, 4), p);
  ValueId scaled = build_mulc(g, x, 1 / (1 - p));
  return build_where(g, keep, scaled, build_scalar(g, t.dtype, 0));
}

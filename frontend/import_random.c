/* Importers of random numbers. lathe's are counter-based: a function of (seed, stream, element). Without a seed in
 * the model each node is a stream of its own under seed 0, so a run can be repeated. The values are not those of
 * other runtimes; only the distribution is ONNX's. */
#include <string.h>
#include "frontend/import.h"

/* f32 in [0, 1), or normal */
static ValueId draw(Import *x, const char *kind, const Dim *shape, int rank) {
  Attr attr[] = {attr_dims(x->m, "shape", shape, rank), attr_str("kind", kind),
                 attr_int("seed", (int64_t)imp_float(x, "seed", 0)), attr_int("stream", x->m->nodes.len)};
  return imp_op(x, OP_RANDOM, NULL, 0, attr, 4);
}

/* y = scale * draw + shift, in the wanted type */
static bool random_output(Import *x, DType dflt, const Dim *shape, int rank) {
  DType to = imp_has(x, "dtype") ? dtype_from_onnx((int)imp_int(x, "dtype", 0)) : dflt;
  if (!dtype_is_float(to)) return imp_fail(x, "type", "gives random numbers of a type that is no float");
  bool normal = !strncmp(x->op, "RandomNormal", 12);
  double low = imp_float(x, "low", 0), high = imp_float(x, "high", 1);
  double scale = normal ? imp_float(x, "scale", 1) : high - low, shift = normal ? imp_float(x, "mean", 0) : low;
  ValueId v = draw(x, normal ? "normal" : "uniform", shape, rank);
  v = imp_op2(x, OP_ADD, imp_op2(x, OP_MUL, v, imp_scalar(x, DT_F32, scale)), imp_scalar(x, DT_F32, shift));
  imp_set(x, 0, imp_cast(x, v, to));
  return true;
}

bool import_random(Import *x) {
  const int64_t *ints;
  Dim shape[MAX_RANK];
  int n = imp_ints(x, "shape", &ints);
  if (n > MAX_RANK) return imp_fail(x, "shape", "has %d axes; lathe's limit is %d", n, MAX_RANK);
  for (int k = 0; k < n; k++) shape[k] = DIM(ints[k]);
  return random_output(x, DT_F32, shape, n);
}

bool import_random_like(Import *x) {
  Type t = *imp_type(x, 0);
  return random_output(x, t.dtype, t.dims, t.rank);
}

/* 1 with probability x */
bool import_bernoulli(Import *x) {
  Type t = *imp_type(x, 0);
  DType to = imp_has(x, "dtype") ? dtype_from_onnx((int)imp_int(x, "dtype", 0)) : t.dtype;
  if (to == DT_NONE) return imp_fail(x, "type", "asks for an element type that lathe does not know");
  ValueId hit = imp_op2(x, OP_LT, draw(x, "uniform", t.dims, t.rank), imp_cast(x, x->in[0], DT_F32));
  imp_set(x, 0, imp_cast(x, hit, to));
  return true;
}

/* Samples of unnormalised log probabilities [B, C] -> [B, S]: the index of the largest of log p + Gumbel noise,
 * noise = -log(-log u). All draws at once: [B, S, C]. */
bool import_multinomial(Import *x) {
  Type t = *imp_type(x, 0);
  if (t.rank != 2) return imp_fail(x, "shape", "needs [batch, classes], has %d axes", t.rank);
  DType to = imp_has(x, "dtype") ? dtype_from_onnx((int)imp_int(x, "dtype", 0)) : DT_I32;
  if (!dtype_is_int(to)) return imp_fail(x, "type", "should give i32 or i64");
  Dim samples = DIM(imp_int(x, "sample_size", 1)), shape[3] = {t.dims[0], samples, t.dims[1]};
  ValueId u = draw(x, "uniform", shape, 3), tiny = imp_scalar(x, DT_F32, 1e-30);
  ValueId noise = imp_op1(x, OP_NEG, imp_op1(x, OP_LOG, imp_op2(x, OP_MAX, tiny,
      imp_op1(x, OP_NEG, imp_op1(x, OP_LOG, imp_op2(x, OP_MAX, u, tiny))))));
  int middle = 1;
  ValueId score = imp_op2(x, OP_ADD, noise, imp_unsqueeze(x, imp_cast(x, x->in[0], DT_F32), &middle, 1));
  Attr attr[] = {attr_int("axis", 2), attr_int("keepdims", 0), attr_int("select_last", 0)};
  imp_set(x, 0, imp_cast(x, imp_op(x, OP_ARGMAX, &score, 1, attr, 3), to));
  return true;
}

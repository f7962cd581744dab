/* Reductions, softmax, norms. */
#include "frontend/export.h"
#include <math.h>

static const char *const reduce_names[OP_COUNT] = {
  [OP_REDUCE_SUM] = "ReduceSum", [OP_REDUCE_PROD] = "ReduceProd", [OP_REDUCE_MAX] = "ReduceMax",
  [OP_REDUCE_MIN] = "ReduceMin",
  [OP_ARGMAX] = "ArgMax", [OP_ARGMIN] = "ArgMin", [OP_SOFTMAX] = "Softmax", [OP_LOG_SOFTMAX] = "LogSoftmax",
};

/* The type to compute in where ONNX has no operator for narrow integers. */
static DType wide(DType t) { return dtype_is_int(t) && dtype_bytes(t) < 4 ? DT_I32 : t; }

bool export_reduce(Export *x) {
  const Attr *axes = node_dims(x->n, "axes");
  if (!axes->n) return exp_direct(x, "Identity");
  DType t = exp_type(x, 0)->dtype;
  bool extreme = x->n->op == OP_REDUCE_MAX || x->n->op == OP_REDUCE_MIN;   // which takes bytes, too
  DType in = extreme && dtype_bytes(t) == 1 ? t : wide(t);
  const char *v = exp_cast(x, exp_in(x, 0), t, in);
  const char *y = EXP(x, reduce_names[x->n->op], v, exp_sizes(x, axes->dims, axes->n));
  exp_int(x, "keepdims", node_int(x->n, "keepdims", 1));
  return exp_give(x, 0, exp_cast(x, y, in, t));
}

bool export_arg(Export *x) {
  bool ok = exp_direct(x, reduce_names[x->n->op]);
  exp_int(x, "axis", node_int(x->n, "axis", 0));
  exp_int(x, "keepdims", node_int(x->n, "keepdims", 1));
  exp_int(x, "select_last_index", node_int(x->n, "select_last", 0));
  return ok;
}

bool export_cumsum(Export *x) {
  DType t = exp_type(x, 0)->dtype;
  const char *v = exp_cast(x, exp_in(x, 0), t, wide(t));
  const char *y = EXP(x, "CumSum", v, exp_scalar(x, DT_I64, (double)node_int(x->n, "axis", 0)));
  exp_int(x, "exclusive", node_int(x->n, "exclusive", 0));
  exp_int(x, "reverse", node_int(x->n, "reverse", 0));
  return exp_give(x, 0, exp_cast(x, y, wide(t), t));
}

/* What lies ahead of a row gets -inf, as ONNX has no other word for it. */
bool export_softmax(Export *x) {
  const Attr *ahead = node_dims(x->n, "ahead");
  const Type *t = exp_type(x, 0);
  const char *v = exp_in(x, 0);
  if (ahead) {
    const char *first = exp_reshape(x, exp_size(x, dim_add(ahead->dims[0], DIM(1))), &(Type){.rank = 1}, NULL, 0);
    const char *low = EXP(x, "Expand", exp_scalar(x, t->dtype, -INFINITY), exp_sizes(x, t->dims + t->rank - 2, 2));
    v = EXP(x, "Add", v, EXP(x, "Trilu", low, first));
  }
  bool ok = exp_direct_from(x, reduce_names[x->n->op], &v, 1);
  exp_int(x, "axis", node_int(x->n, "axis", 0));
  return ok;
}

/* ---- norms ---- */

/* Scale or bias k in the shape of the normalised axes, which ONNX Runtime insists on; ones where it is absent. */
static const char *affine(Export *x, int k, int axis) {
  const Type *t = exp_type(x, 0);
  const Dim *want = t->dims + axis;
  int rank = t->rank - axis;
  bool fits = exp_has(x, k) && exp_type(x, k)->rank == rank;
  for (int i = 0; fits && i < rank; i++) fits = dim_eq(exp_type(x, k)->dims[i], want[i]);
  if (fits) return exp_in(x, k);
  return EXP(x, "Expand", exp_has(x, k) ? exp_in(x, k) : exp_scalar(x, t->dtype, 1), exp_sizes(x, want, rank));
}

bool export_layer_norm(Export *x) {
  int axis = (int)node_int(x->n, "axis", 0);
  const char *in[] = {exp_in(x, 0), affine(x, 1, axis), exp_has(x, 2) ? affine(x, 2, axis) : ""};
  bool ok = exp_direct_from(x, "LayerNormalization", in, 3);
  exp_int(x, "axis", axis);
  exp_float(x, "epsilon", node_float(x->n, "epsilon", 1e-5));
  return ok;
}

/* RMSNormalization came at opset 23: x / sqrt(mean(x²) + epsilon) * scale, narrow floats in f32. */
bool export_rms_norm(Export *x) {
  const Type *t = exp_type(x, 0);
  DType in = dtype_compute(t->dtype);
  int64_t axes[MAX_RANK];
  int n = 0;
  for (int k = (int)node_int(x->n, "axis", 0); k < t->rank; k++) axes[n++] = k;
  const char *v = exp_cast(x, exp_in(x, 0), t->dtype, in);
  const char *mean = EXP(x, "ReduceMean", EXP(x, "Mul", v, v), exp_ints(x, axes, n));
  exp_int(x, "keepdims", 1);
  const char *root = EXP(x, "Sqrt", EXP(x, "Add", mean, exp_scalar(x, in, node_float(x->n, "epsilon", 0))));
  const char *y = EXP(x, "Div", v, root);
  if (exp_has(x, 1)) y = EXP(x, "Mul", y, exp_cast(x, exp_in(x, 1), exp_type(x, 1)->dtype, in));
  return exp_give(x, 0, exp_cast(x, y, in, t->dtype));
}

/* Scatter, selection, random numbers. */
#include "frontend/export.h"

static const char *as_i64(Export *x, int k) { return exp_cast(x, exp_in(x, k), exp_type(x, k)->dtype, DT_I64); }

bool export_scatter(Export *x) {
  bool elements = x->n->op == OP_SCATTER_ELEMENTS;
  const char *y = EXP(x, elements ? "ScatterElements" : "ScatterND", exp_in(x, 0), as_i64(x, 1), exp_in(x, 2));
  if (elements) exp_int(x, "axis", node_int(x->n, "axis", 0));
  exp_str(x, "reduction", node_str(x->n, "reduction", "none"));
  return exp_give(x, 0, y);
}

bool export_topk(Export *x) {
  const char *in[] = {exp_in(x, 0), exp_sizes(x, node_dims(x->n, "k")->dims, 1)};
  bool ok = exp_direct_from(x, "TopK", in, 2);
  exp_int(x, "axis", node_int(x->n, "axis", 0));
  exp_int(x, "largest", node_int(x->n, "largest", 1));
  exp_int(x, "sorted", node_int(x->n, "sorted", 1));
  return ok;
}

static const char *flat(Export *x, const char *v) { return EXP(x, "Reshape", v, exp_ints(x, (int64_t[]){-1}, 1)); }

/* Of a vector the coordinates are the positions. */
bool export_nonzero(Export *x) { return exp_give(x, 0, flat(x, EXP(x, "NonZero", flat(x, exp_in(x, 0))))); }

bool export_unique(Export *x) {
  EXP(x, "Unique", exp_in(x, 0));
  const char *out[] = {exp_output(x), exp_output(x), exp_output(x)};
  exp_int(x, "axis", node_int(x->n, "axis", 0));
  exp_int(x, "sorted", node_int(x->n, "sorted", 1));
  for (int k = 0; k < x->n->nout; k++) if (exp_wants(x, k) && !exp_give(x, k, out[k])) return false;
  return true;
}

/* Of its numbers, one element each in any shape, ONNX wants vectors. */
bool export_nms(Export *x) {
  const char *in[5] = {exp_in(x, 0), exp_in(x, 1)};
  for (int k = 2; k < 5; k++) in[k] = exp_type(x, k)->rank == 1 ? exp_in(x, k) : flat(x, exp_in(x, k));
  bool ok = exp_direct_from(x, "NonMaxSuppression", in, 5);
  exp_int(x, "center_point_box", node_int(x->n, "centre", 0));
  return ok;
}

/* RoiAlign takes half an element off the corners that it gets. */
bool export_roi_align(Export *x) {
  const char *rois = EXP(x, "Add", exp_in(x, 1), exp_scalar(x, DT_F32, 0.5));
  const char *y = EXP(x, "RoiAlign", exp_in(x, 0), rois, exp_in(x, 2));
  exp_str(x, "mode", node_int(x->n, "max", 0) ? "max" : "avg");
  exp_int(x, "output_height", node_int(x->n, "height", 1));
  exp_int(x, "output_width", node_int(x->n, "width", 1));
  exp_int(x, "sampling_ratio", node_int(x->n, "ratio", 0));
  return exp_give(x, 0, y);
}

/* The distribution is kept, the numbers are whatever the other side draws. */
bool export_random(Export *x) {
  const Attr *s = node_dims(x->n, "shape");
  bool normal = !strcmp(node_str(x->n, "kind", "uniform"), "normal");
  double scale = node_float(x->n, "scale", 1), shift = node_float(x->n, "shift", 0);
  const char *zeros = EXP(x, "ConstantOfShape", exp_sizes(x, s->dims, s->n));
  const char *y = EXP(x, normal ? "RandomNormalLike" : "RandomUniformLike", zeros);
  exp_float(x, normal ? "mean" : "low", shift);
  exp_float(x, normal ? "scale" : "high", normal ? scale : shift + scale);
  return exp_give(x, 0, y);
}

/* Products, convolutions, pools, resize: ONNX's own operators, their windows as attributes. */
#include "frontend/export.h"
#include <math.h>

static bool window(Export *x) {
  return exp_copy_list(x, "kernel", "kernel_shape") && exp_copy_list(x, "strides", "strides") &&
      exp_copy_list(x, "pads", "pads") &&
         exp_copy_list(x, "dilations", "dilations");
}

/* MatMul has no integers below 32 bits. */
bool export_matmul(Export *x) {
  DType t = exp_type(x, 0)->dtype;
  if (!dtype_is_int(t) || dtype_bytes(t) >= 4) return exp_direct(x, "MatMul");
  const char *a = exp_cast(x, exp_in(x, 0), t, DT_I32), *b = exp_cast(x, exp_in(x, 1), t, DT_I32);
  return exp_give(x, 0, exp_cast(x, EXP(x, "MatMul", a, b), DT_I32, t));
}

/* ---- convolution ---- */

/* An i32 operand of ConvInteger: bytes, and what is taken off them ("": nothing). */
typedef struct Bytes { const char *v, *zero; } Bytes;

/* Weights whose zero point is already off: i8, or u8 with another zero point where they do not fit. */
static bool constant_bytes(Export *x, const Tensor *t, Bytes *b) {
  int64_t n = tensor_count(t), lo = 0, hi = 0;
  for (int64_t i = 0; i < n; i++) {
    int64_t v = tensor_get_int(t, i);
    lo = int64_min(lo, v), hi = int64_max(hi, v);
  }
  bool is_signed = lo >= -128 && hi <= 127;
  if (!is_signed && hi - lo > 255) return false;
  Tensor *to = tensor_new(x->a, is_signed ? DT_I8 : DT_U8, t->rank, t->dims);
  for (int64_t i = 0; i < n; i++) tensor_set_int(to, i, tensor_get_int(t, i) - (is_signed ? 0 : lo));
  *b = (Bytes){exp_constant(x, to), is_signed ? "" : exp_scalar(x, DT_U8, (double)-lo)};
  return true;
}

/* cast(v), or cast(v) - zero with one zero point, or one per slice of the first axis: as importers leave 8-bit operands. */
static bool operand_bytes(Export *x, ValueId v, Bytes *b) {
  const Value *of = value_of(x->m, v);
  if (of->constant) return constant_bytes(x, of->constant, b);
  const Node *n = of->def ? node_of(x->m, of->def) : NULL;
  ValueId zero = 0;
  if (n && n->op == OP_SUB && value_of(x->m, n->in[0])->def)
    zero = n->in[1], n = node_of(x->m, value_of(x->m, n->in[0])->def);
  if (!n || n->op != OP_CAST) return false;
  DType t = value_of(x->m, n->in[0])->type.dtype;
  if (t != DT_I8 && t != DT_U8) return false;
  *b = (Bytes){exp_value(x, n->in[0]), ""};
  if (!zero) return true;
  const Type *z = &value_of(x->m, zero)->type;
  Dim count = type_count(z);
  if (!dim_is(count, 1) && !(z->rank && dim_eq(count, z->dims[0]))) return false;
  const char *bytes = exp_cast(x, exp_value(x, zero), DT_I32, t);
  b->zero = exp_reshape(x, bytes, z, &count, dim_is(count, 1) ? 0 : 1);
  return true;
}

static void conv_attributes(Export *x) {
  window(x);
  exp_int(x, "group", node_int(x->n, "group", 1));
}

static bool conv_integer(Export *x) {
  Bytes a, w;
  if (!operand_bytes(x, x->n->in[0], &a) || !operand_bytes(x, x->n->in[1], &w))
    return exp_fail(x, "ONNX convolves integers of 8 bits only, and these are %s", type_text(exp_type(x, 0)));
  const char *y = EXP(x, "ConvInteger", a.v, w.v, a.zero, w.zero);
  conv_attributes(x);
  if (!exp_has(x, 2)) return exp_give(x, 0, y);
  Dim line[MAX_RANK];
  int rank = exp_type(x, 0)->rank - 1;
  for (int k = 0; k < rank; k++) line[k] = k ? DIM(1) : exp_type(x, 2)->dims[0];
  return exp_give(x, 0, EXP(x, "Add", y, exp_reshape(x, exp_in(x, 2), exp_type(x, 2), line, rank)));
}

bool export_conv(Export *x) {
  if (exp_type(x, 0)->dtype == DT_I32) return conv_integer(x);
  if (!dtype_is_float(exp_type(x, 0)->dtype))
    return exp_fail(x, "ONNX has no convolution of %s", type_text(exp_type(x, 0)));
  exp_direct(x, "Conv");
  conv_attributes(x);
  return !x->failed;
}

bool export_conv_transpose(Export *x) {
  if (!dtype_is_float(exp_type(x, 0)->dtype))
    return exp_fail(x, "ONNX has no transposed convolution of %s", type_text(exp_type(x, 0)));
  exp_direct(x, "ConvTranspose");
  conv_attributes(x);
  return exp_copy_list(x, "output_padding", "output_padding");
}

/* ---- pools ---- */

/* Does rounding up give more windows than rounding down? Where not, nothing is rounded: before opset 22 the windows that
 * would start behind the input were counted. */
static bool rounds_up(Export *x) {
  const Type *in = exp_type(x, 0), *out = exp_out_type(x, 0);
  const Attr *k = node_dims(x->n, "kernel"), *s = node_dims(x->n, "strides"), *p = node_dims(x->n, "pads"),
      *d = node_dims(x->n, "dilations");
  if (!node_int(x->n, "ceil", 0)) return false;
  for (int i = 0; i < k->n; i++) {
    Dim extent = dim_add(dim_mul(dim_sub(k->dims[i], DIM(1)), d->dims[i]), DIM(1));
    Dim room = dim_sub(dim_add(in->dims[2 + i], dim_add(p->dims[i], p->dims[i + k->n])), extent);
    if (!dim_eq(dim_add(dim_floordiv(room, s->dims[i]), DIM(1)), out->dims[2 + i])) return true;
  }
  return false;
}

static bool pool(Export *x, const char *op) {
  exp_direct(x, op);
  exp_int(x, "ceil_mode", rounds_up(x));
  return window(x);
}

bool export_max_pool(Export *x) {
  bool ok = pool(x, "MaxPool");
  if (exp_wants(x, 1)) exp_int(x, "storage_order", node_int(x->n, "storage_order", 0));
  return ok;
}

bool export_avg_pool(Export *x) {
  bool ok = pool(x, "AveragePool");
  exp_int(x, "count_include_pad", node_int(x->n, "count_include_pad", 0));
  return ok;
}

bool export_lp_pool(Export *x) {
  bool ok = pool(x, "LpPool");
  exp_int(x, "p", node_int(x->n, "p", 2));
  return ok;
}

/* ---- sampling ---- */

/* Resize takes scales, and sizes follow from them, or sizes, and scales do. Which of the two gives the node's pair? */
static bool scales_decide(const Type *in, const Dim *shape, const double *scale, bool *sizes) {
  bool scales = true;
  *sizes = true;
  for (int k = 0; k < in->rank; k++) {
    Dim d = in->dims[k];
    scales &= scale[k] > 0 && (!dim_is_const(d) || dim_is(shape[k], (int64_t)floorf((float)d.k * (float)scale[k])));
    bool quotient = dim_is_const(d) && dim_is_const(shape[k]) && d.k > 0 &&
                    fabs((double)shape[k].k / (double)d.k - scale[k]) <= 1e-6 * scale[k];
    *sizes &= scale[k] == 0 || quotient || (scale[k] == 1 && dim_eq(d, shape[k]));
  }
  return scales;
}

static void resize_attributes(Export *x) {
  const char *mode = node_str(x->n, "mode", "nearest"), *coord = node_str(x->n, "coord", "half_pixel");
  exp_str(x, "mode", mode);
  exp_str(x, "coordinate_transformation_mode", coord);
  if (!strcmp(mode, "nearest")) exp_str(x, "nearest_mode", node_str(x->n, "nearest", "round_prefer_floor"));
  if (!strcmp(mode, "cubic")) exp_float(x, "cubic_coeff_a", node_float(x->n, "cubic_a", -0.75));
  exp_int(x, "exclude_outside", node_int(x->n, "exclude_outside", 0));
  exp_float(x, "extrapolation_value", node_float(x->n, "extrapolation", 0));
  if (node_int(x->n, "antialias", 0)) exp_int(x, "antialias", 1);
}

bool export_resize(Export *x) {
  const Attr *shape = node_dims(x->n, "shape"), *scale = node_attr(x->n, "scales");
  bool sizes, scales = scales_decide(exp_type(x, 0), shape->dims, scale->floats, &sizes);
  const char *roi = exp_in(x, 1);
  if (sizes) EXP(x, "Resize", exp_in(x, 0), roi, "", exp_sizes(x, shape->dims, shape->n));
  else if (scales) {
    Tensor *t = tensor_new(x->a, DT_F32, 1, (int64_t[]){scale->n});
    for (int k = 0; k < scale->n; k++) tensor_set(t, k, scale->floats[k]);
    EXP(x, "Resize", exp_in(x, 0), roi, exp_constant(x, t));
  } else return exp_fail(x, "neither its sizes nor its scales alone say what it does");
  const char *y = x->last->output[0];
  resize_attributes(x);
  return exp_give(x, 0, y);
}

bool export_grid_sample(Export *x) {
  bool ok = exp_direct(x, "GridSample");
  exp_str(x, "mode", node_str(x->n, "mode", "linear"));
  exp_str(x, "padding_mode", node_str(x->n, "padding", "zeros"));
  exp_int(x, "align_corners", node_int(x->n, "align_corners", 0));
  return ok;
}

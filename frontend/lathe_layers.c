/* Layers of the network language: functions that own parameters. Their shapes are PyTorch's (and ONNX's): a dense
 * weight is [out, in], a convolution's [out, in / groups, kernel…]; recurrent ones are ONNX's, whose op they are. */
#include "frontend/lathe_build.h"
#include "frontend/train_layers.h"
#include "base/intern.h"
#include <math.h>
#include <string.h>

static Type vector(DType t, Dim n) { return type_of(t, 1, &n); }

/* ---- dense ---- */

/* x @ transpose(weight) + bias, parameters named PART.weight and PART.bias; PART "" is the layer itself. */
static ValueId affine(Call *c, ValueId x, const char *part, Dim units, bool bias, const char *init) {
  Graph *g = c->l->g;
  Dim in = build_dim(g, x, -1);
  DType t = build_dtype(g, x);
  const char *dot = *part ? "." : "";
  Type shape = type_of(t, 2, (Dim[]){units, in});
  ValueId w = layer_parameter(c, intern_printf("%s%sweight", part, dot), shape, init, (double)in.k, (double)units.k);
  ValueId y = build_matmul(g, x, build_swap(g, w, 0, 1));
  if (!bias) return y;
  return build_add(g, y, layer_parameter(c, intern_printf("%s%sbias", part, dot), vector(t, units), "zeros", 1, 1));
}

static bool is_float(Call *c, int k) {
  if (dtype_is_float(call_type(c, k)->dtype)) return true;
  call_fail(c, k, "type", "takes floats, not %s", type_text(call_type(c, k)));
  lang_hint(c->l, "divide it (image / 255), or cast(x, \"f32\")");
  return false;
}

static bool is_positive(Call *c, int k, const char *what) {
  if (call_int(c, k) >= 1 && call_int(c, k) <= INT32_MAX) return true;
  call_fail(c, k, "shape", "%s is %lld, not from 1 to %d", what, (long long)call_int(c, k), INT32_MAX);
  return false;
}

Val layer_dense(Call *c) {
  if (!call_rank(c, 0, 2, MAX_RANK, "[..., in] of rank 2 or more") || !is_float(c, 0) ||
      !is_positive(c, 1, "units")) return val_error();
  ValueId y = affine(c, call_tensor(c, 0), "", call_dim(c, 1), call_bool(c, 2), layer_init(c, 3));
  follow_begin(c, y, "weight");
  return val_tensor(y);
}

/* ---- convolutions ---- */

enum { SPATIAL = MAX_RANK - 2 };
typedef struct Window { int n; int64_t kernel[SPATIAL], stride[SPATIAL], pad[2 * SPATIAL], dilation[SPATIAL]; } Window;

/* "same": as many results as strides fit into the input; an odd zero goes to the end. */
static bool pad_same(Call *c, int k, Window *w) {
  for (int i = 0; i < w->n; i++) {
    Dim in = call_type(c, 0)->dims[i + 2];
    int64_t extent = (w->kernel[i] - 1) * w->dilation[i] + 1, s = w->stride[i], total = extent - 1;
    if (s > 1 && !dim_is_const(in)) {
      call_fail(c, k, "shape", "pad=\"same\" with a stride needs a known size; %s is not", dim_text(in));
      return false;
    }
    if (s > 1) total = ((in.k + s - 1) / s - 1) * s + extent - in.k;
    if (total < 0) total = 0;
    w->pad[i] = total / 2;
    w->pad[i + w->n] = total - total / 2;
  }
  return true;
}

static bool read_pad(Call *c, int k, Window *w) {
  if (c->arg[k].kind == VAL_STR) {
    if (!strcmp(call_str(c, k), "same")) return pad_same(c, k, w);
    call_fail(c, k, "name", "pad is a number, a number per axis, or \"same\"");
    return false;
  }
  if (!call_ints(c, k, w->n, 0, w->pad)) return false;
  for (int i = 0; i < w->n; i++) w->pad[i + w->n] = w->pad[i];
  return true;
}

static int window_attrs(Call *c, const Window *w, Attr *a) {
  Module *m = c->l->m;
  a[0] = attr_ints(m, "strides", w->stride, w->n);
  a[1] = attr_ints(m, "pads", w->pad, 2 * w->n);
  a[2] = attr_ints(m, "dilations", w->dilation, w->n);
  return 3;
}

/* Arguments 2 … 5 are kernel, stride, pad, dilation; 6 is groups. */
static bool read_conv(Call *c, Window *w, int64_t *groups) {
  if (!call_rank(c, 0, 3, MAX_RANK, "[N, C, spatial axes]") || !is_float(c, 0)) return false;
  w->n = call_type(c, 0)->rank - 2;
  *groups = call_int(c, 6);
  Dim in = call_type(c, 0)->dims[1];
  int64_t out = call_int(c, 1);
  if (!is_positive(c, 1, "channels") || !is_positive(c, 6, "groups")) return false;
  if (!dim_is_const(in) || in.k % *groups || out % *groups) {
    call_fail(c, 6, "shape", "groups=%lld divides %s channels into %lld not evenly", (long long)*groups,
        dim_text(in), (long long)out);
    return false;
  }
  return call_ints(c, 2, w->n, 1, w->kernel) && call_ints(c, 3, w->n, 1, w->stride) &&
         call_ints(c, 5, w->n, 1, w->dilation) && read_pad(c, 4, w);
}

static Type kernel_type(DType t, Dim a, Dim b, const Window *w, double *taps) {
  Type k = type_of(t, 2, (Dim[]){a, b});
  *taps = 1;
  for (int i = 0; i < w->n; i++) {
    k.dims[k.rank++] = DIM(w->kernel[i]);
    *taps *= (double)w->kernel[i];
  }
  return k;
}

Val layer_conv(Call *c) {
  Window w = {0};
  int64_t groups;
  if (!read_conv(c, &w, &groups)) return val_error();
  Graph *g = c->l->g;
  ValueId x = call_tensor(c, 0);
  Dim in = DIM(build_dim(g, x, 1).k / groups), out = call_dim(c, 1);
  DType t = build_dtype(g, x);
  double taps;
  Type k = kernel_type(t, out, in, &w, &taps);
  ValueId weight = layer_parameter(c, "weight", k, layer_init(c, 8), (double)in.k * taps,
      (double)(out.k / groups) * taps);
  ValueId bias = call_bool(c, 7) ? layer_parameter(c, "bias", vector(t, out), "zeros", 1, 1) : 0;
  if (!weight || (call_bool(c, 7) && !bias)) return val_error();
  Attr a[4];
  int n = window_attrs(c, &w, a);
  a[n++] = attr_int("group", groups);
  ValueId y = build_op(g, OP_CONV, (ValueId[]){x, weight, bias}, bias ? 3 : 2, a, n);
  follow_begin(c, y, "weight");
  return val_tensor(y);
}

Val layer_conv_transpose(Call *c) {
  Window w = {0};
  int64_t groups, more[SPATIAL];
  if (!read_conv(c, &w, &groups) || !call_ints(c, 7, w.n, 0, more)) return val_error();
  Graph *g = c->l->g;
  ValueId x = call_tensor(c, 0);
  Dim in = build_dim(g, x, 1), out = call_dim(c, 1);
  DType t = build_dtype(g, x);
  double taps;
  Type k = kernel_type(t, in, DIM(out.k / groups), &w, &taps);
  ValueId weight = layer_parameter(c, "weight", k, layer_init(c, 9), (double)(in.k / groups) * taps,
      (double)(out.k / groups) * taps);
  ValueId bias = call_bool(c, 8) ? layer_parameter(c, "bias", vector(t, out), "zeros", 1, 1) : 0;
  if (!weight || (call_bool(c, 8) && !bias)) return val_error();
  Attr a[5];
  int n = window_attrs(c, &w, a);
  a[n++] = attr_ints(c->l->m, "output_padding", more, w.n);
  a[n++] = attr_int("group", groups);
  ValueId y = build_op(g, OP_CONV_TRANSPOSE, (ValueId[]){x, weight, bias}, bias ? 3 : 2, a, n);
  follow_begin(c, y, "weight");
  return val_tensor(y);
}

/* ---- embedding, parameter ---- */

Val layer_embedding(Call *c) {
  const Type *x = call_type(c, 0);
  if (!dtype_is_int(x->dtype)) return call_fail(c, 0, "type", "takes integers, not %s", type_text(x));
  if (!is_positive(c, 1, "count") || !is_positive(c, 2, "size")) return val_error();
  Type t = type_of(DT_F32, 2, (Dim[]){call_dim(c, 1), call_dim(c, 2)});
  ValueId w = layer_parameter(c, "weight", t, layer_init(c, 3), (double)call_int(c, 1), (double)call_int(c, 2));
  ValueId index = dtype_bytes(x->dtype) < 4 ? build_cast(c->l->g, call_tensor(c, 0), DT_I32) : call_tensor(c, 0);
  return val_tensor(build_gather(c->l->g, w, 0, index));
}

Val layer_plain_parameter(Call *c) {
  Type t = {.kind = KIND_TENSOR, .dtype = DT_F32};
  if (!call_shape(c, 0, t.dims, &t.rank)) return val_error();
  c->own_name = c->assigned;
  double out = t.rank ? (double)t.dims[0].k : 1, in = 1;
  for (int k = 1; k < t.rank; k++) in *= (double)t.dims[k].k;
  return val_tensor(layer_parameter(c, "", t, layer_init(c, 1), in, out));
}

/* ---- norms ---- */

Val layer_layer_norm(Call *c) {
  const Type t = *call_type(c, 0);
  int axis = call_axis(c, 1, t.rank);
  if (axis < 0 || !is_float(c, 0)) return val_error();
  Type part = type_of(t.dtype, t.rank - axis, t.dims + axis);
  ValueId in[] = {call_tensor(c, 0), layer_parameter(c, "weight", part, "ones", 1, 1),
                  call_bool(c, 3) ? layer_parameter(c, "bias", part, "zeros", 1, 1) : 0};
  if (!in[1] || (call_bool(c, 3) && !in[2])) return val_error();
  Attr a[] = {attr_int("axis", axis), attr_float("epsilon", call_float(c, 2))};
  ValueId y = build_op(c->l->g, OP_LAYER_NORM, in, in[2] ? 3 : 2, a, 2);
  follow_pass(c->l, in[0], y);
  return val_tensor(y);
}

Val layer_rms_norm(Call *c) {
  const Type t = *call_type(c, 0);
  int axis = call_axis(c, 1, t.rank);
  if (axis < 0 || !is_float(c, 0)) return val_error();
  Type part = type_of(t.dtype, t.rank - axis, t.dims + axis);
  ValueId in[] = {call_tensor(c, 0), layer_parameter(c, "weight", part, "ones", 1, 1)};
  Attr a[] = {attr_int("axis", axis), attr_float("epsilon", call_float(c, 2))};
  ValueId y = in[1] ? build_op(c->l->g, OP_RMS_NORM, in, 2, a, 2) : 0;
  follow_pass(c->l, in[0], y);
  return val_tensor(y);
}

static bool channel_factors(Call *c, ValueId *weight, ValueId *bias) {
  if (!call_rank(c, 0, 2, MAX_RANK, "[N, C, ...]") || !is_float(c, 0)) return false;
  Type v = vector(call_type(c, 0)->dtype, call_type(c, 0)->dims[1]);
  *weight = layer_parameter(c, "weight", v, "ones", 1, 1);
  *bias = layer_parameter(c, "bias", v, "zeros", 1, 1);
  return *weight && *bias;
}

Val layer_batch_norm(Call *c) {
  ValueId weight, bias, x = call_tensor(c, 0);
  if (!channel_factors(c, &weight, &bias)) return val_error();
  Type v = vector(DT_F32, call_type(c, 0)->dims[1]);
  const char *mean = layer_statistic(c, "running_mean", v, "zeros");
  const char *var = layer_statistic(c, "running_var", v, "ones");
  ValueId y = c->l->training ? batch_norm_train(c->l->m, x, weight, bias, mean, var, call_float(c, 1), call_float(c, 2))
                             : batch_norm_running(c->l->m, x, weight, bias, mean, var, call_float(c, 2));
  follow_pass(c->l, x, y);
  return val_tensor(y);
}

Val layer_group_norm(Call *c) {
  ValueId weight, bias, x = call_tensor(c, 0);
  if (!channel_factors(c, &weight, &bias)) return val_error();
  ValueId y = group_norm(c->l->g, x, call_int(c, 1), weight, bias, call_float(c, 2));
  follow_pass(c->l, x, y);
  return val_tensor(y);
}

/* ---- recurrent layers ---- */

typedef struct Cell {
  Op op;
  int gates, outputs;
  const char *const *activations;
  int nactivation;
  const char *extra;                   /* an attribute of this op alone */
  int extra_value;
} Cell;

static int cell_attrs(Call *c, const Cell *cell, int directions, Attr *a) {
  Module *m = c->l->m;
  int n = cell->nactivation * directions;
  const char *names[6];
  double zeros[6] = {0};
  for (int k = 0; k < n; k++) names[k] = cell->activations[k % cell->nactivation];
  a[0] = attr_int("hidden", call_int(c, 1));
  a[1] = attr_str("direction", directions == 2 ? "bidirectional" : "forward");
  a[2] = attr_strs(m, "activations", names, n);
  a[3] = attr_floats(m, "alpha", zeros, n);
  a[4] = attr_floats(m, "beta", zeros, n);
  a[5] = attr_float("clip", 0);
  if (cell->extra) a[6] = attr_int(cell->extra, cell->extra_value);
  return cell->extra ? 7 : 6;
}

/* Arguments of lstm, gru and rnn. */
enum { RECURRENT_STATE = 7, RECURRENT_STATES, RECURRENT_CELL };

/* States as the language has them: [N, layers * D * H]; as ops do: [D, N, H] of a layer. */
static ValueId state_of_layer(Call *c, int k, int layer, int64_t d, Dim rows) {
  Graph *g = c->l->g;
  int64_t h = call_int(c, 1);
  ValueId v = build_expand(g, call_tensor(c, k), (Dim[]){rows, DIM(call_int(c, 2) * d * h)}, 2);
  v = build_slice(g, v, 1, DIM(layer * d * h), DIM(d * h));
  return build_swap(g, build_reshape(g, v, (Dim[]){rows, DIM(d), DIM(h)}, 3), 0, 1);
}

static ValueId state_from_layer(Graph *g, ValueId v) {
  Dim shape[] = {build_dim(g, v, 1), dim_mul(build_dim(g, v, 0), build_dim(g, v, 2))};
  return build_reshape(g, build_swap(g, v, 0, 1), shape, 2);
}

static bool check_state(Call *c, int k, int64_t d, Dim rows) {
  if (!call_rank(c, k, 2, 2, "a state [N, layers * D * hidden]")) return false;
  const Type *t = call_type(c, k);
  int64_t size = call_int(c, 2) * d * call_int(c, 1);
  if (t->dtype == call_type(c, 0)->dtype && dim_is(t->dims[1], size) &&
      (dim_is(t->dims[0], 1) || dim_eq(t->dims[0], rows))) return true;
  call_fail(c, k, "shape", "begins with a state %s[%s,%lld], not %s", dtype_info[call_type(c, 0)->dtype].text,
      dim_text(rows), (long long)size, type_text(t));
  return false;
}

/* x [T, N, in] -> y [T, N, D * H] and what each layer ends with, [N, D * H]. */
static bool cell_layer(Call *c, const Cell *cell, int layer, int directions, ValueId *x, ValueId *state,
                       ValueId *memory) {
  Graph *g = c->l->g;
  int64_t h = call_int(c, 1), gates = cell->gates * h;
  Dim d = DIM(directions), in = build_dim(g, *x, 2), rows = build_dim(g, *x, 1);
  DType t = build_dtype(g, *x);
  const char *suffix = layer ? intern_printf("_%d", layer + 1) : "";
  const char *init = call_has(c, 6) ? layer_init(c, 6) : intern_printf("uniform(%.9g)", 1 / sqrt((double)h));
  Type weight = type_of(t, 3, (Dim[]){d, DIM(gates), in}), recurrent = type_of(t, 3, (Dim[]){d, DIM(gates), DIM(h)});
  Type bias = type_of(t, 2, (Dim[]){d, DIM(2 * gates)});
  bool starts = call_has(c, RECURRENT_STATE), remembers = cell->op == OP_LSTM && call_has(c, RECURRENT_CELL);
  ValueId node_in[] = {
    *x, layer_parameter(c, intern_printf("weight%s", suffix), weight, init, (double)in.k, (double)h),
    layer_parameter(c, intern_printf("recurrent%s", suffix), recurrent, init, (double)h, (double)h),
    layer_parameter(c, intern_printf("bias%s", suffix), bias, init, (double)h, (double)h), 0,
    starts ? state_of_layer(c, RECURRENT_STATE, layer, directions, rows) : 0,
    remembers ? state_of_layer(c, RECURRENT_CELL, layer, directions, rows) : 0};
  if (!node_in[1] || !node_in[2] || !node_in[3]) return false;
  Attr a[8];
  int n = cell_attrs(c, cell, directions, a), nin = remembers ? 7 : starts ? 6 : 4;
  ValueId out[3] = {0};
  if (!build_multi(g, cell->op, node_in, nin, a, n, out, cell->outputs)) return false;
  Dim shape[] = {build_dim(g, *x, 0), rows, DIM(directions * h)};
  *x = build_reshape(g, build_transpose(g, out[0], (int[]){0, 2, 1, 3}, 4), shape, 3);
  *state = state_from_layer(g, out[1]);
  *memory = out[2] ? state_from_layer(g, out[2]) : 0;
  return *x && *state;
}

enum { MOST_LAYERS = 1000 };

static bool check_recurrent(Call *c, const Cell *cell, int64_t d) {
  if (!call_rank(c, 0, 3, 3, "[N, T, in]") || !is_float(c, 0) || !is_positive(c, 1, "hidden") ||
      !is_positive(c, 2, "layers")) return false;
  if (call_int(c, 2) > MOST_LAYERS) { call_fail(c, 2, "shape", "more than %d layers", MOST_LAYERS); return false; }
  Dim rows = call_type(c, 0)->dims[0];
  return (!call_has(c, RECURRENT_STATE) || check_state(c, RECURRENT_STATE, d, rows)) &&
         (cell->op != OP_LSTM || !call_has(c, RECURRENT_CELL) || check_state(c, RECURRENT_CELL, d, rows));
}

static Val recurrent_layers(Call *c, const Cell *cell) {
  int directions = call_bool(c, 3) ? 2 : 1, layers = (int)call_int(c, 2);
  if (!check_recurrent(c, cell, directions)) return val_error();
  Graph *g = c->l->g;
  ValueId x = build_swap(g, call_tensor(c, 0), 0, 1);
  ValueId *state = NEW_N(c->l->a, ValueId, layers), *memory = NEW_N(c->l->a, ValueId, layers);
  for (int k = 0; k < layers; k++) {
    if (k) x = lang_dropout(c->l, x, call_float(c, 5));
    if (!cell_layer(c, cell, k, directions, &x, &state[k], &memory[k])) return val_error();
  }
  Val y = val_tensor(call_bool(c, 4) ? state[layers - 1] : build_swap(g, x, 0, 1));
  if (!call_bool(c, RECURRENT_STATES)) return y;
  Val all = {.kind = VAL_TUPLE, .n = cell->outputs, .at = NEW_N(c->l->a, Val, cell->outputs)};
  all.at[0] = y;
  all.at[1] = val_tensor(build_concat(g, 1, state, layers));
  if (cell->op == OP_LSTM) all.at[2] = val_tensor(build_concat(g, 1, memory, layers));
  return all;
}

Val layer_lstm(Call *c) {
  static const char *const f[] = {"Sigmoid", "Tanh", "Tanh"};
  return recurrent_layers(c, &(Cell){OP_LSTM, 4, 3, f, 3, "input_forget", 0});
}

Val layer_gru(Call *c) {
  static const char *const f[] = {"Sigmoid", "Tanh"};
  return recurrent_layers(c, &(Cell){OP_GRU, 3, 2, f, 2, "linear_before_reset", 1});
}

Val layer_rnn(Call *c) {
  static const char *const f[] = {"Tanh"};
  return recurrent_layers(c, &(Cell){OP_RNN, 1, 2, f, 1, NULL, 0});
}

/* ---- attention ---- */

/* [N, T, parts * D] -> part k as [N, heads, T, D / heads] */
static ValueId heads_of(Graph *g, ValueId x, int part, Dim width, int64_t heads) {
  ValueId v = build_slice(g, x, 2, dim_mul(width, DIM(part)), width);
  Dim shape[] = {build_dim(g, x, 0), build_dim(g, x, 1), DIM(heads), DIM(width.k / heads)};
  return build_swap(g, build_reshape(g, v, shape, 4), 1, 2);
}

/* Scores of what lies ahead become -inf: softmax gives them no weight. */
static ValueId mask_future(Graph *g, ValueId scores) {
  Dim s[] = {build_dim(g, scores, 2), build_dim(g, scores, 3)};
  ValueId ahead = build_op2(g, OP_GT, build_iota(g, DT_I64, s, 2, 1), build_iota(g, DT_I64, s, 2, 0));
  return build_where(g, ahead, build_scalar(g, build_dtype(g, scores), -INFINITY), scores);
}

Val layer_attention(Call *c) {
  if (!call_rank(c, 0, 3, 3, "[N, T, D]") || !is_float(c, 0) || !is_positive(c, 1, "heads")) return val_error();
  Graph *g = c->l->g;
  ValueId x = call_tensor(c, 0), q, k, v;
  Dim d = build_dim(g, x, 2);
  int64_t heads = call_int(c, 1);
  bool bias = call_bool(c, 4);
  const char *init = layer_init(c, 6);
  if (!dim_is_const(d) || d.k % heads)
    return call_fail(c, 1, "shape", "%lld heads do not divide the %s features evenly", (long long)heads, dim_text(d));
  if (call_has(c, 2)) {
    if (!call_rank(c, 2, 3, 3, "a context [N, S, E]")) return val_error();
    ValueId kv = affine(c, call_tensor(c, 2), "kv", dim_mul(d, DIM(2)), bias, init);
    q = heads_of(g, affine(c, x, "q", d, bias, init), 0, d, heads);
    k = heads_of(g, kv, 0, d, heads);
    v = heads_of(g, kv, 1, d, heads);
  } else {
    ValueId all = affine(c, x, "qkv", dim_mul(d, DIM(3)), bias, init);
    q = heads_of(g, all, 0, d, heads);
    k = heads_of(g, all, 1, d, heads);
    v = heads_of(g, all, 2, d, heads);
  }
  ValueId scores = build_mulc(g, build_matmul(g, q, build_swap(g, k, 2, 3)), 1 / sqrt((double)(d.k / heads)));
  if (call_bool(c, 3)) scores = mask_future(g, scores);
  ValueId share = lang_dropout(c->l, build_softmax(g, OP_SOFTMAX, scores, -1), call_float(c, 5));
  Dim shape[] = {build_dim(g, x, 0), build_dim(g, x, 1), d};
  ValueId y = build_reshape(g, build_swap(g, build_matmul(g, share, v), 1, 2), shape, 3);
  return val_tensor(affine(c, y, "out", d, bias, init));
}

/* Losses as graphs; see loss.h. Every function first makes the loss of each row or element, then reduces. */
#include "frontend/loss.h"
#include "base/intern.h"
#include <stdarg.h>
#include <string.h>

const char *const loss_reduction_text[] = {[LOSS_MEAN] = "mean", [LOSS_SUM] = "sum", [LOSS_EACH] = "none"};

const LossInfo loss_info[] = {
#define LOSS(name, target, params, what) {#name, TARGET_##target, what, loss_##name},
#include "frontend/losses.def"
#undef LOSS
};
const int loss_count = sizeof loss_info / sizeof *loss_info;

const LossInfo *loss_find(const char *name) {
  for (int k = 0; k < loss_count; k++)
    if (!strcmp(loss_info[k].name, name)) return &loss_info[k];
  return NULL;
}

LossSpec loss_default(void) {
  return (LossSpec){.ignore_index = -100, .axis = LOSS_AXIS_FOUND, .delta = 1, .margin = 1};
}

/* ---- what they share ---- */

static ValueId fail(Graph *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static ValueId fail(Graph *g, const char *fmt, ...) {
  char text[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  Source s = graph_source(g->module);
  const char *where = s.line > 0 ? intern_printf("line %d", s.line) : s.node;
  diag_error(g->module->diags, "shape", where, "%s", text);
  return 0;
}

static ValueId reduced(Graph *g, ValueId each, LossReduction how) {
  if (!each || how == LOSS_EACH) return each;
  if (how == LOSS_SUM) return build_reduce_all(g, OP_REDUCE_SUM, each);
  int axes[MAX_RANK], n = build_rank(g, each);
  for (int k = 0; k < n; k++) axes[k] = k;
  return build_mean(g, each, axes, n, false);
}

/* The target in x's type; it may broadcast to x, but x not to it: [N] against [N, 1] would silently be [N, N]. */
static ValueId like(Graph *g, const char *loss, ValueId x, ValueId target) {
  if (!x || !target) return 0;
  const Type *t = build_type(g, x), *u = build_type(g, target);
  bool fits = u->rank <= t->rank && dtype_is_float(t->dtype);
  for (int k = 0; fits && k < u->rank; k++)
    fits = dim_is(u->dims[k], 1) || dim_eq(u->dims[k], t->dims[t->rank - u->rank + k]);
  if (fits && u->rank > 0 && u->rank < t->rank) fits = false;
  if (!fits) return fail(g, "%s: the target is %s, which does not fit %s", loss, type_text(u), type_text(t));
  return build_cast(g, target, t->dtype);
}

/* Is t the type of one label per row, when the classes of x are along `axis`? */
static bool labels_fit(const Type *x, const Type *t, int axis) {
  if (t->rank != x->rank - 1 || axis >= x->rank) return false;
  for (int k = 0; k < t->rank; k++) if (!dim_eq(t->dims[k], x->dims[k + (k >= axis)])) return false;
  return true;
}

/* The axis of the classes, or -1 after an error. */
static int class_axis(Graph *g, const char *loss, ValueId x, ValueId target, const LossSpec *o) {
  if (!x || !target) return -1;
  const Type *t = build_type(g, x), *u = build_type(g, target);
  int usual = t->rank > 1 ? 1 : 0, axis = o->axis < 0 ? o->axis + t->rank : o->axis;
  bool labels = dtype_is_int(u->dtype);
  if (o->axis == LOSS_AXIS_FOUND) axis = !labels || labels_fit(t, u, usual) ? usual : t->rank - 1;
  bool fits = axis >= 0 && axis < t->rank && (labels ? labels_fit(t, u, axis) : type_same_shape(t, u));
  if (fits) return axis;
  fail(g, "%s: the target is %s, which does not fit %s with its classes along axis %d", loss, type_text(u),
       type_text(t), axis);
  diag_note(g->module->diags, "hint: a target has one integer label per row (the shape without the axis of the "
            "classes), or is a distribution of the same shape");
  return -1;
}

/* Labels: which rows count, and labels that may be looked up where they do not. */
typedef struct Rows { ValueId counts, label; } Rows;

static Rows rows_of(Graph *g, ValueId target, const LossSpec *o) {
  target = build_cast(g, target, DT_I64);
  ValueId counts = build_op2c(g, OP_NE, target, (double)o->ignore_index);
  return (Rows){counts, build_where(g, counts, target, build_scalar(g, DT_I64, 0))};
}

/* Each row's loss -> 0 where it does not count; the mean is over the weights of those that do. */
static ValueId of_rows(Graph *g, ValueId each, Rows r, const LossSpec *o) {
  DType t = build_dtype(g, each);
  ValueId zero = build_scalar(g, t, 0), loss = build_where(g, r.counts, each, zero);
  if (o->reduction != LOSS_MEAN) return reduced(g, loss, o->reduction);
  ValueId weight = build_cast(g, r.counts, t);
  if (o->weight) weight = build_where(g, r.counts, build_gather(g, build_cast(g, o->weight, t), 0, r.label), zero);
  return build_div(g, reduced(g, loss, LOSS_SUM), reduced(g, weight, LOSS_SUM));
}

/* ---- of classes ---- */

ValueId loss_cross_entropy(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  int axis = class_axis(g, "cross_entropy", x, target, o);
  if (axis < 0) return 0;
  bool labels = dtype_is_int(build_dtype(g, target));
  Rows r = {0};
  if (labels) r = rows_of(g, target, o);
  Attr a[] = {attr_int("axis", axis), attr_float("smoothing", o->label_smoothing)};
  ValueId weight = o->weight ? build_cast(g, o->weight, build_dtype(g, x)) : 0, out[3];
  ValueId in[] = {x, labels ? r.label : build_cast(g, target, build_dtype(g, x)), weight};
  if (!in[1] || !build_multi(g, OP_SOFTMAX_CROSS_ENTROPY, in, weight ? 3 : 2, a, 2, out, 3)) return 0;
  return labels ? of_rows(g, out[0], r, o) : reduced(g, out[0], o->reduction);
}

ValueId loss_perplexity(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  return build_op1(g, OP_EXP, loss_cross_entropy(g, x, target, o));
}

ValueId loss_nll(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  int axis = class_axis(g, "nll", x, target, o);
  if (axis < 0) return 0;
  if (!dtype_is_int(build_dtype(g, target))) return fail(g, "nll: the target has to be integer labels");
  Rows r = rows_of(g, target, o);
  Attr a = attr_int("axis", axis);
  ValueId label = build_unsqueeze(g, r.label, axis);
  ValueId picked = label ? build_op(g, OP_GATHER_ELEMENTS, (ValueId[]){x, label}, 2, &a, 1) : 0;
  ValueId each = build_neg(g, build_squeeze(g, picked, axis));
  if (o->weight) each = build_mul(g, each, build_gather(g, build_cast(g, o->weight, build_dtype(g, x)), 0, r.label));
  return each ? of_rows(g, each, r, o) : 0;
}

ValueId loss_accuracy(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  int axis = class_axis(g, "accuracy", x, target, o);
  if (axis < 0) return 0;
  Attr a[] = {attr_int("axis", axis), attr_int("keepdims", 0), attr_int("select_last", 0)};
  if (!dtype_is_int(build_dtype(g, target))) target = build_op(g, OP_ARGMAX, &target, 1, a, 3);
  Rows r = rows_of(g, target, o);
  ValueId hit = build_op2(g, OP_AND, build_op2(g, OP_EQ, build_op(g, OP_ARGMAX, &x, 1, a, 3), r.label), r.counts);
  ValueId hits = reduced(g, build_cast(g, hit, DT_F32), LOSS_SUM);
  return build_div(g, hits, reduced(g, build_cast(g, r.counts, DT_F32), LOSS_SUM));
}

ValueId loss_kl(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  target = like(g, "kl", x, target);
  if (!target) return 0;
  if (!build_rank(g, x)) return fail(g, "kl: one number is not a distribution");
  DType t = build_dtype(g, x);
  ValueId some = build_op2c(g, OP_GT, target, 0);                // 0 log 0 = 0
  ValueId log_target = build_op1(g, OP_LOG, build_where(g, some, target, build_scalar(g, t, 1)));
  ValueId each = build_mul(g, target, build_sub(g, log_target, x));
  if (o->reduction != LOSS_MEAN) return reduced(g, each, o->reduction);
  return build_div(g, reduced(g, each, LOSS_SUM), build_dim_value(g, t, build_dim(g, x, 0)));
}

/* ---- of numbers ---- */

/* (1 - t) x + l * log(1 + exp(-x)), l = 1 + (pos_weight - 1) t: no overflow on either side. */
ValueId loss_bce_logits(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  target = like(g, "bce_logits", x, target);
  if (!target) return 0;
  DType t = build_dtype(g, x);
  ValueId rest = build_op1(g, OP_SOFTPLUS, build_neg(g, x));
  if (o->pos_weight) {
    ValueId more = build_addc(g, build_cast(g, o->pos_weight, t), -1);
    rest = build_mul(g, rest, build_addc(g, build_mul(g, more, target), 1));
  }
  ValueId each = build_add(g, build_mul(g, build_c2op(g, OP_SUB, 1, target), x), rest);
  if (o->weight) each = build_mul(g, each, build_cast(g, o->weight, t));
  return reduced(g, each, o->reduction);
}

ValueId loss_mse(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  ValueId d = build_sub(g, x, like(g, "mse", x, target));
  return reduced(g, build_mul(g, d, d), o->reduction);
}

ValueId loss_mae(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  return reduced(g, build_op1(g, OP_ABS, build_sub(g, x, like(g, "mae", x, target))), o->reduction);
}

ValueId loss_huber(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  ValueId d = build_op1(g, OP_ABS, build_sub(g, x, like(g, "huber", x, target)));
  ValueId near = build_mulc(g, build_mul(g, d, d), 0.5);
  ValueId far = build_mulc(g, build_addc(g, d, -0.5 * o->delta), o->delta);
  return reduced(g, build_where(g, build_op2c(g, OP_LT, d, o->delta), near, far), o->reduction);
}

ValueId loss_hinge(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  ValueId agrees = build_mul(g, x, like(g, "hinge", x, target));
  return reduced(g, build_op1(g, OP_RELU, build_c2op(g, OP_SUB, o->margin, agrees)), o->reduction);
}

ValueId loss_cosine(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  target = like(g, "cosine", x, target);
  if (!target) return 0;
  int rank = build_rank(g, x), axis = o->axis < 0 ? o->axis + rank : o->axis;
  if (o->axis == LOSS_AXIS_FOUND) axis = rank - 1;
  if (axis < 0 || axis >= rank)
    return fail(g, "cosine: there is no axis %d in %s", o->axis, type_text(build_type(g, x)));
  target = build_expand(g, target, build_type(g, x)->dims, rank);
  ValueId dot = build_reduce(g, OP_REDUCE_SUM, build_mul(g, x, target), &axis, 1, false), length[2];
  for (int k = 0; k < 2; k++) {
    ValueId v = k ? target : x, square = build_reduce(g, OP_REDUCE_SUM, build_mul(g, v, v), &axis, 1, false);
    length[k] = build_op2c(g, OP_MAX, square, 1e-16);            // PyTorch: lengths of at least 1e-8
  }
  ValueId cosine = build_div(g, dot, build_op1(g, OP_SQRT, build_mul(g, length[0], length[1])));
  return reduced(g, build_c2op(g, OP_SUB, 1, cosine), o->reduction);
}

/* ---- of sequences ---- */

/* How many labels of each row are not blank: [N, S] -> [N]. */
static ValueId labels_of_rows(Graph *g, ValueId target, int64_t blank) {
  ValueId some = build_cast(g, build_op2c(g, OP_NE, target, (double)blank), DT_I64);
  return build_reduce(g, OP_REDUCE_SUM, some, (int[]){1}, 1, false);
}

ValueId loss_ctc(Graph *g, ValueId x, ValueId target, const LossSpec *o) {
  if (!x || !target) return 0;
  const Type t = *build_type(g, x), u = *build_type(g, target);
  if (t.rank != 3 || u.rank != 2 || !dtype_is_int(u.dtype) || !dim_eq(u.dims[0], t.dims[1]))
    return fail(g, "ctc: the target is %s, which does not fit %s: it takes integers [N, S] for [T, N, C]",
                type_text(&u),
                type_text(&t));
  target = build_cast(g, target, DT_I64);
  ValueId steps = build_expand(g, build_dim_value(g, DT_I64, t.dims[0]), &t.dims[1], 1);
  ValueId in[] = {x, target, o->input_lengths ? build_cast(g, o->input_lengths, DT_I64) : steps,
                  o->target_lengths ? build_cast(g, o->target_lengths, DT_I64) : labels_of_rows(g, target, o->blank)};
  ValueId out[2];
  Attr a = attr_int("blank", o->blank);
  if (!in[2] || !in[3] || !build_multi(g, OP_CTC_LOSS, in, 4, &a, 1, out, 2)) return 0;
  if (o->reduction != LOSS_MEAN) return reduced(g, out[0], o->reduction);
  ValueId length = build_cast(g, build_op2c(g, OP_MAX, in[3], 1), DT_F32);
  return reduced(g, build_div(g, out[0], length), LOSS_MEAN);
}

/* Elementwise ops: every row of scalar.def, with numpy broadcasting. The meaning of one element is
 * scalar_eval_float / _int / _uint; here is only the walk over the elements. Floats compute in double and are
 * rounded on store, integers in 64 bits and wrap. `where` moves elements of any type; strings have eq and ne. */
#include "ir/eval_kit.h"


enum { MAX_ARITY = 3 };

/* Walks the output row by row along the last axis; at[k] is the element of input k at the row's start. */
typedef struct Walk { int arity, rank; int64_t i[MAX_RANK], stride[MAX_ARITY][MAX_RANK], at[MAX_ARITY]; } Walk;

static void walk_begin(Walk *w, const Tensor *y, const Tensor *const *in, int arity) {
  memset(w, 0, sizeof *w);
  w->arity = arity;
  w->rank = y->rank;
  for (int k = 0; k < arity; k++) {
    int64_t step = 1;
    for (int d = in[k]->rank - 1; d >= 0; d--) {
      w->stride[k][d + y->rank - in[k]->rank] = in[k]->dims[d] == 1 ? 0 : step;
      step *= in[k]->dims[d];
    }
  }
}

static bool walk_next_row(Walk *w, const Tensor *y) {
  if (!index_next(w->i, y->dims, w->rank - 1)) return false;
  for (int k = 0; k < w->arity; k++) {
    w->at[k] = 0;
    for (int d = 0; d < w->rank - 1; d++) w->at[k] += w->i[d] * w->stride[k][d];
  }
  return true;
}

/* The row loop for one element type: V is how elements travel, F the function of scalar.def. */
#define ROWS(V, F, load, results)                                                            \
  do {                                                                                       \
    V *x[MAX_ARITY] = {0}, *y = NEW_N(&tmp, V, tensor_count(out) + 1), *p = y;               \
    for (int k = 0; k < arity; k++)                                                          \
      x[k] = k && in[k] == in[k - 1] ? x[k - 1] : load(&tmp, in[k]);                         \
    int64_t row = out->rank ? out->dims[out->rank - 1] : 1, step[MAX_ARITY] = {0};           \
    for (int k = 0; k < arity; k++) step[k] = out->rank ? w.stride[k][out->rank - 1] : 0;    \
    do {                                                                                     \
      const V *a = x[0] + w.at[0], *b = arity > 1 ? x[1] + w.at[1] : a,                      \
              *c = arity > 2 ? x[2] + w.at[2] : a;                                           \
      for (int64_t j = 0; j < row; j++)                                                      \
        *p++ = F(op, a[j * step[0]], b[j * step[1]], c[j * step[2]]);                     \
    } while (walk_next_row(&w, out));                                                        \
    results(out, y);                                                                         \
  } while (0)

static uint64_t eval_signed(ScalarOp op, uint64_t a, uint64_t b, uint64_t c) {
  return (uint64_t)scalar_eval_int(op, (int64_t)a, (int64_t)b, (int64_t)c);
}

/* where: moves elements of any type, strings included. in: cond, x, y */
static void eval_where(const Tensor *const *in, Tensor *out) {
  size_t bytes = (size_t)dtype_bytes(out->dtype);
  Walk w;
  walk_begin(&w, out, in, 3);
  int64_t row = out->rank ? out->dims[out->rank - 1] : 1, at = 0;
  int last = out->rank ? out->rank - 1 : 0;
  do {
    for (int64_t j = 0; j < row; j++, at++) {
      bool cond = ((const uint8_t *)in[0]->data)[w.at[0] + j * w.stride[0][last]];
      int k = cond ? 1 : 2;
      copy_element(out->data, at, in[k]->data, w.at[k] + j * w.stride[k][last], bytes);
    }
  } while (walk_next_row(&w, out));
}

static bool eval_string_equal(Eval *e, const Node *n, const Tensor *const *in, Tensor *out, ScalarOp op) {
  if (op != S_EQ && op != S_NE) return eval_fail(e, n, "%s is not defined for strings", scalar_info[op].text);
  Walk w;
  walk_begin(&w, out, in, 2);
  int64_t row = out->rank ? out->dims[out->rank - 1] : 1, at = 0;
  int last = out->rank ? out->rank - 1 : 0;
  const char *const *x = in[0]->data, *const *y = in[1]->data;
  do {
    for (int64_t j = 0; j < row; j++) {
      const char *s = x[w.at[0] + j * w.stride[0][last]], *t = y[w.at[1] + j * w.stride[1][last]];
      bool same = !strcmp(s ? s : "", t ? t : "");
      ((uint8_t *)out->data)[at++] = same == (op == S_EQ);
    }
  } while (walk_next_row(&w, out));
  return true;
}

bool eval_scalar_node(Eval *e, const Node *n, const Tensor *const *in, Tensor **outs) {
  ScalarOp op = op_scalar(n->op);
  int arity = scalar_info[op].arity;
  Tensor *out = outs[0];
  if (n->nin < arity) return eval_fail(e, n, "takes %d inputs, got %d", arity, n->nin);
  for (int k = 0; k < arity; k++)
    if (!in[k]) return eval_fail(e, n, "input %d is absent", k);
  if (!out)
    return eval_fail(e, n, "its shape %s has a symbol without a value", type_text(&value_of(e->m, n->out[0])->type));
  for (int k = 0; k < arity; k++)
    for (int d = 1; d <= in[k]->rank; d++)
      if (d > out->rank || (in[k]->dims[in[k]->rank - d] != out->dims[out->rank - d] &&
                            in[k]->dims[in[k]->rank - d] != 1))
        return eval_fail(e, n, "input %d is %s, which does not broadcast to %s", k, tensor_type_text(in[k]),
                         tensor_type_text(out));
  if (tensor_count(out) == 0) return true;
  if (op == S_WHERE) { eval_where(in, out); return true; }
  const Tensor *decides = in[arity - 1];                        // the type it computes in
  if (decides->dtype == DT_STRING) return eval_string_equal(e, n, in, out, op);
  if (dtype_info[decides->dtype].cls == CLASS_COMPLEX)
    return eval_fail(e, n, "complex numbers are not supported by %s", scalar_info[op].text);
  Arena tmp = {0};
  Walk w;
  walk_begin(&w, out, in, arity);
  if (tensor_is_float(decides)) ROWS(double, scalar_eval_float, load_doubles, store_doubles);
  else if (dtype_info[decides->dtype].cls == CLASS_INT) ROWS(uint64_t, eval_signed, load_words, store_words);
  else ROWS(uint64_t, scalar_eval_uint, load_words, store_words);
  arena_free(&tmp);
  return true;
}

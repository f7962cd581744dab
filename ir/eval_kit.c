/* See eval_kit.h: loading, storing and walking tensors for the evaluator. */
#include "ir/eval_kit.h"
#include <float.h>

double *load_doubles(Arena *a, const Tensor *t) {
  int64_t n = tensor_count(t);
  double *v = NEW_N(a, double, n + 1);
  if (t->dtype == DT_F32) for (int64_t i = 0; i < n; i++) v[i] = ((const float *)t->data)[i];
  else if (t->dtype == DT_F64) { if (n) memcpy(v, t->data, sizeof *v * (size_t)n); }
  else for (int64_t i = 0; i < n; i++) v[i] = tensor_get(t, i);
  return v;
}

uint64_t *load_words(Arena *a, const Tensor *t) {
  int64_t n = tensor_count(t);
  uint64_t *v = NEW_N(a, uint64_t, n + 1);
  for (int64_t i = 0; i < n; i++) v[i] = (uint64_t)tensor_get_int(t, i);
  return v;
}

void store_doubles(Tensor *t, const double *v) {
  int64_t n = tensor_count(t);
  if (t->dtype == DT_F32) for (int64_t i = 0; i < n; i++) ((float *)t->data)[i] = (float)v[i];
  else for (int64_t i = 0; i < n; i++) store_double(t, i, v[i]);
}

void store_double(Tensor *t, int64_t i, double v) {
  DType to = t->dtype;
  if (dtype_is_float(to)) { tensor_set(t, i, v); return; }
  if (to == DT_BOOL) { tensor_set_int(t, i, v != 0); return; }
  v = trunc(v);
  if (isnan(v)) tensor_set_int(t, i, 0);
  else if (v <= lowest_double(to)) tensor_set_int(t, i, (int64_t)lowest_word(to));
  else if (v >= highest_double(to)) tensor_set_int(t, i, (int64_t)highest_word(to));   // may have been rounded up
  else tensor_set_int(t, i, v < 9223372036854775808.0 ? (int64_t)v : (int64_t)(uint64_t)v);
}

void store_words(Tensor *t, const uint64_t *v) {
  int64_t n = tensor_count(t);
  for (int64_t i = 0; i < n; i++) tensor_set_int(t, i, (int64_t)v[i]);
}

double lowest_double(DType t) {
  if (dtype_is_float(t)) return -INFINITY;
  return dtype_info[t].cls == CLASS_INT ? (double)(int64_t)lowest_word(t) : 0;
}

double highest_double(DType t) {
  if (dtype_is_float(t)) return INFINITY;
  return dtype_info[t].cls == CLASS_INT ? (double)(int64_t)highest_word(t) : (double)highest_word(t);
}

uint64_t lowest_word(DType t) {
  return dtype_info[t].cls == CLASS_INT ? ~UINT64_C(0) << (dtype_info[t].bits - 1) : 0;
}

uint64_t highest_word(DType t) {
  if (t == DT_BOOL) return 1;
  int bits = dtype_info[t].bits - (dtype_info[t].cls == CLASS_INT);
  return bits >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1;
}

int64_t dims_product(const int64_t *dims, int from, int to) {
  int64_t n = 1;
  for (int k = from; k < to; k++) n *= dims[k];
  return n;
}

void dims_strides(const int64_t *dims, int rank, int64_t *stride) {
  int64_t step = 1;
  for (int k = rank - 1; k >= 0; k--) { stride[k] = step; step *= dims[k]; }
}

bool index_next(int64_t *i, const int64_t *dims, int rank) {
  for (int k = rank - 1; k >= 0; k--) {
    if (++i[k] < dims[k]) return true;
    i[k] = 0;
  }
  return false;
}

int64_t index_flat(const int64_t *i, const int64_t *dims, int rank) {
  int64_t flat = 0;
  for (int k = 0; k < rank; k++) flat = flat * dims[k] + i[k];
  return flat;
}

int eval_attr(Eval *e, const Node *n, const char *name, int64_t *v, int max) {
  const Attr *a = node_dims(n, name);
  if (!a) return 0;
  int len = a->n < max ? a->n : max;
  for (int k = 0; k < len; k++) v[k] = eval_dim(e, a->dims[k]);
  return len;
}

void copy_strided(Tensor *y, const Tensor *x, int64_t base, const int64_t *stride) {
  if (tensor_count(y) == 0) return;
  size_t bytes = (size_t)dtype_bytes(y->dtype);
  int last = y->rank - 1;
  int64_t i[MAX_RANK] = {0}, at = 0, row = y->rank ? y->dims[last] : 1, step = y->rank ? stride[last] : 0;
  do {
    int64_t from = base;
    for (int k = 0; k < last; k++) from += i[k] * stride[k];
    if (bytes == 4)
      for (int64_t j = 0; j < row; j++) ((uint32_t *)y->data)[at + j] = ((const uint32_t *)x->data)[from + j * step];
    else
      for (int64_t j = 0; j < row; j++) copy_element(y->data, at + j, x->data, from + j * step, bytes);
    at += row;
  } while (index_next(i, y->dims, last));
}

Tensor *tensor_like(Arena *a, const Tensor *t, int rank, const int64_t *dims) {
  return tensor_new(a, t->dtype, rank, dims);
}

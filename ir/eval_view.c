/* Views: the elements of an input elsewhere, none computed. They move bytes, so every element type works.
 * Gathers check their indices. cast and bitcast are here because they keep places and change only elements. */
#include "ir/eval_kit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* The same elements in the same order. */
static bool same_elements(Eval *e, const Node *n, const Tensor *x, Tensor *y) {
  if (tensor_bytes(x) != tensor_bytes(y))
    return eval_fail(e, n, "%s does not have as many elements as %s", tensor_type_text(x), tensor_type_text(y));
  if (tensor_bytes(y)) memcpy(y->data, x->data, tensor_bytes(y));
  return true;
}

bool eval_reshape(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return same_elements(e, n, in[0], out[0]);
}
bool eval_copy(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return same_elements(e, n, in[0], out[0]);
}
bool eval_stop_gradient(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return same_elements(e, n, in[0], out[0]);
}
bool eval_bitcast(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  return same_elements(e, n, in[0], out[0]);
}

/* y[i] = x[j], j[perm[k]] = i[k] */
bool eval_transpose(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  int64_t perm[MAX_RANK], stride[MAX_RANK], through[MAX_RANK] = {0};
  if (eval_attr(e, n, "perm", perm, MAX_RANK) != in[0]->rank)
    return eval_fail(e, n, "perm does not have one entry per axis of %s", tensor_type_text(in[0]));
  dims_strides(in[0]->dims, in[0]->rank, stride);
  for (int k = 0; k < in[0]->rank; k++) through[k] = stride[perm[k]];
  copy_strided(out[0], in[0], 0, through);
  return true;
}

bool eval_expand(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0];
  int64_t stride[MAX_RANK], through[MAX_RANK] = {0};
  int new_axes = out[0]->rank - x->rank;
  dims_strides(x->dims, x->rank, stride);
  for (int k = 0; k < x->rank; k++) {
    through[k + new_axes] = x->dims[k] == 1 ? 0 : stride[k];
    if (x->dims[k] != 1 && x->dims[k] != out[0]->dims[k + new_axes])
      return eval_fail(e, n, "%s does not broadcast to %s", tensor_type_text(x), tensor_type_text(out[0]));
  }
  copy_strided(out[0], x, 0, through);
  return true;
}

bool eval_slice(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *y = out[0];
  int64_t starts[MAX_RANK], steps[MAX_RANK], stride[MAX_RANK], base = 0;
  if (eval_attr(e, n, "starts", starts, MAX_RANK) != x->rank || eval_attr(e, n, "steps", steps, MAX_RANK) != x->rank)
    return eval_fail(e, n, "starts and steps need one entry per axis of %s", tensor_type_text(x));
  if (tensor_count(y) == 0) return true;
  dims_strides(x->dims, x->rank, stride);
  for (int k = 0; k < x->rank; k++) {
    int64_t end = starts[k] + (y->dims[k] - 1) * steps[k];
    if (starts[k] < 0 || starts[k] >= x->dims[k] || end < 0 || end >= x->dims[k])
      return eval_fail(e, n, "axis %d: elements %lld..%lld of %lld", k, (long long)starts[k], (long long)end,
                       (long long)x->dims[k]);
    base += starts[k] * stride[k];
    stride[k] *= steps[k];
  }
  copy_strided(out[0], x, base, stride);
  return true;
}

/* Which element of a line of n an element i outside [0, n) shows; -1: the constant. */
static int64_t pad_source(int64_t i, int64_t n, char mode) {
  if (i >= 0 && i < n) return i;
  if (n == 0 || mode == 'c') return -1;
  if (mode == 'e') return i < 0 ? 0 : n - 1;
  if (mode == 'w') return ((i % n) + n) % n;
  if (n == 1) return 0;
  int64_t period = 2 * (n - 1), r = ((i % period) + period) % period;     // reflect: 0 1 2 … n-1 n-2 … 1 | 0 1 …
  return r < n ? r : period - r;
}

/* Negative amounts crop first; the padding then shows what the crop has left. */
bool eval_pad(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *value = n->nin > 1 ? in[1] : NULL;
  Tensor *y = out[0];
  char mode = node_str(n, "mode", "constant")[0];
  size_t bytes = (size_t)dtype_bytes(y->dtype);
  int64_t before[MAX_RANK], after[MAX_RANK], stride[MAX_RANK], i[MAX_RANK] = {0}, at = 0;
  if (eval_attr(e, n, "before", before, MAX_RANK) != x->rank || eval_attr(e, n, "after", after, MAX_RANK) != x->rank)
    return eval_fail(e, n, "before and after need one entry per axis of %s", tensor_type_text(x));
  if (tensor_count(y) == 0) return true;
  dims_strides(x->dims, x->rank, stride);
  do {
    int64_t from = 0;
    for (int k = 0; k < x->rank && from >= 0; k++) {
      int64_t crop = before[k] < 0 ? -before[k] : 0, left = x->dims[k] - crop + (after[k] < 0 ? after[k] : 0);
      int64_t j = pad_source(i[k] - (before[k] > 0 ? before[k] : 0), left, mode);
      from = j < 0 ? -1 : from + (j + crop) * stride[k];
    }
    if (from >= 0) copy_element(y->data, at, x->data, from, bytes);
    else if (value && tensor_count(value)) copy_element(y->data, at, value->data, 0, bytes);
    else if (mode != 'c')
      return eval_fail(e, n, "nothing to take the padding from: %s has an empty axis", tensor_type_text(x));
    at++;                                                        // absent value: y is zeroed
  } while (index_next(i, y->dims, y->rank));
  return true;
}

bool eval_concat(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  Tensor *y = out[0];
  int axis = (int)node_int(n, "axis", 0);
  size_t bytes = (size_t)dtype_bytes(y->dtype);
  int64_t outer = dims_product(y->dims, 0, axis), row = dims_product(y->dims, axis, y->rank), at = 0;
  for (int k = 0; k < n->nin; k++) {
    int64_t part = dims_product(in[k]->dims, axis, in[k]->rank);   // elements per outer index
    if (at + part > row || part * outer != tensor_count(in[k])) return eval_fail(e, n, "input %d does not fit", k);
    for (int64_t o = 0; o < outer && part; o++)
      memcpy((char *)y->data + (size_t)(o * row + at) * bytes, (const char *)in[k]->data + (size_t)(o * part) * bytes,
             (size_t)part * bytes);
    at += part;
  }
  return at == row || !outer ? true : eval_fail(e, n, "its inputs do not fill %s", tensor_type_text(y));
}

static bool bad_index(Eval *e, const Node *n, int64_t i, int64_t size) {
  return eval_fail(e, n, "index %lld is outside an axis of size %lld", (long long)i, (long long)size);
}

/* y[a, i…, b] = x[a, idx[i…], b] */
bool eval_gather(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *idx = in[1];
  int axis = (int)node_int(n, "axis", 0);
  size_t bytes = (size_t)dtype_bytes(x->dtype);
  int64_t outer = dims_product(x->dims, 0, axis), size = x->dims[axis];
  int64_t inner = dims_product(x->dims, axis + 1, x->rank), count = tensor_count(idx);
  if (!inner) return true;
  for (int64_t a = 0; a < outer; a++)
    for (int64_t k = 0; k < count; k++) {
      int64_t j = tensor_get_int(idx, k);
      if (!index_wrap(&j, size)) return bad_index(e, n, tensor_get_int(idx, k), size);
      memcpy((char *)out[0]->data + (size_t)((a * count + k) * inner) * bytes,
             (const char *)x->data + (size_t)((a * size + j) * inner) * bytes, (size_t)inner * bytes);
    }
  return true;
}

/* y[i] = x[i with i[axis] = idx[i]]; idx may be smaller than x on the other axes */
bool eval_gather_elements(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *idx = in[1];
  int axis = (int)node_int(n, "axis", 0);
  int64_t i[MAX_RANK] = {0}, at = 0;
  if (tensor_count(idx) == 0) return true;
  do {
    int64_t j[MAX_RANK];
    memcpy(j, i, sizeof j);
    j[axis] = tensor_get_int(idx, at);
    if (!index_wrap(&j[axis], x->dims[axis])) return bad_index(e, n, tensor_get_int(idx, at), x->dims[axis]);
    copy_element(out[0]->data, at++, x->data, index_flat(j, x->dims, x->rank), (size_t)dtype_bytes(x->dtype));
  } while (index_next(i, idx->dims, idx->rank));
  return true;
}

/* x [B…, d1…dk, rest…], idx [B…, i…, k] -> y [B…, i…, rest…] */
bool eval_gather_nd(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *idx = in[1];
  int batch_dims = (int)node_int(n, "batch_dims", 0), k = (int)idx->dims[idx->rank - 1];
  int64_t batches = dims_product(idx->dims, 0, batch_dims);
  int64_t picks = dims_product(idx->dims, batch_dims, idx->rank - 1);    // per batch
  int64_t whole = dims_product(x->dims, batch_dims, x->rank), rest = dims_product(x->dims, batch_dims + k, x->rank);
  size_t bytes = (size_t)dtype_bytes(x->dtype);
  for (int64_t b = 0; b < batches; b++)
    for (int64_t p = 0; p < picks; p++) {
      int64_t from = 0, at = b * picks + p;
      for (int d = 0; d < k; d++) {
        int64_t size = x->dims[batch_dims + d], j = tensor_get_int(idx, at * k + d);
        if (!index_wrap(&j, size)) return bad_index(e, n, j, size);
        from = from * size + j;
      }
      if (rest) memcpy((char *)out[0]->data + (size_t)(at * rest) * bytes,
                       (const char *)x->data + (size_t)(b * whole + from * rest) * bytes, (size_t)rest * bytes);
    }
  return true;
}

/* y[i] = i[axis] */
bool eval_iota(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)e; (void)in;
  Tensor *y = out[0];
  if (y->rank == 0 || tensor_count(y) == 0) return true;
  int axis = (int)node_int(n, "axis", 0);
  int64_t i[MAX_RANK] = {0}, at = 0;
  do {
    if (tensor_is_float(y)) tensor_set(y, at++, (double)i[axis]);
    else tensor_set_int(y, at++, i[axis]);
  } while (index_next(i, y->dims, y->rank));
  return true;
}

bool eval_dims(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  (void)in;
  const Attr *dims = node_dims(n, "dims");
  for (int k = 0; dims && k < dims->n; k++) {
    int64_t v;
    if (!eval_dim_known(e, dims->dims[k], &v))
      return eval_fail(e, n, "'%s' has no value here", dim_text(dims->dims[k]));
    tensor_set_int(out[0], k, v);
  }
  return true;
}

/* ---- cast ---- */

/* The shortest decimal that reads back as the same value. */
static const char *number_text(Arena *a, const Tensor *t, int64_t i) {
  if (!tensor_is_float(t))
    return dtype_info[t->dtype].cls == CLASS_INT ? arena_printf(a, "%lld", (long long)tensor_get_int(t, i))
                                                 : arena_printf(a, "%llu", (unsigned long long)tensor_get_int(t, i));
  double v = tensor_get(t, i);
  if (isnan(v)) return "NaN";
  if (isinf(v)) return v < 0 ? "-INF" : "INF";
  for (int digits = 1;; digits++) {
    char s[40];
    snprintf(s, sizeof s, "%.*g", digits, v);
    double back = strtod(s, NULL);
    if (digits >= 17 || (t->dtype == DT_F64 ? back == v : (float)back == (float)v)) return arena_strdup(a, s);
  }
}

static bool cast_strings(Eval *e, const Node *n, const Tensor *x, Tensor *y) {
  int64_t count = tensor_count(x);
  for (int64_t i = 0; i < count; i++) {
    if (x->dtype == y->dtype) { copy_element(y->data, i, x->data, i, sizeof(char *)); continue; }
    if (y->dtype == DT_STRING) { ((const char **)y->data)[i] = number_text(&e->own, x, i); continue; }
    const char *s = ((const char *const *)x->data)[i];
    char *end = NULL;
    errno = 0;
    double v = 0;
    if (tensor_is_float(y)) tensor_set(y, i, v = s ? strtod(s, &end) : 0);
    else tensor_set_int(y, i, s ? strtoll(s, &end, 10) : 0);
    if (!s || end == s || *end) return eval_fail(e, n, "'%s' is not a number", s ? s : "");
  }
  return true;
}

/* A float as an integer of 64 bits, towards zero; what does not fit, and NaN, is 0. tensor_set_int then keeps the
 * low bits, so -9 becomes 7 as an i4: C has no answer there, the ONNX references and the loop interpreter have this. */
static int64_t integer_part(DType to, double v) {
  if (!(v > -9223372036854775808.0)) return v == -9223372036854775808.0 && to != DT_U64 ? INT64_MIN : 0;
  if (v < 9223372036854775808.0) return (int64_t)v;
  return to == DT_U64 && v < 18446744073709551616.0 ? (int64_t)(uint64_t)v : 0;
}

/* Integers wrap. `saturate` concerns the one-byte floats only. */
bool eval_cast(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0];
  Tensor *y = out[0];
  bool saturate = node_int(n, "saturate", 1) != 0;
  int64_t count = tensor_count(x);
  DType to = y->dtype;
  if (x->dtype == DT_STRING || to == DT_STRING) return cast_strings(e, n, x, y);
  if (x->dtype == to) return same_elements(e, n, x, y);
  if (dtype_info[x->dtype].cls == CLASS_COMPLEX || dtype_info[to].cls == CLASS_COMPLEX)
    return eval_fail(e, n, "casts to and from complex numbers are not supported");
  for (int64_t i = 0; i < count; i++) {
    if (tensor_is_float(x) && tensor_is_float(y) && dtype_bytes(to) == 1)
      ((uint8_t *)y->data)[i] = (uint8_t)narrow_from_float(to, (float)tensor_get(x, i), saturate);
    else if (tensor_is_float(x) && (tensor_is_float(y) || to == DT_BOOL)) tensor_set(y, i, tensor_get(x, i));
    else if (tensor_is_float(x)) tensor_set_int(y, i, integer_part(to, tensor_get(x, i)));
    else if (tensor_is_float(y)) {
      int64_t v = tensor_get_int(x, i);
      bool is_signed = dtype_info[x->dtype].cls == CLASS_INT;
      if (to == DT_F64) ((double *)y->data)[i] = is_signed ? (double)v : (double)(uint64_t)v;
      else tensor_set(y, i, is_signed ? (float)v : (float)(uint64_t)v);   // one rounding, not two
    } else if (to == DT_BOOL) tensor_set_int(y, i, tensor_get_int(x, i) != 0);
    else tensor_set_int(y, i, tensor_get_int(x, i));
  }
  return true;
}

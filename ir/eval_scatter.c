/* scatter_elements and scatter_nd: y = x, then y[…] = reduce(y[…], update) in the order of the updates.
 * reduction none moves bytes, so it works for every type; the others compute in double or in words. */
#include "ir/eval_kit.h"

typedef struct Scatter {
  Arena tmp;
  DType dtype;
  char how[8];
  bool floats;
  double *f, *uf;
  uint64_t *w, *uw;
  Tensor *y;
  const Tensor *updates;
} Scatter;

static void scatter_begin(Scatter *s, const Node *n, const Tensor *x, const Tensor *updates, Tensor *y) {
  memset(s, 0, sizeof *s);
  s->dtype = x->dtype; s->y = y; s->updates = updates; s->floats = tensor_is_float(x);
  strncpy(s->how, node_str(n, "reduction", "none"), sizeof s->how - 1);
  if (tensor_bytes(x)) memcpy(y->data, x->data, tensor_bytes(x));
  if (s->how[0] == 'n') return;
  if (s->floats) { s->f = load_doubles(&s->tmp, x); s->uf = load_doubles(&s->tmp, updates); }
  else { s->w = load_words(&s->tmp, x); s->uw = load_words(&s->tmp, updates); }
}

/* y[to, to + count) takes updates[from, from + count) */
static void scatter_run(Scatter *s, int64_t to, int64_t from, int64_t count) {
  ScalarOp op = !strcmp(s->how, "add") ? S_ADD : !strcmp(s->how, "mul") ? S_MUL
              : !strcmp(s->how, "max") ? S_MAX : S_MIN;
  for (int64_t k = 0; k < count; k++, to++, from++) {
    if (s->how[0] == 'n') copy_element(s->y->data, to, s->updates->data, from, (size_t)dtype_bytes(s->dtype));
    else if (s->floats) s->f[to] = scalar_eval_float(op, s->f[to], s->uf[from], 0);
    else if (op == S_ADD) s->w[to] += s->uw[from];
    else if (op == S_MUL) s->w[to] *= s->uw[from];
    else if (word_less(s->dtype, s->uw[from], s->w[to]) == (op == S_MIN)) s->w[to] = s->uw[from];
  }
}

static bool scatter_end(Scatter *s, bool ok) {
  if (ok && s->f) store_doubles(s->y, s->f);
  if (ok && s->w) store_words(s->y, s->w);
  arena_free(&s->tmp);
  return ok;
}

/* y[i with i[axis] = idx[i]] takes updates[i]; idx and updates [i…] may be smaller than x */
bool eval_scatter_elements(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *idx = in[1];
  int axis = (int)node_int(n, "axis", 0);
  Scatter s;
  scatter_begin(&s, n, x, in[2], out[0]);
  int64_t i[MAX_RANK] = {0}, at = 0;
  if (tensor_count(idx)) do {
    int64_t j[MAX_RANK];
    memcpy(j, i, sizeof j);
    j[axis] = tensor_get_int(idx, at);
    if (!index_wrap(&j[axis], x->dims[axis]))
      return scatter_end(&s, eval_fail(e, n, "index %lld is outside an axis of size %lld",
                                       (long long)tensor_get_int(idx, at), (long long)x->dims[axis]));
    scatter_run(&s, index_flat(j, x->dims, x->rank), at++, 1);
  } while (index_next(i, idx->dims, idx->rank));
  return scatter_end(&s, true);
}

/* x [d1…dk, rest…], idx [i…, k], updates [i…, rest…] */
bool eval_scatter_nd(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  const Tensor *x = in[0], *idx = in[1];
  int k = (int)idx->dims[idx->rank - 1];
  int64_t picks = dims_product(idx->dims, 0, idx->rank - 1), rest = dims_product(x->dims, k, x->rank);
  Scatter s;
  scatter_begin(&s, n, x, in[2], out[0]);
  for (int64_t p = 0; p < picks; p++) {
    int64_t to = 0;
    for (int d = 0; d < k; d++) {
      int64_t j = tensor_get_int(idx, p * k + d);
      if (!index_wrap(&j, x->dims[d]))
        return scatter_end(&s, eval_fail(e, n, "index %lld is outside an axis of size %lld", (long long)j,
                                         (long long)x->dims[d]));
      to = to * x->dims[d] + j;
    }
    scatter_run(&s, to * rest, p * rest, rest);
  }
  return scatter_end(&s, true);
}

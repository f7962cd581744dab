/* Importers of sequences and optionals. Lists are of known length while importing (onnx_lists.c), so these build
 * hardly any nodes; where to insert, erase or look must be known when compiling, except for SequenceAt among
 * tensors of one type. */
#include <string.h>
#include "frontend/import.h"

static bool sequence(Import *x, int k, const ValueId **at, int *n) {
  if (imp_present(x, k) && imp_is_list(x, x->in[k], KIND_SEQUENCE)) return imp_elements(x, x->in[k], at, n);
  return imp_fail(x, "type", "input %d should be a sequence", k);
}

/* Input k as a place in a list of n; counts from the end when negative. `most`: the largest allowed. */
static bool place(Import *x, int k, int dflt, int n, int most, int *at) {
  const int64_t *v;
  int count;
  *at = dflt;
  if (!imp_present(x, k)) return true;
  if (!imp_const_ints(x, k, &v, &count)) return false;
  int64_t p = count == 1 ? v[0] + (v[0] < 0 ? n : 0) : -1;
  if (p < 0 || p > most)
    return imp_fail(x, "shape", "place %lld is outside a sequence of %d", (long long)(count ? v[0] : 0), n);
  *at = (int)p;
  return true;
}

bool import_sequence_empty(Import *x) {
  imp_set(x, 0, imp_list(x, KIND_SEQUENCE, NULL, 0));
  return true;
}

bool import_sequence_construct(Import *x) {
  imp_set(x, 0, imp_list(x, KIND_SEQUENCE, x->in, x->nin));
  return true;
}

bool import_sequence_insert(Import *x) {
  const ValueId *at;
  int n, p;
  if (!sequence(x, 0, &at, &n) || !place(x, 2, n, n, n, &p)) return false;
  ValueId *out = NEW_N(&x->m->perm, ValueId, n + 1);
  memcpy(out, at, sizeof *at * (size_t)p);
  out[p] = x->in[1];
  memcpy(out + p + 1, at + p, sizeof *at * (size_t)(n - p));
  imp_set(x, 0, imp_list(x, KIND_SEQUENCE, out, n + 1));
  return true;
}

bool import_sequence_erase(Import *x) {
  const ValueId *at;
  int n, p;
  if (!sequence(x, 0, &at, &n) || !place(x, 1, n - 1, n, n - 1, &p)) return false;
  if (!n) return imp_fail(x, "shape", "the sequence is empty");
  ValueId *out = NEW_N(&x->m->perm, ValueId, n);
  memcpy(out, at, sizeof *at * (size_t)p);
  memcpy(out + p, at + p + 1, sizeof *at * (size_t)(n - 1 - p));
  imp_set(x, 0, imp_list(x, KIND_SEQUENCE, out, n - 1));
  return true;
}

bool import_sequence_length(Import *x) {
  const ValueId *at;
  int n;
  if (!sequence(x, 0, &at, &n)) return false;
  imp_set(x, 0, imp_scalar(x, DT_I64, n));
  return true;
}

/* All elements along a new axis in front */
static ValueId stack(Import *x, const ValueId *at, int n, int axis) {
  ValueId *wide = NEW_N(&x->m->perm, ValueId, n);
  for (int k = 0; k < n; k++) wide[k] = imp_unsqueeze(x, at[k], &axis, 1);
  Attr attr = attr_int("axis", axis);
  return n == 1 ? wide[0] : imp_op(x, OP_CONCAT, wide, n, &attr, 1);
}

/* A place that only running tells: the elements, all of one type, as one tensor to gather from. */
static bool at_run_time(Import *x, const ValueId *at, int n) {
  for (int k = 1; k < n; k++)
    if (!type_eq(&value_of(x->m, at[0])->type, &value_of(x->m, at[k])->type))
      return imp_fail(x, "unsupported", "which element it takes exists only at run time, and they differ in type");
  Attr attr = attr_int("axis", 0);
  ValueId all = stack(x, at, n, 0);
  imp_set(x, 0, all ? imp_op(x, OP_GATHER, (ValueId[]){all, x->in[1]}, 2, &attr, 1) : 0);
  return true;
}

bool import_sequence_at(Import *x) {
  const ValueId *at;
  int n, p;
  if (!sequence(x, 0, &at, &n)) return false;
  if (n && imp_present(x, 1) && !value_of(x->m, x->in[1])->content && !imp_constant(x, 1)) return at_run_time(x, at, n);
  if (!place(x, 1, -1, n, n - 1, &p)) return false;
  if (p < 0) return imp_fail(x, "shape", "lacks the position");
  imp_set(x, 0, at[p]);
  return true;
}

/* Parts of the given sizes (a list), of one size (a scalar; the last may be smaller), or of size 1, squeezed
 * unless keepdims. */
bool import_split_to_sequence(Import *x) {
  Type t = *imp_type(x, 0);
  int axis = imp_axis(x, imp_int(x, "axis", 0), t.rank), n = 0;
  if (axis < 0) return false;
  const Dim *given = NULL;
  bool squeeze = !imp_int(x, "keepdims", 1) && !imp_present(x, 1), sizes = imp_present(x, 1) && imp_rank(x, 1) == 1;
  if (imp_present(x, 1) && !imp_dims(x, 1, &given, &n)) return false;
  Dim whole = t.dims[axis], at = DIM(0), each = given && !sizes ? given[0] : DIM(1);
  if (!sizes) {
    if (!dim_is_const(whole) || !dim_is_const(each))
      return imp_fail(x, "unsupported", "splits the free size %s; into how many parts must be known when compiling",
                      dim_text(whole));
    if (each.k < 1 || whole.k / each.k > 4096)
      return imp_fail(x, "shape", "cannot split %s into parts of %s", dim_text(whole), dim_text(each));
    n = (int)((whole.k + each.k - 1) / each.k);
  }
  ValueId *part = NEW_N(&x->m->perm, ValueId, n + 1);
  Dim left[MAX_RANK];
  for (int k = 0, i = 0; k < t.rank; k++)
    if (k != axis) left[i++] = t.dims[k];
  for (int k = 0; k < n; k++) {
    Dim size = sizes ? given[k] : dim_min(each, dim_sub(whole, at));
    part[k] = imp_slice1(x, x->in[0], axis, at, size);
    if (squeeze) part[k] = imp_reshape(x, part[k], left, t.rank - 1);
    at = dim_add(at, size);
  }
  if (!dim_eq(at, whole))
    return imp_fail(x, "shape", "the parts add up to %s, the axis has %s", dim_text(at), dim_text(whole));
  imp_set(x, 0, imp_list(x, KIND_SEQUENCE, part, n));
  return true;
}

bool import_concat_from_sequence(Import *x) {
  const ValueId *at;
  int n;
  if (!sequence(x, 0, &at, &n)) return false;
  if (!n) return imp_fail(x, "shape", "the sequence is empty");
  bool new_axis = imp_int(x, "new_axis", 0) != 0;
  int axis = imp_axis(x, imp_int(x, "axis", 0), value_of(x->m, at[0])->type.rank + new_axis);
  if (axis < 0) return false;
  Attr attr = attr_int("axis", axis);
  imp_set(x, 0, new_axis ? stack(x, at, n, axis) : n == 1 ? at[0] : imp_op(x, OP_CONCAT, at, n, &attr, 1));
  return true;
}

/* The body once per element; further inputs are sequences of the same length, or tensors for every call. */
bool import_sequence_map(Import *x) {
  const ValueId *at;
  int n;
  if (!sequence(x, 0, &at, &n)) return false;
  ValueId *in = NEW_N(&x->m->perm, ValueId, x->nin), *out = NEW_N(&x->m->perm, ValueId, x->nout + 1);
  ValueId **lists = NEW_N(&x->m->perm, ValueId *, x->nout + 1);
  for (int k = 0; k < x->nout; k++) lists[k] = NEW_N(&x->m->perm, ValueId, n + 1);
  for (int i = 0; i < n; i++) {
    for (int k = 0; k < x->nin; k++) {
      int count = n;
      at = &x->in[k];
      bool list = imp_is_list(x, x->in[k], KIND_SEQUENCE);
      if (list && !imp_elements(x, x->in[k], &at, &count)) return false;
      if (count != n) return imp_fail(x, "shape", "maps over sequences of %d and of %d tensors", n, count);
      in[k] = list ? at[i] : x->in[k];
    }
    if (!imp_inline_with(x, "body", in, x->nin, out, x->nout)) return false;
    for (int k = 0; k < x->nout; k++) lists[k][i] = out[k];
  }
  for (int k = 0; k < x->nout; k++) imp_set(x, k, imp_list(x, KIND_SEQUENCE, lists[k], n));
  return true;
}

/* ---- optionals ---- */
bool import_optional(Import *x) {
  imp_set(x, 0, imp_list(x, KIND_OPTIONAL, x->in, imp_present(x, 0)));
  return true;
}

/* From opset 18 on a tensor or sequence counts as an optional that has it, and no input as one that has not. */
bool import_optional_has_element(Import *x) {
  const ValueId *at;
  int n = imp_present(x, 0);
  if (n && imp_is_list(x, x->in[0], KIND_OPTIONAL) && !imp_elements(x, x->in[0], &at, &n)) return false;
  imp_set(x, 0, imp_scalar(x, DT_BOOL, n));
  return true;
}

bool import_optional_get_element(Import *x) {
  const ValueId *at = x->in;
  int n = imp_present(x, 0);
  if (n && imp_is_list(x, x->in[0], KIND_OPTIONAL) && !imp_elements(x, x->in[0], &at, &n)) return false;
  if (!n) return imp_fail(x, "shape", "takes the element of an optional that has none");
  imp_set(x, 0, at[0]);
  return true;
}

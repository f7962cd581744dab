/* if, loop and scan: run regions. Values of enclosing graphs are visible in a region because the value table
 * is one per module. What an iteration makes lives in an arena of its own, dropped when the next one has
 * taken over the carried values: a long loop costs the memory of two iterations and its scan outputs. */
#include "ir/eval_kit.h"

bool eval_if(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  if (n->nregion != 2) return eval_fail(e, n, "needs two regions");
  if (!in[0] || tensor_count(in[0]) != 1) return eval_fail(e, n, "its condition must be one element");
  Graph *g = n->region[tensor_get_int(in[0], 0) ? 0 : 1];
  if (!eval_graph(e, g)) return false;
  for (int k = 0; k < n->nout && k < g->outputs.len; k++)
    out[k] = (Tensor *)eval_value(e, g->outputs.at[k]);         // shared: tensors do not change once computed
  return true;
}

static Tensor *tensor_copy(Arena *a, const Tensor *t) {
  Tensor *c = tensor_like(a, t, t->rank, t->dims);
  if (tensor_bytes(t)) memcpy(c->data, t->data, tensor_bytes(t));
  return c;
}

typedef VEC(const Tensor *) Pieces;

/* Puts equal tensors side by side along a new axis. None: the axis has size 0, other dims from the type. */
static bool stack(Eval *e, const Node *n, Tensor **out, int k, const Pieces *p, int axis, bool reverse) {
  if (!n->out[k]) return true;
  const Type *type = &value_of(e->m, n->out[k])->type;
  int64_t dims[MAX_RANK] = {0};
  for (int d = 0; d < type->rank; d++)
    dims[d] = d == axis ? p->len : p->len ? p->at[0]->dims[d - (d > axis)] : eval_dim(e, type->dims[d]);
  Tensor *y = eval_output(e, n, out, k, dims);
  int64_t outer = dims_product(dims, 0, axis), inner = dims_product(dims, axis + 1, y->rank);
  size_t bytes = (size_t)dtype_bytes(y->dtype);
  for (int s = 0; s < p->len; s++) {
    const Tensor *t = p->at[s];
    if (tensor_count(t) != outer * inner)
      return eval_fail(e, n, "scan output %d changes its shape: %s, then %s", k, tensor_type_text(p->at[0]),
                       tensor_type_text(t));
    int64_t at = reverse ? p->len - 1 - s : s;
    for (int64_t o = 0; o < outer && inner; o++)
      memcpy((char *)y->data + (size_t)((o * p->len + at) * inner) * bytes,
             (const char *)t->data + (size_t)(o * inner) * bytes,
             (size_t)inner * bytes);
  }
  return true;
}

/* Runs the body once in a fresh e->arena; carried values are copied to `keep` (and so survive it). */
static bool iterate(Eval *e, const Node *n, Graph *body, const Tensor **carried, int ncarried, int skip, Arena *keep,
                    Pieces *scans, int nscans, Arena *whole) {
  Arena outer = e->arena;
  memset(&e->arena, 0, sizeof e->arena);
  bool ok = eval_graph(e, body);
  for (int k = 0; ok && k < ncarried + skip + nscans; k++) {
    const Tensor *t = eval_value(e, body->outputs.at[k]);
    if (!t) ok = eval_fail(e, n, "output %d of its body has no value", k);
    else if (k < ncarried + skip) carried[k] = tensor_copy(keep, t);
    else *vec_push(whole, &scans[k - ncarried - skip]) = tensor_copy(whole, t);
  }
  arena_free(&e->arena);
  e->arena = outer;
  return ok;
}

/* inputs: trip count?, cond?, carried…; body (iter, cond, carried…) -> (cond, carried…, scans…) */
bool eval_loop(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  int ncarried = n->nin - 2;
  if (n->nregion != 1) return eval_fail(e, n, "needs one region");
  Graph *body = n->region[0];
  int nscans = body->outputs.len - 1 - ncarried;
  if (ncarried < 0 || nscans < 0 || body->inputs.len != ncarried + 2)
    return eval_fail(e, n, "its body does not fit its inputs");
  int64_t trips = in[0] ? tensor_get_int(in[0], 0) : INT64_MAX, iter = 0;
  bool go = in[1] ? tensor_get_int(in[1], 0) != 0 : true, ok = true;
  Arena whole = {0}, keep[2] = {{0}, {0}};              // whole: scan pieces; keep: carried values, in turns
  const Tensor **carried = NEW_N(&whole, const Tensor *, ncarried + 1);        // [0] is the condition
  Pieces *scans = NEW_N(&whole, Pieces, nscans + 1);
  for (int k = 0; k < ncarried; k++) carried[k + 1] = in[k + 2];
  for (; ok && go && iter < trips; iter++) {
    Arena *now = &keep[iter & 1];
    arena_free(now);
    Tensor *number = tensor_like(now, &(Tensor){.dtype = DT_I64}, 0, NULL),
        *cond = tensor_like(now, &(Tensor){.dtype = DT_BOOL}, 0, NULL);
    tensor_set_int(number, 0, iter);
    tensor_set_int(cond, 0, 1);
    eval_bind_region_input(e, body->inputs.at[0], number);
    eval_bind_region_input(e, body->inputs.at[1], cond);
    for (int k = 0; k < ncarried; k++) eval_bind_region_input(e, body->inputs.at[k + 2], carried[k + 1]);
    ok = iterate(e, n, body, carried, ncarried, 1, now, scans, nscans, &whole);
    if (ok) go = tensor_get_int(carried[0], 0) != 0;
  }
  for (int k = 0; ok && k < ncarried && k < n->nout; k++) out[k] = tensor_copy(&e->arena, carried[k + 1]);
  for (int k = 0; ok && k < nscans && ncarried + k < n->nout; k++)
    ok = stack(e, n, out, ncarried + k, &scans[k], 0, false);
  arena_free(&whole); arena_free(&keep[0]); arena_free(&keep[1]);
  return ok;
}

/* One step along an axis of a scan input. */
static Tensor *slice_at(Arena *a, const Tensor *x, int axis, int64_t at) {
  int64_t dims[MAX_RANK] = {0}, stride[MAX_RANK], kept[MAX_RANK] = {0};
  dims_strides(x->dims, x->rank, stride);
  for (int d = 0, k = 0; d < x->rank; d++)
    if (d != axis) { dims[k] = x->dims[d]; kept[k++] = stride[d]; }
  Tensor *t = tensor_like(a, x, x->rank - 1, dims);
  copy_strided(t, x, at * stride[axis], kept);
  return t;
}

/* inputs: states…, scan inputs…; body (states…, slices…) -> (states…, scan outputs…) */
bool eval_scan(Eval *e, const Node *n, const Tensor *const *in, Tensor **out) {
  int nslices = (int)node_int(n, "scan_inputs", 1), nstates = n->nin - nslices;
  if (n->nregion != 1) return eval_fail(e, n, "needs one region");
  Graph *body = n->region[0];
  int nscans = body->outputs.len - nstates;
  if (nslices < 1 || nstates < 0 || nscans < 0 || nscans > 64 || nslices > 64 || body->inputs.len != n->nin)
    return eval_fail(e, n, "its body does not fit its inputs");
  int64_t axes[64] = {0}, reverse[64] = {0}, out_axes[64] = {0}, out_reverse[64] = {0};
  eval_attr(e, n, "in_axes", axes, nslices);
  eval_attr(e, n, "in_reverse", reverse, nslices);
  eval_attr(e, n, "out_axes", out_axes, nscans);
  eval_attr(e, n, "out_reverse", out_reverse, nscans);
  int64_t trips = in[nstates]->dims[axes[0]];
  bool ok = true;
  Arena whole = {0}, keep[2] = {{0}, {0}};
  const Tensor **states = NEW_N(&whole, const Tensor *, nstates + 1);
  Pieces *scans = NEW_N(&whole, Pieces, nscans + 1);
  for (int k = 0; k < nstates; k++) states[k] = in[k];
  for (int64_t iter = 0; ok && iter < trips; iter++) {
    Arena *now = &keep[iter & 1];
    arena_free(now);
    for (int k = 0; k < nstates; k++) eval_bind_region_input(e, body->inputs.at[k], states[k]);
    for (int k = 0; k < nslices && ok; k++) {
      const Tensor *x = in[nstates + k];
      if (x->dims[axes[k]] != trips) {
        ok = eval_fail(e, n, "scan inputs of %lld and %lld steps", (long long)trips, (long long)x->dims[axes[k]]);
        break;
      }
      eval_bind_region_input(e, body->inputs.at[nstates + k],
                             slice_at(now, x, (int)axes[k], reverse[k] ? trips - 1 - iter : iter));
    }
    if (ok) ok = iterate(e, n, body, states, nstates, 0, now, scans, nscans, &whole);
  }
  for (int k = 0; ok && k < nstates && k < n->nout; k++) out[k] = tensor_copy(&e->arena, states[k]);
  for (int k = 0; ok && k < nscans && nstates + k < n->nout; k++)
    ok = stack(e, n, out, nstates + k, &scans[k], (int)out_axes[k], out_reverse[k] != 0);
  arena_free(&whole); arena_free(&keep[0]); arena_free(&keep[1]);
  return ok;
}

/* Gradients of ops that follow indices: what was read is added where it was read from, what was written is read
 * back. */
#include "passes/grad_index.h"
#include <string.h>

static ValueId scatter(Graph *g, Op op, ValueId base, ValueId index, ValueId updates, int axis, const char *reduction) {
  Attr a[] = {attr_str("reduction", reduction), attr_int("axis", axis)};
  return build_op(g, op, (ValueId[]){base, index, updates}, 3, a, op == OP_SCATTER_ND ? 1 : 2);
}

/* ---- gathers ---- */

/* Whole slices [A…, B…] are added: the axis comes first, and goes back after. */
ValueId grad_of_gather(Graph *g, ValueId dy, int axis, ValueId index, Dim n) {
  if (!dy || !index) return 0;
  Type t = *build_type(g, dy), x = {.dtype = t.dtype};
  int picks = build_rank(g, index), rest = t.rank - picks, first[MAX_RANK], back[MAX_RANK], at = 0;
  for (int k = 0; k < picks; k++) first[at++] = axis + k;
  for (int k = 0; k < t.rank; k++)
    if (k < axis || k >= axis + picks) first[at++] = k;
  x.dims[x.rank++] = n;
  for (int k = picks; k < t.rank; k++) x.dims[x.rank++] = t.dims[first[k]];
  for (int k = 0; k <= rest; k++) back[k] = k < axis ? k + 1 : k == axis ? 0 : k;
  ValueId zeros = build_fill(g, x.dtype, 0, x.dims, x.rank);
  ValueId rows = build_transpose(g, dy, first, t.rank), at_rows = build_unsqueeze(g, index, -1);
  ValueId dx = scatter(g, OP_SCATTER_ND, zeros, at_rows, rows, 0, "add");
  return build_transpose(g, dx, back, rest + 1);
}

bool grad_gather(GradNode *r) {
  int axis = (int)node_int(r->node, "axis", 0);
  grad_add_to(r, 0, grad_of_gather(r->g, r->dy[0], axis, r->in[1], build_dim(r->g, r->in[0], axis)));
  return true;
}

bool grad_gather_elements(GradNode *r) {
  int axis = (int)node_int(r->node, "axis", 0);
  ValueId zeros = build_zeros_like(r->g, r->in[0]);
  grad_add_to(r, 0, scatter(r->g, OP_SCATTER_ELEMENTS, zeros, r->in[1], r->dy[0], axis, "add"));
  return true;
}

/* Batch axes become part of the index. */
bool grad_gather_nd(GradNode *r) {
  Graph *g = r->g;
  int batch = (int)node_int(r->node, "batch_dims", 0);
  ValueId index = r->in[1], parts[MAX_RANK + 1];
  Type t = *build_type(g, index);
  for (int k = 0; k < batch; k++) {
    Type one = t;
    one.dims[t.rank - 1] = DIM(1);
    parts[k] = build_iota(g, t.dtype, one.dims, t.rank, k);
  }
  parts[batch] = index;
  index = build_concat(g, t.rank - 1, parts, batch + 1);
  grad_add_to(r, 0, scatter(g, OP_SCATTER_ND, build_zeros_like(g, r->in[0]), index, r->dy[0], 0, "add"));
  return true;
}

/* ---- scatters: y = x, then y[index] = reduce(y[index], u) ---- */

static ValueId put(GradNode *r, ValueId base, ValueId updates, const char *reduction) {
  return scatter(r->g, r->op, base, r->in[1], updates, (int)node_int(r->node, "axis", 0), reduction);
}

static ValueId pick(GradNode *r, ValueId from) {
  bool nd = r->op == OP_SCATTER_ND;
  Attr a = nd ? attr_int("batch_dims", 0) : attr_int("axis", node_int(r->node, "axis", 0));
  return build_op(r->g, nd ? OP_GATHER_ND : OP_GATHER_ELEMENTS, (ValueId[]){from, r->in[1]}, 2, &a, 1);
}

static ValueId is_equal(Graph *g, ValueId a, ValueId b) { return build_op2(g, OP_EQ, a, b); }

/* The product of all other factors, for x and every u. A zero among them must not divide: zeros are counted, and the
 * product of the rest is kept apart. */
static void scatter_mul(GradNode *r) {
  Graph *g = r->g;
  ValueId x = r->in[0], u = r->in[2];
  DType t = build_dtype(g, x);
  ValueId one = build_scalar(g, t, 1), zero = build_scalar(g, t, 0);
  ValueId x_zero = is_equal(g, x, zero), u_zero = is_equal(g, u, zero);
  ValueId x_rest = build_where(g, x_zero, one, x), u_rest = build_where(g, u_zero, one, u);
  ValueId x_count = build_cast(g, x_zero, t), u_count = build_cast(g, u_zero, t);
  ValueId rest = put(r, x_rest, u_rest, "mul"), zeros = put(r, x_count, u_count, "add");
  ValueId flow = build_mul(g, r->dy[0], rest);
  if (grad_wants(r, 0))
    grad_add_to(r, 0, build_where(g, is_equal(g, zeros, x_count), build_div(g, flow, x_rest), zero));
  if (!grad_wants(r, 2)) return;
  grad_add_to(r, 2, build_where(g, is_equal(g, pick(r, zeros), u_count), build_div(g, pick(r, flow), u_rest), zero));
}

/* The largest or smallest gets dy; equal ones share it. */
static void scatter_extreme(GradNode *r) {
  Graph *g = r->g;
  ValueId x = r->in[0], u = r->in[2], y = r->out[0];
  DType t = build_dtype(g, x);
  ValueId zero = build_scalar(g, t, 0), x_wins = is_equal(g, x, y), u_wins = is_equal(g, u, pick(r, y));
  ValueId winners = put(r, build_cast(g, x_wins, t), build_cast(g, u_wins, t), "add");
  ValueId part = build_div(g, r->dy[0], winners);
  if (grad_wants(r, 0)) grad_add_to(r, 0, build_where(g, x_wins, part, zero));
  if (grad_wants(r, 2)) grad_add_to(r, 2, build_where(g, u_wins, pick(r, part), zero));
}

/* Under "none" an index that occurs twice has no defined result (ONNX), and no gradient of its own here either. */
static bool grad_scatter(GradNode *r) {
  const char *how = node_str(r->node, "reduction", "none");
  if (!strcmp(how, "mul")) scatter_mul(r);
  else if (how[0] == 'm') scatter_extreme(r);
  else {
    bool none = !strcmp(how, "none");
    if (grad_wants(r, 0))
      grad_add_to(r, 0, none ? put(r, r->dy[0], build_zeros_like(r->g, r->in[2]), "none") : r->dy[0]);
    if (grad_wants(r, 2)) grad_add_to(r, 2, pick(r, r->dy[0]));
  }
  return true;
}

bool grad_scatter_elements(GradNode *r) { return grad_scatter(r); }
bool grad_scatter_nd(GradNode *r) { return grad_scatter(r); }

bool grad_topk(GradNode *r) {
  int axis = (int)node_int(r->node, "axis", 0);
  if (!r->dy[0]) return true;
  ValueId at = grad_output(r, 1);
  grad_add_to(r, 0, scatter(r->g, OP_SCATTER_ELEMENTS, build_zeros_like(r->g, r->in[0]), at, r->dy[0], axis, "none"));
  return true;
}

/* Gradients of layer_norm and rms_norm. With s = 1/std, h = (x - mean) s and d = dy * scale:
 *   layer_norm   dx = s (d - avg(d) - h avg(d h))      rms_norm   dx = s (d - h avg(d h))
 * averages over the normalised axes, in the type they are computed in. */
#include "passes/grad.h"

typedef struct Rows { int axis[MAX_RANK], n; } Rows;             /* the normalised axes */

static ValueId average(Graph *g, ValueId v, const Rows *rows) { return build_mean(g, v, rows->axis, rows->n, true); }

static void parameters(GradNode *r, ValueId dy, ValueId h) {
  if (grad_wants(r, 1)) grad_add_to(r, 1, build_mul(r->g, dy, h));
  if (grad_wants(r, 2)) grad_add_to(r, 2, dy);
}

static Rows rows_of(GradNode *r) {
  Rows rows = {.n = 0};
  for (int k = (int)node_int(r->node, "axis", 0); k < build_rank(r->g, r->in[0]); k++) rows.axis[rows.n++] = k;
  return rows;
}

static ValueId scaled(GradNode *r, ValueId dy, DType t) {
  ValueId scale = r->nin > 1 ? r->in[1] : 0;
  return scale ? build_mul(r->g, dy, build_cast(r->g, scale, t)) : dy;
}

/* The outputs mean and s may have gradients too: d mean / dx = 1/n, ds / dx = -s^2 h / n. */
bool grad_layer_norm(GradNode *r) {
  Graph *g = r->g;
  Rows rows = rows_of(r);
  ValueId dmean = r->nout > 1 ? r->dy[1] : 0, ds = r->nout > 2 ? r->dy[2] : 0, dy = r->dy[0];
  ValueId s = grad_output(r, 2), mean = grad_output(r, 1), dx = 0;
  DType t = build_dtype(g, s);
  ValueId x = build_cast(g, r->in[0], t), h = build_mul(g, build_sub(g, x, mean), s);
  if (dy) {
    dy = build_cast(g, dy, t);
    parameters(r, dy, h);
    if (grad_wants(r, 0)) {
      ValueId d = scaled(r, dy, t), along = build_mul(g, h, average(g, build_mul(g, d, h), &rows));
      dx = build_mul(g, s, build_sub(g, build_sub(g, d, average(g, d, &rows)), along));
    }
  }
  if (dx) grad_add_to(r, 0, dx);
  if ((!dmean && !ds) || !grad_wants(r, 0)) return true;
  Dim count = DIM(1);
  for (int k = 0; k < rows.n; k++) count = dim_mul(count, build_dim(g, x, rows.axis[k]));
  ValueId n = build_dim_value(g, t, count);
  Type shape = *build_type(g, x);
  if (dmean) grad_add_to(r, 0, build_expand(g, build_div(g, dmean, n), shape.dims, shape.rank));
  if (ds) grad_add_to(r, 0, build_neg(g, build_mul(g, h, build_div(g, build_mul(g, ds, build_mul(g, s, s)), n))));
  return true;
}

bool grad_rms_norm(GradNode *r) {
  Graph *g = r->g;
  Rows rows = rows_of(r);
  DType t = dtype_compute(build_dtype(g, r->in[0]));
  ValueId x = build_cast(g, r->in[0], t), dy = build_cast(g, r->dy[0], t);
  ValueId square = build_addc(g, average(g, build_mul(g, x, x), &rows), node_float(r->node, "epsilon", 0));
  ValueId s = build_op1(g, OP_RECIP, build_op1(g, OP_SQRT, square)), h = build_mul(g, x, s);
  parameters(r, dy, h);
  if (!grad_wants(r, 0)) return true;
  ValueId d = scaled(r, dy, t), along = build_mul(g, h, average(g, build_mul(g, d, h), &rows));
  grad_add_to(r, 0, build_mul(g, s, build_sub(g, d, along)));
  return true;
}

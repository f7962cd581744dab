/* Reductions over leading axes: sums of rows, as the gradients of biases and the statistics of batch norms are. Lanes
 * lie along the one axis that is kept and contiguous; memory is read once, front to back, whatever the number of
 * columns:
 *
 *   few columns                       many
 *   acc[c] = 0                        sum[..] = 0                   (a buffer that stays in L1)
 *   for rows…                         for rows…, four at a time
 *     acc[c] += x[row, c]               for c: sum[c] += (x[row, c] + x[row + 1, c]) + (x[row + 2, c] + x[row + 3, c])
 *   write acc                         write sum
 *
 * Column by column, the naive nest's order, each row of a wide matrix would be another page. */
#include "passes/kernels/kernels.h"

enum { MOST_ACCUMULATORS = 8, MOST_COLUMNS = 4096, FEWEST_ROWS = 8, TOGETHER = 4 };

typedef struct Rows {
  Lower *l;
  const Node *n;
  const Type *x;
  ScalarOp op;
  DType t;
  bool cut[MAX_RANK], keepdims;
  int order[MAX_RANK], cuts;         /* the axes that are reduced, outermost in memory first */
  int inner;                         /* the axis of the columns */
  int64_t columns;
  Expr *j[MAX_RANK], *i[MAX_RANK];   /* indices of x, and of the result */
} Rows;

/* Where the columns are, and the order of the rest; false: this is no reduction of rows. */
static bool axes_of(Rows *r) {
  Dim rows = DIM(1);
  r->inner = -1;
  for (int k = 0; k < r->x->rank; k++) {
    if (dim_is(r->x->dims[k], 1) || r->cut[k]) continue;
    if (dim_is(lower_stride(r->l, r->n->in[0], k), 1)) r->inner = k;
  }
  if (r->inner < 0 || !dim_is_const(r->x->dims[r->inner])) return false;
  r->columns = r->x->dims[r->inner].k;
  r->cuts = lower_order(r->l, r->n->in[0], r->cut, r->order);
  for (int k = 0; k < r->cuts; k++) rows = dim_mul(rows, r->x->dims[r->order[k]]);
  return dim_lo(rows) >= FEWEST_ROWS && r->columns <= MOST_COLUMNS && r->columns >= r->l->target->lanes;
}

/* The result's index, from x's. */
static Expr **result_index(Rows *r) {
  int at = 0;
  for (int k = 0; k < r->x->rank; k++)
    if (!r->cut[k]) r->i[at++] = r->j[k];
    else if (r->keepdims) r->i[at++] = ex_int(&r->l->b, 0);
  return r->i;
}

static Expr *element(Rows *r, int lanes) {
  Expr *v = ex_cast(&r->l->b, r->t, lower_read(r->l, r->n->in[0], r->j));
  return as_lanes(&r->l->b, v, lanes);
}

static Expr *start(Rows *r) { return reduce_identity(&r->l->b, r->op, r->t); }
static Expr *combine(Rows *r, Expr *a, Expr *b) { return ex_scalar(&r->l->b, r->op, a, b, NULL); }

static void row_loop(Rows *r, int depth) {
  Builder *b = &r->l->b;
  int axis = r->order[depth];
  r->j[axis] = loop_begin(b, "k", ex_int(b, 0), ex_dim(b, r->x->dims[axis]), 1, FOR_SEQ);
}

/* A partial result per loop, as in the naive nest: many numbers added to one f32 would lose digits. */
static void in_registers(Rows *r, int lanes) {
  Builder *b = &r->l->b;
  Var *acc[MAX_RANK + 1][MOST_ACCUMULATORS];
  int n = (int)(r->columns / lanes);
  for (int d = 0; d < r->cuts; d++) {
    for (int c = 0; c < n; c++) acc[d][c] = reg(b, d ? "part" : "r", ex_splat(b, start(r), lanes));
    row_loop(r, d);
  }
  for (int d = r->cuts - 1; d >= 0; d--) {
    for (int c = 0; c < n; c++) {
      r->j[r->inner] = ex_ramp(b, ex_int(b, (int64_t)c * lanes), 1, lanes);
      st_set(b, acc[d][c],
             combine(r, ex_var(b, acc[d][c]), d == r->cuts - 1 ? element(r, lanes) : ex_var(b, acc[d + 1][c])));
    }
    loop_end(b);
  }
  for (int c = 0; c < n; c++) {
    Expr **i = NEW_N(b->arena, Expr *, MAX_RANK);               // lower_write knows indices by their address
    r->j[r->inner] = ex_ramp(b, ex_int(b, (int64_t)c * lanes), 1, lanes);
    result_index(r);
    for (int k = 0; k < MAX_RANK; k++) i[k] = r->i[k];
    lower_write(r->l, i, ex_var(b, acc[0][c]));
  }
}

/* `together` rows of the last axis from `row` on, into the sums. */
static void add_rows(Rows *r, Buf *sum, int last, Expr *row, int together) {
  Builder *b = &r->l->b;
  Expr *part[TOGETHER],
      *c = r->j[r->inner] = loop_begin(b, "c", ex_int(b, 0), ex_int(b, r->columns), 1, FOR_PARALLEL_VECTOR);
  for (int q = 0; q < together; q++) {
    r->j[last] = ex_add(b, row, ex_int(b, q));
    part[q] = let(b, "x", element(r, 1));
  }
  for (int n = together; n > 1; n /= 2)
    for (int q = 0; q < n / 2; q++) part[q] = combine(r, part[2 * q], part[2 * q + 1]);
  st_store(b, sum, c, combine(r, ex_load(b, sum, c), part[0]));
  loop_end(b);
}

static void clear(Rows *r, Buf *sum) {
  Builder *b = &r->l->b;
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, r->columns), 1, FOR_PARALLEL_VECTOR);
  st_store(b, sum, c, start(r));
  loop_end(b);
}

/* All rows of the last axis. */
static void last_axis(Rows *r, Buf *sum) {
  Builder *b = &r->l->b;
  int last = r->order[r->cuts - 1];
  Dim size = r->x->dims[last];
  Expr *whole = ex_dim(b, dim_mul(dim_floordiv(size, DIM(TOGETHER)), DIM(TOGETHER)));
  if (dim_hi(size) >= TOGETHER) {
    Expr *row = loop_begin(b, "row", ex_int(b, 0), whole, TOGETHER, FOR_SEQ);
    add_rows(r, sum, last, row, TOGETHER);
    loop_end(b);
  }
  if (!dim_is_const(size) || size.k % TOGETHER) {
    Expr *row = loop_begin(b, "row", whole, ex_dim(b, size), 1, FOR_SEQ);
    add_rows(r, sum, last, row, 1);
    loop_end(b);
  }
}

/* Partial results for each index of the outermost axis: sums beside sums. */
static void in_memory(Rows *r) {
  Builder *b = &r->l->b;
  Buf *sum = lower_scratch(r->l, "sum", r->t, DIM(r->columns)), *part = sum;
  clear(r, sum);
  if (r->cuts > 1) {
    part = lower_scratch(r->l, "part", r->t, DIM(r->columns));
    row_loop(r, 0);
    clear(r, part);
  }
  for (int d = 1; d < r->cuts - 1; d++) row_loop(r, d);
  last_axis(r, part);
  for (int d = 1; d < r->cuts - 1; d++) loop_end(b);
  Expr *c;
  if (r->cuts > 1) {
    c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, r->columns), 1, FOR_PARALLEL_VECTOR);
    st_store(b, sum, c, combine(r, ex_load(b, sum, c), ex_load(b, part, c)));
    loop_end(b);
    loop_end(b);
  }
  c = r->j[r->inner] = loop_begin(b, "c", ex_int(b, 0), ex_int(b, r->columns), 1, FOR_PARALLEL_VECTOR);
  lower_write(r->l, result_index(r), ex_load(b, sum, c));
  loop_end(b);
}

static bool reduce_rows(Lower *l, const Node *n, ScalarOp op) {
  const Type *x = &value_of(l->m, n->in[0])->type, *y = &value_of(l->m, n->out[0])->type;
  Rows r = {.l = l, .n = n, .x = x, .op = op, .t = dtype_compute(y->dtype), .keepdims = node_int(n, "keepdims", 1)};
  const Attr *axes = node_dims(n, "axes");
  for (int k = 0; axes && k < axes->n; k++) r.cut[axes->dims[k].k] = true;
  int lanes = l->target->lanes;
  if (lanes == 1 || y->dtype != DT_F32 || x->dtype != DT_F32 || !axes_of(&r)) return false;
  int outer = 0;
  for (int k = 0; k < x->rank; k++) {
    if (r.cut[k] || k == r.inner) continue;
    r.j[k] = loop_begin(&l->b, "i", ex_int(&l->b, 0), ex_dim(&l->b, x->dims[k]), 1, FOR_PARALLEL);
    outer++;
  }
  if (r.columns % lanes == 0 && r.columns / lanes <= MOST_ACCUMULATORS) in_registers(&r, lanes);
  else in_memory(&r);
  while (outer-- > 0) loop_end(&l->b);
  return true;
}

bool reduce_sum_generate(Lower *l, const Node *n) { return reduce_rows(l, n, S_ADD); }
bool reduce_max_generate(Lower *l, const Node *n) { return reduce_rows(l, n, S_MAX); }

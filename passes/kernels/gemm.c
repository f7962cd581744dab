/* Matrix product by register tiles. B constant: packed at compile time. B computed: read in place where its
 * columns are contiguous and its rows near, else packed into scratch once per batch (a transpose, or a wide matrix).
 * Batch axes that only A has collapse into the rows. A transposed: gemm_turned.c; few rows: gemm_rows.c; many, with
 * constant weights: gemm_strassen.c. */
#include "passes/kernels/tile.h"
#include "passes/lower/functions.h"

/* Batch indices and the row within them. Collapsed rows run along the last axis that is not 1. */
static Expr *row_of(Tiling *t, Expr *row) {
  if (!t->flat || t->flat_from == t->ty->rank - 2) return row;
  t->ctx[t->flat_from] = row;
  return ex_int(&t->l->b, 0);
}

static Expr *gemm_a(Tiling *t, Expr *row, Expr **k, Expr *col) {
  (void)col;
  Expr *j[MAX_RANK];
  row = row_of(t, row);
  matmul_operand_index(t->l, t->n->in[0], t->ty, t->ctx, row, k[0], j);
  return lower_read(t->l, t->n->in[0], j);
}

static Expr *gemm_b(Tiling *t, Expr **k, Expr *col) {
  Expr *j[MAX_RANK];
  matmul_operand_index(t->l, t->n->in[1], t->ty, t->ctx, k[0], col, j);
  return lower_read(t->l, t->n->in[1], j);
}

static void gemm_write(Tiling *t, Expr *row, Expr *col, Expr *acc) {
  Expr **i = NEW_N(t->l->b.arena, Expr *, MAX_RANK);
  int r = t->ty->rank;
  i[r - 2] = row_of(t, row);
  for (int k = 0; k < r - 2; k++) i[k] = t->ctx[k];
  i[r - 1] = col;
  lower_write(t->l, i, acc);
}

typedef struct Matrix { const float *data; int64_t cols; } Matrix;

static float matrix_at(const void *ctx, int64_t k, int64_t col) {
  const Matrix *m = ctx;
  return m->data[k * m->cols + col];
}

/* Rows of B far apart, in steps that few sets of the L1 hold: every tile of rows would load them from the L2 again, and
 * from another page each. Packing costs as much as some two rows of the product. */
static bool pays_to_pack(const Tiling *t) {
  enum { MANY_ROWS = 32, FAR = 512 };
  const Value *b = value_of(t->l->m, t->n->in[1]);
  int rank = b->type.rank;
  if (dim_lo(t->rows) < MANY_ROWS || !dim_is_const(t->ksize[0])) return false;
  Dim row = b->at.base ? b->at.stride[rank - 2] : b->type.dims[rank - 1];
  if (!dim_is_const(row) || row.k * 4 < FAR) return false;
  int64_t step = row.k * 4, sets = step;                        // bytes until the sets repeat
  while (sets % target_set_span(t->l->target)) sets += step;
  int64_t places = sets / step;
  return t->ksize[0].k > places * (t->l->target->l1_ways / 2);
}

bool gemm_generate(Lower *l, const Node *n) {
  const Type *ta = &value_of(l->m, n->in[0])->type, *tb = &value_of(l->m, n->in[1])->type;
  const Type *ty = &value_of(l->m, n->out[0])->type;
  Builder *b = &l->b;
  int r = ty->rank;
  Dim cols = ty->dims[r - 1];
  if (l->target->lanes == 1 || ty->dtype != DT_F32 || !dim_is_const(cols)) return false;
  const Value *vb = value_of(l->m, n->in[1]);
  bool constant = vb->constant && tb->rank == 2 && storage_is_row_major(l->m, n->in[1]);
  bool direct = lower_contiguous(l, n->in[1], tb->rank - 1);
  if (!constant && !direct && dim_hi(ty->dims[r - 2]) < 4) return false;      // a row or two: dot products
  Tiling t = {.l = l, .n = n, .rows = ty->dims[r - 2], .cols = cols, .kaxes = 1, .a = gemm_a, .b = gemm_b,
              .write = gemm_write, .writes_out = true, .ta = ta, .tb = tb, .ty = ty};
  t.ksize[0] = ta->dims[ta->rank - 1];
  t.kname[0] = "k";
  t.pads = constant;
  if (constant && lower_contiguous(l, n->in[0], ta->rank - 1)) tile_try_dot(&t);
  if (cols.k < 4 && !t.dot) return false;
  int loops = 0;
  bool b_batched = false;
  for (int k = 0; k < tb->rank - 2; k++) b_batched |= !dim_is(tb->dims[k], 1);
  bool turned = !constant && lower_contiguous(l, n->in[0], ta->rank - 2) &&
      !lower_contiguous(l, n->in[0], ta->rank - 1);
  bool flat = !turned && r > 2 && ta->rank == r && !b_batched && axes_collapse(l, n->in[0], 0, r - 2) &&
      epilogue_collapses(l, 0, r - 2);
  if (flat) {
    t.flat = true;
    t.flat_from = r - 2;
    while (t.flat_from > 0 && dim_is(ty->dims[t.flat_from], 1)) t.flat_from--;
    for (int k = 0; k < r - 2; k++) {
      t.rows = dim_mul(t.rows, ty->dims[k]);
      t.ctx[k] = ex_int(b, 0);
    }
  } else {
    for (int k = 0; k < r - 2; k++, loops++)
      t.ctx[k] = loop_begin(b, "batch", ex_int(b, 0), ex_dim(b, ty->dims[k]), 1, FOR_PARALLEL);
  }
  const Value *va = value_of(l->m, n->in[0]);
  int axis = t.flat && t.flat_from < r - 2 ? t.flat_from + ta->rank - r : ta->rank - 2;
  if (va->at.base && axis >= 0 && dim_is_const(va->at.stride[axis])) t.row_stride = va->at.stride[axis].k * 4;
  bool in_place = !loops && va->at.base && lower_contiguous(l, n->in[0], ta->rank - 1);
  Matrix m = {constant ? vb->constant->data : NULL, cols.k};
  bool rows = constant && !t.dot && gemm_rows(&t, matrix_at, &m);
  if (rows || (turned && gemm_turned(&t)) || (constant && !t.dot && in_place && gemm_strassen(&t, matrix_at, &m))) {
    for (int k = 0; k < loops; k++) loop_end(b);
    return true;
  }
  if (constant) {
    t.pack = lower_weight(l, "weight", tile_pack(&t, t.ksize[0].k, matrix_at, &m));
  } else if (!direct || pays_to_pack(&t)) {
    tile_pack_here(&t);
  }
  t.by_blocks = t.pack != NULL;
  tile_build(&t);
  for (int k = 0; k < loops; k++) loop_end(b);
  return true;
}

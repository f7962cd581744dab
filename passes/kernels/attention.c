/* Attention in one kernel: shares of values, softmax(q k^T) v, without the matrix of scores in memory.
 *
 *   for batch, head
 *     pack k^T [panel][d][width], v [panel][key][width]
 *     for block of query rows                       (their scores stay in the L1 or L2)
 *       for panel of keys, tile of rows             scores[row][key] = q k^T
 *       for row     x = between(scores); top = max x;  e = exp(x - top); scale = 1 / sum e
 *       for panel of values, tile of rows           y = scale * (e v)
 *
 * One query row, as in decoding, packs nothing: keys and values are read once, front to back, part by part where they
 * are a concat that fuse_attention.c took in. Rows of scores are padded to
 * whole panels of keys; the padding gets -inf, that is no weight. A tile at the end of the rows computes its last row
 * again in place of those that are missing, and does not write them.
 *
 * A row is small against the caches up to some ten thousand keys, so the softmax is the exact one, with the maximum
 * known before the first exp. Keeping scores of a block in cache is the idea of FlashAttention (Dao and others, 2022);
 * the running maximum that a GPU needs for it (Milakov and Gimelshein, Online normalizer calculation, 2018) is not. */
#include "passes/kernels/attention.h"
#include "passes/lower/functions.h"
#include <math.h>

/* tiles to a block; rows worth packing values for; of a concat */
enum { MOST_TILES = 8, FEW_ROWS = 8, MOST_PARTS = 8 };
enum { ENOUGH = 6 };                                            /* heads: cores have nearly as many each */

/* ---- operands ---- */

/* Batch indices of the result as those of a value whose batch axes are cut differently. */
static void batch_of(Attention *a, const Type *t, Expr **i) {
  Builder *b = &a->l->b;
  bool same = t->rank == a->ty->rank;
  for (int k = 0; same && k < t->rank - 2; k++) same = dim_eq(t->dims[k], a->ty->dims[k]);
  for (int k = 0; same && k < t->rank - 2; k++) i[k] = a->batch[k];
  if (same) return;
  Expr *flat = let(b, "flat", lower_flatten(a->l, a->ty->dims, a->ty->rank - 2, a->batch));
  lower_unflatten(a->l, t->dims, t->rank - 2, flat, i);
}

static Expr *operand(Attention *a, const Node *n, int k, Expr *row, Expr *col) {
  Expr *i[MAX_RANK], *j[MAX_RANK];
  const Type *t = &value_of(a->l->m, n->out[0])->type;
  batch_of(a, t, i);
  matmul_operand_index(a->l, n->in[k], t, i, row, col, j);
  return lower_read(a->l, n->in[k], j);
}

static Expr *query(Attention *a, Expr *row, Expr *d) { return operand(a, a->scores, 0, row, d); }
static Expr *key(Attention *a, Expr *at, Expr *d) { return operand(a, a->scores, 1, d, at); }
static Expr *value_at(Attention *a, Expr *at, Expr *col) { return operand(a, a->root, 1, at, col); }

/* The concat that v is a view of, if it was taken in; else NULL. */
static const Node *taken_concat(Attention *a, ValueId v) {
  for (NodeId id; (id = value_of(a->l->m, v)->def); v = node_of(a->l->m, id)->in[0]) {
    const Node *n = node_of(a->l->m, id);
    if (n->group != a->l->group) return NULL;
    if (n->op == OP_CONCAT) return n;
  }
  return NULL;
}

/* Where the parts of v end along the keys: a loop over each has no choice to make. */
static int parts_of(Attention *a, ValueId v, Dim *ends) {
  const Node *n = taken_concat(a, v);
  if (!n || n->nin > MOST_PARTS) { ends[0] = a->keys; return 1; }
  for (int k = 0; k < n->nin; k++) {
    Dim size = value_of(a->l->m, n->in[k])->type.dims[(int)node_int(n, "axis", 0)];
    ends[k] = dim_add(k ? ends[k - 1] : DIM(0), size);
  }
  return n->nin;
}

/* Can one query be multiplied with vectors of each key? */
static bool keys_in_vectors(Attention *a) {
  if (!dim_is(a->queries, 1) || a->dk > 32 * a->lanes) return false;
  return taken_concat(a, a->scores->in[1]) ||
      lower_contiguous(a->l, a->scores->in[1], value_of(a->l->m, a->scores->in[1])->type.rank - 2);
}

/* ---- one row ---- */

/* Keys [from, to) of it. */
static void score_part(Attention *a, Expr **q, const Column *c, int n, Dim from, Dim to) {
  Builder *b = &a->l->b;
  Expr *at = loop_begin(b, "key", ex_dim(b, from), ex_dim(b, to), 1, FOR_SEQ), *sum = NULL, *rest = NULL;
  for (int k = 0; k < n; k++) {
    Expr *x = as_lanes(b, key(a, at, lanes_at(b, ex_int(b, c[k].at), c[k].lanes)), c[k].lanes);
    if (c[k].lanes == a->lanes) sum = let(b, "sum", sum ? ex_fma(b, q[k], x, sum) : ex_mul(b, q[k], x));
    else {
      Expr *part = ex_mul(b, q[k], x);
      if (c[k].lanes > 1) part = ex_reduce(b, S_ADD, part);
      rest = rest ? ex_add(b, rest, part) : part;
    }
  }
  if (sum) sum = ex_reduce(b, S_ADD, sum);
  st_store(b, a->row, at, sum && rest ? ex_add(b, sum, rest) : sum ? sum : rest);
  loop_end(b);
}

/* One query: a product of vectors for each key, whose elements lie side by side. */
static void score_row(Attention *a) {
  Builder *b = &a->l->b;
  Expr *q[64];
  Column c[64];
  int n = 0;
  for (int64_t d = 0; d < a->dk; ) {
    Columns some = attention_columns(a, d, a->dk, 1);
    for (int k = 0; k < some.n; k++) c[n++] = (Column){d + some.at[k].at, some.at[k].lanes};
    d += some.width;
  }
  for (int k = 0; k < n; k++)
    q[k] = let(b, "q", as_lanes(b, query(a, ex_int(b, 0), lanes_at(b, ex_int(b, c[k].at), c[k].lanes)), c[k].lanes));
  Dim end[MOST_PARTS];
  int parts = parts_of(a, a->scores->in[1], end);
  for (int p = 0; p < parts; p++) score_part(a, q, c, n, p ? end[p - 1] : DIM(0), end[p]);
}

/* ---- softmax ---- */

/* A row of the block becomes exp(x - max x), and scale 1 / the sum of these; or, if something follows, the shares. */
static void softmax_rows(Attention *a) {
  Builder *b = &a->l->b;
  Lower *l = a->l;
  Expr *i[MAX_RANK], *low = ex_const(b, DT_F32, -INFINITY);
  batch_of(a, a->tp, i);
  Expr *r = loop_begin(b, "r", ex_int(b, 0), a->count, 1, FOR_SEQ), *from = let(b, "from", attention_row_start(a, r));
  Expr *row = i[a->tp->rank - 2] = ex_add(b, a->block, r);
  Expr *size = let(b, "seen", attention_seen(a, row)), *wide = let(b, "wide", attention_seen_wide(a, row));
  Var *top = reg(b, "top", low), *sum = reg(b, "sum", ex_const(b, DT_F32, 0));
  Expr *k = i[a->tp->rank - 1] = loop_begin(b, "k", ex_int(b, 0), size, 1, FOR_VECTOR);
  Expr *raw = ex_load(b, a->row, ex_add(b, from, k));
  Expr *x = lower_read_given(l, a->softmax->in[0], i, a->scores->out[0], let(b, "x", raw));
  if (a->softmax->in[0] != a->scores->out[0]) {
    x = let(b, "x", ex_cast(b, DT_F32, x));
    st_store(b, a->row, ex_add(b, from, k), x);
  }
  st_set(b, top, ex_max(b, ex_var(b, top), x));
  loop_end(b);
  k = loop_begin(b, "k", size, wide, 1, FOR_VECTOR);
  st_store(b, a->row, ex_add(b, from, k), low);
  loop_end(b);
  k = loop_begin(b, "k", ex_int(b, 0), wide, 1, FOR_VECTOR);
  x = ex_sub(b, ex_load(b, a->row, ex_add(b, from, k)), ex_var(b, top));
  Expr *e = let(b, "e", ex_scalar(b, S_EXP, x, NULL, NULL));
  st_store(b, a->row, ex_add(b, from, k), e);
  st_set(b, sum, ex_add(b, ex_var(b, sum), e));
  loop_end(b);
  Expr *scale = let(b, "scale", ex_scalar(b, S_DIV, ex_const(b, DT_F32, 1), ex_var(b, sum), NULL));
  if (a->after) {
    k = i[a->tp->rank - 1] = loop_begin(b, "k", ex_int(b, 0), ex_dim(b, a->keys), 1, FOR_VECTOR);
    Expr *share = let(b, "share", ex_mul(b, ex_load(b, a->row, ex_add(b, from, k)), scale));
    Expr *y = lower_read_given(l, a->root->in[0], i, a->softmax->out[0], share);
    st_store(b, a->row, ex_add(b, from, k), y);
    loop_end(b);
  } else {
    st_store(b, a->scale, r, scale);
  }
  loop_end(b);
}

static void write(Attention *a, Expr *row, Expr *col, Expr *sum) {
  Expr **i = NEW_N(a->l->b.arena, Expr *, MAX_RANK);            // lower_write knows indices by their address
  for (int q = 0; q < a->ty->rank - 2; q++) i[q] = a->batch[q];
  i[a->ty->rank - 2] = row;
  i[a->ty->rank - 1] = col;
  lower_write(a->l, i, sum);
}

/* ---- all ---- */

/* The halves of the rows, each of which packs its keys, where batches and heads alone are too few for threads. */
static bool halves_begin(Attention *a) {
  Builder *b = &a->l->b;
  int64_t batches = 1;
  for (int k = 0; k < a->ty->rank - 2; k++) batches *= dim_hi(a->ty->dims[k]);
  if (batches >= ENOUGH || a->one_row || a->skips || !dim_is_const(a->queries) ||
      a->queries.k <= (int64_t)a->rows * a->tiles)
    return false;
  int64_t tiles = (a->queries.k + a->rows - 1) / a->rows, rows = (tiles + 1) / 2 * a->rows;
  Expr *half = loop_begin(b, "half", ex_int(b, 0), ex_int(b, 2), 1, FOR_PARALLEL);
  a->from = let(b, "from", ex_mul(b, half, ex_int(b, rows)));
  a->to = let(b, "to", ex_min(b, ex_add(b, a->from, ex_int(b, rows)), ex_dim(b, a->queries)));
  return true;
}

/* Two products, and some twenty cycles for a vector of exponentials. */
static void explain(const Attention *a) {
  double batch = 1;
  for (int k = 0; k < a->ty->rank - 2; k++) batch *= (double)dim_lo(a->ty->dims[k]);
  double scores = batch * (double)dim_lo(a->queries) * (double)dim_lo(a->keys) / a->lanes;
  double cycles = scores * (20 + 0.5 * (double)(a->dk + a->dv));
  if (a->one_row) kernel_choice(a->l, cycles, "one row of scores, keys and values read once");
  else kernel_choice(a->l, cycles, "tile %dx%d, blocks of %d rows, keys packed", a->rows, WIDE, a->rows * a->tiles);
}

bool attention_generate(Lower *l) {
  Builder *b = &l->b;
  Attention a = {.l = l, .scores = node_of(l->m, l->g->scores), .softmax = node_of(l->m, l->g->softmax),
                 .root = node_of(l->m, l->root)};
  a.ts = &value_of(l->m, a.scores->out[0])->type;
  a.tp = &value_of(l->m, a.softmax->out[0])->type;
  a.ty = &value_of(l->m, a.root->out[0])->type;
  const Type *tq = &value_of(l->m, a.scores->in[0])->type;
  const Attr *ahead = node_dims(a.softmax, "ahead");
  a.queries = a.ts->dims[a.ts->rank - 2];
  a.keys = a.ts->dims[a.ts->rank - 1];
  a.dk = tq->dims[tq->rank - 1].k;
  a.dv = a.ty->dims[a.ty->rank - 1].k;
  a.lanes = l->target->lanes;
  a.width = WIDE * a.lanes;
  a.after = a.root->in[0] != a.softmax->out[0];
  a.one_row = keys_in_vectors(&a);
  if ((a.ahead_known = ahead)) a.ahead = ahead->dims[0];
  a.skips = ahead && !a.after && !dim_is(a.queries, 1);
  a.stride = dim_mul(dim_ceildiv(a.keys, DIM(a.width)), DIM(a.width));
  attention_sizes(&a, 4, MOST_TILES);
  explain(&a);
  for (int k = 0; k < a.ty->rank - 2; k++)
    a.batch[k] = loop_begin(b, "batch", ex_int(b, 0), ex_dim(b, a.ty->dims[k]), 1, FOR_PARALLEL);
  bool halves = halves_begin(&a);
  Dim lines = DIM((int64_t)a.rows * a.tiles), end[MOST_PARTS];  // scratch of the iteration's own
  a.row = lower_scratch(l, "row", DT_F32, dim_mul(lines, a.stride));
  if (!a.after) a.scale = lower_scratch(l, "scale", DT_F32, lines);
  Buf *keys = a.one_row ? NULL : attention_pack_across(&a, "keys", key, a.dk);
  Buf *values = !a.one_row && dim_lo(a.queries) >= FEW_ROWS ? attention_pack_rows(&a, "values", value_at, a.dv) : NULL;
  int parts = parts_of(&a, a.root->in[1], end);
  attention_block_begin(&a);
  if (a.one_row) score_row(&a);
  else attention_scores(&a, query, keys, a.dk, a.row);
  softmax_rows(&a);
  attention_values(&a, a.row, values, value_at, a.dv, end, parts, write);
  attention_block_end(&a);
  if (halves) loop_end(b);
  for (int k = 0; k < a.ty->rank - 2; k++) loop_end(b);
  return true;
}

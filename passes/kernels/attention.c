/* Attention in one kernel: shares of values, softmax(q k^T) v, without the matrix of scores in memory.
 *
 *   for batch, head
 *     pack k^T [panel][d][width], v [panel][key][width]
 *     for block of query rows                       (their scores stay in the L1 or L2)
 *       for panel of keys, tile of rows             scores[row][key] = q k^T
 *       for row     x = between(scores); top = max x;  e = exp(x - top); scale = 1 / sum e
 *       for panel of values, tile of rows           y = scale * (e v)
 *
 * One query row, as in decoding, packs nothing: keys and values are read once, front to back, part by part where they are a
 * concat that fuse_attention.c took in. Rows of scores are padded to
 * whole panels of keys; the padding gets -inf, that is no weight. A tile at the end of the rows computes its last row again
 * in place of those that are missing, and does not write them.
 *
 * A row is small against the caches up to some ten thousand keys, so the softmax is the exact one, with the maximum known
 * before the first exp. Keeping scores of a block in cache is the idea of FlashAttention (Dao and others, 2022); the
 * running maximum that a GPU needs for it (Milakov and Gimelshein, Online normalizer calculation, 2018) is not. */
#include "passes/kernels/tile.h"
#include "passes/lower/functions.h"
#include <math.h>

enum { WIDE = 2, MOST_TILES = 8, MOST_VECTORS = 8, FEW_ROWS = 8 };  /* vectors to a panel; tiles to a block; of one row's product */

typedef struct Attention {
  Lower *l;
  const Node *scores, *softmax, *root;
  const Type *ts, *tp, *ty;          /* types of scores, shares, result */
  Dim queries, keys, stride;         /* stride: a row of scores, padded to whole panels */
  int64_t dk, dv;
  int lanes, width;                  /* width: keys to a panel */
  int rows, tiles;                   /* query rows to a tile, tiles to a block */
  bool one_row, ragged;              /* ragged: a tile may reach beyond the last row */
  bool after;                        /* something elementwise follows the softmax */
  Expr *batch[MAX_RANK];             /* of the result */
  Expr *block, *count;               /* first row of the block, rows in it */
  Buf *packed_keys, *packed_values, *row, *scale;
} Attention;

typedef struct Column { int64_t at; int lanes; } Column;
typedef struct Columns { Column at[16]; int n; int64_t width; } Columns;

static Expr *lanes_at(Builder *b, Expr *at, int lanes) { return lanes > 1 ? ex_ramp(b, at, 1, lanes) : at; }
static Expr *plus(Builder *b, Expr *x, int64_t n) { return ex_add(b, x, ex_int(b, n)); }
static Expr *times(Builder *b, Expr *x, int64_t n) { return ex_mul(b, x, ex_int(b, n)); }
static Expr *as_lanes(Builder *b, Expr *x, int lanes) { return x->lanes == lanes ? x : ex_splat(b, x, lanes); }

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
static Expr *key(Attention *a, Expr *d, Expr *at) { return operand(a, a->scores, 1, d, at); }
static Expr *value_at(Attention *a, Expr *at, Expr *col) { return operand(a, a->root, 1, at, col); }

static Expr *row_start(Attention *a, Expr *r) { return ex_mul(&a->l->b, r, ex_dim(&a->l->b, a->stride)); }

/* The next columns of `size` from `start`: `most` vectors, or what is left, in vectors of halves at last. */
static Columns columns_at(const Attention *a, int64_t start, int64_t size, int most) {
  Columns c = {0};
  for (; c.n < most && start + c.width + a->lanes <= size; c.width += a->lanes) c.at[c.n++] = (Column){c.width, a->lanes};
  if (c.n) return c;
  for (int w = a->lanes / 2; w >= 1; w /= 2)
    if ((size - start) & w) { c.at[c.n++] = (Column){c.width, w}; c.width += w; }
  return c;
}

enum { MOST_PARTS = 8 };

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
  return taken_concat(a, a->scores->in[1]) || lower_contiguous(a->l, a->scores->in[1], value_of(a->l->m, a->scores->in[1])->type.rank - 2);
}

/* ---- packing ---- */

static void pack_keys(Attention *a) {
  Builder *b = &a->l->b;
  Dim whole = dim_floordiv(a->keys, DIM(a->width)), all = dim_ceildiv(a->keys, DIM(a->width));
  Expr *panel = loop_begin(b, "panel", ex_int(b, 0), ex_dim(b, whole), 1, FOR_SEQ);
  Expr *d = loop_begin(b, "d", ex_int(b, 0), ex_int(b, a->dk), 1, FOR_SEQ);
  Expr *to = times(b, ex_add(b, times(b, panel, a->dk), d), a->width);
  for (int c = 0; c < WIDE; c++) {
    Expr *v = key(a, d, lanes_at(b, plus(b, times(b, panel, a->width), (int64_t)c * a->lanes), a->lanes));
    st_store(b, a->packed_keys, lanes_at(b, plus(b, to, (int64_t)c * a->lanes), a->lanes), as_lanes(b, v, a->lanes));
  }
  loop_end(b);
  loop_end(b);
  if (dim_eq(whole, all)) return;
  panel = loop_begin(b, "panel", ex_dim(b, whole), ex_dim(b, all), 1, FOR_SEQ);
  d = loop_begin(b, "d", ex_int(b, 0), ex_int(b, a->dk), 1, FOR_SEQ);
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, a->width), 1, FOR_SEQ);
  Expr *at = ex_min(b, ex_add(b, times(b, panel, a->width), c), ex_dim(b, dim_sub(a->keys, DIM(1))));
  to = ex_add(b, times(b, ex_add(b, times(b, panel, a->dk), d), a->width), c);
  st_store(b, a->packed_keys, to, key(a, d, at));
  for (int k = 0; k < 3; k++) loop_end(b);
}

static void pack_values(Attention *a) {
  Builder *b = &a->l->b;
  Columns c;
  for (int64_t start = 0; start < a->dv; start += c.width) {
    c = columns_at(a, start, a->dv, WIDE);
    Expr *at = loop_begin(b, "key", ex_int(b, 0), ex_dim(b, a->keys), 1, FOR_SEQ);
    Expr *to = ex_add(b, ex_dim(b, dim_mul(DIM(start), a->keys)), times(b, at, c.width));
    for (int k = 0; k < c.n; k++) {
      Expr *v = value_at(a, at, lanes_at(b, ex_int(b, start + c.at[k].at), c.at[k].lanes));
      st_store(b, a->packed_values, lanes_at(b, plus(b, to, c.at[k].at), c.at[k].lanes), as_lanes(b, v, c.at[k].lanes));
    }
    loop_end(b);
  }
}

/* ---- scores ---- */

/* The row a tile's line i reads: the last one again for those that are missing. */
static Expr *query_row(Attention *a, Expr *first, int i) {
  Builder *b = &a->l->b;
  Expr *row = plus(b, first, i);
  return a->ragged ? let(b, "q", ex_min(b, row, ex_dim(b, dim_sub(a->queries, DIM(1))))) : row;
}

static Expr *tile_loop(Attention *a) {
  Builder *b = &a->l->b;
  return loop_begin(b, "tile", ex_int(b, 0), ex_div(b, plus(b, a->count, a->rows - 1), ex_int(b, a->rows)), 1, FOR_SEQ);
}

static void score_tiles(Attention *a) {
  Builder *b = &a->l->b;
  Var *acc[16][WIDE];
  Expr *row[16], *w[WIDE];
  Expr *panel = loop_begin(b, "panel", ex_int(b, 0), ex_dim(b, dim_ceildiv(a->keys, DIM(a->width))), 1, FOR_SEQ);
  Expr *tile = tile_loop(a), *line = times(b, tile, a->rows);
  for (int i = 0; i < a->rows; i++) row[i] = query_row(a, ex_add(b, a->block, line), i);
  for (int i = 0; i < a->rows; i++)
    for (int c = 0; c < WIDE; c++) acc[i][c] = reg(b, "acc", ex_splat(b, ex_const(b, DT_F32, 0), a->lanes));
  Expr *d = loop_begin(b, "d", ex_int(b, 0), ex_int(b, a->dk), 1, FOR_SEQ);
  Expr *from = times(b, ex_add(b, times(b, panel, a->dk), d), a->width);
  for (int c = 0; c < WIDE; c++)
    w[c] = let(b, "w", ex_load(b, a->packed_keys, lanes_at(b, plus(b, from, (int64_t)c * a->lanes), a->lanes)));
  for (int i = 0; i < a->rows; i++) {
    Expr *x = ex_splat(b, let(b, "q", query(a, row[i], d)), a->lanes);
    for (int c = 0; c < WIDE; c++) st_set(b, acc[i][c], ex_fma(b, x, w[c], ex_var(b, acc[i][c])));
  }
  loop_end(b);
  for (int i = 0; i < a->rows; i++)
    for (int c = 0; c < WIDE; c++) {
      Expr *to = ex_add(b, row_start(a, plus(b, line, i)), plus(b, times(b, panel, a->width), (int64_t)c * a->lanes));
      st_store(b, a->row, lanes_at(b, to, a->lanes), ex_var(b, acc[i][c]));
    }
  loop_end(b);
  loop_end(b);
}

/* Keys [from, to) of it. */
static void score_part(Attention *a, Expr **q, const Column *c, int n, Dim from, Dim to) {
  Builder *b = &a->l->b;
  Expr *at = loop_begin(b, "key", ex_dim(b, from), ex_dim(b, to), 1, FOR_SEQ), *sum = NULL, *rest = NULL;
  for (int k = 0; k < n; k++) {
    Expr *x = as_lanes(b, key(a, lanes_at(b, ex_int(b, c[k].at), c[k].lanes), at), c[k].lanes);
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
    Columns some = columns_at(a, d, a->dk, 1);
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
  Expr *i[MAX_RANK], *low = ex_const(b, DT_F32, -INFINITY), *size = ex_dim(b, a->keys), *wide = ex_dim(b, a->stride);
  batch_of(a, a->tp, i);
  Expr *r = loop_begin(b, "r", ex_int(b, 0), a->count, 1, FOR_SEQ), *from = let(b, "from", row_start(a, r));
  i[a->tp->rank - 2] = ex_add(b, a->block, r);
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
    k = i[a->tp->rank - 1] = loop_begin(b, "k", ex_int(b, 0), size, 1, FOR_VECTOR);
    Expr *share = let(b, "share", ex_mul(b, ex_load(b, a->row, ex_add(b, from, k)), scale));
    Expr *y = lower_read_given(l, a->root->in[0], i, a->softmax->out[0], share);
    st_store(b, a->row, ex_add(b, from, k), y);
    loop_end(b);
  } else {
    st_store(b, a->scale, r, scale);
  }
  loop_end(b);
}

/* ---- values ---- */

static void write_row(Attention *a, Expr *line, const Columns *c, Expr *first, Var **acc) {
  Builder *b = &a->l->b;
  Expr *row = ex_add(b, a->block, line);
  if (a->ragged) if_begin(b, ex_lt(b, row, ex_dim(b, a->queries)));
  Expr *scale = a->after ? NULL : let(b, "scale", ex_load(b, a->scale, line));
  for (int k = 0; k < c->n; k++) {
    Expr **i = NEW_N(b->arena, Expr *, MAX_RANK);
    for (int q = 0; q < a->ty->rank - 2; q++) i[q] = a->batch[q];
    i[a->ty->rank - 2] = row;
    i[a->ty->rank - 1] = lanes_at(b, plus(b, first, c->at[k].at), c->at[k].lanes);
    Expr *sum = ex_var(b, acc[k]);
    lower_write(a->l, i, scale ? ex_mul(b, sum, as_lanes(b, scale, c->at[k].lanes)) : sum);
  }
  if (a->ragged) if_end(b);
}

/* Keys [from, to) of a tile's sums. */
static void value_part(Attention *a, const Columns *c, Var *(*acc)[16], Expr *first, Expr *line, Dim from, Dim to) {
  Builder *b = &a->l->b;
  Expr *w[16], *at = loop_begin(b, "key", ex_dim(b, from), ex_dim(b, to), 1, FOR_SEQ);
  Expr *packed = ex_add(b, ex_mul(b, first, ex_dim(b, a->keys)), times(b, at, c->width));
  for (int k = 0; k < c->n; k++) {
    int lanes = c->at[k].lanes;
    Expr *v = a->packed_values ? ex_load(b, a->packed_values, lanes_at(b, plus(b, packed, c->at[k].at), lanes))
                               : value_at(a, at, lanes_at(b, plus(b, first, c->at[k].at), lanes));
    w[k] = let(b, "w", as_lanes(b, v, lanes));
  }
  for (int i = 0; i < a->rows; i++) {
    Expr *e = let(b, "e", ex_load(b, a->row, ex_add(b, row_start(a, plus(b, line, i)), at)));
    for (int k = 0; k < c->n; k++)
      st_set(b, acc[i][k], ex_fma(b, as_lanes(b, e, c->at[k].lanes), w[k], ex_var(b, acc[i][k])));
  }
  loop_end(b);
}

/* `repeat` panels of the columns c from `start` on. */
static void value_tiles(Attention *a, const Columns *c, int64_t start, int64_t repeat) {
  Builder *b = &a->l->b;
  Var *acc[16][16];
  Expr *panel = loop_begin(b, "panel", ex_int(b, 0), ex_int(b, repeat), 1, FOR_SEQ);
  Expr *first = let(b, "first", plus(b, times(b, panel, c->width), start));
  Expr *line = times(b, tile_loop(a), a->rows);
  for (int i = 0; i < a->rows; i++)
    for (int k = 0; k < c->n; k++) acc[i][k] = reg(b, "acc", as_lanes(b, ex_const(b, DT_F32, 0), c->at[k].lanes));
  Dim end[MOST_PARTS];
  int parts = parts_of(a, a->root->in[1], end);
  for (int p = 0; p < parts; p++) value_part(a, c, acc, first, line, p ? end[p - 1] : DIM(0), end[p]);
  for (int i = 0; i < a->rows; i++) write_row(a, plus(b, line, i), c, first, acc[i]);
  loop_end(b);
  loop_end(b);
}

static void all_values(Attention *a) {
  int most = a->one_row ? MOST_VECTORS : WIDE;
  for (int64_t start = 0, repeat; start < a->dv; ) {
    Columns c = columns_at(a, start, a->dv, most);
    repeat = (a->dv - start) / c.width;
    value_tiles(a, &c, start, repeat);
    start += repeat * c.width;
  }
}

/* ---- sizes ---- */

/* Tiles as high as registers allow and rows divide evenly; blocks whose scores take a quarter of the L2. */
static void choose_sizes(Attention *a) {
  const Target *t = a->l->target;
  int most = (t->registers - WIDE - 1) / WIDE;
  if (most > 12) most = 12;
  a->rows = most;
  if (dim_is_const(a->queries)) {
    int64_t tiles = (a->queries.k + most - 1) / most;
    a->rows = (int)((a->queries.k + tiles - 1) / tiles);
  }
  int64_t row = dim_hi(a->stride) * 4 * a->rows, limit = t->l2 * (int64_t)256 / (row > 0 ? row : 1);
  a->tiles = limit < 1 ? 1 : limit > MOST_TILES ? MOST_TILES : (int)limit;
  if (dim_is_const(a->queries)) {
    int64_t tiles = (a->queries.k + a->rows - 1) / a->rows, blocks = (tiles + a->tiles - 1) / a->tiles;
    a->tiles = (int)((tiles + blocks - 1) / blocks);
  }
  a->ragged = !dim_is_const(a->queries) || a->queries.k % a->rows;
}

static void scratch(Attention *a) {
  Dim lines = DIM((int64_t)a->rows * a->tiles);
  a->row = lower_scratch(a->l, "row", DT_F32, dim_mul(lines, a->stride));
  if (!a->after) a->scale = lower_scratch(a->l, "scale", DT_F32, lines);
  if (a->one_row) return;
  a->packed_keys = lower_scratch(a->l, "keys", DT_F32, dim_mul(a->stride, DIM(a->dk)));
  if (dim_lo(a->queries) >= FEW_ROWS) a->packed_values = lower_scratch(a->l, "values", DT_F32, dim_mul(a->keys, DIM(a->dv)));
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
  Attention a = {.l = l, .scores = node_of(l->m, l->g->scores), .softmax = node_of(l->m, l->g->softmax), .root = node_of(l->m, l->root)};
  a.ts = &value_of(l->m, a.scores->out[0])->type;
  a.tp = &value_of(l->m, a.softmax->out[0])->type;
  a.ty = &value_of(l->m, a.root->out[0])->type;
  const Type *tq = &value_of(l->m, a.scores->in[0])->type;
  a.queries = a.ts->dims[a.ts->rank - 2];
  a.keys = a.ts->dims[a.ts->rank - 1];
  a.dk = tq->dims[tq->rank - 1].k;
  a.dv = a.ty->dims[a.ty->rank - 1].k;
  a.lanes = l->target->lanes;
  a.width = WIDE * a.lanes;
  a.after = a.root->in[0] != a.softmax->out[0];
  a.one_row = keys_in_vectors(&a);
  a.stride = dim_mul(dim_ceildiv(a.keys, DIM(a.width)), DIM(a.width));
  choose_sizes(&a);
  explain(&a);
  for (int k = 0; k < a.ty->rank - 2; k++)
    a.batch[k] = loop_begin(b, "batch", ex_int(b, 0), ex_dim(b, a.ty->dims[k]), 1, FOR_PARALLEL);
  scratch(&a);                                                  // every iteration has its own
  if (!a.one_row) pack_keys(&a);
  if (a.packed_values) pack_values(&a);
  int64_t height = (int64_t)a.rows * a.tiles;
  a.block = loop_begin(b, "block", ex_int(b, 0), ex_dim(b, a.queries), height, FOR_SEQ);
  a.count = ex_min(b, ex_int(b, height), ex_sub(b, ex_dim(b, a.queries), a.block));
  if (dim_is_const(a.queries) && a.queries.k % height == 0) a.count = ex_int(b, height);
  else a.count = let(b, "count", a.count);
  if (a.one_row) score_row(&a);
  else score_tiles(&a);
  softmax_rows(&a);
  all_values(&a);
  loop_end(b);
  for (int k = 0; k < a.ty->rank - 2; k++) loop_end(b);
  return true;
}

/* The gradient of attention, block of rows by block of rows: scores and shares are made anew, as in attention.c, and
 * only those of one block exist.
 *
 *   for batch, head
 *     pack k^T, v^T [panel][d][width], k [panel][key][width]
 *     for block of query rows                       (two matrices of a block stay in the L2)
 *       p = scale q k^T + bias;  g = dy v^T
 *       for row     p = softmax(p);  g = scale p (g - sum p g)
 *       dq = g k
 *       dv += p^T dy;  dk += g^T q                  in register tiles: a few keys by two vectors
 *
 * It is the backward pass of FlashAttention (Dao and others, 2022), but a row of scores is whole, so that its maximum
 * and its sum need not be kept from the forward pass. Sums over blocks are in order, so the result does not depend on
 * threads. */
#include "passes/kernels/attention.h"
#include "passes/kernels/kernels.h"
#include <math.h>

enum { MOST_TILES = 32 };                                       /* to a block */

typedef struct Backward {
  Attention a;                       /* first: readers get it alone */
  const Node *n;
  Buf *grad;                         /* beside a.row, the shares */
  int key_rows;                      /* keys to a tile of dk and dv */
  bool once;                         /* all rows are one block */
} Backward;

static Expr *operand(Attention *a, int k, Expr *row, Expr *col) {
  Expr *i[MAX_RANK];
  int rank = a->ty->rank;
  for (int d = 0; d < rank - 2; d++) i[d] = a->batch[d];
  i[rank - 2] = row;
  i[rank - 1] = col;
  return lower_read(a->l, a->root->in[k], i);
}

static Expr *query(Attention *a, Expr *row, Expr *d) { return operand(a, 0, row, d); }
static Expr *key(Attention *a, Expr *at, Expr *d) { return operand(a, 1, at, d); }
static Expr *value_at(Attention *a, Expr *at, Expr *d) { return operand(a, 2, at, d); }
static Expr *dy(Attention *a, Expr *row, Expr *d) { return operand(a, 3, row, d); }

static Expr **index_of(Attention *a, Expr *row, Expr *col) {
  Expr **i = NEW_N(a->l->b.arena, Expr *, MAX_RANK);            // lower_write knows indices by their address
  for (int d = 0; d < a->ty->rank - 2; d++) i[d] = a->batch[d];
  i[a->ty->rank - 2] = row;
  i[a->ty->rank - 1] = col;
  return i;
}

static void write_dq(Attention *a, Expr *row, Expr *col, Expr *sum) { lower_write(a->l, index_of(a, row, col), sum); }

/* ---- rows ---- */

static Expr *row_loop(Attention *a, Expr *lo, Expr *hi) { return loop_begin(&a->l->b, "k", lo, hi, 1, FOR_VECTOR); }

/* p: scores -> shares, without their common factor; gives that factor and the mean of g by the shares. */
static void softmax_of_row(Backward *s, Expr *row, Expr *from, Expr *seen, Expr *wide, Expr **share, Expr **mean) {
  Attention *a = &s->a;
  Builder *b = &a->l->b;
  Expr *zero = ex_int(b, 0), *scale = ex_const(b, DT_F32, node_float(s->n, "scale", 1)), *i[MAX_RANK];
  Var *top = reg(b, "top", ex_const(b, DT_F32, -INFINITY)), *sum = reg(b, "sum", ex_const(b, DT_F32, 0));
  Expr *k = row_loop(a, zero, seen), *x = ex_mul(b, ex_load(b, a->row, ex_add(b, from, k)), scale);
  if (s->n->nin > 4 && s->n->in[4]) {
    for (int d = 0; d < a->ts->rank - 2; d++) i[d] = a->batch[d];
    i[a->ts->rank - 2] = row;
    i[a->ts->rank - 1] = k;
    x = ex_add(b, x, lower_read_broadcast(a->l, s->n->in[4], a->ts, i));
  }
  x = let(b, "x", x);
  st_store(b, a->row, ex_add(b, from, k), x);
  st_set(b, top, ex_max(b, ex_var(b, top), x));
  loop_end(b);
  k = row_loop(a, seen, wide);
  st_store(b, a->row, ex_add(b, from, k), ex_const(b, DT_F32, -INFINITY));
  loop_end(b);
  k = row_loop(a, zero, wide);
  Expr *e = ex_sub(b, ex_load(b, a->row, ex_add(b, from, k)), ex_var(b, top));
  e = let(b, "e", ex_scalar(b, S_EXP, e, NULL, NULL));
  st_store(b, a->row, ex_add(b, from, k), e);
  st_set(b, sum, ex_add(b, ex_var(b, sum), e));
  loop_end(b);
  *share = let(b, "share", ex_scalar(b, S_DIV, ex_const(b, DT_F32, 1), ex_var(b, sum), NULL));
  Var *dot = reg(b, "dot", ex_const(b, DT_F32, 0));
  k = row_loop(a, zero, seen);
  st_set(b, dot,
         ex_fma(b, ex_load(b, a->row, ex_add(b, from, k)), ex_load(b, s->grad, ex_add(b, from, k)),
                ex_var(b, dot)));
  loop_end(b);
  *mean = let(b, "mean", ex_mul(b, ex_var(b, dot), *share));
}

static void shares_of_rows(Backward *s) {
  Attention *a = &s->a;
  Builder *b = &a->l->b;
  Expr *r = loop_begin(b, "r", ex_int(b, 0), a->count, 1, FOR_SEQ), *from = let(b, "from", attention_row_start(a, r));
  Expr *row = ex_add(b, a->block, r), *share, *mean;
  Expr *seen = let(b, "seen", attention_seen(a, row)), *wide = let(b, "wide", attention_seen_wide(a, row));
  softmax_of_row(s, row, from, seen, wide, &share, &mean);
  Expr *k = row_loop(a, ex_int(b, 0), seen), *at = ex_add(b, from, k);
  Expr *p = let(b, "p", ex_mul(b, ex_load(b, a->row, at), share));
  st_store(b, a->row, at, p);
  p = ex_mul(b, p, ex_sub(b, ex_load(b, s->grad, at), mean));
  st_store(b, s->grad, at, ex_mul(b, p, ex_const(b, DT_F32, node_float(s->n, "scale", 1))));
  loop_end(b);
  k = row_loop(a, seen, wide);
  st_store(b, s->grad, ex_add(b, from, k), ex_const(b, DT_F32, 0));
  loop_end(b);
  loop_end(b);
}

/* ---- dk and dv ---- */

typedef struct Turned {
  Buf *from;                         /* p or g */
  AttentionRead read;                /* dy or q */
  ValueId out;
  int64_t size;
  Buf *sum;                          /* [key][size], over the blocks; NULL: there is one */
} Turned;

static void turned_write(Backward *s, const Turned *t, Expr *at, Expr *col, Expr *x) {
  Builder *b = &s->a.l->b;
  if (t->sum) st_store(b, t->sum, ex_add(b, times(b, at, t->size), col), x);
  else lower_write_to(s->a.l, t->out, index_of(&s->a, at, col), x);
}

/* A tile of keys from `first` on, the columns c from `start` on. */
static void turned_tile(Backward *s, const Turned *t, const Columns *c, Expr *first, Expr *start) {
  Attention *a = &s->a;
  Builder *b = &a->l->b;
  bool ragged = !dim_is_const(a->keys) || a->keys.k % s->key_rows;
  Var *acc[16][MOST_COLUMNS];
  Expr *at[16], *w[MOST_COLUMNS], *col[MOST_COLUMNS];
  for (int k = 0; k < c->n; k++) col[k] = lanes_at(b, plus(b, start, c->at[k].at), c->at[k].lanes);
  for (int i = 0; i < s->key_rows; i++) {
    at[i] = plus(b, first, i);
    if (ragged) at[i] = let(b, "at", ex_min(b, at[i], ex_dim(b, dim_sub(a->keys, DIM(1)))));   // the last key again
    for (int k = 0; k < c->n; k++) {
      Expr *x = t->sum ? ex_load(b, t->sum, ex_add(b, times(b, at[i], t->size), col[k])) : ex_const(b, DT_F32, 0);
      acc[i][k] = reg(b, "acc", as_lanes(b, x, c->at[k].lanes));
    }
  }
  Expr *lo = ex_int(b, 0);
  if (a->ahead_known) {                                         // the first row that sees one of them
    lo = ex_sub(b, ex_sub(b, first, ex_dim(b, a->ahead)), a->block);
    lo = let(b, "lo", ex_scalar(b, S_MAX, lo, ex_int(b, 0), NULL));
  }
  Expr *r = loop_begin(b, "r", lo, a->count, 1, FOR_SEQ), *from = attention_row_start(a, r);
  for (int k = 0; k < c->n; k++)
    w[k] = let(b, "w", as_lanes(b, t->read(a, ex_add(b, a->block, r), col[k]), c->at[k].lanes));
  for (int i = 0; i < s->key_rows; i++) {
    Expr *e = let(b, "e", ex_load(b, t->from, ex_add(b, from, at[i])));
    for (int k = 0; k < c->n; k++)
      st_set(b, acc[i][k], ex_fma(b, as_lanes(b, e, c->at[k].lanes), w[k], ex_var(b, acc[i][k])));
  }
  loop_end(b);
  for (int i = 0; i < s->key_rows; i++) {
    if (ragged) if_begin(b, ex_lt(b, plus(b, first, i), ex_dim(b, a->keys)));
    for (int k = 0; k < c->n; k++) turned_write(s, t, ragged ? plus(b, first, i) : at[i], col[k], ex_var(b, acc[i][k]));
    if (ragged) if_end(b);
  }
}

static void turned_product(Backward *s, const Turned *t) {
  Attention *a = &s->a;
  Builder *b = &a->l->b;
  Expr *keys = ex_dim(b, a->keys);
  if (a->ahead_known && t->sum)                                 // the others get nothing from this block
    keys = ex_min(b, keys, ex_add(b, ex_add(b, a->block, a->count), ex_dim(b, a->ahead)));
  keys = let(b, "tiles", ex_div(b, plus(b, keys, s->key_rows - 1), ex_int(b, s->key_rows)));
  int64_t repeat;
  for (int64_t start = 0; start < t->size; start += repeat) {
    Columns c = attention_columns(a, start, t->size, WIDE);
    repeat = (t->size - start) / c.width * c.width;
    Expr *col = loop_begin(b, "col", ex_int(b, start), ex_int(b, start + repeat), c.width, FOR_SEQ);
    Expr *tile = loop_begin(b, "tile", ex_int(b, 0), keys, 1, FOR_SEQ);
    turned_tile(s, t, &c, times(b, tile, s->key_rows), col);
    loop_end(b);
    loop_end(b);
  }
}

static void turned_begin(Backward *s, Turned *t) {
  Attention *a = &s->a;
  Builder *b = &a->l->b;
  if (s->once) return;
  t->sum = lower_scratch(a->l, "sum", DT_F32, dim_mul(a->keys, DIM(t->size)));
  Expr *i = loop_begin(b, "i", ex_int(b, 0), ex_dim(b, dim_mul(a->keys, DIM(t->size))), 1, FOR_VECTOR);
  st_store(b, t->sum, i, ex_const(b, DT_F32, 0));
  loop_end(b);
}

static void turned_end(Backward *s, const Turned *t) {
  Attention *a = &s->a;
  Builder *b = &a->l->b;
  if (!t->sum) return;
  Expr *at = loop_begin(b, "key", ex_int(b, 0), ex_dim(b, a->keys), 1, FOR_SEQ);
  Expr *col = loop_begin(b, "col", ex_int(b, 0), ex_int(b, t->size), 1, FOR_VECTOR);
  lower_write_to(a->l, t->out, index_of(a, at, col), ex_load(b, t->sum, ex_add(b, times(b, at, t->size), col)));
  loop_end(b);
  loop_end(b);
}

/* ---- all ---- */

static void sizes(Backward *s) {
  Attention *a = &s->a;
  attention_sizes(a, 8, MOST_TILES);
  s->once = dim_is_const(a->queries) && a->queries.k <= (int64_t)a->rows * a->tiles;
  s->key_rows = a->rows;
  if (dim_is_const(a->keys)) {
    int64_t tiles = (a->keys.k + a->rows - 1) / a->rows;
    s->key_rows = (int)((a->keys.k + tiles - 1) / tiles);
  }
  if (s->key_rows > a->reach) a->reach = s->key_rows;
}

/* Five products, some forty cycles for a vector of exponentials and what is done to rows. */
static void explain(const Backward *s) {
  const Attention *a = &s->a;
  double batch = 1,
         cells = (double)dim_lo(a->queries) * (double)dim_lo(a->keys) / a->lanes * (a->ahead_known ? 0.5 : 1);
  for (int k = 0; k < a->ty->rank - 2; k++) batch *= (double)dim_lo(a->ty->dims[k]);
  kernel_choice(a->l, batch * cells * (40 + 0.5 * (3 * (double)a->dk + 2 * (double)a->dv)),
                "tile %dx%d, blocks of %d rows, keys and values packed", a->rows, WIDE, a->rows * a->tiles);
}

static void build(Backward *s) {
  Attention *a = &s->a;
  Lower *l = a->l;
  Dim cells = dim_mul(DIM((int64_t)a->rows * a->tiles), a->stride);
  a->row = lower_scratch(l, "row", DT_F32, cells);
  s->grad = lower_scratch(l, "grad", DT_F32, cells);
  Turned dk = {s->grad, query, s->n->out[1], a->dk, NULL}, dv = {a->row, dy, s->n->out[2], a->dv, NULL};
  bool need_dk = value_is_stored(l->fusion, dk.out), need_dv = value_is_stored(l->fusion, dv.out);
  Buf *keys = attention_pack_across(a, "keys", key, a->dk),
      *values = attention_pack_across(a, "values", value_at, a->dv);
  Buf *rows = attention_pack_rows(a, "rows", key, a->dk);
  if (need_dk) turned_begin(s, &dk);
  if (need_dv) turned_begin(s, &dv);
  attention_block_begin(a);
  attention_scores(a, query, keys, a->dk, a->row);
  attention_scores(a, dy, values, a->dv, s->grad);
  shares_of_rows(s);
  attention_values(a, s->grad, rows, key, a->dk, &a->keys, 1, write_dq);
  if (need_dv) turned_product(s, &dv);
  if (need_dk) turned_product(s, &dk);
  attention_block_end(a);
  if (need_dk) turned_end(s, &dk);
  if (need_dv) turned_end(s, &dv);
}

bool attention_grad_generate(Lower *l, const Node *n) {
  Builder *b = &l->b;
  const Type *q = &value_of(l->m, n->in[0])->type, *k = &value_of(l->m, n->in[1])->type,
             *v = &value_of(l->m, n->in[2])->type;
  Type ts = *q;
  int rank = q->rank;
  ts.dims[rank - 1] = k->dims[rank - 2];
  if (l->target->lanes == 1 || q->dtype != DT_F32 || !dim_is_const(q->dims[rank - 1]) ||
      !dim_is_const(v->dims[rank - 1]))
    return false;
  Backward s = {.n = n,
                .a = {.l = l,
                      .root = n,
                      .ts = &ts,
                      .ty = q,
                      .queries = q->dims[rank - 2],
                      .keys = k->dims[rank - 2],
                      .dk = q->dims[rank - 1].k,
                      .dv = v->dims[rank - 1].k,
                      .lanes = l->target->lanes,
                      .width = WIDE * l->target->lanes}};
  Attention *a = &s.a;
  const Attr *ahead = node_dims(n, "ahead");
  if ((a->skips = a->ahead_known = ahead)) a->ahead = ahead->dims[0];
  a->stride = dim_mul(dim_ceildiv(a->keys, DIM(a->width)), DIM(a->width));
  sizes(&s);
  explain(&s);
  for (int d = 0; d < rank - 2; d++)
    a->batch[d] = loop_begin(b, "batch", ex_int(b, 0), ex_dim(b, q->dims[d]), 1, FOR_PARALLEL);
  build(&s);
  for (int d = 0; d < rank - 2; d++) loop_end(b);
  return true;
}

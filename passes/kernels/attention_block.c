/* See attention.h. */
#include "passes/kernels/attention.h"

enum { MOST_VECTORS = 8 };                                      /* to a tile of one row */

Columns attention_columns(const Attention *a, int64_t start, int64_t size, int most) {
  Columns c = {0};
  for (; c.n < most && start + c.width + a->lanes <= size; c.width += a->lanes)
    c.at[c.n++] = (Column){c.width, a->lanes};
  if (c.n) return c;
  for (int w = a->lanes / 2; w >= 1; w /= 2)
    if ((size - start) & w) { c.at[c.n++] = (Column){c.width, w}; c.width += w; }
  return c;
}

void attention_sizes(Attention *a, int bytes, int most_tiles) {
  const Target *t = a->l->target;
  int most = target_tile_rows(t, WIDE, 0);
  if (most > 12) most = 12;
  a->rows = most;
  if (dim_is_const(a->queries)) {
    int64_t tiles = (a->queries.k + most - 1) / most;
    a->rows = (int)((a->queries.k + tiles - 1) / tiles);
  }
  int64_t row = dim_hi(a->stride) * bytes * a->rows, limit = target_l2(t, 0.25) / (row > 0 ? row : 1);
  a->tiles = limit < 1 ? 1 : limit > most_tiles ? most_tiles : (int)limit;
  if (dim_is_const(a->queries)) {
    int64_t tiles = (a->queries.k + a->rows - 1) / a->rows, blocks = (tiles + a->tiles - 1) / a->tiles;
    a->tiles = (int)((tiles + blocks - 1) / blocks);
  }
  a->ragged = !dim_is_const(a->queries) || a->queries.k % a->rows;
  a->reach = a->rows;
}

/* ---- packing ---- */

Buf *attention_pack_across(Attention *a, const char *name, AttentionRead at, int64_t depth) {
  Builder *b = &a->l->b;
  Buf *packed = lower_scratch(a->l, name, DT_F32, dim_mul(a->stride, DIM(depth)));
  Dim whole = dim_floordiv(a->keys, DIM(a->width)), all = dim_ceildiv(a->keys, DIM(a->width));
  Expr *panel = loop_begin(b, "panel", ex_int(b, 0), ex_dim(b, whole), 1, FOR_SEQ);
  Expr *d = loop_begin(b, "d", ex_int(b, 0), ex_int(b, depth), 1, FOR_SEQ);
  Expr *to = times(b, ex_add(b, times(b, panel, depth), d), a->width);
  for (int c = 0; c < WIDE; c++) {
    Expr *v = at(a, lanes_at(b, plus(b, times(b, panel, a->width), (int64_t)c * a->lanes), a->lanes), d);
    st_store(b, packed, lanes_at(b, plus(b, to, (int64_t)c * a->lanes), a->lanes), as_lanes(b, v, a->lanes));
  }
  loop_end(b);
  loop_end(b);
  if (dim_eq(whole, all)) return packed;
  panel = loop_begin(b, "panel", ex_dim(b, whole), ex_dim(b, all), 1, FOR_SEQ);
  d = loop_begin(b, "d", ex_int(b, 0), ex_int(b, depth), 1, FOR_SEQ);
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, a->width), 1, FOR_SEQ);
  Expr *key = ex_min(b, ex_add(b, times(b, panel, a->width), c), ex_dim(b, dim_sub(a->keys, DIM(1))));
  to = ex_add(b, times(b, ex_add(b, times(b, panel, depth), d), a->width), c);
  st_store(b, packed, to, at(a, key, d));
  for (int k = 0; k < 3; k++) loop_end(b);
  return packed;
}

Buf *attention_pack_rows(Attention *a, const char *name, AttentionRead at, int64_t size) {
  Builder *b = &a->l->b;
  Buf *packed = lower_scratch(a->l, name, DT_F32, dim_mul(a->keys, DIM(size)));
  Columns c;
  for (int64_t start = 0; start < size; start += c.width) {
    c = attention_columns(a, start, size, WIDE);
    Expr *key = loop_begin(b, "key", ex_int(b, 0), ex_dim(b, a->keys), 1, FOR_SEQ);
    Expr *to = ex_add(b, ex_dim(b, dim_mul(DIM(start), a->keys)), times(b, key, c.width));
    for (int k = 0; k < c.n; k++) {
      Expr *v = at(a, key, lanes_at(b, ex_int(b, start + c.at[k].at), c.at[k].lanes));
      st_store(b, packed, lanes_at(b, plus(b, to, c.at[k].at), c.at[k].lanes), as_lanes(b, v, c.at[k].lanes));
    }
    loop_end(b);
  }
  return packed;
}

/* ---- rows ---- */

void attention_block_begin(Attention *a) {
  Builder *b = &a->l->b;
  int64_t height = (int64_t)a->rows * a->tiles;
  Expr *from = a->from ? a->from : ex_int(b, 0), *to = a->to ? a->to : ex_dim(b, a->queries);
  a->block = loop_begin(b, "block", from, to, height, FOR_SEQ);
  a->count = ex_min(b, ex_int(b, height), ex_sub(b, to, a->block));
  if (!a->to && dim_is_const(a->queries) && a->queries.k % height == 0) a->count = ex_int(b, height);
  else a->count = let(b, "count", a->count);
}

void attention_block_end(Attention *a) { loop_end(&a->l->b); }

Expr *attention_row_start(Attention *a, Expr *r) { return ex_mul(&a->l->b, r, ex_dim(&a->l->b, a->stride)); }

/* The keys that the rows before `row` see, all together. */
static Expr *seen_before(Attention *a, Expr *row) {
  Builder *b = &a->l->b;
  Expr *keys = ex_dim(b, a->keys);
  return a->ahead_known ? ex_min(b, keys, ex_add(b, row, ex_dim(b, a->ahead))) : keys;
}

Expr *attention_seen(Attention *a, Expr *row) { return seen_before(a, plus(&a->l->b, row, 1)); }

Expr *attention_seen_wide(Attention *a, Expr *row) {
  Builder *b = &a->l->b;
  Expr *all = ex_dim(b, a->stride);
  if (!a->skips) return all;
  Expr *end = plus(b, ex_add(b, row, ex_dim(b, dim_add(a->ahead, DIM(a->reach)))), a->lanes - 1);
  return ex_min(b, all, times(b, ex_div(b, end, ex_int(b, a->lanes)), a->lanes));
}

/* The row a tile's line i reads: the last one again for those that are missing. */
static Expr *query_row(Attention *a, Expr *first, int i) {
  Builder *b = &a->l->b;
  Expr *row = plus(b, first, i);
  return a->ragged ? let(b, "q", ex_min(b, row, ex_dim(b, dim_sub(a->queries, DIM(1))))) : row;
}

static Expr *tile_loop(Attention *a, Expr *from) {
  Builder *b = &a->l->b;
  return loop_begin(b, "tile", from, ex_div(b, plus(b, a->count, a->rows - 1), ex_int(b, a->rows)), 1, FOR_SEQ);
}

/* The first tile of the block with a row that sees key `at`. */
static Expr *first_tile(Attention *a, Expr *at) {
  Builder *b = &a->l->b;
  if (!a->ahead_known) return ex_int(b, 0);
  Expr *row = ex_sub(b, ex_sub(b, at, ex_dim(b, a->ahead)), a->block);
  return let(b, "first", ex_div(b, ex_scalar(b, S_MAX, row, ex_int(b, 0), NULL), ex_int(b, a->rows)));
}

void attention_scores(Attention *a, AttentionRead query, Buf *packed, int64_t depth, Buf *to) {
  Builder *b = &a->l->b;
  Var *acc[16][WIDE];
  Expr *row[16], *w[WIDE], *panels = ex_dim(b, dim_ceildiv(a->keys, DIM(a->width)));
  if (a->ahead_known) {
    Expr *seen = seen_before(a, ex_add(b, a->block, a->count));
    panels = let(b, "panels", ex_div(b, plus(b, seen, a->width - 1), ex_int(b, a->width)));
  }
  Expr *panel = loop_begin(b, "panel", ex_int(b, 0), panels, 1, FOR_SEQ);
  Expr *tile = tile_loop(a, first_tile(a, times(b, panel, a->width))), *line = times(b, tile, a->rows);
  for (int i = 0; i < a->rows; i++) row[i] = query_row(a, ex_add(b, a->block, line), i);
  for (int i = 0; i < a->rows; i++)
    for (int c = 0; c < WIDE; c++) acc[i][c] = reg(b, "acc", ex_splat(b, ex_const(b, DT_F32, 0), a->lanes));
  Expr *d = loop_begin(b, "d", ex_int(b, 0), ex_int(b, depth), 1, FOR_SEQ);
  Expr *from = times(b, ex_add(b, times(b, panel, depth), d), a->width);
  for (int c = 0; c < WIDE; c++)
    w[c] = let(b, "w", ex_load(b, packed, lanes_at(b, plus(b, from, (int64_t)c * a->lanes), a->lanes)));
  for (int i = 0; i < a->rows; i++) {
    Expr *x = ex_splat(b, let(b, "q", query(a, row[i], d)), a->lanes);
    for (int c = 0; c < WIDE; c++) st_set(b, acc[i][c], ex_fma(b, x, w[c], ex_var(b, acc[i][c])));
  }
  loop_end(b);
  for (int i = 0; i < a->rows; i++)
    for (int c = 0; c < WIDE; c++) {
      Expr *at = ex_add(b, attention_row_start(a, plus(b, line, i)),
                        plus(b, times(b, panel, a->width), (int64_t)c * a->lanes));
      st_store(b, to, lanes_at(b, at, a->lanes), ex_var(b, acc[i][c]));
    }
  loop_end(b);
  loop_end(b);
}

/* ---- values ---- */

static void write_row(Attention *a, Expr *line, const Columns *c, Expr *first, Var **acc, AttentionWrite write) {
  Builder *b = &a->l->b;
  Expr *row = ex_add(b, a->block, line);
  if (a->ragged) if_begin(b, ex_lt(b, row, ex_dim(b, a->queries)));
  Expr *scale = a->scale ? let(b, "scale", ex_load(b, a->scale, line)) : NULL;
  for (int k = 0; k < c->n; k++) {
    Expr *sum = ex_var(b, acc[k]);
    write(a, row, lanes_at(b, plus(b, first, c->at[k].at), c->at[k].lanes),
          scale ? ex_mul(b, sum, as_lanes(b, scale, c->at[k].lanes)) : sum);
  }
  if (a->ragged) if_end(b);
}

/* Keys [lo, hi) of a tile's sums. */
static void value_part(Attention *a, Buf *from, Buf *packed, AttentionRead value, const Columns *c,
                       Var *(*acc)[MOST_COLUMNS], Expr *first, Expr *line, Expr *lo, Expr *hi) {
  Builder *b = &a->l->b;
  Expr *w[MOST_COLUMNS], *at = loop_begin(b, "key", lo, hi, 1, FOR_SEQ);
  Expr *in_pack = ex_add(b, ex_mul(b, first, ex_dim(b, a->keys)), times(b, at, c->width));
  for (int k = 0; k < c->n; k++) {
    int lanes = c->at[k].lanes;
    Expr *v = packed ? ex_load(b, packed, lanes_at(b, plus(b, in_pack, c->at[k].at), lanes))
                     : value(a, at, lanes_at(b, plus(b, first, c->at[k].at), lanes));
    w[k] = let(b, "w", as_lanes(b, v, lanes));
  }
  for (int i = 0; i < a->rows; i++) {
    Expr *e = let(b, "e", ex_load(b, from, ex_add(b, attention_row_start(a, plus(b, line, i)), at)));
    for (int k = 0; k < c->n; k++)
      st_set(b, acc[i][k], ex_fma(b, as_lanes(b, e, c->at[k].lanes), w[k], ex_var(b, acc[i][k])));
  }
  loop_end(b);
}

void attention_values(Attention *a, Buf *from, Buf *packed, AttentionRead value, int64_t size, const Dim *end,
                      int parts, AttentionWrite write) {
  Builder *b = &a->l->b;
  int64_t repeat;
  for (int64_t start = 0; start < size; ) {
    Columns c = attention_columns(a, start, size, a->one_row ? MOST_VECTORS : WIDE);
    Var *acc[16][MOST_COLUMNS];
    repeat = (size - start) / c.width;
    Expr *panel = loop_begin(b, "panel", ex_int(b, 0), ex_int(b, repeat), 1, FOR_SEQ);
    Expr *first = let(b, "first", plus(b, times(b, panel, c.width), start));
    Expr *line = times(b, tile_loop(a, ex_int(b, 0)), a->rows);
    for (int i = 0; i < a->rows; i++)
      for (int k = 0; k < c.n; k++) acc[i][k] = reg(b, "acc", as_lanes(b, ex_const(b, DT_F32, 0), c.at[k].lanes));
    Expr *last = ex_min(b, plus(b, line, a->rows), a->count);
    Expr *seen = a->skips ? let(b, "seen", seen_before(a, ex_add(b, a->block, last))) : NULL;
    for (int p = 0; p < parts; p++)
      value_part(a, from, packed, value, &c, acc, first, line, ex_dim(b, p ? end[p - 1] : DIM(0)),
                 seen ? seen : ex_dim(b, end[p]));
    for (int i = 0; i < a->rows; i++) write_row(a, plus(b, line, i), &c, first, acc[i], write);
    loop_end(b);
    loop_end(b);
    start += repeat * c.width;
  }
}

/* The register tile; see tile.h. */
#include "passes/kernels/tile.h"

Tensor *tile_pack(Tiling *t, int64_t k, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx) {
  if (t->dot) return dot_pack(t, k, at, ctx);
  tile_decide(t);
  Panel p[8];
  int n = tile_panels(t, p, 8);
  int64_t dims[1] = {0};
  for (int q = 0; q < n; q++) dims[0] += k * p[q].width * p[q].repeat;
  Tensor *out = tensor_new(t->l->b.arena, DT_F32, 1, dims);
  float *to = out->data;
  for (int q = 0; q < n; q++)
    for (int64_t r = 0; r < p[q].repeat; r++)
      for (int64_t i = 0; i < k; i++)
        for (int64_t c = 0; c < p[q].width; c++)
          *to++ = c < p[q].cols ? at(ctx, i, p[q].start + r * p[q].width + c) : 0;
  return out;
}

Tensor *tile_pack_group(Tiling *t, Tensor *all, int64_t g, int64_t groups, int64_t k,
                        float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx) {
  Tensor *one = tile_pack(t, k, at, ctx);
  int64_t per = one->dims[0];
  if (groups == 1) return one;
  if (!all) all = tensor_new(t->l->b.arena, DT_F32, 1, &(int64_t){per * groups});
  memcpy((float *)all->data + g * per, one->data, (size_t)per * sizeof(float));
  return all;
}

void tile_groups_begin(Tiling *t, int64_t groups) {
  Builder *b = &t->l->b;
  if (groups == 1) return;
  t->g = loop_begin(b, "group", ex_int(b, 0), ex_int(b, groups), 1, FOR_PARALLEL);
  if (t->pack) t->pack_base = ex_mul(b, t->g, ex_int(b, t->pack->size.k / groups));
}

void tile_groups_end(Tiling *t) {
  if (t->g) loop_end(&t->l->b);
}

/* ---- one tile ---- */

static Expr *column(Tiling *t, const Panel *p, Expr *first, int c) {
  Builder *b = &t->l->b;
  int64_t at = 0;
  for (int q = 0; q < c; q++) at += p->lanes[q];
  Expr *base = ex_add(b, first, ex_int(b, at));
  return p->lanes[c] > 1 ? ex_ramp(b, base, 1, p->lanes[c]) : base;
}

static Expr *load_b(Tiling *t, const Panel *p, Expr *panel, Expr *first, Expr **k, int c) {
  Builder *b = &t->l->b;
  if (!t->pack) return t->b(t, k, column(t, p, first, c));
  Expr *flat = t->matrix ? t->matrix : ex_int(b, 0);            // (k0 * size1 + k1) * size2 + …
  for (int q = 0; q < t->kaxes; q++) flat = ex_add(b, ex_mul(b, flat, ex_dim(b, t->ksize[q])), k[q]);
  int64_t at = 0;
  for (int q = 0; q < c; q++) at += p->lanes[q];
  Expr *base = ex_add(b, ex_add(b, panel, ex_mul(b, flat, ex_int(b, p->width))), ex_int(b, at));
  return ex_load(b, t->pack, p->lanes[c] > 1 ? ex_ramp(b, base, 1, p->lanes[c]) : base);
}

/* Lanes are columns, gathered where these are not contiguous. The last reduction axis is outermost: weights
 * [M, C, taps…] and [N, K] are then read front to back, a vector's worth of rows at a time. */
void tile_pack_here(Tiling *t) {
  tile_decide(t);
  Builder *b = &t->l->b;
  Dim all = DIM(1);
  for (int q = 0; q < t->kaxes; q++) all = dim_mul(all, t->ksize[q]);
  Buf *pack = lower_scratch(t->l, "packed", DT_F32, dim_mul(all, t->cols));
  Panel p[8];
  int n = tile_panels(t, p, 8), last = t->kaxes - 1;
  par_begin(b);
  for (int q = 0; q < n; q++) {
    if (q) par_next(b);
    Expr *k[MAX_RANK], *flat = ex_int(b, 0);
    Expr *at = loop_begin(b, "panel", ex_int(b, 0), ex_int(b, p[q].repeat), 1, FOR_PARALLEL);
    Expr *first = let(b, "first", ex_add(b, ex_mul(b, at, ex_int(b, p[q].width)), ex_int(b, p[q].start)));
    k[last] = loop_begin(b, t->kname[last], ex_int(b, 0), ex_dim(b, t->ksize[last]), 1, FOR_PARALLEL);
    for (int a = 0; a < last; a++)
      k[a] = loop_begin(b, t->kname[a], ex_int(b, 0), ex_dim(b, t->ksize[a]), 1, FOR_PARALLEL);
    for (int a = 0; a <= last; a++) flat = ex_add(b, ex_mul(b, flat, ex_dim(b, t->ksize[a])), k[a]);
    Expr *to = let(b, "to", ex_add(b, ex_mul(b, first, ex_dim(b, all)), ex_mul(b, flat, ex_int(b, p[q].width))));
    int64_t offset = 0;
    for (int c = 0; c < p[q].columns; offset += p[q].lanes[c++]) {
      Expr *place = ex_add(b, to, ex_int(b, offset)), *v = t->b(t, k, column(t, &p[q], first, c));
      if (p[q].lanes[c] > 1) place = ex_ramp(b, place, 1, p[q].lanes[c]);
      st_store(b, pack, place, as_lanes(b, v, p[q].lanes[c]));
    }
    for (int a = 0; a <= last + 1; a++) loop_end(b);
  }
  par_end(b);
  t->pack = pack;
}

/* A bias added first would cost the digits of every later sum: folded batch norms can have one that all but cancels.
 * Short sums lose little, and there the addition would cost more. */
static bool start_comes_last(const Tiling *t) {
  Dim k = DIM(1);
  for (int q = 0; q < t->kaxes; q++) k = dim_mul(k, t->ksize[q]);
  return t->start && dim_lo(k) >= 2;
}

/* The start values at col, as a vector; NULL: there are none. */
static Expr *start_of(Tiling *t, Expr *col, int lanes, int rows) {
  if (!t->start) return NULL;
  Expr *start = t->start(t, col);
  if (!start) return NULL;
  if (rows > 1) start = let(&t->l->b, "start", start);
  return as_lanes(&t->l->b, start, lanes);
}

/* How many lanes of column c there are; the rest are zeros that stand behind. */
static int lanes_of(const Panel *p, int c) {
  int64_t left = p->cols;
  for (int q = 0; q < c; q++) left -= p->lanes[q];
  return left < p->lanes[c] ? (int)left : p->lanes[c];
}

/* Part of a column: `lanes` of its lanes from `from` on. Of a whole column only one. */
typedef struct Part { int lanes, from; Expr *col, *start; } Part;

static int column_parts(Tiling *t, const Panel *p, Expr *col, int c, Part *to) {
  Builder *b = &t->l->b;
  int lanes = lanes_of(p, c), n = 0, from = 0;
  if (lanes == p->lanes[c] || t->matrices) { to[0] = (Part){.lanes = p->lanes[c], .col = col}; return 1; }
  Expr *first = col->kind == EX_RAMP ? col->arg[0] : col;
  for (int w = p->lanes[c] / 2; w >= 1; w /= 2) {
    if (!(lanes & w)) continue;
    Expr *at = ex_add(b, first, ex_int(b, from));
    to[n++] = (Part){.lanes = w, .from = from, .col = w > 1 ? ex_ramp(b, at, 1, w) : at};
    from += w;
  }
  return n;
}

/* Constant weights larger than half the L2 come from far away: while the rows of a panel are at work, the next panel
 * (of several matrices: the next one's part) is asked for, a piece by every tile, a little for every k. Where rows are
 * many, a panel is reused so often that waiting for it once does not count. */
static void ask_for_next_panel(Tiling *t, const Panel *p, Expr *panel, Expr *row, int rows, Expr **k) {
  Builder *b = &t->l->b;
  int64_t all = tile_known(t->rows), elements = p->width;
  for (int q = 0; q < t->kaxes; q++) elements *= tile_known(t->ksize[q]);
  if (!t->pack || !t->pack->is_constant || !target_fills_l2(t->l->target, (double)t->pack->size.k * 4)) return;
  Expr *place = t->block ? ex_sub(b, row, t->block) : row;
  if (t->place) place = t->place(t, place, &all);
  if (all < 2 * rows || elements < all) return;
  Expr *flat = ex_int(b, 0);
  for (int q = 0; q < t->kaxes; q++) flat = ex_add(b, ex_mul(b, flat, ex_dim(b, t->ksize[q])), k[q]);
  if (t->matrix) panel = ex_add(b, panel, ex_mul(b, t->matrix, ex_int(b, elements)));
  Expr *piece = ex_add(b, ex_add(b, panel, ex_int(b, elements)), ex_mul(b, place, ex_int(b, elements / all)));
  st_prefetch(b, t->pack, ex_add(b, piece, ex_mul(b, flat, ex_int(b, (rows * p->width + all - 1) / all))));
}

/* A tile's part of a row is a line or two of the cache, and the next row's lie elsewhere: no prefetcher follows. Where
 * the output does not fit the L2, what is read and written at the end is asked for at the beginning. */
static void ask_for_rows(Tiling *t, const Panel *p, Expr *first, Expr **r, Expr **line, int rows) {
  Builder *b = &t->l->b;
  const Type *out = &value_of(t->l->m, t->l->out)->type;
  int64_t of_line = t->l->target->line / dtype_bytes(out->dtype), lines = (p->width + of_line - 1) / of_line;
  bool far = target_fills_l2(t->l->target, (double)(dim_hi(type_count(out)) * dtype_bytes(out->dtype)));
  if (!t->writes_out || !far || p->width == t->cols.k) return;
  t->l->asks = true;
  for (int i = 0; i < rows; i++) {
    if (t->line) t->ctx[t->line_axis] = line[i];
    for (int64_t k = 0; k < lines; k++)
      t->write(t, r[i], ex_add(b, first, ex_int(b, lines > 1 ? k * (p->width - 1) / (lines - 1) : 0)), NULL);
  }
  t->l->asks = false;
}

/* Does something follow that takes a compiler all registers, such as gelu? */
static bool epilogue_is_long(const Tiling *t) {
  for (int k = 0; k < t->l->g->epilogue.len; k++) {
    Op op = node_of(t->l->m, t->l->g->epilogue.at[k])->op;
    if (op_is_scalar(op) && scalar_is_long(op_scalar(op))) return true;
  }
  return false;
}

/* The number of a row among those of all lines -> its number in its line, whose own is set. */
static Expr *row_in_line(Tiling *t, Expr *row) {
  Expr *at[2];
  lower_unflatten(t->l, (Dim[]){DIM(t->lines), DIM(t->line)}, 2, row, at);
  t->ctx[t->line_axis] = let(&t->l->b, "line", at[0]);
  return let(&t->l->b, "column", at[1]);
}

/* Writes the sums one after the other, from a small array: one copy of a long epilogue, which then has the registers
 * for its constants, instead of one for each sum while the others wait. False: columns of several widths. */
static bool write_in_turn(Tiling *t, const Panel *p, Expr *first, Expr *row, int rows, Var *(*acc)[16]) {
  Builder *b = &t->l->b;
  int lanes = p->lanes[0];
  if (t->matrices || p->cols != (int64_t)p->columns * lanes) return false;
  for (int c = 1; c < p->columns; c++) if (p->lanes[c] != lanes) return false;
  Buf *sums = kernel_buf(b, "sums", DT_F32, BUF_LOCAL, DIM((int64_t)rows * p->columns * lanes), 0);
  sums->private_to = loop_parallel_depth(b);
  for (int i = 0; i < rows; i++)
    for (int c = 0; c < p->columns; c++) {
      Expr *at = ex_int(b, (int64_t)(i * p->columns + c) * lanes);
      st_store(b, sums, lanes_at(b, at, lanes), ex_var(b, acc[i][c]));
    }
  Expr *i = loop_begin(b, "r", ex_int(b, 0), ex_int(b, rows), 1, FOR_SEQ);
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_int(b, p->columns), 1, FOR_SEQ);
  Expr *from = ex_mul(b, ex_add(b, ex_mul(b, i, ex_int(b, p->columns)), c), ex_int(b, lanes));
  Expr *col = let(b, "col", ex_add(b, first, ex_mul(b, c, ex_int(b, lanes))));
  if (lanes > 1) { from = ex_ramp(b, from, 1, lanes); col = ex_ramp(b, col, 1, lanes); }
  Expr *sum = ex_load(b, sums, from), *start = start_comes_last(t) ? start_of(t, col, lanes, 1) : NULL;
  row = ex_add(b, row, i);
  t->write(t, t->line ? row_in_line(t, row) : row, col, start ? ex_add(b, sum, start) : sum);
  loop_end(b);
  loop_end(b);
  return true;
}

static void tile_body(Tiling *t, const Panel *p, Expr *panel, Expr *first, Expr *row, int rows) {
  Builder *b = &t->l->b;
  if (t->dot) { dot_body(t, p, panel, first, row, rows); return; }
  Var *acc[16][16];
  Expr *k[MAX_RANK], *col[16], *r[16];
  for (int c = 0; c < p->columns; c++) col[c] = column(t, p, first, c);
  bool last = start_comes_last(t);
  Expr *line[16] = {NULL};
  for (int i = 0; i < rows; i++) {
    r[i] = ex_add(b, row, ex_int(b, i));
    if (!t->line) continue;
    r[i] = row_in_line(t, r[i]);
    line[i] = t->ctx[t->line_axis];
  }
  for (int c = 0; c < p->columns; c++) {
    bool whole = lanes_of(p, c) == p->lanes[c];
    Expr *start = last || !whole ? NULL : start_of(t, col[c], p->lanes[c], rows);
    if (!start) start = ex_splat(b, ex_const(b, DT_F32, 0), p->lanes[c]);
    for (int i = 0; i < rows; i++) acc[i][c] = reg(b, "acc", start);
  }
  ask_for_rows(t, p, first, r, line, rows);
  for (int q = 0; q < t->kaxes; q++) {
    Expr *lo = ex_int(b, 0), *hi = ex_dim(b, t->ksize[q]);
    if (t->range) t->range(t, q, &lo, &hi);
    k[q] = loop_begin(b, t->kname[q], lo, hi, 1, FOR_SEQ);
  }
  Expr *w[16];
  ask_for_next_panel(t, p, panel, row, rows, k);
  for (int c = 0; c < p->columns; c++) w[c] = let(b, "w", load_b(t, p, panel, first, k, c));
  for (int i = 0; i < rows; i++) {
    if (t->line) t->ctx[t->line_axis] = line[i];
    Expr *a = t->vector_a ? NULL : let(b, "a", t->a(t, r[i], k, NULL));
    for (int c = 0; c < p->columns; c++) {
      Expr *x = a ? a : t->a(t, r[i], k, col[c]);
      st_set(b, acc[i][c], ex_fma(b, as_lanes(b, x, p->lanes[c]), w[c], ex_var(b, acc[i][c])));
    }
  }
  for (int q = 0; q < t->kaxes; q++) loop_end(b);
  if (t->writes_out && epilogue_is_long(t) && rows * p->columns > 1 && write_in_turn(t, p, first, row, rows, acc))
    return;
  Part parts[16][5];
  int nparts[16];
  for (int c = 0; c < p->columns; c++) {
    nparts[c] = column_parts(t, p, col[c], c, parts[c]);
    for (int q = 0; (last || nparts[c] > 1 || parts[c][0].lanes < p->lanes[c]) && q < nparts[c]; q++)
      parts[c][q].start = start_of(t, parts[c][q].col, parts[c][q].lanes, rows);
  }
  for (int i = 0; i < rows; i++) {
    if (t->line) t->ctx[t->line_axis] = line[i];
    for (int c = 0; c < p->columns; c++)
      for (int q = 0; q < nparts[c]; q++) {
        const Part *part = &parts[c][q];
        Expr *sum = ex_part(b, ex_var(b, acc[i][c]), part->from / part->lanes, part->lanes);
        t->write(t, r[i], part->col, part->start ? ex_add(b, sum, part->start) : sum);
      }
  }
}

static Expr *row_at(Tiling *t, Expr *row) { return t->block ? ex_add(&t->l->b, t->block, row) : row; }

/* Rows in tiles of `most`: a constant count is split evenly into runs of two sizes; a symbolic one takes full
 * tiles, then single rows. */
static void row_loops(Tiling *t, const Panel *p, Expr *panel, Expr *first) {
  Builder *b = &t->l->b;
  int most = tile_most_rows(t, p->columns);
  if (dim_is_const(t->rows)) {
    int64_t n = t->rows.k, tiles = (n + most - 1) / most;
    if (!tiles) return;
    int small = (int)(n / tiles), large = small + 1;
    int64_t nlarge = n - tiles * small, nsmall = tiles - nlarge;
    par_begin(b);
    if (nlarge) {
      Expr *row = loop_begin(b, "row", ex_int(b, 0), ex_int(b, nlarge * large), large, FOR_PARALLEL);
      tile_body(t, p, panel, first, row_at(t, row), large);
      loop_end(b);
    }
    par_next(b);
    if (nsmall) {
      Expr *row = loop_begin(b, "row", ex_int(b, nlarge * large), ex_int(b, n), small, FOR_PARALLEL);
      tile_body(t, p, panel, first, row_at(t, row), small);
      loop_end(b);
    }
    par_end(b);
    return;
  }
  Expr *whole = let(b, "whole", ex_dim(b, dim_mul(dim_floordiv(t->rows, DIM(most)), DIM(most))));
  par_begin(b);
  Expr *row = loop_begin(b, "row", ex_int(b, 0), whole, most, FOR_PARALLEL);
  tile_body(t, p, panel, first, row, most);
  loop_end(b);
  par_next(b);
  row = loop_begin(b, "row", whole, ex_dim(b, t->rows), 1, FOR_PARALLEL);
  tile_body(t, p, panel, first, row, 1);
  loop_end(b);
  par_end(b);
}

/* Every panel for the rows t has now. */
static void panels(Tiling *t, const Panel *p, int n) {
  Builder *b = &t->l->b;
  Dim k = DIM(t->matrices ? t->matrices : 1);
  for (int q = 0; q < t->kaxes; q++) k = dim_mul(k, t->ksize[q]);
  par_begin(b);
  for (int q = 0; q < n; q++) {
    if (q) par_next(b);
    Expr *at = loop_begin(b, "panel", ex_int(b, 0), ex_int(b, p[q].repeat), 1, FOR_PARALLEL);
    at = loop_turn(b, "panel", at, ex_int(b, p[q].repeat), t->backwards);
    Expr *first = ex_add(b, ex_mul(b, at, ex_int(b, p[q].width)), ex_int(b, p[q].start));
    Expr *panel = NULL;
    t->panel = &p[q];
    t->first = first;
    if (t->pack) {
      panel = ex_mul(b, first, ex_dim(b, k));
      if (t->pack_base) panel = ex_add(b, t->pack_base, panel);
      panel = let(b, "from", panel);
    }
    if (t->outer_begin) t->outer_begin(t);
    row_loops(t, &p[q], panel, first);
    if (t->outer_end) t->outer_end(t);
    loop_end(b);
  }
  par_end(b);
}

void tile_build(Tiling *t) {
  tile_decide(t);
  Builder *b = &t->l->b;
  Panel p[8];
  int n = tile_panels(t, p, 8);
  TileShape shape = tile_shape(t);
  Dim rows = t->rows;
  int64_t height = tile_block_rows(t, tile_known(rows) * (t->lines ? t->lines : 1), p, n);
  if (t->lines && (height || shape.wraps)) {
    t->line = rows.k;
    t->rows = rows = DIM(rows.k * t->lines);
  }
  if (height) {
    t->block = loop_begin(b, "block", ex_int(b, 0), ex_dim(b, rows), height, FOR_PARALLEL);
    t->rows = DIM(height);
  }
  if (!t->matrices && !t->part)
    tile_choice(t, t->dot ? "dot products" : t->vector_a ? "depthwise" : t->kaxes > 1 ? "direct" : "gemm");
  panels(t, p, n);
  if (height) loop_end(b);
  t->block = NULL;
  t->rows = rows;
}

/* Matrix product whose A is a transpose: its rows lie side by side, what is summed over lies far apart. That is what
 * the gradient of every weight is: dW = dy^T x, with a long sum over rows of a batch. Read in place, each step of k
 * would touch another cache line of A, a power of two apart from the last. So both operands are packed, and sums are
 * cut:
 *
 *   pack B [panel][k][width]
 *   for block of row tiles            (packed A of a block and its sums stay in L2)
 *     sum = 0
 *     for block of k                  (a panel's part of B stays in L1)
 *       pack A [tile][k][rows]
 *       for panel, tile               acc = sum; for k: acc[r][c] += A[k][r] * B[k][c]; sum = acc
 *     write sum
 *
 * The outer two blocks are those of Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, 2008.
 * They depend on shapes and the target only, so sums are the same in every run. A sum that is one block of k stays in
 * registers: all panels of a tile follow each other, so that rows of the result are written front to back. */
#include "passes/kernels/tile.h"

/* k; sums shorter than this are not worth packing; blocks */
enum { K_BLOCK = 256, SHORTEST = 32, FEWEST = 4 };

typedef struct Turned {
  Tiling *t;
  Buf *a, *sum;                      /* packed block of A; sums [row of the block][cols] */
  Expr *from, *count;                /* the block of k: its first, and how many */
  Expr *row;                         /* the block's first row */
  int64_t tiles;                     /* of a block */
  int rows;                          /* of a tile */
  bool once;                         /* one block of k */
} Turned;

/* The tiles of a block, side by side for each k: A's rows are read front to back. */
static void pack_a(Turned *g) {
  Tiling *t = g->t;
  Builder *b = &t->l->b;
  Expr *k = loop_begin(b, "k", ex_int(b, 0), g->count, 1, FOR_PARALLEL);
  Expr *tile = loop_begin(b, "tile", ex_int(b, 0), ex_int(b, g->tiles), 1, FOR_PARALLEL);
  Expr *row = let(b, "r", ex_add(b, g->row, ex_mul(b, tile, ex_int(b, g->rows))));
  Expr *to = ex_mul(b, ex_add(b, ex_mul(b, tile, ex_int(b, K_BLOCK)), k), ex_int(b, g->rows)),
       *at = ex_add(b, g->from, k);
  to = let(b, "to", to);
  for (int r = 0, lanes; r < g->rows; r += lanes) {
    for (lanes = t->l->target->lanes; lanes > g->rows - r; lanes /= 2) {}
    Expr *v = t->a(t, lanes_at(b, ex_add(b, row, ex_int(b, r)), lanes), &at, NULL);
    st_store(b, g->a, lanes_at(b, ex_add(b, to, ex_int(b, r)), lanes), as_lanes(b, v, lanes));
  }
  loop_end(b);
  loop_end(b);
}

/* panel: where its part of B for this block of k starts. */
static void tile_sums(Turned *g, const Panel *p, Expr *panel, Expr *first, Expr *tile) {
  Tiling *t = g->t;
  Builder *b = &t->l->b;
  Var *acc[16][16];
  Expr *at[16][16], *w[16];
  for (int r = 0; r < g->rows; r++) {
    Expr *row = ex_mul(b, ex_add(b, ex_mul(b, tile, ex_int(b, g->rows)), ex_int(b, r)), ex_dim(b, t->cols));
    int64_t offset = 0;
    for (int c = 0; c < p->columns; offset += p->lanes[c++]) {
      at[r][c] = lanes_at(b, ex_add(b, g->once ? first : ex_add(b, row, first), ex_int(b, offset)), p->lanes[c]);
      acc[r][c] = reg(b, "acc",
                      g->once ? ex_splat(b, ex_const(b, DT_F32, 0), p->lanes[c]) : ex_load(b, g->sum, at[r][c]));
    }
  }
  Expr *as = let(b, "as", ex_mul(b, tile, ex_int(b, (int64_t)K_BLOCK * g->rows)));
  Expr *k = loop_begin(b, "k", ex_int(b, 0), g->count, 1, FOR_SEQ);
  int64_t offset = 0;
  for (int c = 0; c < p->columns; offset += p->lanes[c++]) {
    Expr *from = ex_add(b, ex_add(b, panel, ex_mul(b, k, ex_int(b, p->width))), ex_int(b, offset));
    w[c] = let(b, "w", ex_load(b, t->pack, lanes_at(b, from, p->lanes[c])));
  }
  for (int r = 0; r < g->rows; r++) {
    Expr *a = let(b, "a", ex_load(b, g->a, ex_add(b, as, ex_add(b, ex_mul(b, k, ex_int(b, g->rows)), ex_int(b, r)))));
    for (int c = 0; c < p->columns; c++)
      st_set(b, acc[r][c], ex_fma(b, ex_splat(b, a, p->lanes[c]), w[c], ex_var(b, acc[r][c])));
  }
  loop_end(b);
  Expr *row = ex_add(b, g->row, ex_mul(b, tile, ex_int(b, g->rows)));
  for (int r = 0; r < g->rows; r++)
    for (int c = 0; c < p->columns; c++)
      if (g->once) t->write(t, ex_add(b, row, ex_int(b, r)), at[r][c], ex_var(b, acc[r][c]));
      else st_store(b, g->sum, at[r][c], ex_var(b, acc[r][c]));
}

static void all_panels(Turned *g) {
  Tiling *t = g->t;
  Builder *b = &t->l->b;
  Panel p[8];
  int n = tile_panels(t, p, 8);
  Expr *tiles = ex_int(b, g->tiles),
       *tile = g->once ? loop_begin(b, "tile", ex_int(b, 0), tiles, 1, FOR_PARALLEL) : NULL;
  par_begin(b);
  for (int q = 0; q < n; q++) {
    if (q) par_next(b);
    Expr *at = loop_begin(b, "panel", ex_int(b, 0), ex_int(b, p[q].repeat), 1, FOR_PARALLEL);
    Expr *first = let(b, "first", ex_add(b, ex_mul(b, at, ex_int(b, p[q].width)), ex_int(b, p[q].start)));
    Expr *whole = ex_mul(b, first, ex_dim(b, t->ksize[0]));     // the panel, of all k
    Expr *panel = let(b, "from", ex_add(b, whole, ex_mul(b, g->from, ex_int(b, p[q].width))));
    if (!g->once) tile = loop_begin(b, "tile", ex_int(b, 0), tiles, 1, FOR_PARALLEL);
    tile_sums(g, &p[q], panel, first, tile);
    if (!g->once) loop_end(b);
    loop_end(b);
  }
  par_end(b);
  if (g->once) loop_end(b);
}

static void write_out(Turned *g) {
  Tiling *t = g->t;
  Builder *b = &t->l->b;
  Expr *r = loop_begin(b, "r", ex_int(b, 0), ex_int(b, g->tiles * g->rows), 1, FOR_PARALLEL);
  Expr *c = loop_begin(b, "c", ex_int(b, 0), ex_dim(b, t->cols), 1, FOR_PARALLEL_VECTOR);
  t->write(t, ex_add(b, g->row, r), c, ex_load(b, g->sum, ex_add(b, ex_mul(b, r, ex_dim(b, t->cols)), c)));
  loop_end(b);
  loop_end(b);
}

/* `blocks` blocks of g->tiles tiles, from row `start` on. */
static void row_blocks(Turned *g, int64_t start, int64_t blocks) {
  Tiling *t = g->t;
  Builder *b = &t->l->b;
  if (!blocks) return;
  int64_t height = g->tiles * g->rows;
  g->row = loop_begin(b, "block", ex_int(b, start), ex_int(b, start + blocks * height), height, FOR_PARALLEL);
  g->a = lower_scratch(t->l, "rows", DT_F32, DIM(height * K_BLOCK));
  if (g->once) {
    g->from = ex_int(b, 0);
    g->count = ex_dim(b, t->ksize[0]);
    pack_a(g);
    all_panels(g);
    loop_end(b);
    return;
  }
  g->sum = lower_scratch(t->l, "sum", DT_F32, dim_mul(DIM(height), t->cols));
  Expr *i = loop_begin(b, "i", ex_int(b, 0), ex_mul(b, ex_int(b, height), ex_dim(b, t->cols)), 1, FOR_PARALLEL_VECTOR);
  st_store(b, g->sum, i, ex_const(b, DT_F32, 0));
  loop_end(b);
  Expr *size = ex_dim(b, t->ksize[0]);
  g->from = loop_begin(b, "k0", ex_int(b, 0), size, K_BLOCK, FOR_SEQ);
  g->count = ex_int(b, K_BLOCK);
  if (!dim_is_const(t->ksize[0]) || t->ksize[0].k % K_BLOCK)
    g->count = let(b, "count", ex_min(b, g->count, ex_sub(b, size, g->from)));
  pack_a(g);
  all_panels(g);
  loop_end(b);
  write_out(g);
  loop_end(b);
}

bool gemm_turned(Tiling *t) {
  if (!dim_is_const(t->rows) || t->rows.k < 2 || dim_hi(t->ksize[0]) < SHORTEST) return false;
  t->row_stride = 4;                                            // packed: as many rows as registers hold
  int most = tile_shape(t).rows;
  tile_pack_here(t);
  Panel p[8];
  int n = tile_panels(t, p, 8);
  for (int q = 0; q < n; q++) {                                 // a last panel may be wider, in vectors of fewer lanes
    int fit = target_tile_rows(t->l->target, p[q].columns, 0);
    if (fit < most) most = fit;
  }
  tile_choice(t, "gemm of a transpose, both packed by blocks");
  int64_t rows = t->rows.k, tiles = (rows + most - 1) / most, small = rows / tiles, large = small + 1, start = 0;
  int64_t most_tiles = target_l2(t->l->target, 0.125) / (K_BLOCK * 4 * most);
  Turned g = {.t = t, .once = dim_known_le(t->ksize[0], DIM(K_BLOCK))};
  int64_t limit = most_tiles < 1 ? 1 : most_tiles;
  par_begin(&t->l->b);
  for (int run = 0; run < 2; run++) {                           // tiles of two sizes, as even as can be
    int64_t count = run ? tiles - (rows - tiles * small) : rows - tiles * small;
    int64_t few = (count + FEWEST - 1) / FEWEST;
    g.rows = (int)(run ? small : large);
    g.tiles = few < limit ? few : limit;
    if (!count) continue;
    row_blocks(&g, start, count / g.tiles);
    par_next(&t->l->b);
    start += count / g.tiles * g.tiles * g.rows;
    g.tiles = count % g.tiles;
    if (g.tiles) row_blocks(&g, start, 1);
    par_next(&t->l->b);
    start += g.tiles * g.rows;
  }
  par_end(&t->l->b);
  return true;
}

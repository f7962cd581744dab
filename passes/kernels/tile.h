/* The register tile shared by matrix products and convolutions: rows x columns of accumulators, a reduction
 * loop that loads one vector of B per column and one scalar of A per row, and a write of every accumulator.
 *
 *   for panel of columns            (a few vectors wide; B packed so that a panel is read front to back)
 *     for rows in tiles             (2 to 14 rows; remainders split evenly)
 *       acc[r][c] = start(c)
 *       for k…                      b[c] = B[k, c];  acc[r][c] += A[r, k] * b[c]
 *       write(r, c, acc[r][c])
 *
 * Column widths are lanes, lanes, …, then the tail: a whole vector too, packed with zeros, of which parts are written
 * (8, 4, 2, 1: no store needs a mask); where nobody packs it, it is these parts that are computed. Sizes per target:
 * what target_tile_rows finds room for. */
#ifndef PASSES_KERNELS_TILE_H
#define PASSES_KERNELS_TILE_H
#include "passes/kernels/kernels.h"

/* Chosen by a cost model: cycles per multiply-add from FMA ports, loads, latency, and the cache that the panel of B
 * streams from. */
typedef struct TileShape { int columns, rows; bool wraps; } TileShape;

/* Columns side by side: how many vectors and of what lanes, where they start, how many of the width there are (the rest
 * are zeros); `repeat` such panels follow one another. */
typedef struct Panel { int64_t start; int columns; int lanes[16]; int64_t width, cols, repeat; } Panel;

typedef struct Tiling Tiling;
struct Tiling {
  Lower *l;
  const Node *n;
  Dim rows, cols;                    /* cols must be constant */
  int kaxes;
  Dim ksize[MAX_RANK];               /* reduction loops, outermost first */
  const char *kname[MAX_RANK];
  /* One row's operand for reduction index k; scalar, or a vector at `col` (depthwise). */
  Expr *(*a)(Tiling *t, Expr *row, Expr **k, Expr *col);
  /* A vector of B at `col` (a ramp). packed: from `pack` at its place, else this function. */
  Expr *(*b)(Tiling *t, Expr **k, Expr *col);
  Expr *(*start)(Tiling *t, Expr *col);                        /* bias; NULL: zero */
  void (*write)(Tiling *t, Expr *row, Expr *col, Expr *acc);
  /* Narrows reduction loop q to what is not padding at the current ctx; NULL: all of it. */
  void (*range)(Tiling *t, int q, Expr **lo, Expr **hi);
  /* Where among all rows of a panel `row` stands at the current ctx, and how many there are; NULL: row of t->rows. */
  Expr *(*place)(Tiling *t, Expr *row, int64_t *rows);
  void (*outer_begin)(Tiling *t);    /* loops between panels and rows (image, output row); may be NULL */
  void (*outer_end)(Tiling *t);
  Buf *pack;                         /* panels [cols/width][k…][width]; NULL: b() loads */
  bool pads;                         /* packed at compile time: where cols end in a part of a vector, zeros follow */
  /* few columns: vectors of so many lanes along the reduction (tile_dot.c); 0: columns */
  int dot;
  Expr *pack_base;                   /* element where the first panel starts (groups); NULL: 0 */
  int64_t matrices;                  /* more than one B, in panels [cols/width][matrix][k…][width]; 0: one. write() then
                                      * gets the zeros of a last panel, too */
  Expr *matrix;                      /* the one that is multiplied with, set by outer_begin */
  const Panel *panel;                /* at work, for outer_begin and outer_end, and its first column */
  Expr *first;
  bool vector_a;                     /* a is a vector: a load per accumulator */
  int columns;                       /* vectors to a panel; 0: as the cost model says */
  TileShape shape;                   /* columns 0: not decided yet */
  Expr *backwards;                   /* a bool: panels from the last to the first; NULL: never */
  int64_t row_stride;                /* bytes between rows of A; 0: unknown */
  bool writes_out;                   /* `write` ends in lower_write, so that memory can be asked for through it */
  bool part;                         /* of an algorithm that says itself what it chose */
  bool by_blocks;                    /* rows may be taken in blocks whose A stays in L2 (tile_block_rows) */
  int64_t row_bytes, times;          /* bytes of A that each row adds, and how many such A outer_begin loops over */
  Expr *block;                       /* the first row of the current one; NULL: 0 */
  /* tiles may run on from one line of rows to the next, of so many; 0: they may not */
  int64_t lines;
  int line_axis;                     /* ctx[line_axis]: the number of the line */
  /* rows of a line, while `rows` are those of all lines: tiles do run on; 0: they do not */
  int64_t line;
  Expr *ctx[MAX_RANK];               /* the generator's own indices */
  const Type *ta, *tb, *ty;
  const Attr *strides, *dilations;
  int64_t group, group_in, group_out;
  Expr *g;                           /* current group, NULL: 1 group */
  bool flat;                         /* rows run over several collapsed axes, indexed through axis `flat_from` */
  int flat_from;
};

void tile_build(Tiling *t);
/* The shape: once packing or building began the one decided on, before that what the cost model finds cheapest. It
 * depends on rows, cols, ksize and the target, and on a tuning. */
TileShape tile_shape(const Tiling *t);

/* Decides on it. A tuning may try a few shapes that the model does not find far worse. */
void tile_decide(Tiling *t);
/* Most rows of `columns` accumulators. At most 8 when rows lie in one set of the L1: more streams than it has ways
 * would evict each other. */
int tile_most_rows(const Tiling *t, int columns);
/* Rows to a block: A of a block takes half the L2 and is read from there by every panel, while B is read for every
 * block; 0: all at once. Equal blocks only, since another size would be another copy of the code. Where tiles would run
 * on over lines for this alone, it must save an eighth of the time that the products take. */
int64_t tile_block_rows(const Tiling *t, int64_t rows, const Panel *p, int n);
static inline int64_t tile_known(Dim d) { return dim_is_const(d) ? d.k : 0; }                /* 0: not known */

/* Runs of equal panels; their number. Fixed by (cols, target), so packing agrees. */
int tile_panels(const Tiling *t, Panel *p, int max);

/* Cycles for this many multiply-adds, spread over all panels; those of a tail, which fill part of a vector, cost as
 * much as whole ones. */
double tile_cycles(const Tiling *t, double products);
/* What `compute` cycles become with this many bytes of weights, read `times` times. Those of half the L2 are no matter;
 * larger ones come from memory and then the L3, while rows are at work that do not wait for them (tile.c asks ahead),
 * or before. */
double tile_with_weights(const Target *g, double compute, double bytes, double times, bool ahead);
/* kernel_choice with the tile's shape, its packing and its cost; `how`: the algorithm around it. tile_build does it
 * itself for one matrix. */
void tile_choice(Tiling *t, const char *how);

/* Packs B for these panels: `at(ctx, k, col)` gives the source element. K = product of the reduction sizes. */
Tensor *tile_pack(Tiling *t, int64_t k, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx);

/* The panels of group g, of so many, behind those of the groups before, which are in `all` (NULL: none are yet). */
Tensor *tile_pack_group(Tiling *t, Tensor *all, int64_t g, int64_t groups, int64_t k,
                        float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx);
/* The loop over groups, if there are several, whose panels are in t->pack: sets t->g. */
void tile_groups_begin(Tiling *t, int64_t groups);
void tile_groups_end(Tiling *t);

/* Where columns are few, lets vectors run along the reduction, if that is cheaper: sets t->dot, before B is packed. To
 * be asked where A lies contiguous along the last reduction axis and B will be packed at compile time. */
void tile_try_dot(Tiling *t);
double tile_row_cost(const Tiling *t);         /* cycles of a tile of columns, for one row and one k */
double dot_cost(const Tiling *t, int lanes);   /* the same of dot products */
int dot_panels(const Tiling *t, Panel *p);     /* what tile.c asks of tile_dot.c */
Tensor *dot_pack(Tiling *t, int64_t k, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx);
void dot_body(Tiling *t, const Panel *p, Expr *panel, Expr *first, Expr *row, int rows);

/* The same for a B that is computed: adds the loops that pack it into scratch, through b(), and sets t->pack. */
void tile_pack_here(Tiling *t);

/* depthwise.c: the loops of a depthwise convolution whose weights are packed in panels of one vector. */
void depthwise_build(Tiling *t);

/* gemm_turned.c: builds the product with packed A and B; false: nothing built, it would not pay. */
bool gemm_turned(Tiling *t);

/* gemm_strassen.c: the product of many rows with constant weights at(ctx, k, col); false: nothing built, it would not
 * pay. */
bool gemm_strassen(Tiling *whole, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx);

/* gemm_rows.c: the product of one row, or a few, with constant weights at(ctx, k, col); false: nothing built. */
bool gemm_rows(Tiling *t, float (*at)(const void *ctx, int64_t k, int64_t col), const void *ctx);

/* axes.c: the part of axis `axis` of v that is not the zeros of a pad around it: [lo, hi); false: v is no such pad. */
bool padded_axis(Lower *l, ValueId v, int axis, int64_t *lo, int64_t *hi);

/* Can axes [from, to] of v be walked with the stride of the last alone? True also where v has 1s there. */
bool axes_collapse(Lower *l, ValueId v, int from, int to);
/* The same for everything the group's epilogue reads or stores, `rank` being the root's. */
bool epilogue_collapses(Lower *l, int from, int to);
#endif

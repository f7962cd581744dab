/* What attention and its gradient share: a block of rows of scores that stays in cache, and the products that go into
 * it and come out of it, in register tiles of a few rows by two vectors. */
#ifndef PASSES_KERNELS_ATTENTION_H
#define PASSES_KERNELS_ATTENTION_H
#include "passes/kernels/tile.h"

enum { WIDE = 2, MOST_COLUMNS = 16 };                           /* vectors to a panel; of one tile */

typedef struct Attention Attention;
/* An element of an operand, or, where the last index is a ramp, a vector. */
typedef Expr *(*AttentionRead)(Attention *a, Expr *row, Expr *col);
typedef void (*AttentionWrite)(Attention *a, Expr *row, Expr *col, Expr *sum);

struct Attention {
  Lower *l;
  const Node *scores, *softmax, *root;   /* of attention; of its gradient the root alone */
  const Type *ts, *tp, *ty;          /* types of scores, shares, result */
  Dim queries, keys, stride;         /* stride: a row of scores, padded to whole panels */
  bool ahead_known;                  /* row i sees keys up to i + ahead, not all */
  Dim ahead;
  bool skips;                        /* and then shares beyond are not looked at, */
  int reach;                         /* but for those that a tile has in common with row i + reach - 1 */
  int64_t dk, dv;
  int lanes, width;                  /* width: keys to a panel */
  int rows, tiles;                   /* query rows to a tile, tiles to a block */
  bool one_row, ragged;              /* ragged: a tile may reach beyond the last row */
  bool after;                        /* something elementwise follows the softmax */
  Expr *batch[MAX_RANK];             /* of the result */
  Expr *from, *to;                   /* rows that blocks are cut from; NULL: all */
  Expr *block, *count;               /* first row of the block, rows in it */
  Buf *row, *scale;                  /* scores, then shares; what is missing of them: a factor for each row, or NULL */
};

typedef struct Column { int64_t at; int lanes; } Column;
typedef struct Columns { Column at[MOST_COLUMNS]; int n; int64_t width; } Columns;

/* The next columns of `size` from `start`: `most` vectors, or what is left, in vectors of halves at last. */
Columns attention_columns(const Attention *a, int64_t start, int64_t size, int most);

/* Tiles as high as registers allow and rows divide evenly; blocks of at most `most_tiles` whose rows of `bytes` for
 * each score take a quarter of the L2. */
void attention_sizes(Attention *a, int bytes, int most_tiles);

/* Panels [key / width][d][width] of at(key, d), d < depth: what queries are multiplied with. */
Buf *attention_pack_across(Attention *a, const char *name, AttentionRead at, int64_t depth);
/* Panels [column / width][key][width] of at(key, column): what shares are multiplied with. */
Buf *attention_pack_rows(Attention *a, const char *name, AttentionRead at, int64_t size);

void attention_block_begin(Attention *a);      /* the loop over blocks of rows */
void attention_block_end(Attention *a);

/* Where row r of the block starts in a->row and its like; how many keys row `row` of all sees, and where what is added
 * to fill its last tiles ends. */
Expr *attention_row_start(Attention *a, Expr *r);
Expr *attention_seen(Attention *a, Expr *row);
Expr *attention_seen_wide(Attention *a, Expr *row);

/* to[row][key] = the sum over d of query(row, d) times `packed`, for the keys that a tile of rows sees. */
void attention_scores(Attention *a, AttentionRead query, Buf *packed, int64_t depth, Buf *to);
/* write(row, column, the sum over keys of from[row][key] value(key, column)); `packed`: the values, or NULL. The keys
 * end at `end` of each part, where their memory does. */
void attention_values(Attention *a, Buf *from, Buf *packed, AttentionRead value, int64_t size, const Dim *end,
                      int parts, AttentionWrite write);
#endif

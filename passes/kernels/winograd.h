/* Winograd's minimal filtering for 3x3 kernels, F(m x m, 3x3): an m x m tile of output from n x n of input,
 *   y = A' [(G g G') . (B' d B)] A
 * where . multiplies element by element: n*n products for a channel, not 9*m*m. With stride 1 n is m + 2. With stride 2
 * it is 2 m + 1: taps 0 and 2 meet even inputs only, as a filter of two taps with stride 1 does; tap 1 meets the odd
 * ones, one product for each result. Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast
 * Algorithms for Convolutional Neural Networks, 2015. */
#ifndef PASSES_KERNELS_WINOGRAD_H
#define PASSES_KERNELS_WINOGRAD_H
#include "passes/kernels/tile.h"

enum { WINOGRAD_MAX = 9 };

typedef struct Form {
  int m, n, stride;
  int polynomial, pairs;                            /* products by points; then, for stride 2, those of tap 1 */
  double point[WINOGRAD_MAX];                       /* 0, +p, -p, …, perhaps a single one; the last is at infinity */
  double a[WINOGRAD_MAX][WINOGRAD_MAX];             /* A' [m][n] */
  double b[WINOGRAD_MAX][WINOGRAD_MAX];             /* B' [n][n] */
  double g[WINOGRAD_MAX][3];                        /* G  [n][3] */
} Form;

void winograd_form(Form *f, int m, int stride);     /* m: 2 or 4; stride: 1 or 2 */
/* B' d and A' x for vectors: adds the statements, fills out. */
void winograd_input(Builder *b, const Form *f, Expr *const *d, Expr **out);
void winograd_output(Builder *b, const Form *f, Expr *const *x, Expr **out);
/* The operands of a transform: `size` vectors of buf, from `from` on, `stride` apart. */
void winograd_load(Builder *b, const char *name, Buf *buf, Expr *from, int64_t stride, int size, int lanes, Expr **x);
/* What is half transformed: a small array on the stack, another for each iteration of the parallel loops around. */
Buf *winograd_part(Builder *b, int64_t elements);
/* Transformed weights [n*n][c][out] of w [out][c][3][3], computed in double. */
float *winograd_weights(Arena *a, const Form *f, const float *w, int64_t in, int64_t out);

/* winograd_error.c: bounds on the RMS error over the RMS of the results, of the channel where that is worst. w, u as
 * above; NULL for computed weights: what random ones would give. */
double winograd_error(Arena *a, const Form *f, const float *w, const float *u, int64_t in, int64_t out);
double direct_error(Arena *a, const float *w, int64_t in, int64_t out);
/* Cycles of a transform of `from` x `from` vectors to `to` x `to`: n -> n inputs, n -> m results, 3 -> n weights; and
 * back. */
double winograd_cycles(const Target *g, const Form *f, int from, int to);

/* Builds the convolution that `direct` describes with tiles of output where that pays, or where the option asks for
 * it; false: nothing was built. direct->b reads weights at {ky, kx, input channel}; flipped: those of tap
 * {2 - ky, 2 - kx} are wanted there, as in the gradient of the input. */
bool winograd_generate(Tiling *direct, bool flipped);
/* winograd_weights.c: adds the loops that transform computed weights, into panels for w; gives the scratch. */
Buf *winograd_weights_here(Tiling *w, const Form *f, Tiling *direct, bool flipped);
/* winograd_grad.c: the gradient of the weights; false: nothing was built. */
bool winograd_grad_weight(Lower *l, const Node *n);
#endif

/* Generators of tiled kernels. Each builds loop IR for a group's root where it applies and leaves the naive
 * nest (lower_NAME) to the rest. */
#ifndef PASSES_KERNELS_H
#define PASSES_KERNELS_H
#include "passes/lower/lower.h"

/* Index `at` as one of `lanes` neighbours; x in all of them. */
static inline Expr *lanes_at(Builder *b, Expr *at, int lanes) { return lanes > 1 ? ex_ramp(b, at, 1, lanes) : at; }
static inline Expr *as_lanes(Builder *b, Expr *x, int lanes) { return x->lanes == lanes ? x : ex_splat(b, x, lanes); }
static inline Expr *plus(Builder *b, Expr *x, int64_t n) { return ex_add(b, x, ex_int(b, n)); }
static inline Expr *times(Builder *b, Expr *x, int64_t n) { return ex_mul(b, x, ex_int(b, n)); }
/* The last index below `size`. */
static inline Expr *last_of(Builder *b, Dim size) { return ex_dim(b, dim_sub(size, DIM(1))); }

bool kernel_generate(Lower *l, const Node *n);     /* false: nothing built; use the naive nest */

/* Says what a generator chose, such as "tile 6x2, weights packed", and how many cycles the cost model expects that to
 * take at the lowest sizes: for the comment above the kernel and for `lathe bench --explain`. Of several calls for one
 * kernel the texts stand side by side and the cycles add up. */
void kernel_choice(Lower *l, double cycles, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

bool attention_generate(Lower *l);                 /* of a group that fuse_attention.c made */
bool attention_grad_generate(Lower *l, const Node *n);
bool gemm_generate(Lower *l, const Node *n);
bool conv_generate(Lower *l, const Node *n);
bool conv_transpose_generate(Lower *l, const Node *n);
bool conv_grad_weight_generate(Lower *l, const Node *n);
bool reduce_sum_generate(Lower *l, const Node *n);
bool reduce_max_generate(Lower *l, const Node *n);
#endif

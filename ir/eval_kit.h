/* What the eval_*.c files share; nobody else includes it.
 *
 * Most ops read their inputs whole as an array of double or of 64-bit words, compute on those, and store the
 * result rounded (floats) or wrapped (integers) to the output's type. One meaning for every element type, and
 * plain loops. Words are unsigned so that wrapping is defined; signed types are sign-extended into them, so
 * that (int64_t)word is the value. Temporaries live in a local Arena of the eval function. */
#ifndef IR_EVAL_KIT_H
#define IR_EVAL_KIT_H
#include "ir/eval.h"
#include "ir/op_functions.h"
#include <math.h>
#include <string.h>

static inline bool tensor_is_float(const Tensor *t) { return dtype_is_float(t->dtype); }
static inline bool tensor_is_word(const Tensor *t) { return dtype_is_int(t->dtype) || t->dtype == DT_BOOL; }

double   *load_doubles(Arena *a, const Tensor *t);              /* floats and integers */
uint64_t *load_words(Arena *a, const Tensor *t);                /* integers and bool */
void store_doubles(Tensor *t, const double *v);
/* To a float type: rounded. To an integer: towards zero, what the type cannot hold gives its nearest bound, NaN
 * gives 0 (ONNX leaves both open). To bool: is it not 0. */
void store_double(Tensor *t, int64_t i, double v);
void store_words(Tensor *t, const uint64_t *v);

/* The smallest and largest value of a type, for reductions and pools of nothing: floats give the infinities. */
double   lowest_double(DType t);
double   highest_double(DType t);
uint64_t lowest_word(DType t);
uint64_t highest_word(DType t);
static inline bool word_less(DType t, uint64_t a, uint64_t b) {
  return dtype_info[t].cls == CLASS_INT ? (int64_t)a < (int64_t)b : a < b;
}

int64_t dims_product(const int64_t *dims, int from, int to);    /* product of dims[from, to) */
void dims_strides(const int64_t *dims, int rank, int64_t *stride);  /* row-major, in elements */

/* The dims attribute `name` with symbols replaced by their values; returns its length, 0 when absent. At most `max`. */
int eval_attr(Eval *e, const Node *n, const char *name, int64_t *v, int max);

/* y[i] = x[base + sum(i * stride)] for every index of y: any view that is an affine map. */
void copy_strided(Tensor *y, const Tensor *x, int64_t base, const int64_t *stride);
/* One element; bytes is the element size. */
static inline void copy_element(void *to, int64_t i, const void *from, int64_t j, size_t bytes) {
  memcpy((char *)to + (size_t)i * bytes, (const char *)from + (size_t)j * bytes, bytes);
}
/* An index input that may count from the end; false when it is out of range. */
static inline bool index_wrap(int64_t *i, int64_t n) {
  if (*i < 0) *i += n;
  return *i >= 0 && *i < n;
}
bool eval_scalar_node(Eval *e, const Node *n, const Tensor *const *in, Tensor **out);
void eval_bind_region_input(Eval *e, ValueId v, const Tensor *t);   /* symbols of its type are bound anew */
const char *tensor_type_text(const Tensor *t);                  /* "f32[2,3]" */
/* A new tensor of the same type with other dims, for pieces of loops. */
Tensor *tensor_like(Arena *a, const Tensor *t, int rank, const int64_t *dims);
#endif

/* Arithmetic shorthand for importers that build long decompositions.
 *
 * Every function takes values and gives a value of x->g's current graph; an operand 0 (something failed and has
 * been reported) gives 0, so a chain of calls needs one check at its end. Binary ops broadcast as in numpy.
 * Shapes are dims: constants or symbolic. A negative axis counts from the end. */
#ifndef FRONTEND_CALC_H
#define FRONTEND_CALC_H
#include "frontend/import.h"

/* What a value is. For value 0: no dtype, rank 0, dims 0. */
const Type *calc_type(Import *x, ValueId v);
static inline DType calc_dtype(Import *x, ValueId v) { return calc_type(x, v)->dtype; }
static inline int calc_rank(Import *x, ValueId v) { return calc_type(x, v)->rank; }
Dim     calc_dim(Import *x, ValueId v, int axis);
Dim     calc_product(const Dim *d, int n);
bool    calc_is_narrow(DType t);                                   /* a float that is only stored: f16, bf16, f8… */

bool    calc_needs(Import *x, int n);                              /* are inputs 0 … n-1 there? else reports */

/* Leaves. */
ValueId calc_tensor(Import *x, const Tensor *t);                   /* a constant */
ValueId calc_floats(Import *x, DType t, const double *v, int n);   /* constant vector; of integers: imp_constant_ints */
ValueId calc_iota(Import *x, DType t, const Dim *shape, int rank, int axis);
ValueId calc_range(Import *x, DType t, Dim n);                     /* [0, n) */
ValueId calc_dim_value(Import *x, DType t, Dim d);                 /* rank-0 value of a dim */
ValueId calc_fill(Import *x, DType t, double v, const Dim *shape, int rank);

/* Any op with one output (several: imp_op_multi). */
ValueId calc_op1(Import *x, Op op, ValueId a);
ValueId calc_op2(Import *x, Op op, ValueId a, ValueId b);
ValueId calc_op3(Import *x, Op op, ValueId a, ValueId b, ValueId c);
ValueId calc_op(Import *x, Op op, const ValueId *in, int nin, const Attr *attr, int nattr);   /* in[0] != 0 */

static inline ValueId calc_add(Import *x, ValueId a, ValueId b) { return calc_op2(x, OP_ADD, a, b); }
static inline ValueId calc_sub(Import *x, ValueId a, ValueId b) { return calc_op2(x, OP_SUB, a, b); }
static inline ValueId calc_mul(Import *x, ValueId a, ValueId b) { return calc_op2(x, OP_MUL, a, b); }
static inline ValueId calc_div(Import *x, ValueId a, ValueId b) { return calc_op2(x, OP_DIV, a, b); }
static inline ValueId calc_where(Import *x, ValueId c, ValueId a, ValueId b) { return calc_op3(x, OP_WHERE, c, a, b); }
/* With a constant of the other operand's type. */
ValueId calc_op2c(Import *x, Op op, ValueId a, double b);          /* a op b */
ValueId calc_c2op(Import *x, Op op, double a, ValueId b);          /* a op b */
static inline ValueId calc_addc(Import *x, ValueId a, double b) { return b == 0 ? a : calc_op2c(x, OP_ADD, a, b); }
static inline ValueId calc_mulc(Import *x, ValueId a, double b) { return b == 1 ? a : calc_op2c(x, OP_MUL, a, b); }
ValueId calc_clip(Import *x, ValueId a, double lo, double hi);

/* Shapes. */
ValueId calc_cast(Import *x, ValueId v, DType to);                 /* nothing when it already is */
ValueId calc_wide(Import *x, ValueId v);                           /* narrow floats become f32, others stay */
ValueId calc_reshape(Import *x, ValueId v, const Dim *shape, int rank);
ValueId calc_transpose(Import *x, ValueId v, const int *perm, int rank);
ValueId calc_swap_last(Import *x, ValueId v);                      /* transposes the last two axes */
ValueId calc_expand(Import *x, ValueId v, const Dim *shape, int rank);
ValueId calc_slice1(Import *x, ValueId v, int axis, Dim start, Dim size);
ValueId calc_slice_step(Import *x, ValueId v, int axis, int64_t start, int64_t step, Dim size);
ValueId calc_unsqueeze(Import *x, ValueId v, int axis);            /* one axis of the result */
ValueId calc_squeeze(Import *x, ValueId v, int axis);
ValueId calc_align(Import *x, ValueId v, int axis, int rank);      /* a vector as [1, …, n, …, 1], n at `axis` */
ValueId calc_pad_axis(Import *x, ValueId v, int axis, Dim before, Dim after, double value);
ValueId calc_concat(Import *x, int axis, const ValueId *v, int n); /* absent ones are left out */
ValueId calc_concat2(Import *x, int axis, ValueId a, ValueId b);
ValueId calc_gather(Import *x, ValueId v, int axis, ValueId index);

/* Reductions over one axis, kept with size 1, or over a set. */
ValueId calc_reduce(Import *x, Op op, ValueId v, int axis);
ValueId calc_reduce_all(Import *x, Op op, ValueId v);              /* rank 0 */
ValueId calc_mean(Import *x, ValueId v, const int *axes, int n, bool keepdims);
ValueId calc_softmax(Import *x, Op op, ValueId v, int axis);

ValueId calc_matmul(Import *x, ValueId a, ValueId b);

/* The elements of a constant float input; otherwise reports that it has to be bound. At most `most`. */
bool    calc_const_floats(Import *x, int k, double *v, int most, int *n);

/* round(v) + zp, clamped to the range of integer type `to`; v is a float. zp 0: none. Exact: half to even. */
ValueId calc_saturate(Import *x, ValueId v, ValueId zp, DType to);
/* ONNX DynamicQuantizeLinear: u8 by the range of v, which always includes 0. */
ValueId calc_dynamic_quantise(Import *x, ValueId v, ValueId *scale, ValueId *zp);
void    dtype_range(DType t, double *lo, double *hi);              /* of an integer type */

/* A node of a CONTROL row with its regions, types inferred. False after an error. */
bool    calc_regions(Import *x, Op op, const ValueId *in, int nin, const Attr *attr, int nattr, Graph *const *region,
                     int nregion, ValueId *out, int nout);
/* Moves the nodes of a region (inputs replaced by args) to the end of the current graph; its outputs are then values. */
void    calc_inline(Import *x, Graph *region, const ValueId *args, int n);

/* imp_set for optional outputs: nothing when the node has no output k. False when v is 0 (already reported). */
bool    calc_set(Import *x, int k, ValueId v);
#endif

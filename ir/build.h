/* Shorthand for building graphs: what the passes that make new nodes (gradients, decompositions) and the network
 * language use. Importers have these verbs in frontend/calc.h and import.h, with their own errors and settled results.
 *
 * Every function appends to `g` (or where graph_insert_before says) and infers types. An operand 0 gives 0, and so
 * does a node whose inference failed (reported in the module's diags): a chain of calls needs one check at its end.
 * Binary functions broadcast as in numpy. A negative axis counts from the end. Constants take the other operand's type. */
#ifndef IR_BUILD_H
#define IR_BUILD_H
#include "ir/ops.h"

static inline const Type *build_type(Graph *g, ValueId v) { return &value_of(g->module, v)->type; }
static inline DType build_dtype(Graph *g, ValueId v) { return v ? build_type(g, v)->dtype : DT_NONE; }
static inline int build_rank(Graph *g, ValueId v) { return v ? build_type(g, v)->rank : 0; }
Dim build_dim(Graph *g, ValueId v, int axis);

/* Any op. */
ValueId build_op(Graph *g, Op op, const ValueId *in, int nin, const Attr *attr, int nattr);
bool    build_multi(Graph *g, Op op, const ValueId *in, int nin, const Attr *attr, int nattr, ValueId *out, int nout);
ValueId build_op1(Graph *g, Op op, ValueId a);
ValueId build_op2(Graph *g, Op op, ValueId a, ValueId b);
ValueId build_op3(Graph *g, Op op, ValueId a, ValueId b, ValueId c);
ValueId build_op2c(Graph *g, Op op, ValueId a, double b);          /* a op b */
ValueId build_c2op(Graph *g, Op op, double a, ValueId b);          /* a op b */
static inline ValueId build_add(Graph *g, ValueId a, ValueId b) { return build_op2(g, OP_ADD, a, b); }
static inline ValueId build_sub(Graph *g, ValueId a, ValueId b) { return build_op2(g, OP_SUB, a, b); }
static inline ValueId build_mul(Graph *g, ValueId a, ValueId b) { return build_op2(g, OP_MUL, a, b); }
static inline ValueId build_div(Graph *g, ValueId a, ValueId b) { return build_op2(g, OP_DIV, a, b); }
static inline ValueId build_neg(Graph *g, ValueId a) { return build_op1(g, OP_NEG, a); }
static inline ValueId build_addc(Graph *g, ValueId a, double b) { return b == 0 ? a : build_op2c(g, OP_ADD, a, b); }
static inline ValueId build_mulc(Graph *g, ValueId a, double b) { return b == 1 ? a : build_op2c(g, OP_MUL, a, b); }
static inline ValueId build_where(Graph *g, ValueId c, ValueId a, ValueId b) { return build_op3(g, OP_WHERE, c, a, b); }

/* Leaves. */
ValueId build_scalar(Graph *g, DType t, double v);                 /* rank 0 */
ValueId build_fill(Graph *g, DType t, double v, const Dim *shape, int rank);
ValueId build_zeros_like(Graph *g, ValueId v);
ValueId build_iota(Graph *g, DType t, const Dim *shape, int rank, int axis);
ValueId build_dim_value(Graph *g, DType t, Dim d);                 /* rank 0 */

/* Shapes. Nothing is added where nothing changes. */
ValueId build_cast(Graph *g, ValueId v, DType to);
ValueId build_reshape(Graph *g, ValueId v, const Dim *shape, int rank);
ValueId build_reshape_like(Graph *g, ValueId v, const Type *t);
ValueId build_transpose(Graph *g, ValueId v, const int *perm, int rank);
ValueId build_swap(Graph *g, ValueId v, int axis1, int axis2);     /* two axes exchanged */
ValueId build_expand(Graph *g, ValueId v, const Dim *shape, int rank);
ValueId build_slice(Graph *g, ValueId v, int axis, Dim start, Dim size);
ValueId build_unsqueeze(Graph *g, ValueId v, int axis);            /* an axis of the result */
ValueId build_squeeze(Graph *g, ValueId v, int axis);
ValueId build_align(Graph *g, ValueId v, int axis, int rank);      /* a vector as [1, …, n, …, 1], n at `axis` */
ValueId build_pad(Graph *g, ValueId v, const Dim *before, const Dim *after, ValueId value);   /* value 0: zeros */
ValueId build_concat(Graph *g, int axis, const ValueId *v, int n);
ValueId build_gather(Graph *g, ValueId v, int axis, ValueId index);

/* Reductions; axes sorted and non-negative. */
ValueId build_reduce(Graph *g, Op op, ValueId v, const int *axes, int n, bool keepdims);
ValueId build_reduce_all(Graph *g, Op op, ValueId v);              /* rank 0 */
ValueId build_mean(Graph *g, ValueId v, const int *axes, int n, bool keepdims);
ValueId build_sum_to(Graph *g, ValueId v, const Type *t);          /* the adjoint of broadcasting t to v's shape */
ValueId build_softmax(Graph *g, Op op, ValueId v, int axis);       /* OP_SOFTMAX or OP_LOG_SOFTMAX */
ValueId build_matmul(Graph *g, ValueId a, ValueId b);
#endif

/* What the files ir/infer*.c share: access to inputs and attributes, and checks that report.
 *
 * infer_node has already checked what the row of ops.def says: the number of inputs and outputs, that every
 * required attribute is there and has its kind, that inputs have types. The infer_NAME functions check values.
 * All return false after infer_fail. Nothing here trusts a number from a file. */
#ifndef IR_INFER_H
#define IR_INFER_H
#include "ir/op_functions.h"

enum {
  CONTENT_MAX = 64                                             /* elements of a value whose content is tracked */
};
#define ATTR_BOUND INT32_MAX                                   /* strides, pads …: sums and products stay in int64 */
#define ELEMENTS_MAX (INT64_C(1) << 48)

const Type *infer_in(const Infer *x, int k);                   /* any k; NULL when absent */
const char *infer_name(const Infer *x, int k);                 /* name of input k */
bool infer_fail_type(Infer *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void infer_hint(Infer *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* attributes */
bool infer_int(Infer *x, const char *name, int64_t lo, int64_t hi, int64_t *v);
bool infer_axis(Infer *x, int rank, int *axis);                /* attribute `axis` in [0, rank) */
bool infer_ints(Infer *x, const char *name, int n, int64_t lo, int64_t hi, int64_t *v);    /* n constants */
/* n dims; n < 0: up to MAX_RANK */
bool infer_dim_list(Infer *x, const char *name, int n, const Dim **v);
bool infer_shape(Infer *x, const char *name, Type *t);         /* dims that are a shape: sets rank and dims of t */
bool infer_choice(Infer *x, const char *name, const char *choices);                        /* "a b c" */

/* types */
bool infer_float_input(Infer *x, int k);
bool infer_numeric_input(Infer *x, int k);                     /* float or integer */
bool infer_index_input(Infer *x, int k);                       /* i32 or i64 */
bool infer_same_dtype(Infer *x, int k);                        /* of input 0 and input k; absent is fine */
bool infer_input_shape(Infer *x, int k, int rank, const Dim *dims, const char *what);      /* exactly this shape */

/* dims (ir/infer_dims.c) */
/* for every value of the symbols; exact for small ranges */
bool dim_always_eq(Dim a, Dim b);
void infer_hint_dims(Infer *x, Dim a, Dim b);                  /* what would make them equal */
/* A dim that only running tells. Inferring again gives the same symbol. */
Dim infer_fresh_dim(Infer *x, int out, int axis, const char *stem, int64_t lo, int64_t hi);

/* ir/infer_content.c */
void infer_content(Module *m, NodeId n);                       /* outputs' content from inputs' */
int infer_region(Module *m, Graph *g);                         /* infers all nodes; number of failures */
#endif

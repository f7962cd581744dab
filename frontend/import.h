/* ONNX operators -> canonical nodes. One row of importers.def per (domain, operator, since-version); the row
 * whose `since` is the largest one not above the model's opset is used. An importer is 10-40 lines: it reads
 * attributes and inputs, adds canonical nodes to x->g, and sets the outputs.
 *
 *   IMPORT(domain, OpType, since, function)      domain "" is ai.onnx
 *
 * Importers normalise: axes become non-negative, optional inputs and attributes get their defaults, shapes
 * are complete. An importer that cannot do it calls imp_fail (message: what, and what to do) and returns
 * false; the frontend goes on and lists every unsupported node at once. */
#ifndef FRONTEND_IMPORT_H
#define FRONTEND_IMPORT_H
#include "ir/ops.h"

struct OnnxNode;                       /* frontend/onnx_model.h: the decoded protobuf */

typedef struct Import {
  Module *m;
  Graph *g;                            /* where nodes go */
  const struct OnnxNode *node;
  const char *op, *domain;
  int opset;                           /* version of the node's domain */
  int nin, nout;
  ValueId *in;                         /* nin of them; 0: absent */
  ValueId *out;                        /* nout of them: importers fill with imp_set */
  void *frontend;                      /* the loader's own state */
  bool failed;                         /* something was reported: builders give 0 from now on */
} Import;

typedef bool (*ImportFn)(Import *x);

bool    imp_free_batch(Import *x);                                         /* of the options */

/* attributes of the ONNX node */
bool    imp_has(Import *x, const char *name);
int64_t imp_int(Import *x, const char *name, int64_t dflt);
double  imp_float(Import *x, const char *name, double dflt);
const char *imp_str(Import *x, const char *name, const char *dflt);
int     imp_ints(Import *x, const char *name, const int64_t **v);          /* count; 0 when absent */
int     imp_floats(Import *x, const char *name, const double **v);
int     imp_strs(Import *x, const char *name, const char *const **v);
const Tensor *imp_tensor(Import *x, const char *name);                     /* NULL when absent or damaged */
Graph  *imp_graph(Import *x, const char *name);                            /* imports a region; NULL: failed */
/* The same, where the first n inputs of the region get these types (what the node passes in) instead of the
 * declared ones, which exporters often leave out; dtype DT_NONE or rank -1: keep the declared one. */
Graph  *imp_graph_typed(Import *x, const char *name, const Type *in, int n);

/* Imports a region without inputs into x->g itself and sets x's outputs: an If whose condition is known. */
bool    imp_inline(Import *x, const char *name);
/* The same for a region with inputs, any number of times; out gets its first nout outputs. */
bool    imp_inline_with(Import *x, const char *name, const ValueId *in, int nin, ValueId *out, int nout);

/* Sequences and optionals are lists of values, of known length, that exist only while importing (onnx_lists.c). */
bool    imp_is_list(Import *x, ValueId v, ValueKind kind);
ValueId imp_list(Import *x, ValueKind kind, const ValueId *at, int n);
bool    imp_elements(Import *x, ValueId v, const ValueId **at, int *n);    /* of a list; reports when v is a tensor */
/* A region's outputs are its tensors, one by one; its form says how they make up lists ("t", "[tt]", "?[t]").
 * imp_set_flat puts the outputs of a node with such regions together again. */
const char *imp_region_form(Import *x, const Graph *g);
bool    imp_set_flat(Import *x, const char *form, const ValueId *flat);

/* A value of the model by its name, as seen where the node stands; 0: none before it. */
ValueId imp_named(Import *x, const char *name);

/* inputs */
static inline bool imp_present(Import *x, int k) { return k < x->nin && x->in[k]; }
const Type *imp_type(Import *x, int k);                                    /* of input k */
int     imp_rank(Import *x, int k);
DType   imp_dtype(Import *x, int k);
int     imp_axis(Import *x, int64_t axis, int rank);                       /* non-negative; -1 after imp_fail */
const Tensor *imp_constant(Import *x, int k);                              /* NULL when input k is not constant */
/* The elements of an integer input that must be known when compiling (shapes, axes, pads): constants, or
 * dims that follow from input shapes. Fails with a message when they only exist at run time. */
bool    imp_dims(Import *x, int k, const Dim **v, int *n);
bool    imp_const_ints(Import *x, int k, const int64_t **v, int *n);
bool    imp_const_float(Import *x, int k, double *v);                      /* a scalar */

/* building; every function infers types and returns 0 after an error has been reported */
ValueId imp_op1(Import *x, Op op, ValueId a);
ValueId imp_op2(Import *x, Op op, ValueId a, ValueId b);
ValueId imp_op3(Import *x, Op op, ValueId a, ValueId b, ValueId c);
ValueId imp_op(Import *x, Op op, const ValueId *in, int nin, const Attr *attr, int nattr);
ValueId imp_scalar(Import *x, DType t, double v);                          /* rank-0 constant */
/* Around what ir/build.h builds: the value, settled if it is new; 0 after an error. imp_mark comes before. */
typedef struct ImportMark { int nodes, errors; } ImportMark;
ImportMark imp_mark(const Import *x);
ValueId imp_made(Import *x, ImportMark since, ValueId v);
ValueId imp_cast(Import *x, ValueId v, DType to);
ValueId imp_reshape(Import *x, ValueId v, const Dim *shape, int rank);
ValueId imp_transpose(Import *x, ValueId v, const int *perm, int rank);
ValueId imp_expand(Import *x, ValueId v, const Dim *shape, int rank);
ValueId imp_slice1(Import *x, ValueId v, int axis, Dim start, Dim size);   /* step 1 on one axis, others whole */
ValueId imp_reduce(Import *x, Op op, ValueId v, const int *axes, int n, bool keepdims);
ValueId imp_unsqueeze(Import *x, ValueId v, const int *axes, int n);       /* axes of the result */
ValueId imp_constant_ints(Import *x, DType t, const int64_t *v, int n);    /* t[n] constant */
ValueId imp_dims_value(Import *x, const Dim *v, int n);                    /* i64[n] of dims; n -1: a scalar of v[0] */
/* Several outputs; fills out. False (and zeros) after an error has been reported. */
bool    imp_op_multi(Import *x, Op op, const ValueId *in, int nin, const Attr *attr, int nattr, ValueId *out, int nout);
bool    imp_wants(Import *x, int k);                                       /* is output k there and named? */
void    imp_set(Import *x, int k, ValueId v);
bool    imp_fail(Import *x, const char *kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));  /* returns false */

/* Every importer of importers.def. */
#define IMPORT(domain, op, since, function) bool function(Import *x);
#include "frontend/importers.def"
#undef IMPORT

/* A value for one of the model's inputs, in their order; only its shape matters unless it is bound. */
typedef struct ImportSample {
  const Tensor *value;                 /* or NULL */
  bool bind;                           /* compile the value in */
  /* The import says: */
  const char *name;                    /* of the input; NULL: the model has fewer inputs */
  Type type;
  bool shaped;                         /* the value gave a free dim its size */
  const Tensor *bound;                 /* what was compiled in; NULL: it stays an input */
} ImportSample;

/* ONNX file -> module. `dims`: "N=1..32" bindings for free dims, `binds`: inputs fixed at compile time. */
typedef struct ImportOptions {
  ImportSample *samples; int nsamples;                                 /* free dims that `dims` does not name get these shapes */
  bool want_dims;                                                      /* a dim that is still free is an error */
  bool free_batch;                                                     /* a first axis of 1 is meant as any number of rows */
  struct { const char *name; int64_t lo, hi; } *dims; int ndims;       /* dim_param name, or INPUT.AXIS, or "*" for all others */
  struct { const char *name; const Tensor *value; } *binds; int nbinds;
  /* Inputs that are sequences or optionals: how many tensors (-1: an absent optional), and their types unless NULL:
   * then the declared one. The tensors become inputs NAME_0, NAME_1, … */
  struct { const char *name; int n; const Type *elem; } *lists; int nlists;
} ImportOptions;
Module *onnx_import_file(const char *path, const ImportOptions *o, Diags *d);     /* NULL after errors; all are in d */
Module *onnx_import_bytes(const void *p, size_t n, const char *path, const ImportOptions *o, Diags *d);
Tensor *onnx_load_tensor(Arena *a, const char *path, Diags *d);                   /* a TensorProto file (input_0.pb) */
/* A SequenceProto or OptionalProto file: the tensors in it. False after a message; *n -1: an absent optional. */
bool onnx_load_list(Arena *a, const char *path, ValueKind kind, const Tensor ***at, int *n, Diags *d);
bool onnx_save_tensor(const char *path, const char *name, const Tensor *t, Diags *d);
#endif

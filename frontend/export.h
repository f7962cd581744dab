/* From the graph IR back to ONNX: the module as a model of opset 21.
 *
 * Each canonical op has a row in exporters.def: a function here that builds ONNX nodes, or the reason why there is
 * none. Exporters handle names: every edge of an ONNX graph is a text, "" where an optional input is absent. They call
 * exp_node for each node, attributes go to the node made last, and exp_give says which name is output k. */
#ifndef FRONTEND_EXPORT_H
#define FRONTEND_EXPORT_H
#include "frontend/onnx_model.h"
#include "frontend/onnx_names.h"
#include "ir/ops.h"

/* 21: the first opset where every row has its operator (Gelu and axes of reductions as inputs came at 18 to 20, 4-bit
 * integers at 21) and old enough for ONNX Runtime from 1.18 on. */
enum { EXPORT_OPSET = 21, EXPORT_IR_VERSION = 10 };

/* A graph at work; regions see the values and sizes of the graphs around them. */
typedef struct ExportScope {
  struct ExportScope *outer;
  VEC(Onnx__Node *) nodes;
  ValueList values;                                    /* that exist here so far: where sizes can be read off */
  VEC(struct { Dim dim; const char *name; }) dims;     /* sizes computed so far, i64[1] */
} ExportScope;

typedef struct Export {
  Module *m;
  Arena *a;
  Diags *d;
  NodeId id;
  const Node *n;                                       /* at work; NULL: inputs and outputs of a graph */
  const char *stem;                                    /* of the names of edges that values have none for */
  ExportScope *scope;
  Onnx__Node *last;                                    /* takes attributes */
  VEC(Onnx__Tensor *) initializers;
  VEC(const char *) constant_names;
  bool *written;                                       /* per value: its constant is among the initializers */
  NameMap edges, nodes, constants;                     /* names in use, but of values; small constants -> index */
  bool failed;                                         /* this node: reported */
} Export;

typedef bool (*ExportFn)(Export *x);                   /* false: exp_fail said why */

/* ---- of the node at work ---- */
bool        exp_has(const Export *x, int k);           /* input k is present */
const char *exp_in(Export *x, int k);                  /* its name; "": absent */
const char *exp_value(Export *x, ValueId v);
const Type *exp_type(const Export *x, int k);          /* of input k */
const Type *exp_out_type(const Export *x, int k);
bool        exp_wants(const Export *x, int k);         /* output k is used as a value */
bool        exp_fail(Export *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));   /* returns false */
bool        exp_give(Export *x, int k, const char *name);              /* false when the node failed */

/* ---- nodes ---- */
const char *exp_node(Export *x, const char *op, const char *const *in, int nin);
#define EXP(x, op, ...) \
  exp_node(x, op, (const char *const[]){__VA_ARGS__}, (int)(sizeof(const char *const[]){__VA_ARGS__} / sizeof(char *)))
const char *exp_output(Export *x);                     /* one more output of the last node */
bool exp_direct(Export *x, const char *op);            /* the node's inputs and outputs as they are */
bool exp_direct_from(Export *x, const char *op, const char *const *in, int nin);
void exp_int(Export *x, const char *name, int64_t v);
void exp_float(Export *x, const char *name, double v);
void exp_str(Export *x, const char *name, const char *v);
void exp_list(Export *x, const char *name, const int64_t *v, int n);
void exp_float_list(Export *x, const char *name, const double *v, int n);
void exp_str_list(Export *x, const char *name, const char *const *v, int n);
void exp_graph(Export *x, Onnx__Node *n, const char *name, Onnx__Graph *g);
bool exp_copy_list(Export *x, const char *from, const char *to);       /* a dims attribute whose elements are numbers */

/* ---- leaves ---- */
const char *exp_constant(Export *x, const Tensor *t);
const char *exp_scalar(Export *x, DType t, double v);  /* rank 0 */
const char *exp_ints(Export *x, const int64_t *v, int n);              /* i64[n] */
const char *exp_size(Export *x, Dim d);                /* i64[1] */
const char *exp_sizes(Export *x, const Dim *d, int n);                 /* i64[n] */
const char *exp_cast(Export *x, const char *v, DType from, DType to);
const char *exp_reshape(Export *x, const char *v, const Type *from, const Dim *shape, int rank);

/* ---- graphs (onnx_export.c) ---- */
Onnx__Graph *exp_region(Export *x, Graph *g, const char *name);
Onnx__ValueInfo *exp_value_info(Export *x, ValueId v, const char *name);

/* Every exporter of exporters.def. */
#define EXPORT(op, function) bool function(Export *x);
#define EXPORT_AS(op, onnx)
#define NO_EXPORT(op, why)
#include "frontend/exporters.def"
#undef EXPORT
#undef EXPORT_AS
#undef NO_EXPORT
#endif

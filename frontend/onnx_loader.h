/* The state of one import, shared by the files of the graph walk (onnx_import.c, onnx_types.c). */
#ifndef FRONTEND_ONNX_LOADER_H
#define FRONTEND_ONNX_LOADER_H
#include "frontend/import.h"
#include "frontend/onnx_model.h"
#include "frontend/onnx_names.h"
#include "ir/eval.h"

/* One namespace: a graph, a sub-graph (which sees the outer ones) or the body of a called function (which does not). */
typedef struct Scope {
  const struct Scope *outer;
  Graph *g;                            /* where its nodes go; a function body and its caller share one */
  NameMap names;                       /* -> ValueId; 0: an optional input that is absent; FAILED_VALUE */
  const OnnxNode *call;                /* inside a function: the calling node, for its attributes */
  const Onnx__Function *function;
  const char *path;                    /* prefix of node names: "caller/" */
} Scope;

typedef struct Unsupported { const char *domain, *op, *nodes; int opset, count, since; } Unsupported;

/* A sequence or optional: the values in it. */
typedef struct List { ValueId value; ValueKind kind; const ValueId *at; int n; } List;

/* A dim that nothing gives a size: what --dim calls it, and where it is. */
typedef struct Unbound { const char *flag, *input; int axis; } Unbound;

typedef struct Loader {
  Module *m;
  Diags *d;
  const Onnx__Model *model;
  const ImportOptions *o;
  bool *dim_used, *bind_used, *list_used;   /* per option: did it match something? */
  VEC(Unbound) unbound;                /* only collected when the options want dims */
  int input;                           /* the model's input at work, counted without initializers */
  OnnxSource source;
  Arena tmp;                           /* scopes and orders; dropped after the import */
  Scope *scope;                        /* the one at work */
  int depth;                           /* of calls and regions */
  int nodes;                           /* ONNX nodes imported, calls and unrolled loops counted each time */
  VEC(Unsupported) unsupported;
  VEC(List) lists;
  VEC(struct { const Graph *g; const char *text; }) forms;      /* of regions' outputs, see imp_region_form */
  Eval eval;                           /* for nodes of constants; begun when first needed */
} Loader;

enum { FAILED_VALUE = -1 };            /* its producer reported an error: readers stay silent */

/* The declared type of an input. Main inputs (`main`): free dims become symbols or what the options say, and a
 * missing shape is an error; of regions' inputs the unknown parts stay unknown. */
bool onnx_type(Loader *l, const char *name, const Onnx__Type *t, bool is_main, Type *out);
/* Warns where a declared output type contradicts the inferred one. */
void onnx_check_output(Loader *l, const char *name, const Onnx__Type *declared, const Type *inferred);
/* The value the options bind to an input of type t, converted to it; NULL when there is none. False after a message. */
bool onnx_bound(Loader *l, const char *name, const Type *t, const Tensor **value);
/* After the inputs: complains about dims that are free against the options, and about options that fit nothing. */
void onnx_check_options(Loader *l);
#endif

/* Graph IR: a network as nodes over values. See docs/architecture.md.
 *
 * Nodes and values live in arrays of their module and are named by 32-bit ids (0 = none), across all
 * regions: a region's node may use a value of an enclosing graph directly. A graph lists its nodes in
 * execution order. Only the functions here change a module; passes call them.
 *
 * What an op is (arity, attributes, rules) is a row of ops.def; see ops.h. */
#ifndef IR_GRAPH_H
#define IR_GRAPH_H
#include "base/diag.h"
#include "base/vec.h"
#include "ir/dim.h"
#include "ir/dtype.h"
#include "ir/op.h"

typedef uint32_t ValueId;
typedef uint32_t NodeId;

typedef enum { KIND_TENSOR, KIND_SEQUENCE, KIND_OPTIONAL } ValueKind;

/* dtype DT_NONE: not inferred yet. rank -1: rank not known (only before infer). */
typedef struct Type { ValueKind kind; DType dtype; int rank; Dim dims[MAX_RANK]; } Type;

/* Where a value's elements are, decided by passes/storage.c: element (i0, i1, …) is at
 * base's data + offset + sum(i * stride). `base` is the value itself unless it is a view of another.
 * Empty (base 0) before that pass: then row-major. Units: elements. */
typedef struct Storage { ValueId base; Dim offset; Dim stride[MAX_RANK]; Dim size; } Storage;

typedef struct Value {
  const char *name;             /* interned, unique in the module */
  Type type;
  const Tensor *constant;       /* weights and folded values, else NULL */
  NodeId def;                   /* 0: graph input, region input or constant */
  int def_index;
  const Dim *content;           /* integer tensors of rank <= 1 whose elements are known as dims, else NULL */
  Storage at;
} Value;

typedef enum { ATTR_INT, ATTR_FLOAT, ATTR_STR, ATTR_DIMS, ATTR_FLOATS, ATTR_TENSOR, ATTR_DTYPE, ATTR_STRS } AttrKind;

typedef struct Attr {
  const char *name;             /* interned */
  AttrKind kind;
  int n;                        /* of dims / floats / strs */
  int64_t i;                    /* ATTR_INT, ATTR_DTYPE */
  double f;
  const char *s;
  const Dim *dims;
  const double *floats;
  const Tensor *tensor;
  const char *const *strs;
} Attr;

typedef struct Graph Graph;

/* Where a node comes from; survives every pass. A decomposed node's parts share it. */
typedef struct Source { const char *node, *op; int line; } Source;

typedef struct Node {
  Op op;
  ValueId *in, *out;            /* an absent optional input is 0 */
  int nin, nout, nattr, nregion;
  Attr *attr;
  Graph **region;
  Graph *graph;                 /* the graph whose list holds it */
  Source source;
  int group;                    /* fused kernel it belongs to, set by passes/fuse.c; 0 before */
  bool dead;
} Node;

typedef VEC(ValueId) ValueList;
typedef VEC(NodeId) NodeList;

struct Graph {
  struct Module *module;
  NodeId owner;                 /* the If/Loop/Scan that owns this region; 0 for the main graph */
  const char *name;
  ValueList inputs, outputs;
  NodeList nodes;               /* execution order */
  NodeId before;                /* graph_insert_before: appends go before this node; 0: at the end */
  int before_at;                /* where it was last seen in the list */
};

/* What survives a call of a training function: `value` is an input of the main graph (0: only written), `next` an
 * output (0: only read) that takes its place in the caller's state block when the call is done. The evaluator sees
 * plain inputs and outputs; lower_program gives both the same memory. `name` finds it in ir/bundle.h's table. */
typedef struct StateSlot { const char *name; ValueId value, next; } StateSlot;

typedef struct Module {
  Arena perm;
  Diags *diags;
  const char *name, *path;      /* path: the file it came from, for messages */
  int64_t parameters;           /* floats among the file's weights, for reports: folding makes more constants */
  VEC(Value) values;            /* [0] unused */
  VEC(Node) nodes;              /* [0] unused */
  VEC(Graph *) graphs;          /* all ever made, regions of dead nodes included */
  Graph *main;
  VEC(StateSlot) state;         /* empty in a network for inference */
  Source source;                /* of nodes added from now on */
  struct { ValueId *at; size_t slots, count; } names;   /* hash table: name -> value */
  int uniq;                     /* for fresh names */
} Module;

Module *module_new(const char *name, Diags *d);
void module_free(Module *m);

static inline Value *value_of(Module *m, ValueId v) { return &m->values.at[v]; }
static inline Node *node_of(Module *m, NodeId n) { return &m->nodes.at[n]; }

Graph *graph_new(Module *m, const char *name, NodeId owner);
ValueId graph_add_value(Module *m, const char *name, Type t);          /* name NULL: a fresh one; made unique */
ValueId graph_find_value(const Module *m, const char *name);           /* 0 when there is none */
void graph_rename_value(Module *m, ValueId v, const char *name);       /* made unique */
void graph_swap_names(Module *m, ValueId a, ValueId b);
ValueId graph_add_input(Graph *g, const char *name, Type t);
ValueId graph_add_constant(Module *m, const char *name, const Tensor *t);
/* v is t from now on, with t's sizes where they depended on data; the caller removes the node that computed it. */
void graph_make_constant(Module *m, ValueId v, const Tensor *t);
ValueId graph_scalar(Module *m, DType t, double v);                    /* rank-0 constant */
ValueId graph_ints(Module *m, const int64_t *v, int n);                /* i64[n] constant */

/* Append a node with `nout` fresh outputs, infer their types; returns the node (outputs in node_of(m,n)->out).
 * `source` is taken from graph_set_source. Errors of inference go to module->diags; outputs then have DT_NONE. */
NodeId graph_add_node(Graph *g, Op op, const ValueId *in, int nin, int nout, const Attr *attr, int nattr);
/* without inference */
NodeId graph_new_node(Graph *g, Op op, const ValueId *in, int nin, int nout, const Attr *attr, int nattr);
/* sets its owner; infer_node(n) when all are there */
void graph_attach_region(Module *m, NodeId n, Graph *region);
/* A tensor of the state: reads it (adds an input, or finds the one that is there), and says what it becomes (an
 * output; v has its type). Without graph_state_next it stays as it is; after two calls the later one counts. */
ValueId graph_state(Module *m, const char *name, Type t);
void graph_state_next(Module *m, const char *name, ValueId v);
const StateSlot *graph_state_of_value(const Module *m, ValueId v);     /* whose value or next is v; NULL: none */
/* Node n has at least nout outputs from now on, all present: values for those that were not asked for. */
void graph_add_outputs(Module *m, NodeId n, int nout);
/* The usual case: one output. */
ValueId graph_op(Graph *g, Op op, const ValueId *in, int nin, const Attr *attr, int nattr);
void graph_set_source(Module *m, Source s);                            /* for nodes added from now on */
Source graph_source(const Module *m);

/* Nodes are appended at the end; to build in the middle of a graph (a pass that replaces a node):
 * graph_insert_before(g, n) makes appends go before node n until graph_insert_end(g). */
void graph_insert_before(Graph *g, NodeId n);
void graph_insert_end(Graph *g);
void graph_adopt_nodes(Graph *to, Graph *from);                        /* moves all nodes of a region to that place */

/* Everywhere, graph outputs included. An output of the main graph keeps its name: `by` takes it over. Where it
 * cannot (it is an input, a constant or itself an output) that output stays `old`; graph_may_replace asks. */
void graph_replace_uses(Module *m, ValueId old, ValueId by);
bool graph_may_replace(const Module *m, ValueId old, ValueId by);
/* marks it and its regions' nodes dead; graph_sweep drops them */
void graph_remove_node(Module *m, NodeId n);
void graph_sweep(Module *m);                                           /* drops dead nodes from every list */
int *graph_use_counts(Module *m, Arena *a);                            /* per value: uses by live nodes and outputs */

/* Attributes. A missing attribute gives the default; a wrong kind is our bug (importers check). */
const Attr *node_attr(const Node *n, const char *name);
int64_t node_int(const Node *n, const char *name, int64_t dflt);
double  node_float(const Node *n, const char *name, double dflt);
const char *node_str(const Node *n, const char *name, const char *dflt);
const Attr *node_dims(const Node *n, const char *name);                /* NULL when absent */
Attr attr_int(const char *name, int64_t v);
Attr attr_float(const char *name, double v);
Attr attr_str(const char *name, const char *v);
Attr attr_dtype(const char *name, DType t);
Attr attr_ints(Module *m, const char *name, const int64_t *v, int n);
Attr attr_dims(Module *m, const char *name, const Dim *v, int n);
Attr attr_floats(Module *m, const char *name, const double *v, int n);
Attr attr_tensor(const char *name, const Tensor *t);
Attr attr_strs(Module *m, const char *name, const char *const *v, int n);
bool attr_eq(const Attr *a, const Attr *b);
const char *attr_kind_text(AttrKind k);                                /* "int", "dims", … as ops.def spells them */

/* Types. */
Type type_of(DType t, int rank, const Dim *dims);                      /* a tensor's */
bool type_eq(const Type *a, const Type *b);
bool type_same_shape(const Type *a, const Type *b);                    /* rank and dims; the element types may differ */
Dim  type_count(const Type *t);                                        /* number of elements */
void type_print(Text *t, const Type *x);
const char *type_text(const Type *t);                                  /* "f32[N,1,28,28]", interned */
bool type_is_static(const Type *t);

/* Text: the grammar is in graph_text.c. parse(print(m)) prints the same. Small constants are inline, others
 * are written as `#hash` and found in a side file that module_save_weights makes (NULL: none needed).
 * In text read by module_parse a node's types may be left out: they are inferred. NULL after errors. */
void module_print(Text *t, Module *m);
void attr_print(Text *t, const Attr *a);                               /* name=value */
Module *module_parse(const char *text, const char *weights_path, Diags *d);
/* those of another module, not copied */
Module *module_parse_with(const char *text, const Module *constants, Diags *d);
/* as the text states them; false: `why` says what differs first */
bool module_same(Module *a, Module *b, Text *why);
bool module_save_weights(Module *m, const char *path, char *why, size_t why_len);
bool module_verify(Module *m, Diags *d);                               /* structure, arity, types, order */
#endif

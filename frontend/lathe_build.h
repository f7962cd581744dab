/* What the files that turn the tree into modules share. See language.h.
 *
 * A Lang builds one bundle; while it builds a function, `m` is that function's module. Expressions give a Val: a
 * tensor is a value of `m`, numbers and lists are known when compiling. VAL_ERROR: reported, be silent. */
#ifndef FRONTEND_LATHE_BUILD_H
#define FRONTEND_LATHE_BUILD_H
#include "frontend/language.h"
#include "frontend/lathe_ast.h"
#include "ir/build.h"

/* ---- values ---- */

typedef enum { VAL_ERROR, VAL_NONE, VAL_TENSOR, VAL_INT, VAL_FLOAT, VAL_BOOL, VAL_STR, VAL_TUPLE } ValKind;
typedef struct Val Val;
struct Val {
  ValKind kind;
  ValueId v;
  Dim i;                               /* INT: a number, or a size that depends on N */
  double f;
  bool b;
  const char *s;
  Val *at;                             /* TUPLE */
  int n;
};
Val val_error(void);
Val val_none(void);
Val val_tensor(ValueId v);             /* 0: VAL_ERROR */
Val val_int(Dim i);
Val val_float(double f);
Val val_bool(bool b);
Val val_str(const char *s);
bool val_is_number(const Val *v);      /* INT or FLOAT */
bool val_same(const Val *a, const Val *b);
const char *val_text(Module *m, const Val *v);                 /* "f32[N,10]", "the number 3", for messages; interned */

/* ---- what has a name ---- */

typedef struct Binding { const char *name; Val v; Span at; } Binding;
typedef VEC(Binding) Bindings;

/* A net at work, or a step. `prefix`: of its parameters' names, "digits." */
typedef struct Frame Frame;
struct Frame {
  const NetDecl *net;                  /* NULL: a step, or the constants at the top */
  const char *prefix;
  Bindings vars, dims;
  VEC(struct { const char *kind; int n; }) counts;             /* layers so far: dense 2 */
  Frame *caller;
  bool returned;
  const Statement *returned_at;
  Val result;                          /* TUPLE */
};

/* A tensor of the state that the text declares. */
typedef struct Parameter {
  const char *name;
  Type type;
  StateRole role;                      /* PARAMETER or STATISTIC */
  const char *init;                    /* "kaiming", "normal(0.02)", "auto": by the function that follows */
  double fan_in, fan_out;
  const Tensor *value;                 /* instead of init: from an ONNX file */
  bool imported;
  const char *net;                     /* whose it is */
  Span at;                             /* where it was declared */
} Parameter;

typedef struct ColumnAtWork { const ParamDecl *decl; struct ColumnAtWork *outer; } ColumnAtWork;

typedef struct Lang {
  LatheText text;
  LatheFile *file;
  const LanguageOptions *o;
  Bundle *b;
  Diags *d;
  Arena *a;                            /* of the tree and all that is temporary */
  Bindings lets;
  struct OnnxNet *onnx;                /* imported so far */
  VEC(Parameter) params;
  bool closed;                         /* init has been made: no more parameters */
  VEC(struct { const char *caller; const char *callee; }) uses;           /* nets that call nets */
  VEC(struct { const NetDecl *net; Bindings dims; }) seen;     /* sizes with which steps called them */
  VEC(struct { const Term *call; const ParamDecl *decl; int at; }) columns;   /* readers met so far; at -1: failed */
  VEC(struct { int at; const char *text; }) reported;          /* nets are built several times: an error is told once */
  bool silent;                         /* the last error had been told before: so are its hints */
  int failures;                        /* errors so far, those that had been told before included */

  /* the function at work */
  Module *m;
  Graph *g;
  Diags graph_errors;                  /* of m; lang_check turns them into errors with a line */
  FunctionKind kind;
  bool training;
  Dim n;                               /* what N is */
  int stream;                          /* of the next random node */
  Frame *frame;
  VEC(struct { ValueId v; int param; }) followed;              /* results of layers whose init is not decided yet */
  VEC(struct { const char *prefix; const Val *args; int n; Val result; }) called;
  VEC(struct { const char *name; ValueId v; const Statement *minimize; }) results;
      /* of the step: losses and reports */
  Words frozen;
  Bindings column_values;
  const ParamDecl *column;             /* the column that is being made */
  ColumnAtWork *at_work;               /* it, and those that wait for it */
} Lang;

void lang_error(Lang *l, const char *kind, Span at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void lang_hint(Lang *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
    /* to the last error, if it was told */
/* Errors of inference since the last check, with the place. False when there were any. */
bool lang_check(Lang *l, Span at);
void lang_source(Lang *l, Span at, const char *op);            /* of the nodes that follow */
/* The name among `names` that is most like `s`; NULL: none is near. */
const char *name_nearest(const char *s, const char *const *names, int n);

/* ---- expressions and statements (lathe_eval.c) ---- */
Val lang_expr(Lang *l, const Term *e);
Val lang_binary(Lang *l, const char *op, Val a, Val b, Span at);
void lang_statements(Lang *l, const Statements *s);
const Binding *binding_find(const Bindings *b, const char *name);
void lang_bind(Lang *l, Bindings *b, const char *name, Val v, Span at);
ValueId lang_as_tensor(Lang *l, Val v, DType like);            /* numbers become constants; like NONE: f32 or i64 */
/* Two operands as tensors of one element type; a number takes the tensor's. `division`: integers become f32. */
bool lang_operands(Lang *l, Val a, Val b, bool division, ValueId *x, ValueId *y);

/* ---- data and steps (lathe_data.c, lathe_step.c) ---- */
bool lang_column(Lang *l, const Term *name, Val *out);         /* false: the data block has no such column */
bool lang_is_reader(Lang *l, const char *name);                /* neither a net nor a function */
Val lang_reader(Lang *l, const Term *e);
Val lang_vocab(Lang *l, const Term *e);
void lang_settings(Lang *l);
void lang_label_classes(Lang *l, ValueId label, Dim classes);  /* a column of integers in [0, classes), if it is one */
void lang_step_statement(Lang *l, const Statement *s);         /* report, minimize, freeze */
bool lang_step_minimizes(const StepDecl *s);
bool lang_step_build(Lang *l, const StepDecl *s);              /* as the function at work */

/* ---- nets (lathe_net.c) ---- */
const NetDecl *net_find(Lang *l, const char *name);
Val lang_call_net(Lang *l, const NetDecl *n, const Term *call);
bool net_has_body(Lang *l, const NetDecl *n);                  /* else reported: `net g = new typo` */
Frame *frame_push(Lang *l, const NetDecl *net, const char *prefix);
void frame_pop(Lang *l);
bool lang_dim(Lang *l, const Term *e, Dim *out);               /* of a type; reports */
bool net_is_open(Lang *l, const NetDecl *n);                   /* it has sizes or arguments that only a call says */
bool type_same_but_ones(const Type *have, const Dim *want, int rank);   /* equal shapes but for axes of size 1 */
bool net_build(Lang *l, const NetDecl *n);                     /* as the function at work: inputs, body, outputs */
void lang_output(Lang *l, ValueId v, const char *name);        /* one more output of the function at work */
void lang_free_name(Lang *l, const char *name);                /* for an input or output that is to have it */
const char *lang_fresh_name(Lang *l, const char *kind, const char *given);   /* PREFIXkind2, or PREFIXgiven */

bool net_is_pattern(Lang *l, const NetDecl *n);                /* it is only ever copied by `new`: no set of its own */
bool net_is_called(Lang *l, const NetDecl *n);
void lang_check_variables(Lang *l);                            /* warns of those that nothing reads */
bool net_is_onnx(const NetDecl *n);                            /* net n = onnx("…") (lathe_onnx.c) */
Val lang_call_onnx(Lang *l, const NetDecl *n, const Val *args, const Term *call, const char *prefix);
void lang_onnx_free(Lang *l);

/* ---- calls of functions (lathe_call.c) ---- */
enum { CALL_MAX = 16 };
typedef struct Call Call;
typedef Val (*FunctionFn)(Call *c);
typedef struct FunctionInfo { const char *name, *family, *params; FunctionFn build; const char *doc; } FunctionInfo;
struct Call {
  Lang *l;
  const Term *e;
  const FunctionInfo *f;
  Val arg[CALL_MAX];                   /* in the order of the row's parameters; VAL_NONE: not given, without default */
  Span where[CALL_MAX];
  const char *layer;                   /* "digits.dense1": set by the first parameter */
  const char *given_name, *own_name;   /* name="…"; the layer's own choice; or NULL */
  const char *assigned;                /* the variable that the result goes to, or NULL */
};
extern const FunctionInfo function_info[];
extern const int function_count;
const FunctionInfo *lang_function(const char *name);           /* NULL: there is none */
Val lang_call(Lang *l, const Term *e, const char *assigned);
Val call_fail(Call *c, int k, const char *kind, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
    /* at argument k; -1: the call */
static inline bool call_has(const Call *c, int k) { return c->arg[k].kind != VAL_NONE; }
static inline ValueId call_tensor(const Call *c, int k) { return c->arg[k].v; }
static inline const Type *call_type(const Call *c, int k) { return &value_of(c->l->m, c->arg[k].v)->type; }
static inline Dim call_dim(const Call *c, int k) { return c->arg[k].i; }
static inline int64_t call_int(const Call *c, int k) { return c->arg[k].i.k; }
static inline double call_float(const Call *c, int k) { return c->arg[k].f; }
static inline bool call_bool(const Call *c, int k) { return c->arg[k].b; }
static inline const char *call_str(const Call *c, int k) { return c->arg[k].s; }
int call_axis(Call *c, int k, int rank);                       /* non-negative; -1 after an error */
bool call_ints(Call *c, int k, int n, int64_t lo, int64_t *out);   /* one number for all, or n of them, each >= lo */
bool call_shape(Call *c, int k, Dim *out, int *n);             /* a list of sizes */
bool call_rank(Call *c, int k, int lo, int hi, const char *form);  /* of tensor k; form: "[N, C, …]" */

/* ---- parameters (lathe_param.c) ---- */
/* Declares, or finds, LAYER.leaf and reads it in the module at work. 0 after an error. */
ValueId layer_parameter(Call *c, const char *leaf, Type t, const char *init, double fan_in, double fan_out);
const char *layer_statistic(Call *c, const char *leaf, Type t, const char *init);    /* its name */
const char *layer_init(Call *c, int k);                        /* argument k, checked; NULL after an error */
Parameter *lang_parameter(Lang *l, const char *name);          /* NULL: none has that interned name */
Parameter *lang_declare(Lang *l, const char *name, Type t, StateRole role, Span at);
/* How weights start that the text says nothing about: `init` once their result v goes into an activation. v is the
 * result of the layer at work (begin), or came from such a one through a norm or a pool (pass). */
void follow_begin(Call *c, ValueId v, const char *leaf);
void follow_decide(Lang *l, ValueId v, const char *init);
void follow_pass(Lang *l, ValueId from, ValueId to);
ValueId lang_random_state(Lang *l);                            /* i64[2] step and seed */
ValueId lang_random(Lang *l, const char *kind, const Dim *shape, int rank, double scale, double shift);
ValueId lang_dropout(Lang *l, ValueId x, double p);            /* x itself unless training */
void lang_build_init(Lang *l);                                 /* the function `init`: module at work */

/* ---- functions of functions.def ---- */
#define FUNCTION(name, family, builder, params, doc) Val builder(Call *c);
#include "frontend/functions.def"
#undef FUNCTION
/* Rows of scalar.def and ops.def (lathe_ops.c), of losses.def (lathe_loss.c). */
Val function_scalar(Call *c), function_op(Call *c), function_loss(Call *c);
#endif

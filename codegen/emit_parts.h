/* What the emit_*.c files share: names of the interface, symbols, and where each part goes. */
#ifndef CODEGEN_EMIT_PARTS_H
#define CODEGEN_EMIT_PARTS_H
#include "codegen/c.h"
#include "codegen/emit.h"

/* input -1: computed */
typedef struct EmitSymbol { const char *name, *c; int64_t lo, hi; int input, axis; } EmitSymbol;

typedef struct EmitKernel {
  const Kernel *k;
  const char *name;                    /* C function */
  bool aliased;                        /* some call passes overlapping memory */
  Text code;                           /* its function, without the comment */
  int same_as;                         /* index of the kernel that has the same code, or its own */
} EmitKernel;

typedef struct Emit {
  const Program *p;
  const EmitOptions *o;
  Arena *a;
  EmitFiles *out;
  Diags *d;
  const char *prefix, *PREFIX;
  const char *run;                     /* the C function: PREFIX_run; of a bundle: PREFIX */
  const char **in_name, **out_name;    /* io members, by port; NULL: state, not io */
  const char *state_of_weights;        /* a phrase for the banner */
  VEC(EmitSymbol) symbols;             /* those of inputs first, then computed ones, then loop counters */
  int input_symbols, shown_symbols;    /* how many of them; loop counters are not part of the interface */
  const char *from;                    /* before the name of a symbol: "", or in steps that have parts "c->" */
  bool shares;                         /* some kernel has parts */
  CPrinter *c;
  EmitKernel *kernel;
  bool split;
} Emit;

void emit_file(Emit *e, const char *name, Text *t);        /* takes t's bytes */
const char *emit_name(Emit *e, const char *suffix);        /* PREFIX + suffix */
void emit_banner(Emit *e, Text *t, const char *what);
C emit_dim(Emit *e, Dim d);                                /* over the symbols' C names */
int emit_kernel_of(const Emit *e, const Kernel *k);
const char *emit_shape(Emit *e, const Type *t);            /* "f32[N,1,28,28]" */
uint64_t emit_layout_hash(const Emit *e);
Dim emit_arena_bytes(const Emit *e);                       /* over the symbols of inputs and the plan's offsets */
Dim emit_part_bytes(const Emit *e);                        /* of arena, for each thread but the first */
void emit_plan(Emit *e, Text *t);                          /* statements that compute the plan's offsets */

int emit_io_index(const char *const *name, int port);      /* which of the io's inputs or outputs a port is */
bool emit_writes_state(const Emit *e);
const char *emit_upper(Arena *a, const char *s);
int64_t emit_state_offset(const Emit *e, int slot);

bool emit_is_parallel(const Emit *e);                      /* has it PREFIX_run_parallel? */
const char *emit_run_parallel(Emit *e);                    /* its name */
void emit_add_file(Emit *e, const char *name);             /* one of runtime/ beside the module */

void emit_header(Emit *e);
void emit_run(Emit *e, Text *t);
void emit_weights(Emit *e);
void emit_calls(Emit *e);
void emit_model(Emit *e);
void emit_function_table(Emit *e);                         /* lt_function_PREFIX */
#endif

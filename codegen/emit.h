/* A program -> the files of a compiled module. Byte-identical on every run: no time, no paths. */
#ifndef CODEGEN_EMIT_H
#define CODEGEN_EMIT_H
#include "base/text.h"
#include "ir/bundle.h"
#include "passes/target.h"

typedef enum { WEIGHTS_BIN, WEIGHTS_LINK, WEIGHTS_ARRAY } WeightsMode;

typedef struct EmitOptions {
  const char *prefix;              /* of every public name and file; a C identifier */
  const char *command;             /* for the banner; without directories */
  const Target *target;
  WeightsMode weights;
  bool single_file;                /* never split the kernels */
  bool sleef;                      /* SLEEF's functions instead of those of runtime/vecmath.tmpl */
  bool profile;                    /* PREFIX_profile(step) is called before every kernel, and with -1 at the end */
  bool parallel;                   /* also PREFIX_run_parallel, whose kernels the threads of a pool share */
  bool model_table;                /* also PREFIX_model.c and lt_model.h, for generic programs */
  /* the program is this bundle's function: PREFIX(state, arena, io) instead of PREFIX_run */
  const Bundle *bundle;
  const Function *function;
  bool in_pieces;                  /* the weights' file may come in pieces, which live as long as the program */
} EmitOptions;

/* `data`, or NULL and pieces of other people's memory: weights need not be copied to be written. */
typedef struct EmitFile { const char *name; const char *data; size_t size; const Piece *piece; int pieces; } EmitFile;
typedef struct EmitFiles { VEC(EmitFile) at; } EmitFiles;

/* Appends the module's files. False: d says why (types that have no C yet). */
bool emit_program(const Program *p, const EmitOptions *o, Arena *a, EmitFiles *out, Diags *d);
/* the C name of a bundle's function */
const char *emit_function_prefix(Arena *a, const char *prefix, const Function *f);
/* Every function of a bundle, compiled before: PREFIX.h, PREFIX.c (state, init), PREFIX_FUNCTION.c and so on;
 * with o->model_table PREFIX_bundle.c, the table for trainers (runtime/lt_train.h). o->prefix is the bundle's. */
bool emit_bundle(const Bundle *b, const EmitOptions *o, Arena *a, EmitFiles *out, Diags *d);
const char *emit_prefix(Arena *a, const char *model_path);     /* "nets/my-net.onnx" -> "my_net" */
#endif

/* A program -> the files of a compiled module. Byte-identical on every run: no time, no paths. */
#ifndef CODEGEN_EMIT_H
#define CODEGEN_EMIT_H
#include "base/text.h"
#include "ir/program.h"
#include "passes/target.h"

typedef enum { WEIGHTS_BIN, WEIGHTS_LINK, WEIGHTS_ARRAY } WeightsMode;

typedef struct EmitOptions {
  const char *prefix;              /* of every public name and file; a C identifier */
  const char *command;             /* for the banner; without directories */
  const Target *target;
  WeightsMode weights;
  bool single_file;                /* never split the kernels */
  bool profile;                    /* PREFIX_profile(step) is called before every kernel, and with -1 at the end */
  bool model_table;                /* also PREFIX_model.c and lt_model.h, for generic programs */
  bool in_pieces;                  /* the weights' file may come in pieces, which live as long as the program */
} EmitOptions;

/* `data`, or NULL and pieces of other people's memory: weights need not be copied to be written. */
typedef struct EmitFile { const char *name; const char *data; size_t size; const Piece *piece; int pieces; } EmitFile;
typedef struct EmitFiles { VEC(EmitFile) at; } EmitFiles;

/* Appends the module's files. False: d says why (types that have no C yet). */
bool emit_program(const Program *p, const EmitOptions *o, Arena *a, EmitFiles *out, Diags *d);
const char *emit_prefix(Arena *a, const char *model_path);     /* "nets/my-net.onnx" -> "my_net" */
#endif

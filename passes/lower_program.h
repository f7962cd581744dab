/* From fused groups to a program, and from a program to one with addresses. */
#ifndef PASSES_LOWER_PROGRAM_H
#define PASSES_LOWER_PROGRAM_H
#include "ir/program.h"
#include "passes/fusion.h"
#include "passes/pass.h"
#include "passes/tuning.h"

/* Kernels and steps; NULL after an error in m->diags. Of the options `naive` (no generators, plain nests only),
 * `winograd`, `tuning`, `strips` and `part_cycles` count. */
Program *lower_program(Module *m, Fusion *f, const Target *t, const PassOptions *o, Arena *a);

/* Offsets of every buffer: arena, weights. Sets sizes and bounds in the program. */
bool place_program(Program *p, Arena *a);
#endif

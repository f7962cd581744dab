/* A bundle in the driver: a .lathe text on its way to C. */
#ifndef DRIVER_BUNDLE_H
#define DRIVER_BUNDLE_H
#include "driver/driver.h"
#include "ir/bundle.h"

typedef struct BundleBuild {
  Arena arena;
  Diags diags;
  Bundle *b;
  const Target *target;
  const char *path, *prefix, *command, *data_dir;     /* path: of the text */
} BundleBuild;

/* Reads the text; the data it names is opened to learn types. False: messages were printed, nothing is left to free. */
bool bundle_load(BundleBuild *x, const char *path, const Options *o);
bool bundle_passes(BundleBuild *x, const Options *o);            /* false: messages are in x->diags */
bool bundle_emit(BundleBuild *x, const Options *o, bool table, EmitFiles *files);
void bundle_close(BundleBuild *x);                               /* prints messages */

/* The net o->net (default: the one named as the file, else the first) as a module of its own, its state bound to the
 * values in the checkpoint o->checkpoint. NULL: messages were printed. x stays open: the module's names live there. */
Module *bundle_infer(BundleBuild *x, const char *path, const Options *o);

/* The training step o->net (default: the first) with few rows. NULL as above. */
Module *bundle_step(BundleBuild *x, const char *path, const Options *o);
/* Among inputs for that module, those of the state become what init gives with this seed, indices fit their classes. */
bool bundle_inputs(BundleBuild *x, Module *m, int64_t seed, const Tensor **in, Arena *a);

const char *whole_path(Arena *a, const char *path);              /* from /, or as it is where there is none */

/* A text that trains the ONNX file as --loss, --data and so on say (finetune.c). False after messages. */
bool finetune_text(const Options *o, const char *path, Arena *a, Text *to);

/* Verbs on a .lathe file; exit codes. */
int bundle_compile(Options *o);
int bundle_build(Options *o);                                    /* a trainer */
int bundle_inspect(Options *o);
#endif

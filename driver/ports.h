/* The inputs and outputs of a model as its author numbered them (input_J.pb, output_J.pb), which the compiled
 * module's need not be: inputs bound when compiling are gone, sequences are several tensors. */
#ifndef DRIVER_PORTS_H
#define DRIVER_PORTS_H
#include "frontend/import.h"

typedef struct Port {
  const char *name;
  ValueKind kind;
  bool bound;                    /* becomes a constant when compiling, with `value` */
  const Tensor *value;           /* NULL: not in the data */
  const Tensor **list; int n;    /* of a sequence or optional; -1: an absent optional */
  ImportSample sample;           /* what the last import made of it */
} Port;

typedef struct Ports {
  int nin, nout;
  Port *in, *out;
  ImportSample *samples;         /* of the inputs, while importing */
} Ports;

/* From the file (.onnx); false after a message. */
bool ports_find(Ports *p, Arena *a, const char *path, Diags *d);
/* Loads what the directory has. false after a message: a file is damaged. */
bool ports_load(Ports *p, Arena *a, const char *dir, Diags *d);
/* Adds what was decided to the importer's options. */
void ports_options(const Ports *p, Arena *a, ImportOptions *io);
const Tensor *ports_input(const Ports *p, Arena *a, const char *name);           /* by the module's name; NULL: none */
/* After every import: what it made of the inputs. */
void ports_imported(Ports *p);
/* Arrays of a .npz by the names of the inputs. */
bool ports_load_npz(Ports *p, Arena *a, const char *path, Diags *d);
/* After a failed import: binds what its messages suggest, or with `any` whatever may help; else single integers only.
 * false: nothing new. */
bool ports_adapt(Ports *p, const Diags *d, bool any);
#endif

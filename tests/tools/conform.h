/* What the two halves of conform share: test cases, their inputs and outputs, and how values compare. */
#ifndef TESTS_TOOLS_CONFORM_H
#define TESTS_TOOLS_CONFORM_H
#include "ir/graph.h"
#include <stdio.h>

enum { PASS, FAIL, UNSUPPORTED, STATUS_COUNT };
enum { MAX_PORTS = 64, MAX_SETS = 16 };

typedef struct Outcome { int status; char text[600]; } Outcome;
Outcome outcome(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A model and its data sets. A set is a folder, or (onnx's "light" models) the path of the model without its ending. */
typedef struct TestCase { const char *title, *model; int sets; const char *set[MAX_SETS]; } TestCase;

/* An input or output of the model, as a test gives it: a tensor, or the tensors of a sequence or optional. */
typedef struct TestPort {
  const char *name;
  ValueKind kind;
  bool bound;                          /* fixed when compiling */
  const Tensor *value;
  const Tensor **list;
  int n;
  int rank;                            /* as declared, free dims as 1 */
  int64_t dims[MAX_RANK];
} TestPort;
typedef struct TestPorts { bool fixed_dims; int n, nout; TestPort at[MAX_PORTS], out[MAX_PORTS]; } TestPorts;

/* Finds and loads the inputs of a set (NULL: none). */
void test_load(TestPorts *p, const TestCase *c, const char *set, Arena *a);
/* The tensor for module input `name`: a port's, or element I of the list NAME in NAME_I. */
const Tensor *test_input(const TestPorts *p, const char *name);
/* Imports with the inputs marked `bound` as constants. */
Module *test_import(TestPorts *p, const TestCase *c, Diags *d);
const char *first_error(const Diags *d);

/* `attempt` with the case as it is; while it is unsupported again, with what the messages ask for bound, then with
 * free dims fixed, then with scalars bound. How it came to pass is in p. */
typedef Outcome (*Attempt)(const TestCase *c, const char *set, TestPorts *p, Diags *d);
Outcome attempt_rounds(const TestCase *c, const char *set, TestPorts *p, Arena *a, Attempt attempt);
/* " (bound: x, y)", " (fixed dims)" or "" */
const char *test_note(const TestPorts *p, Arena *a);

/* The outputs that came out, in the module's order, against those stored with the set. */
Outcome compare_outputs(TestPorts *p, const char *set, Arena *a, const Tensor *const *got, int n, bool is_random);
bool module_is_random(const Module *m);

/* conform_emitted.c: emits, compiles in batches, runs; `to`: the ledger lines. The number of cases in count by status. */
bool run_emitted(const TestCase *cases, int n, const char *target, const char *dir, int seconds, bool verbose, FILE *to, int *count);
#endif

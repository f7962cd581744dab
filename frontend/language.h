/* The network language (`.lathe` files): text -> Bundle. What it says is described in docs/language.md.
 *
 * lathe_lex.c, lathe_parse.c   text -> tree (lathe_ast.h); lathe_uses.c reads off it which nets call which
 * lathe_load.c                 the functions of the bundle, one after the other
 * lathe_net.c, lathe_onnx.c    a net's body and its calls; an ONNX file as a net
 * lathe_step.c, lathe_data.c   what a step reports and minimises; columns of the data block
 * lathe_eval.c                 statements and expressions -> nodes of the module at work
 * lathe_call.c                 calls of functions (functions.def, losses.def): names, arguments, defaults
 * lathe_layers.c, lathe_ops.c, lathe_loss.c   what those functions build
 * lathe_param.c                parameters, how they start, the function init
 * lathe_scope.c                values, names, messages
 * lathe_format.c, lathe_reference.c   the text in its usual form; docs/functions.md
 * Without the text, on ir/build.h alone: loss.c, train_layers.c, optimize.c, optimize_rate.c.
 *
 * Checking is building: every net and every step is built, and a node whose types do not fit is an error that shows the
 * line. Errors are collected; a value that failed is silent afterwards. */
#ifndef FRONTEND_LANGUAGE_H
#define FRONTEND_LANGUAGE_H
#include "base/text.h"
#include "ir/bundle.h"

typedef struct LanguageDim { const char *name; int64_t lo, hi; } LanguageDim;

typedef struct LanguageOptions {
  const LanguageDim *dims;             /* bounds of dims by name: N (rows of inference), T … */
  int ndims;
  int64_t batch;                       /* instead of the data block's; 0: not given */
  /* Opens what a reader of the data block names, such as `idx("images.gz")` (the text of runtime/lt_data.h): type of
   * one row and, for integers, how many classes (0: unknown). False: why. NULL: columns must state their types. */
  bool (*peek)(void *ctx, const char *call, Type *row, int64_t *classes, char *why, size_t why_len);
  void *peek_ctx;
} LanguageOptions;

/* NULL after errors; all are in d, whose `file` the caller sets to path. The caller frees with bundle_free. */
Bundle *lathe_language_load(const char *path, const LanguageOptions *o, Diags *d);
Bundle *lathe_language_text(const char *path, const char *text, size_t size, const LanguageOptions *o, Diags *d);

/* The file as onnx("…") of a text reads it: made for a batch of 1, for any batch where the graph allows. */
Module *lathe_onnx_load(const char *path, Diags *d);

/* The text in its usual form. False after errors of syntax. */
bool lathe_language_format(const char *path, const char *text, size_t size, Text *out, Diags *d);
/* docs/functions.md: every function of the language, from its tables. */
void lathe_language_reference(Text *out);
#endif

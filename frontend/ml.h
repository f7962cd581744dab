/* What the importers of ai.onnx.ml share (import_ml.c, import_tree.c). */
#ifndef FRONTEND_ML_H
#define FRONTEND_ML_H
#include "frontend/calc.h"

ValueId ml_post_transform(Import *x, ValueId scores, const char *how);      /* NONE LOGISTIC SOFTMAX SOFTMAX_ZERO PROBIT; rows of [N, C] */
ValueId ml_two_classes(Import *x, ValueId score, const char *how, bool margin);
const Tensor *ml_class_labels(Import *x, const char *ints, const char *strings);   /* from these attributes; NULL: neither */
ValueId ml_best_label(Import *x, ValueId scores, const Tensor *labels);
#endif
